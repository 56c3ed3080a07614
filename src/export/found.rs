//! What there is to export, as configurations of our types: read from a cluster, or from manifests.
//!
//! Left out, and told: pools of EKS Auto Mode's own classes (its classes are another kind), objects that are being deleted, other
//! kinds in a file of manifests.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use kube::core::DynamicObject;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::options::Options;
use crate::helm::yaml;
use crate::provider::{Cluster, Connections};
use crate::resources::manifest;
use crate::resources::nodeclass::NodeClassKind;
use crate::resources::nodepool::NodePoolKind;
use crate::resources::object::{ApiObject, Kind};
use crate::resources::placeholders::is_literal;
use crate::tofu::diagnostics::Severity;
use crate::tofu::path::Path;
use crate::tofu::schema::Mode;
use crate::tofu::value::Value;
use crate::{Error, Kind as ErrorKind, kubernetes};

/// API group of the classes that EKS Auto Mode keeps.
const AUTO_MODE: &str = "eks.amazonaws.com";

const LIST_TIMEOUT: Duration = Duration::from_secs(60);

/// One object, as a configuration.
pub struct Found {
    /// Type in HCL.
    pub type_name: &'static str,
    /// Kind in Kubernetes.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub config: Value,
    /// What the configuration cannot say as the object has it.
    pub notes: Vec<String>,
}

/// Everything that was found.
#[derive(Default)]
pub struct Export {
    /// Classes, then pools, each by name.
    pub found: Vec<Found>,
    /// What was left out, and why.
    pub skipped: Vec<String>,
}

/// Everything of a cluster: one LIST for each kind.
///
/// # Errors
/// What AWS and the API server say.
pub async fn of_cluster(options: &Options) -> Result<Export, Error> {
    let connections = Arc::new(Connections::new());
    connections.configure(&options.provider());
    let connection = connections.choose(&connections.cluster(&Value::Null)).await?;
    let client = connection.kube().await?;
    let mut export = Export::default();
    let of = Source { connections, cluster: connection.cluster.clone(), live: true };
    for object in list::<NodeClassKind>(&client).await? {
        export.take::<NodeClassKind>(&of, object);
    }
    for object in list::<NodePoolKind>(&client).await? {
        export.take::<NodePoolKind>(&of, object);
    }
    Ok(export.sorted())
}

async fn list<K: Kind>(client: &kube::Client) -> Result<Vec<DynamicObject>, Error> {
    let listed = kubernetes::list(client, &K::api_resource(), None, Instant::now() + LIST_TIMEOUT).await;
    listed.map_err(|error| match kubernetes::is_kind_missing(&error) {
        true => error.remedy("The cluster has no such kind: is Karpenter installed there, in version 1.0 or later?"),
        false => error,
    })
}

/// Everything in a file of manifests.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a file that cannot be read.
pub fn of_manifests(file: &str) -> Result<Export, Error> {
    let refuse = |message: String| Error::new(ErrorKind::Invalid, format!("read the manifests in {file:?}"), message);
    let text = match file {
        "-" => std::io::stdin()
            .lock()
            .bytes()
            .collect::<Result<Vec<u8>, _>>()
            .and_then(|bytes| String::from_utf8(bytes).map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidData, e))),
        path => std::fs::read_to_string(path),
    };
    let text = text.map_err(|e| refuse(e.to_string()))?;
    let documents = yaml::parse_all(&text).map_err(|e| {
        let hint = if text.contains("{{") { "Text with {{ placeholders }} must be quoted." } else { "" };
        refuse(e).remedy(hint)
    })?;
    let mut export = Export::default();
    let of = Source { connections: Arc::new(Connections::new()), cluster: Cluster::default(), live: false };
    for document in documents.into_iter().flat_map(items) {
        let (class, pool) = (NodeClassKind::api_resource(), NodePoolKind::api_resource());
        let is =
            |kind: &kube::core::ApiResource| document["apiVersion"] == kind.api_version.as_str() && document["kind"] == kind.kind.as_str();
        let (is_class, is_pool) = (is(&class), is(&pool));
        if !is_class && !is_pool {
            export.skipped.push(format!("{} {} of {}", document["kind"], document["metadata"]["name"], document["apiVersion"]));
            continue;
        }
        let object: DynamicObject = serde_json::from_value(document).map_err(|e| refuse(e.to_string()))?;
        if object.metadata.name.as_deref().is_none_or(str::is_empty) {
            return Err(refuse("a document has no metadata.name".to_owned()));
        }
        if is_class { export.take::<NodeClassKind>(&of, object) } else { export.take::<NodePoolKind>(&of, object) }
    }
    Ok(export.sorted())
}

