//! What `karpenter_nodepool` and `karpenter_nodeclass` have in common: one API object, applied on the server side.
//!
//! Pure steps live here (plan, body, state of a live object); `lifecycle` has the steps with a client.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use kube::core::{ApiResource, DynamicObject};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::defaults::leave_out_defaults;
use super::manifest;
use super::ownership::{self, Field, Handover};
use super::placeholders::{self, Placeholders};
use super::readiness::Readiness;
use crate::aws::arn::ClusterRef;
use crate::error::{Error, Kind as ErrorKind};
use crate::provider::{Cluster, Connections};
use crate::tofu::convert::{self, Projection};
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::{Path, Step};
use crate::tofu::plan;
use crate::tofu::resource::ApplyRequest;
use crate::tofu::schema::{Block, Mode, Schema};
use crate::tofu::validate;
use crate::tofu::value::Value;

/// Arguments and outputs of every API object.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "a declaration, walked as JSON schema")]
pub struct Common {
    /// ARN of the cluster that holds the object. Nothing is read from or deleted in another one.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    cluster_arn: String,
    /// EKS cluster, by name or ARN; the provider's where left out. Another cluster is another object: changing it replaces.
    #[schemars(extend("x-tofu" = {"computed": true, "optional": true}))]
    cluster_name: Option<String>,
    /// Whether apply takes back fields that another field manager changed, as the plan showed. `true` where left out.
    force_conflicts: Option<bool>,
    /// The whole object as YAML or JSON text, instead of `name`, `metadata_*` and every argument of the spec.
    manifest: Option<String>,
    /// Whether Karpenter reports the object as Ready. It may be false after an apply: that is a warning, no error.
    #[schemars(extend("x-tofu" = {"computed": true}))]
    ready: bool,
    /// How long to wait.
    timeouts: Option<Timeouts>,
}

/// How long to wait, as durations such as `90s` or `10m`.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "a declaration, walked as JSON schema")]
struct Timeouts {
    /// For the object to be Ready after it was made; 60s where left out.
    #[schemars(extend("x-tofu" = {"format": "duration"}))]
    create: Option<String>,
    /// For the object to be gone, with what depends on it; 15m where left out.
    #[schemars(extend("x-tofu" = {"format": "duration"}))]
    delete: Option<String>,
    /// For the object to be Ready after a change; 60s where left out.
    #[schemars(extend("x-tofu" = {"format": "duration"}))]
    update: Option<String>,
}

/// One of Karpenter's kinds.
pub trait Kind: Send + Sync + 'static {
    /// Name of the type in HCL.
    const TYPE_NAME: &'static str;
    /// Name of the kind in Kubernetes.
    const KIND: &'static str;
    /// Computed attributes that the arguments tell.
    const OUTPUTS: &'static [&'static str];
    /// Computed attributes that follow the object's status.
    const STATUS: &'static [&'static str];
    /// Arguments that the API server lets nobody add to an object or take from it.
    const FIXED_PRESENCE: &'static [&'static str] = &[];
    /// The declaration, walked.
    fn schema() -> Schema;
    /// Group, version and plural.
    fn api_resource() -> ApiResource;
    /// The kind's own offline rules.
    fn validate(config: &Value) -> Diagnostics;
    /// From the expanded arguments to the API's object.
    fn assemble(expanded: Json) -> Json;
    /// Back again: where the API has one place for two arguments, `prior` says which one holds what.
    fn disassemble(live: &mut Json, prior: &Value, resolve: &dyn Fn(&str) -> String, import: bool);
    /// Outputs that the plan can tell.
    fn plan_outputs(planned: &mut Value, prior: &Value);
    /// Outputs of a live object, by JSON name.
    fn observe_outputs(live: &Json) -> Vec<(&'static str, Json)>;
    /// The attribute of a field that the API server names, where it is not the declared place of it.
    fn locate(_field: &[Step], _planned: &Value) -> Option<Path> {
        None
    }
}

/// A resource type over one kind.
pub struct ApiObject<K: Kind> {
    pub(super) schema: Schema,
    pub(super) connections: Arc<Connections>,
    pub(super) kind: std::marker::PhantomData<K>,
    /// Uids of objects that this process found in the place of what it was to create.
    adopted: Mutex<HashSet<String>>,
}

/// What is stored beside the state.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Private {
    /// Attributes with a server default that the configuration set at the last apply, as printed paths.
    pub set: Vec<String>,
    /// Those that the configuration sets which is being planned or applied.
    pub planned: Option<Vec<String>>,
    /// The object's uid: another object of that name is not ours to delete.
    pub uid: Option<String>,
    /// Of a replacement's first plan, for the second one, which has no prior: the cluster of the object that goes.
    pub cluster: Option<String>,
    /// What other field managers had set when we last looked.
    pub foreign: Vec<Field>,
    /// Nothing was written since the object was imported or moved here.
    pub imported: bool,
    /// What passes to us at the first write after that.
    pub handover: Option<Handover>,
}

