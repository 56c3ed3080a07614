//! `karpenter_nodeclass`: the EC2NodeClass kind, declared once.

#![expect(missing_docs, reason = "the enums' variants are Karpenter's own words")]

use std::collections::BTreeMap;

use kube::CustomResource;
use kube::core::ApiResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::kubelet::{self, Kubelet};
use super::object::{Common, Kind};
use super::{formats, metadata::Metadata};
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::schema::Schema;
use crate::tofu::value::Value;
use outputs::{Named, Subnet};

mod outputs;

/// How Karpenter launches EC2 instances: images, networks, volumes, role.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "a declaration, walked as JSON schema")]
struct NodeClassResource {
    #[schemars(extend("x-tofu" = {"flatten": true, "text": "placeholders"}))]
    metadata: Metadata,
    #[schemars(extend("x-tofu" = {"flatten": true, "soft": true, "text": "placeholders", "outdates": "all"}))] // hashed by Karpenter
    spec: NodeClassSpec,
    #[schemars(extend("x-tofu" = {"flatten": true}))]
    common: Common,
    /// Images that the selector terms resolve to at present.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    amis: Vec<Named>,
    /// Subnets that the selector terms resolve to at present.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    subnets: Vec<Subnet>,
    /// Security groups that the selector terms resolve to at present.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    security_groups: Vec<Named>,
}

/// The spec of an EC2NodeClass, `karpenter.k8s.aws/v1`.
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(group = "karpenter.k8s.aws", version = "v1", kind = "EC2NodeClass", plural = "ec2nodeclasses", doc = "How nodes are launched")]
#[serde(rename_all = "camelCase")]
pub struct NodeClassSpec {
    /// Family of the images; may be left out where an `alias` says it.
    #[schemars(extend("x-tofu" = {"outdates": "some", "since_values": {"Windows2025": "1.9.0"}}))]
    pub ami_family: Option<AmiFamily>,
    /// Which images nodes are launched from, e.g. `ami_selector_term { alias = "al2023@latest" }`.
    /// Terms are alternatives; the conditions of one term hold together.
    #[schemars(length(min = 1, max = 30), extend("x-tofu" = {"name": "ami_selector_term", "set": true, "outdates": "some"}))]
    pub ami_selector_terms: Vec<AmiSelectorTerm>,
    /// Whether nodes get a public IPv4 address; the subnet's setting where left out.
    #[serde(rename = "associatePublicIPAddress")]
    pub associate_public_ip_address: Option<bool>,
    /// Volumes of the nodes.
    #[schemars(length(max = 50), extend("x-tofu" = {"name": "block_device_mapping", "set": true}))]
    pub block_device_mappings: Option<Vec<BlockDeviceMapping>>,
    /// Capacity reservations that nodes may use.
    #[schemars(length(max = 30))]
    #[schemars(extend("x-tofu" = {"name": "capacity_reservation_selector_term", "set": true, "outdates": "some", "since": "1.3.0"}))]
    pub capacity_reservation_selector_terms: Option<Vec<CapacityReservationSelectorTerm>>,
    /// Idle timeouts of tracked connections.
    #[schemars(extend("x-tofu" = {"since": "1.13.0"}))]
    pub connection_tracking: Option<ConnectionTracking>,
    /// Reserved by EC2 for its own use; passed on as it is.
    pub context: Option<String>,
    /// CPU options of the nodes.
    #[schemars(extend("x-tofu" = {"since": "1.13.0"}))]
    pub cpu_options: Option<CpuOptions>,
    /// Whether CloudWatch gets metrics every minute.
    pub detailed_monitoring: Option<bool>,
    /// Instance profile of the nodes; exactly one of this and `role`.
    #[schemars(length(min = 1))]
    pub instance_profile: Option<String>,
    /// What happens with instance store volumes.
    pub instance_store_policy: Option<InstanceStorePolicy>,
    /// Number of IPv4 prefixes of a node; only new nodes see a change.
    #[schemars(range(min = 0), extend("x-tofu" = {"outdates": "none", "since": "1.8.0"}))]
    pub ip_prefix_count: Option<i32>,
    /// Settings of the kubelet.
    pub kubelet: Option<Kubelet>,
    /// How nodes reach EC2's instance metadata.
    pub metadata_options: Option<MetadataOptions>,
    /// Network interfaces of the nodes.
    #[schemars(length(max = 150), extend("x-tofu" = {"name": "network_interface", "set": true, "since": "1.11.0"}))]
    pub network_interfaces: Option<Vec<NetworkInterface>>,
    /// Placement group that nodes are launched into.
    #[schemars(extend("x-tofu" = {"since": "1.11.0"}))]
    pub placement_group_selector: Option<PlacementGroupSelector>,
    /// IAM role of the nodes, by name; exactly one of this and `instance_profile`.
    #[schemars(length(min = 1))]
    pub role: Option<String>,
    /// Security groups of the nodes, e.g. `security_group_selector_term { tags = { Name = "demo-node" } }`.
    /// Terms are alternatives; the conditions of one term hold together.
    #[schemars(length(min = 1, max = 30), extend("x-tofu" = {"name": "security_group_selector_term", "set": true, "outdates": "some"}))]
    pub security_group_selector_terms: Vec<SecurityGroupSelectorTerm>,
    /// Subnets of the nodes, e.g. `subnet_selector_term { tags = { Name = "private-*" } }`.
    /// Terms are alternatives; the conditions of one term hold together.
    #[schemars(length(min = 1, max = 30), extend("x-tofu" = {"name": "subnet_selector_term", "set": true, "outdates": "some"}))]
    pub subnet_selector_terms: Vec<SubnetSelectorTerm>,
    /// Tags of everything that Karpenter makes in EC2 for this class. The provider's `default_tags` are not added.
    #[schemars(extend("x-tofu" = {"open": true, "keys": "own_tag", "values": "tag_value"}))]
    pub tags: Option<BTreeMap<String, String>>,
    /// User data of the nodes; other `{{ words }}` than the known placeholders stay as they are.
    #[schemars(extend("x-tofu" = {"text": "lenient"}))]
    pub user_data: Option<String>,
}

