//! Deleting an API object of Karpenter: in the foreground, then waiting until nothing of it is left.

use std::time::Duration;

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use tokio::time::Instant;

use super::lifecycle::Target;
use crate::error::{Error, Kind as ErrorKind};
use crate::kubernetes;

/// Between two looks at what still uses a class.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Deletes an object and waits until it is gone. A class in use waits for its pools and claims first, since a DELETE cannot be
/// taken back.
///
/// # Errors
/// [`ErrorKind::Timeout`] names what blocks: claims, nodes, finalizers; [`ErrorKind::Conflict`] names the pools that use a class.
pub async fn remove(target: &Target, uid: Option<&str>, deadline: Instant) -> Result<(), Error> {
    let (client, object) = (&target.client, target.object());
    let action = format!("delete {} {:?}", target.resource.kind, target.name);
    if target.resource.kind == "EC2NodeClass" {
        wait_until_unused(target, &action, deadline).await?;
    }
    match kubernetes::delete(client, &object, uid, deadline).await {
        Ok(true) => {}
        Ok(false) => return Ok(()),
        // the object with our uid is gone; one that somebody else made since has its name
        Err(error) if error.kind == ErrorKind::Conflict && uid.is_some() => return Ok(()),
        Err(error) => return Err(error),
    }
    let gone = |o: Option<&DynamicObject>| o.is_none_or(|o| uid.is_some() && o.metadata.uid.as_deref() != uid);
    match target.connection.watches.until(client, &object, deadline, gone).await {
        Err(error) if error.kind == ErrorKind::Timeout => {
            let last = Instant::now() + Duration::from_secs(10);
            let live = kubernetes::get(client, &object, last).await.ok().flatten();
            let finalizers = live.and_then(|o| o.metadata.finalizers).unwrap_or_default();
            let mut named = blockers(target, last).await.unwrap_or_default();
            named.extend((!finalizers.is_empty()).then(|| format!("finalizers {}", finalizers.join(", "))));
            Err(Error::new(
                ErrorKind::Timeout,
                action,
                format!("it is being deleted, but not gone yet; what blocks: {}", or_unknown(&named)),
            )
            .remedy("Wait for its nodes to drain, or raise timeouts.delete, and apply again."))
        }
        other => other.map(|_| ()),
    }
}

async fn wait_until_unused(target: &Target, action: &str, deadline: Instant) -> Result<(), Error> {
    loop {
        let users = blockers(target, deadline).await?;
        if users.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::new(ErrorKind::Conflict, action, format!("it is in use by {}", users.join(", ")))
                .remedy("Delete these pools, or point them at another class, first. Nothing was deleted."));
        }
        // what uses a class is of two kinds, and claims can be many: a look now and then is cheaper than two watches
        tokio::time::sleep_until(deadline.min(Instant::now() + LOOK_AGAIN)).await;
    }
}

/// Pools and claims that keep a pool or a class from going.
async fn blockers(target: &Target, deadline: Instant) -> Result<Vec<String>, Error> {
    let (client, name) = (&target.client, target.name.as_str());
    let of_class = target.resource.kind == "EC2NodeClass";
    let uses_class = |spec: &serde_json::Value| {
        let class = &spec["nodeClassRef"];
        class["group"] == "karpenter.k8s.aws" && class["kind"] == "EC2NodeClass" && class["name"] == name
    };
    let mut blocking = Vec::new();
    if of_class {
        for pool in kubernetes::list(client, &karpenter("NodePool"), None, deadline).await? {
            if uses_class(&pool.data["spec"]["template"]["spec"]) {
                blocking.push(format!("NodePool {}", pool.metadata.name.unwrap_or_default()));
            }
        }
    }
    for claim in kubernetes::list(client, &karpenter("NodeClaim"), None, deadline).await? {
        let of_pool = claim.metadata.labels.as_ref().and_then(|l| l.get("karpenter.sh/nodepool")).is_some_and(|pool| pool == name);
        if (of_class && uses_class(&claim.data["spec"])) || (!of_class && of_pool) {
            let node = claim.data["status"]["nodeName"].as_str().map(|n| format!(" (node {n})")).unwrap_or_default();
            let finalizers = claim.metadata.finalizers.unwrap_or_default().join(", ");
            let held = if finalizers.is_empty() { String::new() } else { format!(" held by {finalizers}") };
            blocking.push(format!("NodeClaim {}{node}{held}", claim.metadata.name.unwrap_or_default()));
        }
    }
    Ok(blocking)
}

/// A kind of Karpenter's core.
pub(super) fn karpenter(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("karpenter.sh", "v1", kind))
}

fn or_unknown(named: &[String]) -> String {
    if named.is_empty() { "nothing that can be seen".to_owned() } else { named.join("; ") }
}
