//! The provider: its block, and the clients that follow from it.

mod accounts;
pub mod cluster;
pub mod config;
pub mod connections;
mod environment;
pub mod ignore_tags;
pub mod table;

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;

pub use cluster::Cluster;
pub use connections::{ClusterChoice, Connection, Connections, at_plan};

use crate::resources;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::resource::{self, Resource};
use crate::tofu::schema::Schema;
use crate::tofu::value::Value;

/// What the server serves.
pub struct Provider {
    schema: Schema,
    connections: Arc<Connections>,
    resources: Vec<Arc<dyn Resource>>,
}

impl Provider {
    /// The provider with all its resource types, not configured yet.
    pub fn new() -> Arc<Provider> {
        let connections = Arc::new(Connections::new());
        let resources = resources::all(&connections);
        Arc::new(Provider { schema: config::schema(), connections, resources })
    }

    /// What resources reach the cluster through.
    pub fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }
}

impl resource::Provider for Provider {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn resources(&self) -> &[Arc<dyn Resource>] {
        &self.resources
    }

    fn validate(&self, config: &Value) -> Diagnostics {
        config::validate(&self.schema, config)
    }

    fn configure(&self, config: Value) -> BoxFuture<'_, Diagnostics> {
        // Clients often skip the validation of a provider block that is unknown in part.
        let diagnostics = self.validate(&config);
        if !diagnostics.has_errors() {
            self.connections.configure(&config);
        }
        futures::future::ready(diagnostics).boxed()
    }

    fn stop(&self) {
        self.connections.stop();
    }
}
