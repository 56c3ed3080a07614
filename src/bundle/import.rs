//! Finds a Karpenter installation that somebody else made, from its cluster: the controller's Deployment leads to release, service
//! account and queue; the association (or the service account's annotation) to the controller's role; the queue to its rules;
//! node classes, what the controller may pass, and access entries to the nodes' role.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::association;
use super::context::{Context, Ownership};
use super::desired::{Association, DATA_KEY_REUSE, Place, ROLE_ANNOTATION, SESSION};
use super::events;
use super::found::{Found, FoundRole};
use super::import_aws::{self, ControllerRole, Queue};
use super::import_nodes::{self, Nodes};
use super::installation::{Installation, annotated_role, installations};
use super::names;
use crate::helm;
use crate::{Error, Kind};

/// `credentials` as the arguments write it.
const POD_IDENTITY: &str = "pod_identity";
/// The other way.
const IRSA: &str = "irsa";

/// What was found: the arguments that a state must hold, as its JSON, and names that stay beside it.
#[derive(Clone, Debug)]
pub struct Import {
    /// Arguments, without names that only somebody else chose.
    pub arguments: Json,
    /// Those names.
    pub found: Found,
}

/// Looks for everything. `release` are namespace and name of the Helm release to look at where no Deployment tells them.
///
/// # Errors
/// What AWS and the API server say, and more than one installation for this cluster.
pub async fn look(cx: &Context, client: &kube::Client, release: (&str, &str)) -> Result<Import, Error> {
    let place = &cx.place;
    let installations = match installations(client, cx.deadline).await {
        Err(error) if error.kind == Kind::Forbidden => vec![],
        found => found?,
    };
    let mut installation = chosen(installations, place)?;
    let deployed = installation.is_some();
    if !deployed {
        installation = without_deployment(cx, client, release).await?;
    }
    let Installation { namespace, release, service_account, queue, .. } = installation.unwrap_or_else(|| Installation {
        namespace: "kube-system".into(),
        release: None,
        service_account: "karpenter".into(),
        cluster: None,
        queue: None,
    });
    let release = match &release {
        Some(name) => helm::read(client, &namespace, name).await?,
        None => None,
    };
    let installed = deployed || release.is_some();
    let mut found = Found { release: release.as_ref().map(|release| release.name.clone()), adopted: installed, ..Found::default() };
    let mut arguments = json!({
        "cluster_name": place.cluster,
        "cluster_arn": place.arn(),
        "namespace": namespace,
        "service_account": service_account,
        "force_destroy": false,
    });
    let (role, credentials) = controller_role(cx, client, &namespace, &service_account).await?;
    arguments["credentials"] = json!(credentials);
    let queue = import_aws::queue(cx, queue, installed).await?;
    let passed = role.as_ref().map(|role| role.passed.clone()).unwrap_or_default();
    let nodes = import_nodes::look(cx, client, &passed).await?;

    take_role(cx, role, &mut arguments, &mut found);
    take_queue(cx, queue, &mut arguments, &mut found);
    take_nodes(cx, nodes, &mut arguments, &mut found);
    if let Some(record) = release.as_ref().and_then(helm::Release::live) {
        arguments["version"] = json!(record.chart_version());
        let mut values = Json::Object(record.config());
        let role = found.controller_role.as_ref().filter(|_| credentials == IRSA).map(|role| role.arn.as_str());
        without_injected(&mut values, place, &service_account, found.queue.as_deref(), role);
        if values.as_object().is_some_and(|values| !values.is_empty()) {
            let text = helm::yaml::write(&values).map_err(|e| Error::new(Kind::Other, "write the release's values as YAML", e))?;
            arguments["chart"] = json!([{"values": [text]}]);
        }
    }
    Ok(Import { arguments, found })
}

/// A release whose Deployment is missing, or associations of a chart that is not installed yet.
async fn without_deployment(cx: &Context, client: &kube::Client, release: (&str, &str)) -> Result<Option<Installation>, Error> {
    let of = |namespace: &str, release: Option<&str>| Installation {
        namespace: namespace.to_owned(),
        release: release.map(str::to_owned),
        service_account: "karpenter".into(),
        cluster: None,
        queue: None,
    };
    let (namespace, name) = release;
    if let Some(release) = helm::read(client, namespace, name).await? {
        let config = Json::Object(release.current().config());
        let text = |pointer: &str| config.pointer(pointer).and_then(Json::as_str).map(str::to_owned);
        let mut installation = of(namespace, Some(name));
        installation.service_account = text("/serviceAccount/name").unwrap_or(installation.service_account);
        return Ok(Some(Installation { queue: text("/settings/interruptionQueue"), ..installation }));
    }
    let namespaces = association::namespaces(&cx.aws, &cx.place.cluster, "karpenter").await?;
    Ok(match namespaces.as_slice() {
        [one] => Some(of(one, None)),
        _ => None,
    })
}

