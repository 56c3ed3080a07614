//! Karpenter's two charts (`karpenter`, `karpenter-crd`), pulled, rendered, applied and recorded as the helm CLI would.
//!
//! This is no general Helm engine: a construct, function or kind that the two charts do not use is refused with an error that
//! names it. Pure steps: [`values`] (coalescing), [`template`] (rendering), [`manifest`] (documents, kinds, order), [`release`]
//! (the record). Steps with a client: [`registry`] (pull), [`apply`], [`crds`], [`drift`], [`wait`].

pub mod apply;
pub mod capabilities;
pub mod chart;
mod compare;
pub mod conversion;
pub mod crds;
mod credentials;
pub mod drift;
pub mod hooks;
pub mod live;
pub mod manifest;
pub mod registry;
pub mod release;
mod rollback;
pub mod set;
mod steps;
mod store;
pub mod template;
pub mod values;
pub mod wait;
pub mod yaml;

pub use apply::{Desired, apply, read, uninstall};
pub use capabilities::Capabilities;
pub use chart::Chart;
pub use crds::{apply_crds, delete_crds, find_crds, read_crds};
pub use drift::drift;
pub use registry::RegistryAuth;
pub use release::Release;
pub use wait::{Readiness, wait_ready};

use crate::{Error, Kind};

/// What every fallible step of this module answers.
pub type Result<T> = std::result::Result<T, Error>;

/// A JSON object, as values and manifests are kept.
pub type Map = serde_json::Map<String, serde_json::Value>;

/// An error about the chart, its values or what they render to: it stays until one of them changes.
fn invalid(action: impl Into<String>, message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, action, message)
}