/// Family of the images.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub enum AmiFamily {
    AL2,
    AL2023,
    Bottlerocket,
    Custom,
    Windows2019,
    Windows2022,
    Windows2025,
}

/// What happens with instance store volumes.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub enum InstanceStorePolicy {
    RAID0,
}

/// A way to find images.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AmiSelectorTerm {
    /// Images by family and version, such as `al2023@latest`; excludes everything else.
    #[schemars(length(max = 30), extend("x-tofu" = {"format": "ami_alias", "since_values": {"windows2025": "1.9.0"}}))]
    pub alias: Option<String>,
    /// An image; excludes everything else.
    #[schemars(extend("x-tofu" = {"format": "ami_id"}))]
    pub id: Option<String>,
    /// Name of the image, with `*` for any text.
    pub name: Option<String>,
    /// Owner of the image: an account id, `self` or `amazon`.
    pub owner: Option<String>,
    /// Name or ARN of the SSM parameter that holds the image's id.
    #[schemars(extend("x-tofu" = {"since": "1.4.0"}))]
    pub ssm_parameter: Option<String>,
    /// Tags of the image; `*` as a value matches any.
    #[schemars(extend("maxProperties" = 20, "x-tofu" = {"keys": "searched_tag", "values": "searched_tag"}))]
    pub tags: Option<BTreeMap<String, String>>,
}

/// A way to find subnets.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub struct SubnetSelectorTerm {
    /// A subnet; excludes `tags`.
    #[schemars(extend("x-tofu" = {"format": "subnet_id"}))]
    pub id: Option<String>,
    /// Tags of the subnet; `*` matches any text.
    #[schemars(extend("maxProperties" = 20, "x-tofu" = {"keys": "searched_tag", "values": "searched_tag"}))]
    pub tags: Option<BTreeMap<String, String>>,
}

/// A way to find security groups.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub struct SecurityGroupSelectorTerm {
    /// A security group; excludes `name` and `tags`.
    #[schemars(extend("x-tofu" = {"format": "security_group_id"}))]
    pub id: Option<String>,
    /// Name of the group; excludes `id` and `tags`.
    pub name: Option<String>,
    /// Tags of the group; `*` matches any text.
    #[schemars(extend("maxProperties" = 20, "x-tofu" = {"keys": "searched_tag", "values": "searched_tag"}))]
    pub tags: Option<BTreeMap<String, String>>,
}

/// A way to find capacity reservations.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapacityReservationSelectorTerm {
    /// A reservation; excludes everything else.
    #[schemars(extend("x-tofu" = {"format": "capacity_reservation_id"}))]
    pub id: Option<String>,
    /// Which instances the reservation accepts.
    #[schemars(extend("x-tofu" = {"since": "1.8.0"}))]
    pub instance_match_criteria: Option<InstanceMatchCriteria>,
    /// Account that owns the reservation.
    #[serde(rename = "ownerID")]
    #[schemars(extend("x-tofu" = {"format": "account_id"}))]
    pub owner_id: Option<String>,
    /// Tags of the reservation; `*` matches any text.
    #[schemars(extend("maxProperties" = 20, "x-tofu" = {"keys": "searched_tag", "values": "searched_tag"}))]
    pub tags: Option<BTreeMap<String, String>>,
}

/// Which instances a reservation accepts.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstanceMatchCriteria {
    Open,
    Targeted,
}

/// A volume.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockDeviceMapping {
    /// Device name, e.g. `/dev/xvda`.
    pub device_name: Option<String>,
    /// The EBS volume.
    pub ebs: Option<Ebs>,
    /// Whether this is the volume that the kubelet and the container runtime use.
    pub root_volume: Option<bool>,
}