/// The controller's role, and how it comes by its credentials.
async fn controller_role(
    cx: &Context,
    client: &kube::Client,
    namespace: &str,
    service_account: &str,
) -> Result<(Option<ControllerRole>, &'static str), Error> {
    let account = Association { namespace: namespace.to_owned(), service_account: service_account.to_owned(), role_arn: String::new() };
    let associated = association::observe(&cx.aws, &cx.place.cluster, &account, None).await?.map(|live| live.role_arn);
    let annotated = match associated {
        Some(_) => None,
        None => annotated_role(client, namespace, service_account, cx.deadline).await?,
    };
    let arn = associated.as_ref().or(annotated.as_ref());
    let role = arn.and_then(|arn| FoundRole::of_arn(arn)).unwrap_or_else(|| default_role(&cx.place));
    let role = import_aws::controller_role(cx, role).await?;
    let by_token = associated.is_none() && (annotated.is_some() || role.as_ref().is_some_and(|role| role.by_token));
    Ok((role, if by_token { IRSA } else { POD_IDENTITY }))
}

fn default_role(place: &Place) -> FoundRole {
    let name = names::controller_role(&place.cluster);
    FoundRole { arn: place.iam_arn("role", "/", &name), path: "/".into(), name }
}

fn take_role(cx: &Context, role: Option<ControllerRole>, arguments: &mut Json, found: &mut Found) {
    let Some(role) = role else { return };
    let ControllerRole { role, tags, permissions_boundary, max_session_duration, by_token: _, policies, others, inline, passed: _ } = role;
    let chosen = role.name != default_role(&cx.place).name || role.path != "/";
    let mut block = serde_json::Map::new();
    if chosen && cx.ownership(&tags) == Ownership::Ours {
        block.insert("name".into(), json!(role.name));
        block.extend((role.path != "/").then(|| ("path".to_owned(), json!(role.path))));
    }
    block.extend(permissions_boundary.map(|arn| ("permissions_boundary".to_owned(), json!(arn))));
    if max_session_duration != SESSION {
        block.insert("max_session_duration".into(), json!(max_session_duration));
    }
    put(arguments, "controller_role", block);
    (found.controller_role, found.policies, found.others, found.inline) = (Some(role), policies, others, inline);
}

fn take_queue(cx: &Context, queue: Queue, arguments: &mut Json, found: &mut Found) {
    let mut block = serde_json::Map::new();
    match queue {
        Queue::Unknown => {}
        Queue::Disabled => {
            block.insert("enabled".into(), json!(false));
        }
        Queue::Named { name, live, rules } => {
            let live = live.unwrap_or_default();
            if name != names::queue(&cx.place.cluster) && cx.ownership(&live.tags) == Ownership::Ours {
                block.insert("name".into(), json!(name));
            }
            encryption(&live.attributes, &mut block);
            put(arguments, "rules", prefix(&rules, &cx.place));
            (found.queue, found.rules) = (Some(name), rules);
        }
    }
    put(arguments, "interruption_queue", block);
}

