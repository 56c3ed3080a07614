//! What of a release differs in the cluster from what its record says.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;

use super::live::Target;
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
    let reads = objects.iter().map(|object| async {
        let target = Target::new(object, &release.name, &release.namespace);
        let line = match target.get(client).await? {
            None => "missing".to_owned(),
            Some(live) => line(compare::difference(&target.body, &live)),
        };
        Ok((object.id(&release.namespace), line))
    });
    stream::iter(reads.collect::<Vec<_>>()).buffered(CONCURRENCY).try_collect().await
}

/// A line of the drift map.
pub(super) fn line(difference: Option<String>) -> String {
    difference.map_or_else(|| IN_SYNC.to_owned(), |d| format!("drifted: {d}"))
}
