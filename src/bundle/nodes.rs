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
/// What errors of this file are about.
const ACTION: &str = "destroy the bundle";
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
    Err(Error::new(Kind::Conflict, ACTION, format!("the controller still has work to do: {}", listed(&left))).remedy(remedy))
}

/// Deletes all node pools, and claims that no pool owns, and waits until all claims are gone; then the same for the classes, which
/// running nodes still need. The wait ends early when `stopped` does.
///
/// # Errors
/// `Timeout`, listing what is left; what the API server says.
pub async fn delete_all(client: &kube::Client, stopped: impl Future<Output = ()>, deadline: Instant) -> Result<(), Error> {
    let work = async {
        delete(client, &pools(), deadline, |_| true).await?;
        delete(client, &claims(), deadline, |claim| claim.metadata.owner_references.as_ref().is_none_or(Vec::is_empty)).await?;
        until_gone(client, &[pools(), claims()], deadline).await?;
        delete(client, &classes(), deadline, |_| true).await?;
        until_gone(client, &[classes()], deadline).await
    };
    tokio::select! {
        done = work => done,
        () = stopped => Err(Error::new(Kind::Other, ACTION, "stopped while nodes are being deleted").remedy("Destroy again to finish it.")),
    }
}

async fn delete(client: &kube::Client, kind: &ApiResource, deadline: Instant, which: impl Fn(&DynamicObject) -> bool) -> Result<(), Error> {
    for object in of_ours(client, kind, deadline).await?.into_iter().filter(|o| which(o) && o.metadata.deletion_timestamp.is_none()) {
        let name = object.metadata.name.unwrap_or_default();
        match kubernetes::delete(client, &Object { kind, namespace: None, name: &name }, None, deadline).await {
            // its CRD went meanwhile, and took it along
            Err(error) if kubernetes::is_kind_missing(&error) => {}
            other => drop(other?),
        }
    }
    Ok(())
}

async fn until_gone(client: &kube::Client, kinds: &[ApiResource], deadline: Instant) -> Result<(), Error> {
    loop {
        let mut left = vec![];
        for kind in kinds {
            left.extend(of_ours(client, kind, deadline).await?.iter().map(|object| named(kind, object)));
        }
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() + LOOK_AGAIN > deadline {
            let message = format!("still being deleted: {}", listed(&left));
            return Err(Error::new(Kind::Timeout, ACTION, message)
                .remedy("Look for pods that do not drain and for the controller's log, or raise timeouts.delete, and destroy again."));
        }
        // two kinds, and claims can be many: a look now and then is cheaper than two watches
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

/// EC2 instances of the claims.
///
/// # Errors
/// What the API server says.
pub async fn instances(client: &kube::Client, deadline: Instant) -> Result<BTreeSet<String>, Error> {
    let claims = of_ours(client, &claims(), deadline).await?;
    // aws:///us-east-1a/i-0123
    let id = |claim: &DynamicObject| claim.data["status"]["providerID"].as_str()?.rsplit('/').next().map(str::to_owned);
    Ok(claims.iter().filter_map(id).collect())
}

/// Names of the node classes.
///
/// # Errors
/// What the API server says.
pub async fn class_names(client: &kube::Client, deadline: Instant) -> Result<BTreeSet<String>, Error> {
    Ok(of_ours(client, &classes(), deadline).await?.into_iter().filter_map(|class| class.metadata.name).collect())
}

async fn in_use(client: &kube::Client, claims_only: bool, deadline: Instant) -> Result<Vec<String>, Error> {
    let mut left: Vec<String> = of_ours(client, &claims(), deadline).await?.iter().map(|claim| named(&claims(), claim)).collect();
    if !claims_only {
        // One without a finalizer needs no controller to go.
        let found = of_ours(client, &classes(), deadline).await?;
        let held = found.iter().filter(|class| class.metadata.finalizers.as_ref().is_some_and(|f| !f.is_empty()));
        left.extend(held.map(|class| named(&classes(), class)));
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

/// `NodeClaim default-1 (node ip-10-0-0-1, held by karpenter.sh/termination)`.
fn named(kind: &ApiResource, object: &DynamicObject) -> String {
    let node = object.data["status"]["nodeName"].as_str().map(|node| format!("node {node}"));
    let finalizers = object.metadata.finalizers.clone().unwrap_or_default();
    let held = (!finalizers.is_empty()).then(|| format!("held by {}", finalizers.join(", ")));
    let details = node.into_iter().chain(held).collect::<Vec<_>>().join(", ");
    let name = object.metadata.name.clone().unwrap_or_default();
    if details.is_empty() { format!("{} {name}", kind.kind) } else { format!("{} {name} ({details})", kind.kind) }
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