/// What the queue's encryption is, where it is not the bundle's default.
fn encryption(attributes: &BTreeMap<String, String>, block: &mut serde_json::Map<String, Json>) {
    let of = |name: &str| attributes.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let Some(key) = of("KmsMasterKeyId") else {
        if of("SqsManagedSseEnabled") == Some("false") {
            block.insert("sqs_managed_sse_enabled".into(), json!(false));
        }
        return;
    };
    block.insert("kms_key_id".into(), json!(key));
    let reuse = of("KmsDataKeyReusePeriodSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(DATA_KEY_REUSE);
    if reuse != DATA_KEY_REUSE {
        block.insert("kms_data_key_reuse_period_seconds".into(), json!(reuse));
    }
}

/// The prefix of rules that a bundle named with one of its user's.
fn prefix(rules: &BTreeMap<String, String>, place: &Place) -> serde_json::Map<String, Json> {
    let mut prefixes = rules.iter().map(|(key, name)| events::prefix_of(key, name));
    let first = prefixes.next().flatten().filter(|prefix| *prefix != events::name_prefix(place));
    let common = first.filter(|first| !first.is_empty() && prefixes.all(|other| other == Some(*first)));
    common.map(|prefix| ("prefix".to_owned(), json!(prefix))).into_iter().collect()
}

fn take_nodes(cx: &Context, nodes: Nodes, arguments: &mut Json, found: &mut Found) {
    let Nodes { role, additional, has_profile } = nodes;
    if has_profile {
        arguments["instance_profile"] = json!([{"create": true}]);
    }
    let mut block = serde_json::Map::new();
    if let Some((role, tags)) = role {
        if role.name != names::node_role(&cx.place.cluster) && cx.ownership(&tags) == Ownership::Ours {
            block.insert("name".into(), json!(role.name));
        }
        found.node_role = Some(role);
    }
    if !additional.is_empty() {
        block.insert("additional_arns".into(), json!(additional));
    }
    put(arguments, "node_role", block);
}

fn put(arguments: &mut Json, name: &str, block: serde_json::Map<String, Json>) {
    if !block.is_empty() {
        arguments[name] = json!([block]);
    }
}

/// Takes away what the bundle sets itself, where it would set the same.
fn without_injected(values: &mut Json, place: &Place, service_account: &str, queue: Option<&str>, role_arn: Option<&str>) {
    if let Some(annotations) = values.pointer_mut("/serviceAccount/annotations").and_then(Json::as_object_mut)
        && role_arn.is_some_and(|arn| annotations.get(ROLE_ANNOTATION).and_then(Json::as_str) == Some(arn))
    {
        annotations.remove(ROLE_ANNOTATION);
        if let (true, Some(account)) = (annotations.is_empty(), values["serviceAccount"].as_object_mut()) {
            account.remove("annotations");
        }
    }
    for (at, key, ours) in [
        ("settings", "clusterName", Some(place.cluster.as_str())),
        ("settings", "interruptionQueue", queue),
        ("serviceAccount", "name", Some(service_account)),
    ] {
        let Some(inner) = values.get_mut(at).and_then(Json::as_object_mut) else { continue };
        if inner.get(key).and_then(Json::as_str).is_some_and(|value| Some(value) == ours) {
            inner.remove(key);
        }
        if let (true, Some(outer)) = (inner.is_empty(), values.as_object_mut()) {
            outer.remove(at);
        }
    }
}

/// The one installation that is this cluster's.
fn chosen(mut installations: Vec<Installation>, place: &Place) -> Result<Option<Installation>, Error> {
    installations.retain(|found| found.serves(&place.cluster));
    if let [_, _, ..] = installations.as_slice() {
        let named: Vec<String> =
            installations.iter().map(|found| format!("{}/{}", found.namespace, found.release.as_deref().unwrap_or("no release"))).collect();
        let message = format!("several Karpenter Deployments serve it: {}", named.join(", "));
        return Err(Error::new(Kind::Conflict, format!("import the bundle of cluster {}", place.cluster), message)
            .remedy("Remove all but one; two controllers work against each other."));
    }
    Ok(installations.pop())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place::of_arn("arn:aws:eks:us-east-1:123456789012:cluster/demo").unwrap()
    }

    #[test]
    fn another_clusters_controller_is_not_chosen_and_two_are_refused() {
        let of = |namespace: &str, cluster: &str| Installation {
            namespace: namespace.into(),
            release: Some("karp".into()),
            service_account: "sa".into(),
            cluster: Some(cluster.into()),
            queue: None,
        };
        assert_eq!(chosen(vec![of("a", "other"), of("b", "demo")], &place()).unwrap().unwrap().namespace, "b");
        assert_eq!(chosen(vec![], &place()).unwrap(), None);
        assert!(chosen(vec![of("a", "demo"), of("b", "demo")], &place()).unwrap_err().message.contains("a/karp, b/karp"));
    }

    #[test]
    fn values_that_the_bundle_sets_itself_are_left_out() {
        let mut values =
            json!({"replicas": 1, "settings": {"clusterName": "demo", "interruptionQueue": "q"}, "serviceAccount": {"name": "other"}});
        without_injected(&mut values, &place(), "karpenter", Some("q"), None);
        assert_eq!(values, json!({"replicas": 1, "serviceAccount": {"name": "other"}}));
        let mut values = json!({"serviceAccount": {"name": "karpenter", "annotations": {ROLE_ANNOTATION: "r"}}});
        without_injected(&mut values, &place(), "karpenter", None, Some("other"));
        assert_eq!(values, json!({"serviceAccount": {"annotations": {ROLE_ANNOTATION: "r"}}}));
        without_injected(&mut values, &place(), "karpenter", None, Some("r"));
        assert_eq!(values, json!({}));
    }

    #[test]
    fn only_one_prefix_of_all_rules_is_a_users() {
        let of = |names: [&str; 2]| {
            let keys = ["rule_health_event", "rule_rebalance"].map(str::to_owned).into_iter();
            prefix(&keys.zip(names.map(str::to_owned)).collect(), &place())
        };
        assert_eq!(Json::Object(of(["mine-health-event", "mine-rebalance"])), json!({"prefix": "mine-"}));
        assert!(of(["mine-health-event", "yours-rebalance"]).is_empty());
        assert!(of(["demo-karpenter-health-event", "demo-karpenter-rebalance"]).is_empty());
        assert!(of(["KarpenterHealthEvent-1", "KarpenterRebalance-2"]).is_empty());
    }

    #[test]
    fn encryption_is_told_where_it_is_not_the_default() {
        let told = |attributes: &[(&str, &str)]| {
            let mut block = serde_json::Map::new();
            encryption(&attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(), &mut block);
            Json::Object(block)
        };
        assert_eq!(told(&[("SqsManagedSseEnabled", "true")]), json!({}));
        assert_eq!(told(&[("SqsManagedSseEnabled", "false")]), json!({"sqs_managed_sse_enabled": false}));
        let keyed = [("KmsMasterKeyId", "alias/q"), ("KmsDataKeyReusePeriodSeconds", "600")];
        assert_eq!(told(&keyed), json!({"kms_key_id": "alias/q", "kms_data_key_reuse_period_seconds": 600}));
    }
}