impl Private {
    /// Reads what [`Private::encode`] wrote; anything else counts as nothing.
    pub fn decode(bytes: &[u8]) -> Private {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    /// What was planned is so now, of the object with that uid.
    pub fn applied(&mut self, uid: Option<String>) {
        (self.uid, self.imported, self.cluster) = (uid, false, None);
        self.set = self.planned.take().unwrap_or_default();
    }

    /// As JSON.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Whether a resource's own `cluster_name` is one.
pub(super) fn check_cluster_name(config: &Value) -> Diagnostics {
    let refused = config.attr("cluster_name").as_str().and_then(|name| ClusterRef::parse(name).err());
    refused.map(|error| error.at(Path::attribute("cluster_name")).into()).unwrap_or_default()
}

fn is_added_or_removed(before: &Value, after: &Value) -> bool {
    !before.is_unknown() && !after.is_unknown() && before.is_null() != after.is_null()
}

impl<K: Kind> ApiObject<K> {
    /// The type, with its schema walked once.
    pub fn new(connections: Arc<Connections>) -> Self {
        ApiObject { schema: K::schema(), connections, kind: std::marker::PhantomData, adopted: Mutex::default() }
    }

    /// Offline checks: the schema's constraints, then the kind's rules.
    pub fn check(&self, config: &Value) -> Diagnostics {
        let block = &self.schema.block;
        let check = |arguments: &Value| {
            let mut diagnostics = validate::validate(block, arguments, &placeholders::check);
            diagnostics.extend(K::validate(arguments));
            diagnostics
        };
        let mut diagnostics = check_cluster_name(config);
        match config.attr("manifest") {
            Value::Null => {
                diagnostics.extend(check(config));
                if config.attr("name").is_null() {
                    diagnostics.error(
                        Path::attribute("name"),
                        "missing argument name",
                        format!("Give the {}'s name, or a manifest.", K::KIND),
                    );
                }
            }
            // it may still turn out null, and what stands beside it as well
            Value::Unknown(_) => {}
            manifest => {
                let written = |name: &&str| {
                    !config.attr(name).is_null() && !config.attr(name).is_unknown() && *config.attr(name) != Value::List(vec![])
                };
                for name in manifest::excluded(block).filter(written) {
                    let detail = format!("manifest says all of the object, so {name} must be left out here, or written in the manifest.");
                    diagnostics.error(Path::attribute(name), format!("{name} beside manifest"), detail);
                }
                if let (Some(text), false) = (manifest.as_str(), diagnostics.has_errors()) {
                    match manifest::read::<K>(block, text, config) {
                        Ok(manifest) => diagnostics.extend(manifest::relocate(block, &manifest, check(&manifest.arguments))),
                        Err(refusal) => diagnostics.extend(Diagnostics::from(refused(&refusal))),
                    }
                }
            }
        }
        diagnostics
    }

    /// The arguments that a configuration or state amounts to: its manifest's where it has one. `None` while that is unknown.
    pub fn arguments(&self, config: &Value) -> Result<Option<Value>, Error> {
        match config.attr("manifest") {
            Value::String(text) => {
                let read = manifest::read::<K>(&self.schema.block, text, config);
                read.map(|m| Some(m.arguments)).map_err(|refusal| refused(&refusal))
            }
            Value::Unknown(_) => Ok(None),
            _ => Ok(Some(config.clone())),
        }
    }

    /// The plan of a create or an update, without what a connection adds.
    pub fn plan_value(&self, prior: &Value, config: &Value, private: &Private) -> Value {
        // an object stays in its cluster, whether or not the configuration goes on naming it
        let was_set = |path: &Path| *path != Path::attribute("cluster_name") && private.set.contains(&path.to_string());
        let block = &self.schema.block;
        let mut planned = plan::plan(block, prior, config, &was_set);
        if config.attr("manifest").is_null() {
            K::plan_outputs(&mut planned, prior);
            return planned;
        }
        let mut prior_arguments = self.arguments(prior).ok().flatten().unwrap_or_default();
        for name in K::OUTPUTS {
            prior_arguments.set(name, prior.attr(name).clone());
        }
        // a manifest that cannot be read was refused by validate
        let mut outputs = match self.arguments(config).ok().flatten() {
            Some(arguments) => plan::plan(block, &Value::Null, &arguments, &was_set),
            None => Value::object([("name", Value::unknown()), ("template", Value::unknown())]),
        };
        K::plan_outputs(&mut outputs, &prior_arguments);
        let name = config.attr("name").is_null().then_some(&"name");
        for name in K::OUTPUTS.iter().chain(name) {
            planned.set(name, outputs.attr(name).clone());
        }
        planned
    }

    /// Attributes whose planned change needs another object.
    pub fn replacements(&self, prior: &Value, planned: &Value) -> Vec<Path> {
        let mut paths = plan::requires_replace(&self.schema.block, prior, planned);
        if let (Some(before), Some(after)) = (prior.attr("cluster_name").as_str(), planned.attr("cluster_name").as_str())
            && !same_cluster(before, after)
        {
            paths.push(Path::attribute("cluster_name"));
        }
        let [was_manifest, is_manifest] = [prior, planned].map(|value| !value.attr("manifest").is_null());
        let (Ok(Some(before)), Ok(Some(after))) = (self.arguments(prior), self.arguments(planned)) else { return paths };
        let fixed = K::FIXED_PRESENCE.iter().filter(|name| is_added_or_removed(before.attr(name), after.attr(name)));
        let mut fixed: Vec<Path> = fixed.map(|name| Path::attribute(*name)).collect();
        if was_manifest || is_manifest {
            fixed.extend(plan::requires_replace(&self.schema.block, &before, &after));
        }
        if is_manifest {
            fixed.truncate(1);
            fixed.iter_mut().for_each(|path| *path = Path::attribute("manifest"));
        }
        paths.extend(fixed.into_iter().filter(|_| !prior.is_null()));
        paths
    }

    /// The object to apply: what the configuration says, placeholders resolved. Of `planned`, only what has a default of ours is used.
    pub fn body(&self, config: &Value, planned: &Value, placeholders: &Placeholders) -> Json {
        let arguments = self.arguments(config).ok().flatten().unwrap_or_default();
        let mut expanded = convert::expand(&self.schema.block, &without_computed(&self.schema.block, &arguments, planned));
        expanded = K::assemble(expanded);
        let resource = K::api_resource();
        let mut body = json!({"apiVersion": resource.api_version, "kind": resource.kind, "metadata": expanded["metadata"]});
        body["spec"] = if expanded["spec"].is_object() { expanded["spec"].take() } else { json!({}) };
        convert::replace_texts(&mut body, &|text| text.contains("{{").then(|| placeholders.resolve(text)));
        body
    }

    /// The state of a live object, seen through a prior or planned one.
    pub fn observe(&self, live: &DynamicObject, prior: &Value, cluster: &Cluster, import: bool) -> Value {
        let block = &self.schema.block;
        let Some(text) = prior.attr("manifest").as_str() else { return self.observe_arguments(live, prior, cluster, import) };
        let Ok(manifest) = manifest::read::<K>(block, text, prior) else { return self.observe_arguments(live, prior, cluster, import) };
        let mut state = self.observe_arguments(live, &manifest.arguments, cluster, false);
        state.set("manifest", Value::from(manifest::redraw::<K>(block, text, &manifest, &state)));
        let name = state.attr("name").clone();
        for argument in manifest::excluded(block) {
            state.set(argument, if block.nested(argument).is_some() { Value::List(vec![]) } else { Value::Null });
        }
        state.set("name", name);
        state
    }

    fn observe_arguments(&self, live: &DynamicObject, prior: &Value, cluster: &Cluster, import: bool) -> Value {
        let placeholders = Placeholders::of(cluster);
        let resolve = |text: &str| placeholders.resolve(text);
        let mut json = serde_json::to_value(live).unwrap_or_default();
        if import {
            leave_out_foreign_metadata(&mut json);
        }
        let outputs = K::observe_outputs(&json);
        let ready = Readiness::of(live).is_ready();
        K::disassemble(&mut json, prior, &resolve, import);
        for (key, value) in outputs {
            json[key] = value;
        }
        json["common"] = json!({"cluster_arn": cluster.arn, "ready": ready});
        let name = prior.attr("cluster_name");
        if let Some(name) = name.as_str().or((!cluster.name.is_empty()).then_some(&cluster.name)) {
            json["common"]["cluster_name"] = json!(name);
        }
        let mut state = convert::project(&self.schema.block, prior, &json, &Projection { resolve: &resolve, import });
        // what is not about the object is nowhere but in the state
        state.set("force_conflicts", prior.attr("force_conflicts").clone());
        state.set("timeouts", Value::List(prior.attr("timeouts").items().to_vec()));
        if import {
            leave_out_defaults(&self.schema.block, &mut state);
        }
        state
    }

    /// Attributes with a server default that the configuration sets.
    pub fn set_by(&self, config: &Value) -> Vec<String> {
        let mut paths = Vec::new();
        collect_set(&self.schema.block, config, &Path::root(), &mut paths);
        paths
    }

    /// The configuration as it was planned. The client leaves `ignore_changes` out of the one that it sends with an apply.
    pub fn planned_config(&self, request: &ApplyRequest) -> Value {
        match Private::decode(&request.planned_private).planned {
            Some(set) => as_configured(&self.schema.block, &request.planned_state, &Path::root(), &set),
            None => request.config.clone(),
        }
    }

    /// Remembers that an object was found in the place of what was to be created.
    pub fn adopted(&self, uid: &str) {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned());
    }

    /// Whether an object is a new one's now: with `create_before_destroy`, the old one of the same name is to be deleted next.
    pub fn is_adopted(&self, uid: &str) -> bool {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner).contains(uid)
    }

