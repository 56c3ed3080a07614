//! Go templates as far as Karpenter's charts use them: gotmpl's parser, an evaluator of our own.
//!
//! Ours because the charts need maps that are shared by reference (`set` inside `include`) and method calls
//! (`.Capabilities.APIVersions.Has`), and because errors must say where they arose.

mod check;
mod eval;
pub mod format;
pub mod functions;
pub mod semver;
pub mod value;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use self::eval::Engine;
use self::value::{ApiVersions, Struct, Val};
use super::chart::Chart;
use super::hooks::{self, Hook};
use super::{Capabilities, Map, Result, invalid, manifest, values};

/// Which release templates are rendered for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseInfo {
    /// `.Release.Name`.
    pub name: String,
    /// `.Release.Namespace`.
    pub namespace: String,
    /// `.Release.Revision`.
    pub revision: u64,
    /// `.Release.IsUpgrade`; otherwise it is an install.
    pub upgrade: bool,
}

/// What a chart renders to.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The manifest as Helm records it: documents in the order of installation, each with its source.
    pub manifest: String,
    /// What is made at a step of the release alone.
    pub hooks: Vec<Hook>,
    /// API versions that templates asked about and that are not known to be served: ask the cluster, then render again.
    pub asked: Vec<String>,
}

/// Deep templates need more stack than a worker thread has.
const STACK: usize = 64 * 1024 * 1024;

/// Renders a chart; `user` are the user's values and ours, the chart's own lie beneath. Pure.
pub fn render(chart: &Chart, user: &Map, release: &ReleaseInfo, capabilities: &Capabilities) -> Result<Rendered> {
    let action = format!("render chart {} {}", chart.name(), chart.version());
    check_kube_version(chart, capabilities).map_err(|e| invalid(action.clone(), e))?;
    // values are shared by reference within one thread
    std::thread::scope(|scope| {
        let work = || render_here(chart, user, release, capabilities);
        let thread = std::thread::Builder::new().name("render".to_owned()).stack_size(STACK).spawn_scoped(scope, work);
        let thread = thread.map_err(|e| invalid(action.clone(), format!("no thread: {e}")))?;
        thread.join().unwrap_or_else(|_| Err("the renderer panicked".to_owned())).map_err(|e| invalid(action.clone(), e))
    })
}

fn check_kube_version(chart: &Chart, capabilities: &Capabilities) -> std::result::Result<(), String> {
    let wanted = chart.text("kubeVersion");
    if wanted.is_empty() || semver::compare(wanted, &capabilities.kube_version)? {
        return Ok(());
    }
    Err(format!("the chart requires kubeVersion {wanted}, the cluster has {}", capabilities.kube_version))
}

fn render_here(chart: &Chart, user: &Map, release: &ReleaseInfo, capabilities: &Capabilities) -> std::result::Result<Rendered, String> {
    let mut engine = Engine::default();
    for file in &chart.templates {
        engine.add_file(&format!("{}/{}", chart.name(), file.name), &file.text())?;
    }
    let asked = Rc::new(RefCell::new(vec![]));
    let top = context(chart, user, release, capabilities, &asked);
    let (mut documents, mut rendered_hooks) = (vec![], vec![]);
    for file in &chart.templates {
        let base = file.name.rsplit('/').next().unwrap_or_default();
        if base.starts_with('_') || base == "NOTES.txt" {
            continue;
        }
        let name = format!("{}/{}", chart.name(), file.name);
        let template = [("Name", name.as_str()), ("BasePath", &format!("{}/templates", chart.name()))];
        top.insert("Template", Val::map(template.map(|(k, v)| (k.to_owned(), Val::str(v)))));
        let text = engine.file(&name, &top.val())?.replace("<no value>", "");
        for (index, document) in manifest::documents(&text).into_iter().enumerate() {
            let text = format!("# Source: {name}\n{document}");
            let object = manifest::object(&text, &release.namespace).map_err(|e| e.to_string())?;
            let Some(object) = object else { continue };
            if object.annotation(hooks::HOOK).is_some() {
                rendered_hooks.push(Hook::new(&name, document, object)?);
                continue;
            }
            documents.push((manifest::order(&object.info), object.name, name.clone(), index, text));
        }
    }
    documents.sort();
    let manifest = documents.into_iter().map(|(.., text)| format!("---\n{text}\n")).collect();
    let mut asked = asked.take();
    asked.sort();
    asked.dedup();
    Ok(Rendered { manifest, hooks: rendered_hooks, asked })
}

