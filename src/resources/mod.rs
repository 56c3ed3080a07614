//! One file for each HCL type, and the lifecycle that the two API kinds share.

mod aws_formats;
pub mod bundle;
mod bundle_chart;
mod bundle_check;
mod bundle_ends;
mod bundle_import;
mod bundle_leftovers;
mod bundle_review;
mod bundle_steps;
mod create;
mod cron;
mod defaults;
mod drift;
mod feasibility;
mod fields;
mod foresight;
pub mod formats;
mod gate;
mod kubelet;
mod labels;
mod lifecycle;
pub mod manifest;
mod metadata;
mod moved;
pub mod nodeclass;
mod nodeclass_rules;
pub mod nodepool;
mod nodepool_rules;
pub mod object;
mod outdated;
mod ownership;
pub mod placeholders;
mod readiness;
mod removal;
mod update;

use std::sync::Arc;

use crate::provider::Connections;
use crate::tofu::resource::Resource;

pub use lifecycle::FIELD_MANAGER;

/// Every resource type.
pub fn all(connections: &Arc<Connections>) -> Vec<Arc<dyn Resource>> {
    vec![
        Arc::new(bundle::Bundle::new(connections.clone())),
        Arc::new(object::ApiObject::<nodeclass::NodeClassKind>::new(connections.clone())),
        Arc::new(object::ApiObject::<nodepool::NodePoolKind>::new(connections.clone())),
    ]
}
