//! Rendered text as objects: documents, kinds, order, and the marks that say which release owns an object.

use serde_json::{Map as JsonMap, Value};

use super::{Result, invalid, yaml};

/// The label that Helm puts on what it owns, and its value.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "Helm");
/// The annotation with the owning release's name.
pub const RELEASE_NAME: &str = "meta.helm.sh/release-name";
/// The annotation with the owning release's namespace.
pub const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

/// A kind of the two charts: no discovery is needed to reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindInfo {
    /// `Deployment`.
    pub kind: &'static str,
    /// `apps`; empty for the core group.
    pub group: &'static str,
    /// `deployments`.
    pub plural: &'static str,
    /// Whether objects of it live in a namespace.
    pub namespaced: bool,
}

/// CustomResourceDefinition.
pub const CRD: KindInfo =
    KindInfo { kind: "CustomResourceDefinition", group: "apiextensions.k8s.io", plural: "customresourcedefinitions", namespaced: false };

/// Kinds in the order in which Helm installs them; it deletes in the opposite one.
const KINDS: &[KindInfo] = &[
    KindInfo { kind: "Namespace", group: "", plural: "namespaces", namespaced: false },
    KindInfo { kind: "PodDisruptionBudget", group: "policy", plural: "poddisruptionbudgets", namespaced: true },
    KindInfo { kind: "ServiceAccount", group: "", plural: "serviceaccounts", namespaced: true },
    KindInfo { kind: "Secret", group: "", plural: "secrets", namespaced: true },
    KindInfo { kind: "ConfigMap", group: "", plural: "configmaps", namespaced: true },
    CRD,
    KindInfo { kind: "ClusterRole", group: "rbac.authorization.k8s.io", plural: "clusterroles", namespaced: false },
    KindInfo { kind: "ClusterRoleBinding", group: "rbac.authorization.k8s.io", plural: "clusterrolebindings", namespaced: false },
    KindInfo { kind: "Role", group: "rbac.authorization.k8s.io", plural: "roles", namespaced: true },
    KindInfo { kind: "RoleBinding", group: "rbac.authorization.k8s.io", plural: "rolebindings", namespaced: true },
    KindInfo { kind: "Service", group: "", plural: "services", namespaced: true },
    KindInfo { kind: "Deployment", group: "apps", plural: "deployments", namespaced: true },
    KindInfo { kind: "Job", group: "batch", plural: "jobs", namespaced: true },
    KindInfo { kind: "ServiceMonitor", group: "monitoring.coreos.com", plural: "servicemonitors", namespaced: true },
];

/// One object of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its kind.
    pub info: KindInfo,
    /// `v1`, of `apps/v1`.
    pub version: String,
    /// Its namespace; the release's where the template names none; `None` for a cluster's object.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// As rendered, nulls left out.
    pub json: Value,
}

impl Object {
    /// Whether both are the same object of the cluster, whatever they say.
    pub fn same(&self, other: &Object) -> bool {
        self.info == other.info && self.name == other.name && self.namespace == other.namespace
    }

    /// How diagnostics and the drift map name it: `Deployment karpenter`, `Role kube-system/karpenter-dns` outside the release's namespace.
    pub fn id(&self, release_namespace: &str) -> String {
        match &self.namespace {
            Some(namespace) if namespace != release_namespace => format!("{} {namespace}/{}", self.info.kind, self.name),
            _ => format!("{} {}", self.info.kind, self.name),
        }
    }

    /// What is sent: as rendered, with the namespace and with the marks of the owning release.
    pub fn owned_by(&self, release: &str, release_namespace: &str) -> Value {
        let mut json = self.json.clone();
        if let Some(metadata) = json.get_mut("metadata").and_then(Value::as_object_mut) {
            if let Some(namespace) = &self.namespace {
                metadata.insert("namespace".to_owned(), Value::from(namespace.as_str()));
            }
            mark(metadata, release, release_namespace);
        }
        json
    }

    /// An annotation, as rendered.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.json.get("metadata")?.get("annotations")?.get(key)?.as_str()
    }
}

/// Puts the marks of the owning release on an object's metadata.
pub fn mark(metadata: &mut JsonMap<String, Value>, release: &str, release_namespace: &str) {
    set_marks(metadata, "labels", &[MANAGED_BY]);
    set_marks(metadata, "annotations", &[(RELEASE_NAME, release), (RELEASE_NAMESPACE, release_namespace)]);
}