/// A document, or those in a list as kubectl prints it.
fn items(document: Json) -> Vec<Json> {
    match document {
        Json::Null => vec![],
        Json::Object(mut list) if list.get("kind").and_then(Json::as_str).is_some_and(|kind| kind.ends_with("List")) => {
            list.remove("items").and_then(|items| items.as_array().cloned()).unwrap_or_default()
        }
        other => vec![other],
    }
}

/// Where objects come from.
struct Source {
    connections: Arc<Connections>,
    cluster: Cluster,
    /// From a cluster, where text with placeholders is what it is.
    live: bool,
}

impl Export {
    fn take<K: Kind>(&mut self, of: &Source, object: DynamicObject) {
        let name = object.metadata.name.clone().unwrap_or_default();
        if object.data["spec"]["template"]["spec"]["nodeClassRef"]["group"] == AUTO_MODE {
            self.skipped.push(format!("{} {name:?}: its nodes are EKS Auto Mode's", K::KIND));
        } else if object.metadata.deletion_timestamp.is_some() {
            self.skipped.push(format!("{} {name:?}: it is being deleted", K::KIND));
        } else {
            self.found.push(describe::<K>(of, &object, name));
        }
    }

    fn sorted(mut self) -> Self {
        self.found.sort_by(|a, b| (a.type_name, &a.name).cmp(&(b.type_name, &b.name)));
        self
    }
}

/// As an import has it, without what only the provider sets.
fn describe<K: Kind>(of: &Source, object: &DynamicObject, name: String) -> Found {
    let types = ApiObject::<K>::new(of.connections.clone());
    let block = &K::schema().block;
    let mut config = types.observe(object, &Value::Null, &of.cluster, true);
    let computed = block.attributes.iter().filter(|a| a.mode == Mode::Computed).map(|a| a.name.as_str());
    computed.chain(["cluster_name"]).for_each(|attribute| config.set(attribute, Value::Null));
    let mut notes = vec![];
    let json = serde_json::to_value(object).unwrap_or_default();
    if let Err(manifest::Refusal { path, message }) = manifest::is_understood::<K>(block, &json) {
        notes.push(format!("{path} is left out: {message}"));
    }
    let refused = types.check(&config).0.into_iter().filter(|d| d.severity == Severity::Error);
    notes.extend(refused.map(|d| format!("{}: {}", d.path.map(|p| p.to_string()).unwrap_or(d.summary), d.detail)));
    if of.live {
        let mut paths = vec![];
        with_placeholders(&config, &Path::root(), &mut paths);
        let what = "holds {{ cluster_name }} or {{ ext_account_id }} as it is; the next change would put their values in its place";
        notes.extend(paths.iter().map(|path| format!("{path} {what}")));
    }
    Found { type_name: K::TYPE_NAME, kind: K::KIND, name, config, notes }
}

fn with_placeholders(value: &Value, path: &Path, paths: &mut Vec<Path>) {
    match value {
        Value::String(text) if !is_literal(text) => paths.push(path.clone()),
        Value::List(items) => items.iter().enumerate().for_each(|(i, item)| with_placeholders(item, &path.index(i), paths)),
        Value::Map(entries) => {
            for (key, item) in entries {
                if !is_literal(key) {
                    paths.push(path.key(key));
                }
                with_placeholders(item, &path.child(key), paths);
            }
        }
        _ => {}
    }
}
