//! The provider's gRPC service: one method per RPC, without decisions. Decodes, calls [`crate::tofu::resource`]'s traits, encodes.
//!
//! What goes wrong, panics included, is answered as diagnostics: a gRPC status would hide it from the user.

mod answer;
mod decode;
mod encode;
mod identity;
mod panics;

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, async_trait};

use crate::plugin::proto::tfplugin5 as proto;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::resource::{
    ApplyRequest, ApplyResponse, ImportResponse, MoveRequest, PlanRequest, PlanResponse, Provider, ReadRequest, ReadResponse, Resource,
};
use crate::tofu::schema::Type;
use crate::tofu::{identity as tofu_identity, json};

use answer::answer;
use decode::{absent, decode, error, malformed};
use encode::{attribute_path, diagnostics, dynamic_value, schema};
use identity::{decode_identity, encode_identity};
pub use panics::note_panics;

/// The service of one provider.
pub struct ProviderService {
    provider: Arc<dyn Provider>,
    config_type: OnceLock<Type>,
    resources: Vec<Entry>,
    /// Changes with each Stop.
    stops: watch::Sender<u64>,
}

/// A resource type. The type of its values is derived when first needed: most processes use few.
struct Entry {
    resource: Arc<dyn Resource>,
    ty: OnceLock<Type>,
}

impl ProviderService {
    /// Serves `provider`.
    pub fn new(provider: Arc<dyn Provider>) -> Self {
        let resources = provider.resources().iter().map(|resource| Entry { resource: resource.clone(), ty: OnceLock::new() }).collect();
        ProviderService { provider, config_type: OnceLock::new(), resources, stops: watch::Sender::new(0) }
    }

    fn config_type(&self) -> &Type {
        self.config_type.get_or_init(|| self.provider.schema().block.ty())
    }

    /// Work that changes nothing, and so may end anywhere: the user need not wait for a server that does not answer.
    async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T, Diagnostics>>) -> Result<T, Diagnostics> {
        let mut stops = self.stops.subscribe();
        tokio::select! {
            result = work => result,
            _ = stops.changed() => Err(error("stopped", "The user interrupted before there was an answer.")),
        }
    }

    fn resource(&self, type_name: &str) -> Result<(&dyn Resource, &Type), Diagnostics> {
        match self.resources.iter().find(|entry| entry.resource.type_name() == type_name) {
            Some(Entry { resource, ty }) => Ok((&**resource, ty.get_or_init(|| resource.schema().block.ty()))),
            None => Err(absent("resource type", type_name)),
        }
    }
}

#[async_trait]
impl proto::provider_server::Provider for ProviderService {
    async fn get_metadata(&self, _: Request<proto::get_metadata::Request>) -> Result<Response<proto::get_metadata::Response>, Status> {
        let name = |entry: &Entry| proto::get_metadata::ResourceMetadata { type_name: entry.resource.type_name().to_owned() };
        let (resources, server_capabilities) = (self.resources.iter().map(name).collect(), Some(capabilities()));
        Ok(Response::new(proto::get_metadata::Response { server_capabilities, resources, ..Default::default() }))
    }

    async fn get_schema(
        &self,
        _: Request<proto::get_provider_schema::Request>,
    ) -> Result<Response<proto::get_provider_schema::Response>, Status> {
        let work = async {
            let named = |entry: &Entry| (entry.resource.type_name().to_owned(), schema(entry.resource.schema()));
            Ok(proto::get_provider_schema::Response {
                provider: Some(schema(self.provider.schema())),
                resource_schemas: self.resources.iter().map(named).collect(),
                server_capabilities: Some(capabilities()),
                ..Default::default()
            })
        };
        answer("GetSchema", "", work, |diagnostics| proto::get_provider_schema::Response { diagnostics, ..Default::default() }).await
    }

    async fn get_resource_identity_schemas(
        &self,
        _: Request<proto::get_resource_identity_schemas::Request>,
    ) -> Result<Response<proto::get_resource_identity_schemas::Response>, Status> {
        let identity_schemas = identity::schemas(self.resources.iter().map(|entry| &*entry.resource));
        Ok(Response::new(proto::get_resource_identity_schemas::Response { identity_schemas, diagnostics: vec![] }))
    }

    async fn get_functions(&self, _: Request<proto::get_functions::Request>) -> Result<Response<proto::get_functions::Response>, Status> {
        Ok(Response::new(proto::get_functions::Response::default()))
    }

