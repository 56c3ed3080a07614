//! What a resource type and a provider answer the client. The server decodes and encodes around these.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::diagnostics::Diagnostics;
use super::identity::IdentityAttribute;
use super::path::Path;
use super::schema::Schema;
use super::value::Value;

/// The provider as the server sees it.
pub trait Provider: Send + Sync {
    /// The provider block's schema.
    fn schema(&self) -> &Schema;
    /// All resource types.
    fn resources(&self) -> &[Arc<dyn Resource>];
    /// Checks the provider block offline; may come before `configure`, and with unknown values.
    fn validate(&self, config: &Value) -> Diagnostics;
    /// Takes the provider block. Makes no calls: clients are made when first needed. Values may be unknown.
    fn configure(&self, config: Value) -> BoxFuture<'_, Diagnostics>;
    /// The user wants to stop: waits end early, with what was done so far.
    fn stop(&self);
}

/// One resource type. Every method gets whole, decoded values; panics are caught by the server.
pub trait Resource: Send + Sync {
    /// The type's name in HCL.
    fn type_name(&self) -> &'static str;
    /// Its schema.
    fn schema(&self) -> &Schema;
    /// Checks a configuration offline: no network, before `configure`, values may be unknown.
    fn validate(&self, config: &Value) -> Diagnostics;
    /// Plans a create (prior null), an update, or a destroy (config null).
    fn plan(&self, request: PlanRequest) -> BoxFuture<'_, PlanResponse>;
    /// Carries out a plan.
    fn apply(&self, request: ApplyRequest) -> BoxFuture<'_, ApplyResponse>;
    /// Refreshes a state. An error is a diagnostic, never an absence.
    fn read(&self, request: ReadRequest) -> BoxFuture<'_, ReadResponse>;
    /// Makes the state of an existing object by its import id.
    fn import(&self, id: String) -> BoxFuture<'_, ImportResponse>;
    /// What identifies an object; nothing where the type has no identity.
    fn identity(&self) -> &'static [IdentityAttribute] {
        &[]
    }
    /// The import id of the object with an identity.
    fn identified(&self, identity: &Value) -> String {
        let _ = identity;
        String::new()
    }
    /// Takes over another provider's state; `None` where this type does not know that source.
    fn move_from(&self, request: MoveRequest) -> Option<BoxFuture<'_, ImportResponse>> {
        let _ = request;
        None
    }
}

/// PlanResourceChange.
#[derive(Clone, Debug, Default)]
pub struct PlanRequest {
    /// The state; null for a create.
    pub prior_state: Value,
    /// The configuration; null for a destroy.
    pub config: Value,
    /// The client's merge of both.
    pub proposed_new_state: Value,
    /// What the last apply or read stored beside the state; of a replace's second plan: the first one's `planned_private`.
    pub prior_private: Vec<u8>,
}

/// The answer to [`PlanRequest`].
#[derive(Clone, Debug, Default)]
pub struct PlanResponse {
    /// Null exactly when config is null.
    pub planned_state: Value,
    /// Attributes whose change needs a replacement.
    pub requires_replace: Vec<Path>,
    /// Kept for the apply.
    pub planned_private: Vec<u8>,
    /// Errors and warnings.
    pub diagnostics: Diagnostics,
}

/// ApplyResourceChange.
#[derive(Clone, Debug, Default)]
pub struct ApplyRequest {
    /// The state; null for a create.
    pub prior_state: Value,
    /// The configuration; null for a destroy.
    pub config: Value,
    /// The plan; null for a destroy.
    pub planned_state: Value,
    /// What the plan kept.
    pub planned_private: Vec<u8>,
}

/// The answer to [`ApplyRequest`].
#[derive(Clone, Debug, Default)]
pub struct ApplyResponse {
    /// Wholly known; with errors: what really exists now. A failed delete returns the prior state.
    pub new_state: Value,
    /// Stored beside the state.
    pub private: Vec<u8>,
    /// Errors and warnings.
    pub diagnostics: Diagnostics,
}

/// ReadResource.
#[derive(Clone, Debug, Default)]
pub struct ReadRequest {
    /// The state.
    pub current_state: Value,
    /// What is stored beside it.
    pub private: Vec<u8>,
}

/// The answer to [`ReadRequest`].
#[derive(Clone, Debug, Default)]
pub struct ReadResponse {
    /// Null: gone for sure.
    pub new_state: Value,
    /// Stored beside the state.
    pub private: Vec<u8>,
    /// Errors and warnings.
    pub diagnostics: Diagnostics,
}

/// MoveResourceState.
#[derive(Clone, Debug, Default)]
pub struct MoveRequest {
    /// E.g. `registry.opentofu.org/hashicorp/kubernetes`.
    pub source_provider_address: String,
    /// E.g. `kubernetes_manifest`.
    pub source_type_name: String,
    /// The source's schema version.
    pub source_schema_version: i64,
    /// The source's state as JSON.
    pub source_state: serde_json::Value,
}

/// The answer to an import or a move: exactly one object, or errors.
#[derive(Clone, Debug, Default)]
pub struct ImportResponse {
    /// The object's state; a read follows.
    pub state: Value,
    /// Stored beside the state.
    pub private: Vec<u8>,
    /// Errors and warnings.
    pub diagnostics: Diagnostics,
}
