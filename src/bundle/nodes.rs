//! What Karpenter runs on the cluster: nodes that a destroy would orphan.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value as Json;
use tokio::time::Instant;

use crate::kubernetes::{self, Object};
use crate::{Error, Kind};

/// The group of the node classes that are ours to look after: EKS Auto Mode keeps its own in the same kinds of pools and claims.
const GROUP: &str = "karpenter.k8s.aws";
/// Between two looks at what is still there.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Most objects that a message names.
const NAMED: usize = 20;

/// Refuses while nodes or node classes exist that only a running controller can clean up.
///
/// # Errors
/// `Conflict`, listing them; what the API server says.
pub async fn refuse_while_in_use(client: &kube::Client, claims_only: bool, remedy: &str, deadline: Instant) -> Result<(), Error> {
    let left = in_use(client, claims_only, deadline).await?;
    if left.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Conflict, "destroy the bundle", format!("the controller still has work to do: {}", listed(&left))).remedy(remedy))
}

/// Deletes all node pools and classes and waits until they and their nodes are gone.
///
/// # Errors
/// `Timeout`, listing what is left; what the API server says.
pub async fn delete_all(client: &kube::Client, deadline: Instant) -> Result<(), Error> {
    for kind in [pools(), classes()] {
        for object in of_ours(client, &kind, deadline).await? {
            let name = object.metadata.name.unwrap_or_default();
            kubernetes::delete(client, &Object { kind: &kind, namespace: None, name: &name }, None, deadline).await?;
        }
    }
    loop {
        let mut left: Vec<String> = of_ours(client, &pools(), deadline).await?.iter().map(named).collect();
        left.extend(in_use(client, false, deadline).await?);
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() + LOOK_AGAIN > deadline {
            let message = format!("still being deleted: {}", listed(&left));
            return Err(Error::new(Kind::Timeout, "destroy the bundle", message)
                .remedy("Look for pods that do not drain and for the controller's log, or raise timeouts.delete, and destroy again."));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Whom nodes are, as node classes say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identities {
    /// Names of roles.
    pub roles: BTreeSet<String>,
    /// Names of instance profiles.
    pub profiles: BTreeSet<String>,
}

/// The roles and instance profiles that node classes name.
///
/// # Errors
/// What the API server says.
pub async fn identities(client: &kube::Client, deadline: Instant) -> Result<Identities, Error> {
    let classes = of_ours(client, &classes(), deadline).await?;
    let named = |key: &str| classes.iter().filter_map(|class| class.data["spec"][key].as_str().map(str::to_owned)).collect();
    Ok(Identities { roles: named("role"), profiles: named("instanceProfile") })
}

async fn in_use(client: &kube::Client, claims_only: bool, deadline: Instant) -> Result<Vec<String>, Error> {
    let mut left: Vec<String> = of_ours(client, &claims(), deadline).await?.iter().map(named).collect();
    if !claims_only {
        let classes = of_ours(client, &classes(), deadline).await?;
        // One without a finalizer needs no controller to go.
        left.extend(classes.iter().filter(|class| class.metadata.finalizers.as_ref().is_some_and(|f| !f.is_empty())).map(named));
    }
    Ok(left)
}

async fn of_ours(client: &kube::Client, kind: &ApiResource, deadline: Instant) -> Result<Vec<DynamicObject>, Error> {
    match kubernetes::list(client, kind, None, deadline).await {
        Ok(objects) => Ok(objects.into_iter().filter(|object| is_ours(kind, &object.data["spec"])).collect()),
        // no CRD, no objects
        Err(error) if error.kind == Kind::NotFound => Ok(vec![]),
        Err(error) => Err(error),
    }
}

fn is_ours(kind: &ApiResource, spec: &Json) -> bool {
    let reference = match kind.kind.as_str() {
        "NodePool" => &spec["template"]["spec"]["nodeClassRef"],
        "NodeClaim" => &spec["nodeClassRef"],
        _ => return true,
    };
    reference["group"] == GROUP
}

fn named(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("object", |types| types.kind.as_str());
    let node = object.data["status"]["nodeName"].as_str().map(|node| format!(" (node {node})")).unwrap_or_default();
    format!("{} {}{node}", kind.trim_end_matches("List"), object.metadata.name.clone().unwrap_or_default())
}

fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let text = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { text } else { format!("{text} and {more} more") }
}

fn pools() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("karpenter.sh", "v1", "NodePool"))
}

fn claims() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("karpenter.sh", "v1", "NodeClaim"))
}

fn classes() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, "v1", "EC2NodeClass"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn auto_modes_pools_and_claims_do_not_count() {
        let auto = json!({"nodeClassRef": {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "default"}});
        let own = json!({"nodeClassRef": {"group": GROUP, "kind": "EC2NodeClass", "name": "default"}});
        assert!(!is_ours(&claims(), &auto) && is_ours(&claims(), &own));
        let pool = |template: &Json| json!({"template": {"spec": template}});
        assert!(!is_ours(&pools(), &pool(&auto)) && is_ours(&pools(), &pool(&own)));
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..25).map(|i| format!("n{i}")).collect();
        assert!(listed(&names).ends_with("n19 and 5 more"));
    }
}
