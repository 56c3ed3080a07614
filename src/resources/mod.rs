//! One file per HCL type.

use std::sync::Arc;

use crate::provider::Connections;
use crate::tofu::resource::Resource;

/// All resource types, over the connections that the provider block describes.
pub fn all(connections: &Arc<Connections>) -> Vec<Arc<dyn Resource>> {
    let _ = connections;
    vec![]
}