    async fn prepare_provider_config(
        &self,
        request: Request<proto::prepare_provider_config::Request>,
    ) -> Result<Response<proto::prepare_provider_config::Response>, Status> {
        use proto::prepare_provider_config::Response;
        let proto::prepare_provider_config::Request { config } = request.into_inner();
        let work = async {
            let value = decode(config.as_ref(), self.config_type(), "config")?;
            Ok(Response { prepared_config: config.clone(), diagnostics: diagnostics(self.provider.validate(&value)) })
        };
        answer("PrepareProviderConfig", "", work, |diagnostics| Response { diagnostics, ..Default::default() }).await
    }

    async fn validate_resource_type_config(
        &self,
        request: Request<proto::validate_resource_type_config::Request>,
    ) -> Result<Response<proto::validate_resource_type_config::Response>, Status> {
        use proto::validate_resource_type_config::Response;
        let proto::validate_resource_type_config::Request { type_name, config, client_capabilities: _ } = request.into_inner();
        let work = async {
            let (resource, ty) = self.resource(&type_name)?;
            let config = decode(config.as_ref(), ty, "config")?;
            Ok(Response { diagnostics: diagnostics(resource.validate(&config)) })
        };
        answer("ValidateResourceTypeConfig", &type_name, work, |diagnostics| Response { diagnostics }).await
    }

    async fn validate_data_source_config(
        &self,
        request: Request<proto::validate_data_source_config::Request>,
    ) -> Result<Response<proto::validate_data_source_config::Response>, Status> {
        let diagnostics = diagnostics(absent("data source", &request.into_inner().type_name));
        Ok(Response::new(proto::validate_data_source_config::Response { diagnostics }))
    }

    async fn validate_list_resource_config(
        &self,
        request: Request<proto::validate_list_resource_config::Request>,
    ) -> Result<Response<proto::validate_list_resource_config::Response>, Status> {
        let diagnostics = diagnostics(absent("list resource", &request.into_inner().type_name));
        Ok(Response::new(proto::validate_list_resource_config::Response { diagnostics }))
    }

    /// Every state is of the current version so far; it only comes in another encoding.
    async fn upgrade_resource_state(
        &self,
        request: Request<proto::upgrade_resource_state::Request>,
    ) -> Result<Response<proto::upgrade_resource_state::Response>, Status> {
        use proto::upgrade_resource_state::Response;
        let proto::upgrade_resource_state::Request { type_name, version, raw_state } = request.into_inner();
        let work = async {
            let (resource, ty) = self.resource(&type_name)?;
            let current = resource.schema().version;
            if version > current {
                let detail = format!(
                    "It has schema version {version}; this provider knows versions up to {current}. Use the provider that wrote it, or a newer one."
                );
                return Err(error("the stored state is too new", detail));
            }
            let state = json::decode(&raw_state.unwrap_or_default().json, ty).map_err(|error| malformed("stored state", error))?;
            Ok(Response { upgraded_state: Some(dynamic_value(&state, ty)), diagnostics: vec![] })
        };
        answer("UpgradeResourceState", &type_name, work, |diagnostics| Response { diagnostics, ..Default::default() }).await
    }

    async fn upgrade_resource_identity(
        &self,
        request: Request<proto::upgrade_resource_identity::Request>,
    ) -> Result<Response<proto::upgrade_resource_identity::Response>, Status> {
        use proto::upgrade_resource_identity::Response;
        let proto::upgrade_resource_identity::Request { type_name, version, raw_identity } = request.into_inner();
        let work = async {
            let (resource, _) = self.resource(&type_name)?;
            let upgraded_identity = encode_identity(resource, &identity::upgrade(resource, version, raw_identity)?);
            Ok(Response { upgraded_identity, diagnostics: vec![] })
        };
        answer("UpgradeResourceIdentity", &type_name, work, |diagnostics| Response { diagnostics, ..Default::default() }).await
    }

    async fn configure(&self, request: Request<proto::configure::Request>) -> Result<Response<proto::configure::Response>, Status> {
        use proto::configure::Response;
        let proto::configure::Request { terraform_version: _, config, client_capabilities: _ } = request.into_inner();
        let work = async {
            let config = decode(config.as_ref(), self.config_type(), "config")?;
            Ok(Response { diagnostics: diagnostics(self.provider.configure(config).await) })
        };
        answer("Configure", "", work, |diagnostics| Response { diagnostics }).await
    }