fn set_marks(metadata: &mut JsonMap<String, Value>, table: &str, marks: &[(&str, &str)]) {
    let mut map = match metadata.remove(table) {
        Some(Value::Object(map)) => map,
        _ => JsonMap::new(),
    };
    map.extend(marks.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))));
    metadata.insert(table.to_owned(), Value::Object(map));
}

/// Splits a rendered template into the texts of its documents, as Helm does before it reads them as YAML.
pub fn documents(text: &str) -> Vec<&str> {
    let mut documents = vec![];
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        if line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)) {
            documents.push(&text[start..at]);
            start = at + 3;
        }
        at += line.len();
    }
    documents.push(&text[start..]);
    documents.into_iter().map(str::trim).filter(|d| !d.is_empty()).collect()
}

/// The objects of a manifest in Helm's order; `namespace` is the release's. Documents of comments alone are left out.
pub fn objects(manifest: &str, namespace: &str) -> Result<Vec<Object>> {
    let mut objects = vec![];
    for text in documents(manifest) {
        if let Some(object) = object(text, namespace)? {
            objects.push(object);
        }
    }
    objects.sort_by_key(|o| order(&o.info));
    Ok(objects)
}

/// One document as an object; `None` when it holds only comments.
pub fn object(text: &str, release_namespace: &str) -> Result<Option<Object>> {
    let source = text.lines().find_map(|l| l.strip_prefix("# Source: ")).unwrap_or("a document").to_owned();
    let action = format!("read the manifest of {source}");
    let mut json = yaml::parse(text).map_err(|e| invalid(action.clone(), e))?;
    if json.is_null() {
        return Ok(None);
    }
    strip_nulls(&mut json);
    check_head(&json).map_err(|e| invalid(action.clone(), e))?;
    let field = |pointer: &str| json.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind, name, namespace) =
        (field("/apiVersion"), field("/kind"), field("/metadata/name"), field("/metadata/namespace"));
    if api_version.is_empty() || kind.is_empty() || name.is_empty() {
        return Err(invalid(action, "an object without apiVersion, kind or metadata.name"));
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let info = KINDS.iter().find(|k| k.kind == kind && k.group == group).copied();
    let info = info.ok_or_else(|| invalid(action, format!("{api_version} {kind} is not supported: Karpenter's charts have none")))?;
    let namespace = match (info.namespaced, namespace.is_empty()) {
        (false, _) => None,
        (true, true) => Some(release_namespace.to_owned()),
        (true, false) => Some(namespace),
    };
    Ok(Some(Object { info, version: version.to_owned(), namespace, name, json }))
}

/// What Helm itself reads of an object must not be a structure where it wants text; other scalars are left to the API server.
fn check_head(json: &Value) -> std::result::Result<(), String> {
    let scalar = |path: &str, value: &Value| match value {
        Value::Array(_) | Value::Object(_) => Err(format!("{path} is {value}, want text")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    };
    for path in ["apiVersion", "kind", "metadata.name"] {
        if let Some(value) = json.pointer(&format!("/{}", path.replace('.', "/"))) {
            scalar(path, value)?;
        }
    }
    match json.pointer("/metadata/annotations") {
        None => Ok(()),
        Some(Value::Object(map)) => map.iter().try_for_each(|(key, value)| scalar(&format!("metadata.annotations[{key}]"), value)),
        Some(other) => Err(format!("metadata.annotations is {other}, want a table")),
    }
}

/// The place of a kind in Helm's install order.
pub fn order(info: &KindInfo) -> usize {
    KINDS.iter().position(|k| k == info).unwrap_or(KINDS.len())
}

/// A null says "not set", in Helm's patches and in ours.
pub(super) fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(strip_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Which Helm release a live object belongs to, as name and namespace; `None` when it carries no such marks.
pub fn owner(live: &Value) -> Option<(String, String)> {
    let metadata = live.get("metadata")?;
    let text = |table: &str, key: &str| metadata.get(table)?.get(key)?.as_str().map(str::to_owned);
    let managed = text("labels", MANAGED_BY.0).is_some_and(|v| v == MANAGED_BY.1);
    if !managed {
        return None;
    }
    Some((text("annotations", RELEASE_NAME)?, text("annotations", RELEASE_NAMESPACE)?))
}
