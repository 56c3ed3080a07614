//! `moved {}` from the untyped resources that held a pool or a class before: hashicorp's `kubernetes_manifest`, and
//! `kubectl_manifest` of gavinbunney and alekc. Nothing is called: a read follows.

use kube::core::DynamicObject;
use serde_json::Value as Json;

use super::object::{ApiObject, Kind, Private};
use crate::error::{Error, Kind as ErrorKind};
use crate::helm::yaml;
use crate::provider::Cluster;
use crate::tofu::resource::{ImportResponse, MoveRequest};
use crate::tofu::value::Value;

impl<K: Kind> ApiObject<K> {
    /// The state of an object that another provider's resource holds; `None` where that is not one of those known.
    pub(super) fn take_over(&self, request: &MoveRequest) -> Option<ImportResponse> {
        let provider = request.source_provider_address.rsplit('/').take(2).collect::<Vec<_>>();
        let object = match (provider.as_slice(), request.source_type_name.as_str()) {
            (["kubernetes", "hashicorp"], "kubernetes_manifest") => {
                dynamic(&request.source_state["manifest"]).ok_or_else(|| "its state has no manifest".to_owned())
            }
            (["kubectl", "gavinbunney" | "alekc"], "kubectl_manifest") => {
                let text = request.source_state["yaml_body_parsed"].as_str().or(request.source_state["yaml_body"].as_str());
                yaml::parse(text.unwrap_or_default())
            }
            _ => return None,
        };
        Some(
            object
                .map_err(|why| self.not_taken(request, &why))
                .and_then(|object| self.state_of(request, object))
                .unwrap_or_else(|error| ImportResponse { diagnostics: error.into(), ..ImportResponse::default() }),
        )
    }

    fn state_of(&self, request: &MoveRequest, object: Json) -> Result<ImportResponse, Error> {
        let resource = K::api_resource();
        if object["apiVersion"] != resource.api_version.as_str() || object["kind"] != resource.kind.as_str() {
            let found = format!("it holds a {} of {}", object["kind"], object["apiVersion"]);
            return Err(self.not_taken(request, &found));
        }
        let live: DynamicObject = serde_json::from_value(object).map_err(|e| self.not_taken(request, &e.to_string()))?;
        let mut state = self.observe(&live, &Value::Null, &Cluster::default(), true);
        // the state says nothing of the cluster; the read that follows does
        for name in ["cluster_arn", "cluster_name"] {
            state.set(name, Value::Null);
        }
        let of_object = dynamic(&request.source_state["object"]).and_then(|o| o["metadata"]["uid"].as_str().map(str::to_owned));
        let uid = of_object.or_else(|| request.source_state["uid"].as_str().map(str::to_owned));
        let private = Private { uid, imported: true, ..Private::default() };
        Ok(ImportResponse { state, private: private.encode(), ..ImportResponse::default() })
    }

    fn not_taken(&self, request: &MoveRequest, why: &str) -> Error {
        let action = format!("move the state of a {} to a {}", request.source_type_name, K::TYPE_NAME);
        Error::new(ErrorKind::Invalid, action, why).remedy(format!("This type holds a {} of {}.", K::KIND, K::api_resource().api_version))
    }
}

/// A `DynamicPseudoType` in state JSON is `{"type", "value"}`.
fn dynamic(json: &Json) -> Option<Json> {
    let value = if json["value"].is_object() && !json["type"].is_null() { &json["value"] } else { json };
    value.is_object().then(|| value.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::provider::Connections;
    use crate::resources::nodepool::NodePoolKind;

    fn moved(address: &str, type_name: &str, source_state: Json) -> Option<ImportResponse> {
        let pool = ApiObject::<NodePoolKind>::new(Arc::new(Connections::new()));
        pool.take_over(&MoveRequest {
            source_provider_address: address.into(),
            source_type_name: type_name.into(),
            source_schema_version: 1,
            source_state,
        })
    }

    const YAML: &str = "apiVersion: karpenter.sh/v1\nkind: NodePool\nmetadata: {name: trino}\nspec:\n  weight: 50\n  template:\n    spec:\n      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}\n      requirements: [{key: kubernetes.io/arch, operator: In, values: [arm64]}]\n";

    #[test]
    fn what_other_providers_hold_becomes_our_state() {
        let manifest = yaml::parse(YAML).expect("YAML");
        let kubernetes = json!({
            "manifest": {"type": "dynamic", "value": manifest}, "object": {"type": "dynamic", "value": {"metadata": {"uid": "u-1"}}},
        });
        for (address, type_name, state) in [
            ("registry.opentofu.org/hashicorp/kubernetes", "kubernetes_manifest", kubernetes),
            ("registry.terraform.io/gavinbunney/kubectl", "kubectl_manifest", json!({"yaml_body": YAML, "uid": "u-1"})),
            ("registry.terraform.io/alekc/kubectl", "kubectl_manifest", json!({"yaml_body": "x", "yaml_body_parsed": YAML, "uid": "u-1"})),
        ] {
            let response = moved(address, type_name, state).expect(type_name);
            assert_eq!(response.diagnostics.0, vec![], "{address}");
            assert_eq!(response.state.attr("name").as_str(), Some("trino"));
            assert_eq!(response.state.attr("weight").as_i64(), Some(50));
            assert_eq!(Private::decode(&response.private).uid.as_deref(), Some("u-1"));
        }
    }

    #[test]
    fn other_sources_and_other_kinds_are_not_taken() {
        assert!(moved("registry.opentofu.org/hashicorp/aws", "aws_instance", json!({})).is_none());
        let class = YAML.replace("NodePool", "NodeClaim");
        let response = moved("x/alekc/kubectl", "kubectl_manifest", json!({"yaml_body": class})).expect("an answer");
        assert!(response.diagnostics.has_errors() && response.state.is_null());
    }
}