/// An EBS volume.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ebs {
    /// Whether the volume goes with its instance.
    pub delete_on_termination: Option<bool>,
    /// Whether it is encrypted.
    pub encrypted: Option<bool>,
    /// I/O operations a second.
    #[schemars(range(min = 1))]
    pub iops: Option<i64>,
    /// Key that encrypts it: id, alias or ARN.
    #[serde(rename = "kmsKeyID")]
    pub kms_key_id: Option<String>,
    /// Snapshot that it is made from.
    #[serde(rename = "snapshotID")]
    pub snapshot_id: Option<String>,
    /// MiB a second.
    #[schemars(range(min = 1))]
    pub throughput: Option<i64>,
    /// MiB a second at which the snapshot is loaded.
    #[schemars(range(min = 100, max = 300), extend("x-tofu" = {"since": "1.5.0"}))]
    pub volume_initialization_rate: Option<i32>,
    /// Size, such as `100Gi`.
    #[schemars(extend("x-tofu" = {"format": "volume_size"}))]
    pub volume_size: Option<String>,
    /// Type of the volume.
    pub volume_type: Option<VolumeType>,
}

/// Type of an EBS volume.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VolumeType {
    Standard,
    Io1,
    Io2,
    Gp2,
    Sc1,
    St1,
    Gp3,
}

/// Idle timeouts of tracked connections, in seconds.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionTracking {
    /// Of established TCP connections.
    #[schemars(range(min = 60, max = 432_000))]
    pub tcp_established_timeout: Option<i32>,
    /// Of UDP streams.
    #[schemars(range(min = 60, max = 180))]
    pub udp_stream_timeout: Option<i32>,
    /// Of UDP flows with traffic in one direction, or one request and its response.
    #[schemars(range(min = 30, max = 60))]
    pub udp_timeout: Option<i32>,
}

/// CPU options.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CpuOptions {
    /// Whether nodes can run virtual machines.
    pub nested_virtualization: Option<Toggle>,
}

/// On or off.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Toggle {
    Enabled,
    Disabled,
}

/// How nodes reach EC2's instance metadata.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetadataOptions {
    /// Whether the metadata service answers at all.
    #[schemars(extend("x-tofu" = {"computed": true, "optional": true, "server_default": "enabled"}))]
    pub http_endpoint: Option<Toggle>,
    /// Whether it answers over IPv6.
    #[serde(rename = "httpProtocolIPv6")]
    #[schemars(extend("x-tofu" = {"computed": true, "optional": true, "server_default": "disabled"}))]
    pub http_protocol_ipv6: Option<Toggle>,
    /// Network hops that its answers may take.
    #[schemars(range(min = 1, max = 64), extend("x-tofu" = {"computed": true, "optional": true, "server_default": 1}))]
    pub http_put_response_hop_limit: Option<i64>,
    /// Whether IMDSv2 is `required` or `optional`.
    #[schemars(extend("x-tofu" = {"computed": true, "optional": true, "server_default": "required"}))]
    pub http_tokens: Option<HttpTokens>,
}

/// Whether IMDSv2 is needed.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HttpTokens {
    Required,
    Optional,
}

/// A network interface.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkInterface {
    /// Index of the device on its card.
    #[schemars(range(min = 0))]
    pub device_index: i32,
    /// Kind of the interface.
    pub interface_type: InterfaceType,
    /// Index of the network card.
    #[schemars(range(min = 0))]
    pub network_card_index: i32,
}

/// Kind of a network interface.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InterfaceType {
    Interface,
    EfaOnly,
}

/// A placement group, by exactly one of id and name.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub struct PlacementGroupSelector {
    /// Its id.
    #[schemars(extend("x-tofu" = {"format": "placement_group_id"}))]
    pub id: Option<String>,
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: Option<String>,
}

/// The EC2NodeClass kind.
pub struct NodeClassKind;

impl Kind for NodeClassKind {
    const TYPE_NAME: &'static str = "karpenter_nodeclass";
    const KIND: &'static str = "EC2NodeClass";
    const OUTPUTS: &'static [&'static str] = &[];
    const STATUS: &'static [&'static str] = &["ready", "amis", "subnets", "security_groups"];

    fn schema() -> Schema {
        Schema::of::<NodeClassResource>(0, formats::FORMATS)
    }

    fn api_resource() -> ApiResource {
        ApiResource::erase::<EC2NodeClass>(&())
    }

    fn validate(config: &Value) -> Diagnostics {
        super::nodeclass_rules::validate(config)
    }

    fn assemble(mut expanded: Json) -> Json {
        expanded.pointer_mut("/spec/kubelet").into_iter().for_each(kubelet::merge_extra);
        expanded
    }

    fn disassemble(live: &mut Json, prior: &Value, resolve: &dyn Fn(&str) -> String, import: bool) {
        let written = prior.attr("kubelet").first().attr("extra").as_str().map(resolve);
        let kubelet = live.pointer_mut("/spec/kubelet");
        kubelet.into_iter().for_each(|kubelet| kubelet::split_extra(kubelet, written.as_deref(), import));
    }

    fn plan_outputs(_planned: &mut Value, _prior: &Value) {}

    fn observe_outputs(live: &Json) -> Vec<(&'static str, Json)> {
        let status = |key: &str| if live["status"][key].is_array() { live["status"][key].clone() } else { json!([]) };
        vec![("amis", status("amis")), ("subnets", status("subnets")), ("securityGroups", status("securityGroups"))]
    }
}
