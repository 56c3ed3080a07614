//! What of a release differs in the cluster from what its record says.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;

use super::live::{self, Target};
use super::manifest::Object;
use super::{Release, Result, compare};

/// What the drift map says of an object that is as it should be.
pub const IN_SYNC: &str = "in sync";
/// At most this many reads at once.
pub(super) const CONCURRENCY: usize = 8;

/// Per object of the release, in its order: its id and `"in sync"`, `"missing"`, or `"drifted: PATH is X, want Y"`. One GET an object.
///
/// # Errors
/// What the API server says, and a manifest that cannot be read.
pub async fn drift(client: &Client, release: &Release) -> Result<Vec<(String, String)>> {
    let objects = release.current().objects()?;
    let reads: Vec<_> = objects.iter().map(|object| read(client, release, object)).collect();
    stream::iter(reads).buffered(CONCURRENCY).try_collect().await
}

async fn read(client: &Client, release: &Release, object: &Object) -> Result<(String, String)> {
    let target = Target::new(object, &release.name, &release.namespace);
    let text = match target.get(client).await? {
        None => "missing".to_owned(),
        Some(live) if live::going(&live) => "drifted: it is being deleted".to_owned(),
        Some(live) => line(compare::difference(&target.body, &live)),
    };
    Ok((object.id(&release.namespace), text))
}

/// A line of the drift map.
pub(super) fn line(difference: Option<String>) -> String {
    difference.map_or_else(|| IN_SYNC.to_owned(), |d| format!("drifted: {d}"))
}