/// The top-level dot.
struct Top(value::Shared);

impl Top {
    fn insert(&self, key: &str, value: Val) {
        self.0.borrow_mut().insert(key.to_owned(), value);
    }

    fn val(&self) -> Val {
        Val::Map(self.0.clone())
    }
}

fn context(chart: &Chart, user: &Map, release: &ReleaseInfo, capabilities: &Capabilities, asked: &Rc<RefCell<Vec<String>>>) -> Top {
    let top = Top(Rc::default());
    top.insert("Values", Val::from_json(&Value::Object(values::coalesce(&chart.values, user))));
    top.insert(
        "Chart",
        Val::Struct(Rc::new(Struct { type_name: "*chart.Metadata", fields: metadata(chart), text: None, api_versions: None })),
    );
    let ReleaseInfo { name, namespace, revision, upgrade } = release;
    top.insert(
        "Release",
        Val::map([
            ("Name".to_owned(), Val::str(name)),
            ("Namespace".to_owned(), Val::str(namespace)),
            ("Revision".to_owned(), Val::Int(i64::try_from(*revision).unwrap_or_default())),
            ("IsUpgrade".to_owned(), Val::Bool(*upgrade)),
            ("IsInstall".to_owned(), Val::Bool(!upgrade)),
            ("Service".to_owned(), Val::str("Helm")),
        ]),
    );
    let served = ApiVersions { served: capabilities.api_versions.clone(), asked: asked.clone() };
    let versions = Struct { type_name: "common.VersionSet", fields: BTreeMap::new(), text: None, api_versions: Some(served) };
    let fields =
        BTreeMap::from([("KubeVersion", kube_version(&capabilities.kube_version)), ("APIVersions", Val::Struct(Rc::new(versions)))]);
    top.insert("Capabilities", Val::Struct(Rc::new(Struct { type_name: "*common.Capabilities", fields, text: None, api_versions: None })));
    top
}

/// `.Capabilities.KubeVersion`, which prints as its version.
fn kube_version(version: &str) -> Val {
    let mut numbers = version.trim_start_matches('v').split('.');
    let mut number = || Val::str(numbers.next().unwrap_or_default());
    let fields =
        BTreeMap::from([("Major", number()), ("Minor", number()), ("Version", Val::str(version)), ("GitVersion", Val::str(version))]);
    Val::Struct(Rc::new(Struct { type_name: "*common.KubeVersion", fields, text: Some(version.to_owned()), api_versions: None }))
}

/// `.Chart`: Go's names of Chart.yaml's keys; what it does not say is empty text.
fn metadata(chart: &Chart) -> BTreeMap<&'static str, Val> {
    let names: &[(&str, &str)] = &[
        ("Name", "name"),
        ("Home", "home"),
        ("Version", "version"),
        ("Description", "description"),
        ("Icon", "icon"),
        ("APIVersion", "apiVersion"),
        ("Condition", "condition"),
        ("Tags", "tags"),
        ("AppVersion", "appVersion"),
        ("KubeVersion", "kubeVersion"),
        ("Type", "type"),
    ];
    let mut fields: BTreeMap<&'static str, Val> = names.iter().map(|(go, key)| (*go, Val::str(chart.text(key)))).collect();
    for (go, key) in [("Sources", "sources"), ("Keywords", "keywords"), ("Annotations", "annotations")] {
        fields.insert(go, chart.metadata.get(key).map_or(Val::Nil, Val::from_json));
    }
    fields.insert("Deprecated", Val::Bool(chart.metadata.get("deprecated").and_then(Value::as_bool).unwrap_or_default()));
    fields
}
