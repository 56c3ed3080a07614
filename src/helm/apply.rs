//! A release against a cluster: read, apply, uninstall.

use kube::Client;

use super::chart::Chart;
use super::manifest::Object;
use super::release::Release;
use super::{Capabilities, Map, Result};
use crate::{Error, Kind};

/// What a release should be.
#[derive(Clone, Debug)]
pub struct Desired {
    /// The release's name: `karpenter`.
    pub name: String,
    /// The namespace of the release and of its objects; it must exist.
    pub namespace: String,
    /// The chart, pulled or taken from the release record.
    pub chart: Chart,
    /// The user's values merged with ours: what the record keeps as `config`.
    pub values: Map,
    /// What templates may ask about the cluster.
    pub capabilities: Capabilities,
    /// Take over objects that exist and belong to nobody or to another release.
    pub adopt: bool,
    /// Ids (`Deployment karpenter`) of objects that are applied although the manifest did not change: what [`super::drift`] named.
    pub repair: Vec<String>,
    /// Revisions kept, this one included; Helm's default is 10.
    pub max_history: usize,
}

/// Reads a release: its newest record and, if another one is deployed, that too. One LIST; `None` when there is no record.
pub async fn read(client: &Client, namespace: &str, name: &str) -> Result<Option<Release>> {
    let _ = (client, namespace, name);
    Err(Error::new(Kind::Other, "read the release", "not built yet"))
}

/// Installs or upgrades, converging; returns the release as it is recorded afterwards.
pub async fn apply(client: &Client, desired: &Desired, prior: Option<Release>) -> Result<Release> {
    let _ = (client, desired, prior);
    Err(Error::new(Kind::Other, "apply the release", "not built yet"))
}

/// Deletes the release's objects, CRDs never, then its records.
pub async fn uninstall(client: &Client, release: &Release) -> Result<()> {
    let _ = (client, release);
    Err(Error::new(Kind::Other, "uninstall the release", "not built yet"))
}

/// A kube error as ours.
pub(super) fn from_kube(action: impl Into<String>, error: kube::Error) -> Error {
    Error::new(Kind::Other, action, error.to_string()).caused_by(error)
}

/// The ids of the objects of a rendered release, for the drift map.
pub fn ids(objects: &[Object], namespace: &str) -> Vec<String> {
    objects.iter().map(|o| o.id(namespace)).collect()
}
