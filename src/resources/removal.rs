//! Deleting an API object of Karpenter: in the foreground, then waiting until nothing of it is left.

use std::time::Duration;

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use tokio::time::Instant;

use super::lifecycle::Target;
use crate::error::{Error, Kind as ErrorKind};
use crate::kubernetes::{self, is_kind_missing};

/// Between two looks at what still uses a class.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Deletes an object and waits until it is gone. A class in use waits for its pools and claims first, since a DELETE cannot be
/// taken back.
///
/// # Errors
/// [`ErrorKind::Timeout`] names what blocks: claims, nodes, finalizers; [`ErrorKind::Conflict`] names the pools that use a class.
pub async fn remove(target: &Target, uid: Option<&str>, deadline: Instant, stopped: impl Future<Output = ()>) -> Result<(), Error> {
    let (client, object) = (&target.client, target.object());
    let action = format!("delete {} {:?}", target.resource.kind, target.name);
    tokio::pin!(stopped);
    let stop = |message: &str| Error::new(ErrorKind::Other, action.clone(), format!("stopped: {message}"));
    if target.resource.kind == "EC2NodeClass" {
        tokio::select! {
            biased;
            unused = wait_until_unused(target, &action, deadline) => unused?,
            () = &mut stopped => return Err(stop("nothing was deleted")),
        }
    }
    match kubernetes::delete(client, &object, uid, deadline).await {
        Ok(true) => {}
        Ok(false) => return Ok(()),
        // the object with our uid is gone; one that somebody else made since has its name
        Err(error) if error.kind == ErrorKind::Conflict && uid.is_some() => return Ok(()),
        Err(error) if is_kind_missing(&error) && target.lacks_kind(deadline).await? => return Ok(()),
        Err(error) => return Err(error),
    }
    let gone = |o: Option<&DynamicObject>| o.is_none_or(|o| uid.is_some() && o.metadata.uid.as_deref() != uid);
    let waited = tokio::select! {
        biased;
        waited = target.connection.watches.until(client, &object, deadline, gone) => waited,
        () = &mut stopped => return Err(stop("it is being deleted, but not gone yet").remedy("Destroy again to wait for it.")),
    };
    match waited {
        Err(error) if error.kind == ErrorKind::Timeout => {
            let last = Instant::now() + Duration::from_secs(10);
            let live = match kubernetes::get(client, &object, last).await {
                // a watch that broke did not tell
                Ok(live) if gone(live.as_ref()) => return Ok(()),
                live => live.ok().flatten(),
            };
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
    let name = target.name.as_str();
    let of_class = target.resource.kind == "EC2NodeClass";
    let uses_class = |spec: &serde_json::Value| {
        let class = &spec["nodeClassRef"];
        class["group"] == "karpenter.k8s.aws" && class["kind"] == "EC2NodeClass" && class["name"] == name
    };
    let mut blocking = Vec::new();
    if of_class {
        for pool in listed(target, "NodePool", deadline).await? {
            if uses_class(&pool.data["spec"]["template"]["spec"]) {
                blocking.push(format!("NodePool {}", pool.metadata.name.unwrap_or_default()));
            }
        }
    }
    for claim in listed(target, "NodeClaim", deadline).await? {
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

/// All objects of a kind of Karpenter's core; without its CRD there are none.
async fn listed(target: &Target, kind: &str, deadline: Instant) -> Result<Vec<DynamicObject>, Error> {
    match kubernetes::list(&target.client, &karpenter(kind), None, deadline).await {
        Err(error) if is_kind_missing(&error) => Ok(vec![]),
        listed => listed,
    }
}

/// A kind of Karpenter's core.
pub(super) fn karpenter(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("karpenter.sh", "v1", kind))
}

fn or_unknown(named: &[String]) -> String {
    if named.is_empty() { "nothing that can be seen".to_owned() } else { named.join("; ") }
}
