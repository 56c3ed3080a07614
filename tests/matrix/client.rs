//! A client of the plugin for one bundle: its state, and walks as OpenTofu makes them: refresh and plan by one process, apply by another.

use karpenter::plugin::proto::tfplugin5::provider_client::ProviderClient;
use karpenter::plugin::proto::tfplugin5::{self as proto, DynamicValue};
use karpenter::provider::{Provider, config};
use karpenter::tofu::resource::Provider as _;
use karpenter::tofu::schema::{Block, Type};
use karpenter::tofu::value::Value;
use karpenter::tofu::{convert, msgpack};
use serde_json::Value as Json;
use tonic::transport::Channel;

use super::common::{Fault, Lab, Proxy};
use super::plugin::{BINARY, Plugin, Start};

/// The resource type that all this is about.
const TYPE: &str = "karpenter_bundle";

/// What a client keeps of the bundle between its commands.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Null: none.
    pub state: Value,
    /// Stored beside it.
    pub private: Vec<u8>,
    /// Its create failed, so the next apply replaces it.
    pub tainted: bool,
}

/// How an apply ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing was planned.
    NothingToDo,
    /// Without an error.
    Done,
    /// With these, each as summary and detail.
    Failed(Vec<String>),
    /// The process was killed.
    Killed,
}

/// The plugin: this build's, or the one that `MATRIX_PROVIDER` names.
pub fn binary() -> String {
    std::env::var("MATRIX_PROVIDER").unwrap_or_else(|_| BINARY.to_owned())
}

/// The client of one cluster's bundle.
pub struct Client<'a> {
    lab: &'a Lab,
    proxy: &'a Proxy,
    block: Block,
    ty: Type,
}

/// One process.
struct Process<'a> {
    plugin: Plugin,
    provider: ProviderClient<Channel>,
    ty: &'a Type,
}

impl<'a> Client<'a> {
    /// Through the proxy.
    pub fn new(lab: &'a Lab, proxy: &'a Proxy) -> Client<'a> {
        let provider = Provider::new();
        let bundle = provider.resources().iter().find(|r| r.type_name() == TYPE).expect("a registered type");
        let block = bundle.schema().block.clone();
        Client { lab, proxy, ty: block.ty(), block }
    }

    /// A configuration: what is left out of `arguments` is not set.
    pub fn config(&self, arguments: &Json) -> Value {
        let mut config = convert::from_json(&self.ty, arguments);
        complete(&self.block, &mut config);
        config
    }

    /// `tofu apply`: a null `config` destroys. `fault` comes over the process that applies, made for its id.
    pub async fn apply(&self, kept: &mut Kept, config: &Value, fault: Option<&dyn Fn(u32) -> Fault>) -> End {
        let (planned, private) = match self.plan(kept, config).await {
            Ok(plan) => plan,
            Err(errors) => return End::Failed(errors),
        };
        let replaces = kept.tainted && !config.is_null() && !kept.state.is_null();
        if !replaces && planned == kept.state {
            return End::NothingToDo;
        }
        let mut process = self.start().await;
        if let Some(fault) = fault {
            self.proxy.reset();
            self.proxy.fault(fault(process.plugin.pid()));
        }
        if replaces {
            match process.apply(kept, &Value::Null, &Value::Null, kept.private.clone()).await {
                End::Done => {}
                end => return end,
            }
        }
        process.apply(kept, &planned, config, private).await
    }

    /// Reads the state again.
    pub async fn refresh(&self, kept: &mut Kept) -> Result<(), Vec<String>> {
        match kept.state.is_null() {
            true => Ok(()),
            false => self.start().await.read(kept).await,
        }
    }

    /// Reads the state again, and plans: the planned state and what is kept for the apply.
    pub async fn plan(&self, kept: &mut Kept, config: &Value) -> Result<(Value, Vec<u8>), Vec<String>> {
        let mut process = self.start().await;
        process.read(kept).await?;
        // what is tainted is planned anew
        let nothing = Kept::default();
        process.plan(if kept.tainted && !config.is_null() { &nothing } else { kept }, config).await
    }

    /// `tofu import`, with the refresh that follows it.
    pub async fn import(&self) -> Kept {
        let mut process = self.start().await;
        let request =
            proto::import_resource_state::Request { type_name: TYPE.into(), id: self.lab.cluster_name().into(), ..Default::default() };
        let answer = process.provider.import_resource_state(request).await.expect("an answer to ImportResourceState").into_inner();
        let told = errors(&answer.diagnostics);
        let imported = answer.imported_resources.into_iter().next().unwrap_or_else(|| panic!("{told:?}"));
        let mut kept = Kept { state: process.decode(imported.state), private: imported.private, tainted: false };
        self.refresh(&mut kept).await.expect("what was imported can be read");
        kept
    }

    /// The lines of `objects` that say something else than that all is well.
    pub fn drifted(kept: &Kept) -> Vec<String> {
        let fine = |line: &Value| matches!(line.as_str(), Some("in sync" | "not managed"));
        let lines = kept.state.attr("objects").entries().filter(|(_, line)| !fine(line));
        lines.map(|(key, line)| format!("{key} = {}", line.as_str().unwrap_or("?"))).collect()
    }

    async fn start(&self) -> Process<'_> {
        let mut environment: Vec<(String, String)> = self.lab.env().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        environment.push(("AWS_ENDPOINT_URL".into(), self.proxy.aws.clone()));
        // one root instead of the system's 150: an unoptimized build takes 100 ms of CPU to read those
        environment.push(("SSL_CERT_FILE".into(), self.lab.dir().join("certs/ca.crt").display().to_string()));
        let plugin = Plugin::start_with(Start { command: vec![binary()], environment, ..Start::default() }).await;
        let mut provider = plugin.provider().await;
        let schema = config::schema();
        let mut config = Value::object(Vec::<(String, Value)>::new());
        complete(&schema.block, &mut config);
        config.set("cluster_name", Value::from(self.lab.cluster_name()));
        let config = Some(DynamicValue { msgpack: msgpack::encode(&config, &schema.block.ty()), json: vec![] });
        let request = proto::configure::Request { config, ..Default::default() };
        let told = errors(&provider.configure(request).await.expect("an answer to Configure").into_inner().diagnostics);
        assert!(told.is_empty(), "{told:?}");
        Process { plugin, provider, ty: &self.ty }
    }
}

