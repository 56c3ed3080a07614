//! The plugin's resource calls on values, over gRPC as its clients make them.

use karpenter::plugin::proto::tfplugin5::provider_client::ProviderClient;
use karpenter::plugin::proto::tfplugin5::{self as proto, DynamicValue};
use karpenter::tofu::msgpack;
use karpenter::tofu::schema::{Schema, Type};
use karpenter::tofu::value::Value;
use tonic::transport::Channel;

use super::common::{Lab, Proxy};
use super::plugin::{Plugin, Start};

/// A configured plugin, and one of its types.
pub struct Driver {
    _plugin: Plugin,
    provider: ProviderClient<Channel>,
    type_name: &'static str,
    ty: Type,
}

/// A state with what is stored beside it.
pub struct Kept {
    pub state: Value,
    pub private: Vec<u8>,
    pub diagnostics: Told,
}

/// A plan.
pub struct Planned {
    pub state: Value,
    pub private: Vec<u8>,
    pub replaces: Vec<String>,
    pub diagnostics: Told,
}

/// Diagnostics as text: `error` or `warning`, summary, detail.
#[derive(Debug)]
pub struct Told(Vec<(bool, String)>);

impl Told {
    fn of(diagnostics: Vec<proto::Diagnostic>) -> Told {
        let is_error = |d: &proto::Diagnostic| d.severity == proto::diagnostic::Severity::Error as i32;
        Told(diagnostics.into_iter().map(|d| (is_error(&d), format!("{}: {}", d.summary, d.detail))).collect())
    }

    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.0)
    }

    pub fn no_errors(&self, at: &str) {
        assert!(!self.has_errors(), "{at}: {self:?}");
    }

    /// Neither errors nor warnings, except that nobody makes the object Ready here, and what a change does to nodes.
    pub fn none(&self, at: &str) {
        let unexpected: Vec<_> = self.0.iter().filter(|d| d.0 || !(d.1.contains("is not Ready") || foretells(&d.1))).collect();
        assert!(unexpected.is_empty(), "{at}: {unexpected:#?}");
    }

    pub fn first(&self) -> &str {
        self.0.first().map_or("", |d| d.1.as_str())
    }

    /// Warnings, except for what a change does to nodes.
    pub fn warnings(&self) -> Vec<&str> {
        self.0.iter().filter(|d| !d.0 && !foretells(&d.1)).map(|d| d.1.as_str()).collect()
    }
}

fn foretells(text: &str) -> bool {
    text.starts_with("This change ")
}

impl Driver {
    /// Starts the plugin with the lab's AWS through the proxy, and names the lab's cluster.
    pub async fn start(lab: &Lab, proxy: &Proxy, type_name: &'static str, schema: &Schema) -> Driver {
        let mut environment: Vec<(String, String)> = lab.env().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        environment.push(("AWS_ENDPOINT_URL".into(), proxy.aws.clone()));
        let plugin = Plugin::start_with(Start { environment, ..Start::default() }).await;
        let mut provider = plugin.provider().await;
        let schema_of_provider = karpenter::provider::config::schema();
        let block = &schema_of_provider.block;
        let attributes = block.attributes.iter().map(|a| (a.name.clone(), Value::Null));
        let mut config = Value::object(attributes.chain(block.blocks.iter().map(|b| (b.name.clone(), Value::List(vec![])))));
        config.set("cluster_name", Value::from(lab.cluster_name()));
        let config = Some(DynamicValue { msgpack: msgpack::encode(&config, &block.ty()), json: vec![] });
        let request = proto::configure::Request { config, ..Default::default() };
        let told = Told::of(provider.configure(request).await.unwrap().into_inner().diagnostics);
        told.none("configure");
        Driver { _plugin: plugin, provider, type_name, ty: schema.block.ty() }
    }

    pub async fn plan(&self, prior: &Value, config: &Value, private: &[u8]) -> Planned {
        let request = proto::plan_resource_change::Request {
            type_name: self.type_name.into(),
            prior_state: self.encode(prior),
            proposed_new_state: self.encode(config),
            config: self.encode(config),
            prior_private: private.to_vec(),
            ..Default::default()
        };
        let response = self.provider.clone().plan_resource_change(request).await.unwrap().into_inner();
        Planned {
            state: self.decode(response.planned_state),
            private: response.planned_private,
            replaces: response.requires_replace.iter().map(|path| format!("{path:?}")).collect(),
            diagnostics: Told::of(response.diagnostics),
        }
    }

    pub async fn apply(&self, prior: &Value, plan: &Planned, config: &Value) -> Kept {
        let request = proto::apply_resource_change::Request {
            type_name: self.type_name.into(),
            prior_state: self.encode(prior),
            planned_state: self.encode(&plan.state),
            config: self.encode(config),
            planned_private: plan.private.clone(),
            ..Default::default()
        };
        let response = self.provider.clone().apply_resource_change(request).await.unwrap().into_inner();
        Kept { state: self.decode(response.new_state), private: response.private, diagnostics: Told::of(response.diagnostics) }
    }

    pub async fn read(&self, kept: &Kept) -> Kept {
        let request = proto::read_resource::Request {
            type_name: self.type_name.into(),
            current_state: self.encode(&kept.state),
            private: kept.private.clone(),
            ..Default::default()
        };
        let response = self.provider.clone().read_resource(request).await.unwrap().into_inner();
        Kept { state: self.decode(response.new_state), private: response.private, diagnostics: Told::of(response.diagnostics) }
    }

    pub async fn import(&self, id: &str) -> Kept {
        let request = proto::import_resource_state::Request { type_name: self.type_name.into(), id: id.into(), ..Default::default() };
        let response = self.provider.clone().import_resource_state(request).await.unwrap().into_inner();
        let diagnostics = Told::of(response.diagnostics);
        let imported = response.imported_resources.into_iter().next().unwrap_or_else(|| panic!("{diagnostics:?}"));
        Kept { state: self.decode(imported.state), private: imported.private, diagnostics }
    }

    fn encode(&self, value: &Value) -> Option<DynamicValue> {
        Some(DynamicValue { msgpack: msgpack::encode(value, &self.ty), json: vec![] })
    }

    fn decode(&self, value: Option<DynamicValue>) -> Value {
        value.map_or(Value::Null, |value| msgpack::decode(&value.msgpack, &self.ty).unwrap())
    }
}
