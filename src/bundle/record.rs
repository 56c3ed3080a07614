//! What is kept beside the state: what the state cannot say.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::found::Found;

/// Stored as JSON in the resource's private data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// EKS' id of the association.
    pub association_id: Option<String>,
    /// Keys of the objects that are the bundle's, whatever happens to their tags.
    pub owned: BTreeSet<String>,
    /// The tags that the last apply wrote, so that those which the configuration drops can be removed.
    pub tags: BTreeMap<String, String>,
    /// Keys of the tags that the last apply gave single objects as their own, by the objects' keys.
    pub own_tags: BTreeMap<String, BTreeSet<String>>,
    /// Keys of objects that AWS refused to make and that a bundle can do without.
    pub refused: BTreeSet<String>,
    /// Top-level arguments that the configuration set at the last apply.
    pub set: BTreeSet<String>,
    /// Those that the configuration sets which is being planned or applied.
    pub planned: Option<BTreeSet<String>>,
    /// Of a replacement's first plan, for the second one, which has no prior: the cluster of the bundle that goes.
    pub cluster: Option<String>,
    /// What an import found.
    pub found: Found,
    /// Whether a create ever came to its end.
    pub complete: bool,
    /// Namespace and name of the Helm release whose state was moved here, until the next read finds the rest of the bundle.
    pub moved: Option<(String, String)>,
    /// Arguments that are not the state's and whose objects may be there: of changes that failed since the last that did not, and of former
    /// ones whose node role is still in use.
    pub leftovers: Vec<Json>,
}

impl Record {
    /// The record, or an empty one where there is none that can be read (an older version's, or an import's).
    pub fn read(private: &[u8]) -> Record {
        serde_json::from_slice(private).unwrap_or_default()
    }

    /// As stored.
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}