    async fn read_resource(
        &self,
        request: Request<proto::read_resource::Request>,
    ) -> Result<Response<proto::read_resource::Response>, Status> {
        use proto::read_resource::{Request, Response};
        let Request { type_name, current_state, private, provider_meta: _, client_capabilities: _, current_identity } =
            request.into_inner();
        let work = async {
            let (resource, ty) = self.resource(&type_name)?;
            let current_state = decode(current_state.as_ref(), ty, "current_state")?;
            let identity = decode_identity(resource, current_identity, "current_identity")?;
            let response = resource.read(ReadRequest { current_state, private }).await;
            let ReadResponse { new_state, private, diagnostics: found } = response;
            Ok(Response {
                new_state: Some(dynamic_value(&new_state, ty)),
                diagnostics: diagnostics(found),
                private,
                new_identity: encode_identity(resource, &tofu_identity::kept(resource.identity(), identity, &new_state)),
            })
        };
        answer("ReadResource", &type_name, self.unless_stopped(work), |diagnostics| Response { diagnostics, ..Default::default() }).await
    }

    async fn plan_resource_change(
        &self,
        request: Request<proto::plan_resource_change::Request>,
    ) -> Result<Response<proto::plan_resource_change::Response>, Status> {
        use proto::plan_resource_change::{Request, Response};
        let Request {
            type_name,
            prior_state,
            proposed_new_state,
            config,
            prior_private,
            provider_meta: _,
            client_capabilities: _,
            prior_identity,
        } = request.into_inner();
        let work = async {
            let (resource, ty) = self.resource(&type_name)?;
            let request = PlanRequest {
                prior_state: decode(prior_state.as_ref(), ty, "prior_state")?,
                config: decode(config.as_ref(), ty, "config")?,
                proposed_new_state: decode(proposed_new_state.as_ref(), ty, "proposed_new_state")?,
                prior_private,
            };
            let identity = decode_identity(resource, prior_identity, "prior_identity")?;
            let PlanResponse { planned_state, requires_replace, planned_private, diagnostics: found } = resource.plan(request).await;
            Ok(Response {
                planned_state: Some(dynamic_value(&planned_state, ty)),
                requires_replace: requires_replace.into_iter().map(attribute_path).collect(),
                planned_private,
                diagnostics: diagnostics(found),
                planned_identity: encode_identity(resource, &tofu_identity::kept(resource.identity(), identity, &planned_state)),
            })
        };
        answer("PlanResourceChange", &type_name, self.unless_stopped(work), |diagnostics| Response { diagnostics, ..Default::default() })
            .await
    }

    /// Where the response has no state, the client keeps the prior one.
    async fn apply_resource_change(
        &self,
        request: Request<proto::apply_resource_change::Request>,
    ) -> Result<Response<proto::apply_resource_change::Response>, Status> {
        use proto::apply_resource_change::{Request, Response};
        let Request { type_name, prior_state, planned_state, config, planned_private, provider_meta: _, planned_identity } =
            request.into_inner();
        let work = async {
            let (resource, ty) = self.resource(&type_name)?;
            let request = ApplyRequest {
                prior_state: decode(prior_state.as_ref(), ty, "prior_state")?,
                config: decode(config.as_ref(), ty, "config")?,
                planned_state: decode(planned_state.as_ref(), ty, "planned_state")?,
                planned_private,
            };
            let identity = decode_identity(resource, planned_identity, "planned_identity")?;
            let ApplyResponse { new_state, private, diagnostics: found } = resource.apply(request).await;
            Ok(Response {
                new_state: Some(dynamic_value(&new_state, ty)),
                private,
                diagnostics: diagnostics(found),
                new_identity: encode_identity(resource, &tofu_identity::kept(resource.identity(), identity, &new_state)),
            })
        };
        answer("ApplyResourceChange", &type_name, work, |diagnostics| Response { diagnostics, ..Default::default() }).await
    }

