//! The record of a release, as Helm 3 and 4 keep it: a Secret per revision, gzipped JSON inside.

use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{SecondsFormat, Utc};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::apply::Desired;
use super::chart::{Chart, File};
use super::hooks::Hook;
use super::manifest::{self, Object};
use super::template::Rendered;
use super::{Map, Result, invalid};

/// The type of Helm's Secrets.
pub const SECRET_TYPE: &str = "helm.sh/release.v1";
/// The field manager of the Secrets that we write; Helm's own is `helm`.
pub const WRITER: &str = "terraform-provider-karpenter";
/// The key of a record that names the releases of [`Record::retiring`]; Helm does not know it, and a deployed record has it not.
const RETIRING: &str = "retiring";
/// Unpacked, a record is refused over this many bytes.
const MAX_RECORD: u64 = 64 * 1024 * 1024;

/// `apply_method` of a record whose objects were written by server-side apply.
const SERVER_SIDE: &str = "ssa";

/// What a revision's record says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The live revision.
    Deployed,
    /// An older revision that was replaced.
    Superseded,
    /// It could not be applied.
    Failed,
    /// Being installed, or left behind by a process that died.
    PendingInstall,
    /// Being upgraded to, or left behind by a process that died.
    PendingUpgrade,
    /// Being rolled back to, or left behind by a process that died.
    PendingRollback,
    /// Being removed.
    Uninstalling,
    /// Removed with its history kept.
    Uninstalled,
    /// Anything else.
    Unknown,
}

const STATUS: &[(Status, &str)] = &[
    (Status::Deployed, "deployed"),
    (Status::Superseded, "superseded"),
    (Status::Failed, "failed"),
    (Status::PendingInstall, "pending-install"),
    (Status::PendingUpgrade, "pending-upgrade"),
    (Status::PendingRollback, "pending-rollback"),
    (Status::Uninstalling, "uninstalling"),
    (Status::Uninstalled, "uninstalled"),
    (Status::Unknown, "unknown"),
];

impl Status {
    /// Helm's word for it.
    pub fn word(self) -> &'static str {
        STATUS.iter().find(|(s, _)| *s == self).map_or("unknown", |(_, word)| word)
    }

    fn of(word: &str) -> Status {
        STATUS.iter().find(|(_, w)| *w == word).map_or(Status::Unknown, |(status, _)| *status)
    }

    /// Whether an operation is under way, or died on the way.
    pub fn pending(self) -> bool {
        matches!(self, Status::PendingInstall | Status::PendingUpgrade | Status::PendingRollback)
    }
}

/// A Helm release as its records show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// The release's name.
    pub name: String,
    /// The namespace of its records.
    pub namespace: String,
    /// The newest revision.
    pub newest: Record,
    /// The deployed revision before the newest. Where that is deployed too, a process has died between the two.
    pub deployed: Option<Record>,
    /// The numbers of all revisions, ascending.
    pub revisions: Vec<u64>,
}

impl Release {
    /// The revision that is live: the deployed one, else none.
    pub fn live(&self) -> Option<&Record> {
        if self.newest.status() == Status::Deployed { Some(&self.newest) } else { self.deployed.as_ref() }
    }

    /// The revision whose objects may be in the cluster: the deployed one, else the newest.
    pub fn current(&self) -> &Record {
        self.live().unwrap_or(&self.newest)
    }
}

/// One revision's record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The whole JSON, with whatever this version of ours does not know.
    pub json: Value,
    /// The Secret's resourceVersion; empty before it is written.
    pub resource_version: String,
    /// The Secret's labels.
    pub labels: Map,
    /// Whether this provider wrote it, and not Helm.
    pub is_ours: bool,
}