    /// What is to be remembered of a live object beside its state.
    pub fn remember(&self, private: &mut Private, live: &DynamicObject, state: &Value, placeholders: &Placeholders) {
        if private.uid != live.metadata.uid {
            // made anew by somebody else: theirs until we write it
            private.imported |= private.uid.is_some();
            private.uid.clone_from(&live.metadata.uid);
        }
        private.foreign = ownership::foreign(live);
        let held = self.body(state, state, placeholders);
        private.handover = private.imported.then(|| self.handover(live, &|path| convert::at(&held, path).is_some())).flatten();
    }
}

fn refused(refusal: &manifest::Refusal) -> Error {
    let manifest::Refusal { path, message } = refusal;
    let what = if path.is_empty() { String::new() } else { format!("{path}: ") };
    Error::new(ErrorKind::Invalid, "read the manifest", format!("{what}{message}")).at(Path::attribute("manifest"))
}

/// Whether two ways to name a cluster can mean the same one: a name and the ARN that ends with it.
pub fn same_cluster(a: &str, b: &str) -> bool {
    let name = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
    a == b || ((a.starts_with("arn:") != b.starts_with("arn:")) && name(a) == name(b))
}

/// What the configuration leaves to the provider is not sent, so that it stays the API server's; what has a default of ours is sent
/// as planned: an object that was imported with another value keeps that.
fn without_computed(block: &Block, config: &Value, planned: &Value) -> Value {
    let mut value = config.clone();
    for attribute in &block.attributes {
        if let (true, Some(default)) = (value.attr(&attribute.name).is_null(), &attribute.default) {
            let planned = planned.attr(&attribute.name);
            value.set(&attribute.name, if planned.is_null() || planned.is_unknown() { default } else { planned }.clone());
        }
    }
    for nested in &block.blocks {
        let planned = planned.attr(&nested.name).items();
        let items = value.attr(&nested.name).items().iter().enumerate();
        let items = items.map(|(i, item)| without_computed(&nested.block, item, planned.get(i).unwrap_or(&Value::Null))).collect();
        value.set(&nested.name, Value::List(items));
    }
    value
}