    async fn import_resource_state(
        &self,
        request: Request<proto::import_resource_state::Request>,
    ) -> Result<Response<proto::import_resource_state::Response>, Status> {
        use proto::import_resource_state::{ImportedResource, Request, Response};
        let Request { type_name, id, client_capabilities: _, identity } = request.into_inner();
        let work = async {
            let (resource, ty) = self.resource(&type_name)?;
            let wanted = decode_identity(resource, identity, "identity")?;
            let id = if wanted.is_null() { id } else { resource.identified(&wanted) };
            let ImportResponse { state, private, diagnostics: found } = resource.import(id).await;
            let imported = (!found.has_errors()).then(|| ImportedResource {
                type_name: type_name.clone(),
                state: Some(dynamic_value(&state, ty)),
                private,
                identity: encode_identity(resource, &tofu_identity::of(resource.identity(), &state)),
            });
            Ok(Response { imported_resources: imported.into_iter().collect(), diagnostics: diagnostics(found) })
        };
        answer("ImportResourceState", &type_name, self.unless_stopped(work), |diagnostics| Response { diagnostics, ..Default::default() })
            .await
    }

    async fn move_resource_state(
        &self,
        request: Request<proto::move_resource_state::Request>,
    ) -> Result<Response<proto::move_resource_state::Response>, Status> {
        use proto::move_resource_state::{Request, Response};
        let Request {
            source_provider_address,
            source_type_name,
            source_schema_version,
            source_state,
            target_type_name,
            source_private: _,
            source_identity: _,
            source_identity_schema_version: _,
        } = request.into_inner();
        let work = async {
            let (resource, ty) = self.resource(&target_type_name)?;
            let source_state =
                serde_json::from_slice(&source_state.unwrap_or_default().json).map_err(|error| malformed("source_state", error))?;
            let refused = format!("{target_type_name} cannot take over {source_type_name} of {source_provider_address}");
            let request = MoveRequest { source_provider_address, source_type_name, source_schema_version, source_state };
            let Some(moved) = resource.move_from(request) else {
                return Err(error(
                    refused,
                    "Remove the old resource from the state (not from the cluster) and import it into the new one.",
                ));
            };
            let ImportResponse { state, private, diagnostics: found } = moved.await;
            Ok(Response {
                target_state: Some(dynamic_value(&state, ty)),
                diagnostics: diagnostics(found),
                target_private: private,
                target_identity: None,
            })
        };
        answer("MoveResourceState", &target_type_name, self.unless_stopped(work), |diagnostics| Response {
            diagnostics,
            ..Default::default()
        })
        .await
    }

    async fn read_data_source(
        &self,
        request: Request<proto::read_data_source::Request>,
    ) -> Result<Response<proto::read_data_source::Response>, Status> {
        let diagnostics = diagnostics(absent("data source", &request.into_inner().type_name));
        Ok(Response::new(proto::read_data_source::Response { state: None, diagnostics }))
    }

    type ListResourceStream = Pin<Box<dyn Stream<Item = Result<proto::list_resource::Event, Status>> + Send>>;

    async fn list_resource(&self, request: Request<proto::list_resource::Request>) -> Result<Response<Self::ListResourceStream>, Status> {
        let diagnostic = diagnostics(absent("list resource", &request.into_inner().type_name));
        let event = proto::list_resource::Event { diagnostic, ..Default::default() };
        Ok(Response::new(Box::pin(futures::stream::iter([Ok(event)]))))
    }

    async fn call_function(
        &self,
        request: Request<proto::call_function::Request>,
    ) -> Result<Response<proto::call_function::Response>, Status> {
        let text = format!("there is no function {:?}", request.into_inner().name);
        let error = Some(proto::FunctionError { text, function_argument: None });
        Ok(Response::new(proto::call_function::Response { result: None, error }))
    }

    async fn stop(&self, _: Request<proto::stop::Request>) -> Result<Response<proto::stop::Response>, Status> {
        let work = async {
            self.stops.send_modify(|stops| *stops += 1);
            self.provider.stop();
            Ok(proto::stop::Response::default())
        };
        let failed = |found: Vec<proto::Diagnostic>| found.into_iter().map(|diagnostic| diagnostic.detail).collect();
        answer("Stop", "", work, |diagnostics| proto::stop::Response { error: failed(diagnostics) }).await
    }
}

fn capabilities() -> proto::ServerCapabilities {
    proto::ServerCapabilities {
        plan_destroy: true,
        get_provider_schema_optional: true,
        move_resource_state: true,
        generate_resource_config: false,
    }
}

#[cfg(test)]
mod tests;