impl Process<'_> {
    async fn read(&mut self, kept: &mut Kept) -> Result<(), Vec<String>> {
        if kept.state.is_null() {
            return Ok(());
        }
        let request = proto::read_resource::Request {
            type_name: TYPE.into(),
            current_state: self.encode(&kept.state),
            private: kept.private.clone(),
            ..Default::default()
        };
        let answer = self.provider.read_resource(request).await.expect("an answer to ReadResource").into_inner();
        let errors = errors(&answer.diagnostics);
        if !errors.is_empty() {
            return Err(errors);
        }
        kept.state = self.decode(answer.new_state);
        kept.private = answer.private;
        Ok(())
    }

    async fn plan(&mut self, prior: &Kept, config: &Value) -> Result<(Value, Vec<u8>), Vec<String>> {
        let request = proto::plan_resource_change::Request {
            type_name: TYPE.into(),
            prior_state: self.encode(&prior.state),
            proposed_new_state: self.encode(config),
            config: self.encode(config),
            prior_private: prior.private.clone(),
            ..Default::default()
        };
        let answer = self.provider.plan_resource_change(request).await.expect("an answer to PlanResourceChange").into_inner();
        match errors(&answer.diagnostics) {
            none if none.is_empty() => Ok((self.decode(answer.planned_state), answer.planned_private)),
            errors => Err(errors),
        }
    }

    async fn apply(&mut self, kept: &mut Kept, planned: &Value, config: &Value, private: Vec<u8>) -> End {
        let creating = kept.state.is_null();
        let request = proto::apply_resource_change::Request {
            type_name: TYPE.into(),
            prior_state: self.encode(&kept.state),
            planned_state: self.encode(planned),
            config: self.encode(config),
            planned_private: private,
            ..Default::default()
        };
        let Ok(answer) = self.provider.apply_resource_change(request).await else {
            self.plugin.exit().await;
            return End::Killed;
        };
        let answer = answer.into_inner();
        let errors = errors(&answer.diagnostics);
        let state = self.decode(answer.new_state);
        kept.tainted = !state.is_null() && !errors.is_empty() && (creating || kept.tainted);
        kept.state = state;
        kept.private = answer.private;
        if errors.is_empty() { End::Done } else { End::Failed(errors) }
    }

    fn encode(&self, value: &Value) -> Option<DynamicValue> {
        Some(DynamicValue { msgpack: msgpack::encode(value, self.ty), json: vec![] })
    }

    fn decode(&self, value: Option<DynamicValue>) -> Value {
        value.map_or(Value::Null, |value| msgpack::decode(&value.msgpack, self.ty).expect("a value of the schema's type"))
    }
}

/// As a client sends what a configuration leaves out: attributes null, repeated blocks empty.
fn complete(block: &Block, value: &mut Value) {
    for attribute in &block.attributes {
        if value.attr(&attribute.name).is_null() {
            value.set(&attribute.name, Value::Null);
        }
    }
    for nested in &block.blocks {
        let mut items = value.attr(&nested.name).items().to_vec();
        items.iter_mut().for_each(|item| complete(&nested.block, item));
        value.set(&nested.name, Value::List(items));
    }
}

fn errors(diagnostics: &[proto::Diagnostic]) -> Vec<String> {
    let is_error = |d: &&proto::Diagnostic| d.severity == proto::diagnostic::Severity::Error as i32;
    diagnostics.iter().filter(is_error).map(|d| format!("{}: {}", d.summary, d.detail)).collect()
}