/// What Karpenter, kubectl and Helm keep in an object's metadata is not the user's to declare.
fn leave_out_foreign_metadata(json: &mut Json) {
    for place in ["annotations", "labels"] {
        let Some(entries) = json["metadata"][place].as_object_mut() else { continue };
        entries.retain(|key, _| !ownership::FOREIGN_KEYS.iter().any(|prefix| key.starts_with(prefix)));
        if entries.is_empty() {
            json["metadata"][place] = Json::Null;
        }
    }
}

/// The planned values without those that the provider or the API server fills in; `set` are the ones of these that are configured.
fn as_configured(block: &Block, planned: &Value, path: &Path, set: &[String]) -> Value {
    let mut value = planned.clone();
    for attribute in &block.attributes {
        let filled_in = match attribute.mode {
            Mode::Required | Mode::Optional => false,
            Mode::OptionalComputed => !set.contains(&path.child(&attribute.name).to_string()),
            Mode::Computed => true,
        };
        if filled_in {
            value.set(&attribute.name, Value::Null);
        }
    }
    for nested in &block.blocks {
        let items = planned.attr(&nested.name).items().iter().enumerate();
        let items = items.map(|(i, item)| as_configured(&nested.block, item, &path.child(&nested.name).index(i), set)).collect();
        value.set(&nested.name, Value::List(items));
    }
    value
}

fn collect_set(block: &Block, config: &Value, path: &Path, paths: &mut Vec<String>) {
    for attribute in block.attributes.iter().filter(|a| a.mode == Mode::OptionalComputed) {
        if !config.attr(&attribute.name).is_null() {
            paths.push(path.child(&attribute.name).to_string());
        }
    }
    for nested in &block.blocks {
        for (i, item) in config.attr(&nested.name).items().iter().enumerate() {
            collect_set(&nested.block, item, &path.child(&nested.name).index(i), paths);
        }
    }
}