impl Record {
    /// A first record of a revision, in a pending state.
    pub fn new(desired: &Desired, revision: u64, rendered: &Rendered, first_deployed: Option<&str>) -> Record {
        let Rendered { manifest, hooks, asked: _ } = rendered;
        let now = now();
        let status = if revision == 1 { Status::PendingInstall } else { Status::PendingUpgrade };
        let json = json!({
            "name": desired.name,
            "namespace": desired.namespace,
            "version": revision,
            "info": {
                "first_deployed": first_deployed.unwrap_or(&now),
                "last_deployed": now,
                "deleted": "",
                "description": if revision == 1 { "Initial install underway" } else { "Preparing upgrade" },
                "status": status.word(),
            },
            "chart": chart_json(&desired.chart),
            "config": desired.values,
            "manifest": manifest,
            "hooks": hooks.iter().map(Hook::json).collect::<Vec<_>>(),
            "apply_method": SERVER_SIDE,
        });
        Record { json, resource_version: String::new(), labels: Map::new(), is_ours: true }
    }

    /// The pending record of a rollback to this one.
    pub fn again(&self, revision: u64) -> Record {
        let mut json = self.json.clone();
        json["version"] = revision.into();
        json["info"]["last_deployed"] = now().into();
        json["apply_method"] = SERVER_SIDE.into();
        let mut record = Record { json, resource_version: String::new(), labels: Map::new(), is_ours: true };
        record.set_status(Status::PendingRollback, &format!("Rollback to {}", self.revision()));
        record
    }

    /// Its revision.
    pub fn revision(&self) -> u64 {
        self.json.get("version").and_then(Value::as_u64).unwrap_or_default()
    }

    /// Its status.
    pub fn status(&self) -> Status {
        Status::of(self.json.pointer("/info/status").and_then(Value::as_str).unwrap_or_default())
    }

    /// Sets status and description.
    pub fn set_status(&mut self, status: Status, description: &str) {
        if let Some(info) = self.json.get_mut("info").and_then(Value::as_object_mut) {
            info.insert("status".to_owned(), Value::from(status.word()));
            if !description.is_empty() {
                info.insert("description".to_owned(), Value::from(description));
            }
        }
    }

    /// Other releases, by namespace and name, from which this revision takes objects over: they go when it is applied.
    pub fn retiring(&self) -> Vec<(String, String)> {
        self.json.get(RETIRING).and_then(|names| serde_json::from_value(names.clone()).ok()).unwrap_or_default()
    }

    /// Sets the releases of [`Record::retiring`].
    pub fn set_retiring(&mut self, releases: &[(String, String)]) {
        if let Some(json) = self.json.as_object_mut() {
            json.remove(RETIRING);
            if !releases.is_empty() {
                json.insert(RETIRING.to_owned(), json!(releases));
            }
        }
    }

    /// The manifest's text.
    pub fn manifest(&self) -> &str {
        self.json.get("manifest").and_then(Value::as_str).unwrap_or_default()
    }

    /// The manifest's objects, in Helm's order.
    pub fn objects(&self) -> Result<Vec<Object>> {
        manifest::objects(self.manifest(), self.json.get("namespace").and_then(Value::as_str).unwrap_or_default())
    }

    /// The values that the user (and we) gave.
    pub fn config(&self) -> Map {
        self.json.get("config").and_then(Value::as_object).cloned().unwrap_or_default()
    }

    /// When the release was first deployed, as the record says it.
    pub fn first_deployed(&self) -> Option<&str> {
        self.json.pointer("/info/first_deployed")?.as_str()
    }

    /// Whether its objects were written by server-side apply, ours and Helm 4's way.
    pub fn server_side(&self) -> bool {
        self.json.get("apply_method").and_then(Value::as_str) == Some(SERVER_SIDE)
    }

    /// The chart that it was made from, so that nothing is pulled while it stays.
    pub fn chart(&self) -> Result<Chart> {
        let action = "read the chart of the release record";
        let chart = self.json.get("chart").ok_or_else(|| invalid(action, "no chart"))?;
        let map = |key: &str| chart.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
        let files = |key: &str| -> Result<Vec<File>> {
            let list = chart.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
            list.iter()
                .map(|file| {
                    let text = |key: &str| file.get(key).and_then(Value::as_str).unwrap_or_default();
                    let data = BASE64.decode(text("data")).map_err(|e| invalid(action, format!("{}: {e}", text("name"))))?;
                    Ok(File { name: text("name").to_owned(), data })
                })
                .collect()
        };
        let lock = chart.get("lock").cloned().unwrap_or_default();
        Ok(Chart { metadata: map("metadata"), lock, values: map("values"), templates: files("templates")?, files: files("files")? })
    }

