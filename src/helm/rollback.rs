//! An upgrade that failed goes back to the revision before it, recorded as `helm rollback` records it.

use kube::Client;

use super::apply::{Desired, HOOKS, settle_history};
use super::release::{Record, Release, Status};
use super::steps::Steps;
use super::{Result, hooks, store};
use crate::Error;

/// Rolls back after an upgrade failed; the upgrade's error comes back and says what became of it.
pub(super) async fn after(client: &Client, desired: &Desired, prior: &Release, failed: Record, mut error: Error) -> Error {
    let Some(live) = prior.live() else { return error };
    let revision = live.revision();
    match to(client, desired, prior, live, failed).await {
        Ok(()) => error.message = format!("{} (rolled back to revision {revision})", error.message),
        Err(second) => error.message = format!("{} (rolling back to revision {revision} failed, too: {second})", error.message),
    }
    error
}

/// A new revision with the chart, values and manifest of an older one.
async fn to(client: &Client, desired: &Desired, prior: &Release, live: &Record, failed: Record) -> Result<()> {
    let mut record = live.again(failed.revision() + 1);
    store::write(client, &desired.namespace, &mut record).await?;
    let mut revisions = prior.revisions.clone();
    revisions.push(failed.revision());
    revisions.dedup();
    let before = Release { newest: failed, deployed: Some(live.clone()), revisions, ..prior.clone() };
    let steps = Steps::plan(desired, Some(&before), record.objects()?)?;
    // the upgrade's own deadline may be what it failed by
    let deadline = tokio::time::Instant::now() + HOOKS;
    let outcome = async {
        hooks::run(client, &mut record, "pre-rollback", deadline).await?;
        steps.run(client, desired, &mut record).await?;
        hooks::run(client, &mut record, "post-rollback", deadline).await
    };
    let outcome = outcome.await;
    match &outcome {
        Ok(()) => record.set_status(Status::Deployed, &format!("Rollback to {}", live.revision())),
        Err(error) => record.set_status(Status::Failed, &format!("Rollback {:?} failed: {error}", desired.name)),
    }
    store::write(client, &desired.namespace, &mut record).await?;
    outcome?;
    settle_history(client, desired, Some(&before), record).await.map(drop)
}
