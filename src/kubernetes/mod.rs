//! Kubernetes: the client, errors, server-side apply, and waiting.

pub mod apply;
pub mod client;
pub mod definitions;
pub mod error;
pub mod exec;
mod layer;
pub mod lists;
pub mod reads;
pub mod watch;

pub use apply::{ATTEMPTS, Apply, Object, apply, delete, delete_at_once, get, list, merge};
pub use error::{from_kube, is_kind_missing};