    /// The version of the chart that it was made from.
    pub fn chart_version(&self) -> &str {
        self.json.pointer("/chart/metadata/version").and_then(Value::as_str).unwrap_or_default()
    }

    /// The name of the Secret that holds it.
    pub fn secret_name(&self) -> String {
        format!("sh.helm.release.v1.{}.v{}", self.json.get("name").and_then(Value::as_str).unwrap_or_default(), self.revision())
    }

    /// The Secret to write; its labels are what `helm list` selects by.
    pub fn secret(&self) -> Result<Value> {
        let text = |key: &str| self.json.get(key).and_then(Value::as_str).unwrap_or_default();
        let mut labels = self.labels.clone();
        labels.insert("name".to_owned(), text("name").into());
        labels.insert("owner".to_owned(), "helm".into());
        labels.insert("status".to_owned(), self.status().word().into());
        labels.insert("version".to_owned(), self.revision().to_string().into());
        let time = Utc::now().timestamp().to_string();
        if self.resource_version.is_empty() {
            labels.insert("createdAt".to_owned(), time.into());
        } else {
            labels.remove("createdAt");
            labels.insert("modifiedAt".to_owned(), time.into());
        }
        let mut metadata = json!({"name": self.secret_name(), "namespace": text("namespace"), "labels": labels});
        if !self.resource_version.is_empty() {
            metadata["resourceVersion"] = self.resource_version.as_str().into();
        }
        let data = BASE64.encode(encode(&self.json)?);
        Ok(json!({"apiVersion": "v1", "kind": "Secret", "type": SECRET_TYPE, "metadata": metadata, "data": {"release": data}}))
    }

    /// Reads a record's Secret.
    pub fn from_secret(secret: &Value) -> Result<Record> {
        let name = secret.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let action = format!("read release record {name}");
        let data = secret.pointer("/data/release").and_then(Value::as_str).unwrap_or_default();
        let data = BASE64.decode(data).map_err(|e| invalid(action.clone(), e.to_string()))?;
        let json = decode(&data).map_err(|e| invalid(action, e))?;
        let resource_version = secret.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
        let labels = secret.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default();
        let managers = secret.pointer("/metadata/managedFields").and_then(Value::as_array);
        let is_ours = managers.into_iter().flatten().any(|entry| entry.get("manager").and_then(Value::as_str) == Some(WRITER));
        Ok(Record { json, resource_version, labels, is_ours })
    }
}

/// The time as Helm writes it.
pub fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Nanos, true)
}

fn chart_json(chart: &Chart) -> Value {
    let Chart { metadata, lock, values, templates, files } = chart;
    let list = |files: &[File]| -> Value { files.iter().map(|f| json!({"name": f.name, "data": BASE64.encode(&f.data)})).collect() };
    json!({"metadata": metadata, "lock": lock, "templates": list(templates), "values": values, "schema": null, "files": list(files)})
}

fn encode(json: &Value) -> Result<String> {
    let mut gzip = GzEncoder::new(vec![], Compression::best());
    let failed = |e: std::io::Error| invalid("write a release record", e.to_string());
    gzip.write_all(json.to_string().as_bytes()).map_err(failed)?;
    Ok(BASE64.encode(gzip.finish().map_err(failed)?))
}

fn decode(data: &[u8]) -> std::result::Result<Value, String> {
    let bytes = BASE64.decode(data).map_err(|e| e.to_string())?;
    // Helm 2 wrote no gzip; Helm still tells the two apart by the magic number
    if !bytes.starts_with(&[0x1f, 0x8b, 0x08]) {
        return serde_json::from_slice(&bytes).map_err(|e| e.to_string());
    }
    let mut text = vec![];
    GzDecoder::new(bytes.as_slice()).take(MAX_RECORD).read_to_end(&mut text).map_err(|e| e.to_string())?;
    serde_json::from_slice(&text).map_err(|e| e.to_string())
}
