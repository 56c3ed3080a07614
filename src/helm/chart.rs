//! A chart as an archive or a directory holds it, with everything that a release record keeps.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;

use super::{Map, Result, invalid, yaml};

/// The largest archive, and the largest sum of unpacked files, in bytes.
pub const MAX_BYTES: u64 = 20 * 1024 * 1024;

/// One chart: `karpenter` or `karpenter-crd`.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// Chart.yaml, with the keys that Helm knows.
    pub metadata: Map,
    /// Chart.lock, or null.
    pub lock: Value,
    /// values.yaml.
    pub values: Map,
    /// Everything below `templates/`, in the archive's order.
    pub templates: Vec<File>,
    /// Everything else but the three files above, `crds/` among them, in the archive's order.
    pub files: Vec<File>,
}

/// One file of a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Path inside the chart: `templates/deployment.yaml`.
    pub name: String,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// The keys of Chart.yaml that Helm reads; whatever else stands there is dropped, as Helm drops it.
const METADATA: &[&str] = &[
    "name",
    "home",
    "sources",
    "version",
    "description",
    "keywords",
    "maintainers",
    "icon",
    "apiVersion",
    "condition",
    "tags",
    "appVersion",
    "deprecated",
    "annotations",
    "kubeVersion",
    "dependencies",
    "type",
];

impl Chart {
    /// Reads a `.tgz`; an error names what is wrong with it.
    pub fn from_archive(bytes: &[u8]) -> Result<Chart> {
        let action = "read chart archive";
        let mut archive = tar::Archive::new(GzDecoder::new(bytes).take(MAX_BYTES));
        let mut files = vec![];
        for entry in archive.entries().map_err(|e| invalid(action, e.to_string()))? {
            let mut entry = entry.map_err(|e| invalid(action, format!("{e} (not a gzipped tar, or over {MAX_BYTES} bytes)")))?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let path = entry.path().map_err(|e| invalid(action, e.to_string()))?.to_string_lossy().into_owned();
            let Some((_, name)) = path.trim_start_matches("./").split_once('/') else {
                return Err(invalid(action, format!("{path} lies outside the chart's directory")));
            };
            let mut data = vec![];
            entry.read_to_end(&mut data).map_err(|e| invalid(action, format!("{path}: {e}")))?;
            files.push(File { name: name.to_owned(), data });
        }
        Self::from_files(files)
    }

    /// Reads an unpacked chart; hidden files but `.helmignore` are left out.
    pub fn from_directory(root: &Path) -> Result<Chart> {
        let mut files = vec![];
        collect(root, "", &mut files)?;
        Self::from_files(files)
    }

    fn from_files(files: Vec<File>) -> Result<Chart> {
        let action = "read chart";
        let mut chart = Chart { metadata: Map::new(), lock: Value::Null, values: Map::new(), templates: vec![], files: vec![] };
        for mut file in files {
            file.data = file.data.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(file.data);
            match file.name.as_str() {
                "Chart.yaml" => {
                    let Value::Object(all) = file.yaml()? else { return Err(invalid(action, "Chart.yaml is not a mapping")) };
                    chart.metadata = all.into_iter().filter(|(k, v)| METADATA.contains(&k.as_str()) && !v.is_null()).collect();
                }
                "Chart.lock" => chart.lock = file.yaml()?,
                "values.yaml" => {
                    chart.values = match file.yaml()? {
                        Value::Object(values) => values,
                        Value::Null => Map::new(),
                        _ => return Err(invalid(action, "values.yaml is not a mapping")),
                    }
                }
                "values.schema.json" => return Err(invalid(action, "values.schema.json is not supported: Karpenter's charts have none")),
                name if name.starts_with("templates/") => chart.templates.push(file),
                name if name.starts_with("charts/") => {
                    return Err(invalid(action, format!("{name}: subcharts are not supported: Karpenter's charts have none")));
                }
                _ => chart.files.push(file),
            }
        }
        chart.check()?;
        Ok(chart)
    }

    fn check(&self) -> Result<()> {
        for key in ["apiVersion", "name", "version"] {
            if self.text(key).is_empty() {
                return Err(invalid("read chart", format!("Chart.yaml has no {key}, or it is no text")));
            }
        }
        if self.metadata.get("appVersion").is_some_and(|v| !v.is_string()) {
            return Err(invalid("read chart", "Chart.yaml: appVersion must be text"));
        }
        if self.text("type") == "library" {
            return Err(invalid("read chart", "a library chart cannot be installed"));
        }
        if self.metadata.get("dependencies").and_then(Value::as_array).is_some_and(|d| !d.is_empty()) {
            return Err(invalid("read chart", "a chart with dependencies is not supported: Karpenter's charts have none"));
        }
        Ok(())
    }

    /// The chart's name.
    pub fn name(&self) -> &str {
        self.text("name")
    }

    /// The chart's version.
    pub fn version(&self) -> &str {
        self.text("version")
    }

    /// The version of what it installs; empty where Chart.yaml says none.
    pub fn app_version(&self) -> &str {
        self.text("appVersion")
    }

    /// A metadata key as text; empty where it is absent.
    pub fn text(&self, key: &str) -> &str {
        self.metadata.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// The objects in `crds/`, in the order of their names.
    pub fn crds(&self) -> Result<Vec<Value>> {
        let mut by_name = BTreeMap::new();
        for file in self.files.iter().filter(|f| f.name.starts_with("crds/") && is_manifest(&f.name)) {
            for object in yaml::parse_all(&file.text()).map_err(|e| invalid(format!("read {}", file.name), e))? {
                if object.is_null() {
                    continue;
                }
                let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
                if object.get("kind").and_then(Value::as_str) != Some("CustomResourceDefinition") || name.is_empty() {
                    return Err(invalid(format!("read {}", file.name), "not a CustomResourceDefinition with a name"));
                }
                by_name.insert(name, object);
            }
        }
        Ok(by_name.into_values().collect())
    }
}

impl File {
    /// Its content as text; bytes that are no UTF-8 become replacement characters.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }

    fn yaml(&self) -> Result<Value> {
        yaml::parse(&self.text()).map_err(|e| invalid(format!("read {}", self.name), e))
    }
}

fn is_manifest(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))
}

fn collect(directory: &Path, prefix: &str, files: &mut Vec<File>) -> Result<()> {
    let failed = |e: std::io::Error| invalid(format!("read {}", directory.display()), e.to_string());
    let mut entries = std::fs::read_dir(directory).map_err(failed)?.collect::<std::io::Result<Vec<_>>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let own = entry.file_name().to_string_lossy().into_owned();
        if own.starts_with('.') && own != ".helmignore" {
            continue;
        }
        let name = format!("{prefix}{own}");
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files)?;
        } else {
            let sum: u64 = files.iter().map(|f| f.data.len() as u64).sum();
            let data = std::fs::read(entry.path()).map_err(failed)?;
            if sum + data.len() as u64 > MAX_BYTES {
                return Err(invalid(format!("read {}", directory.display()), format!("the chart is over {MAX_BYTES} bytes")));
            }
            files.push(File { name, data });
        }
    }
    Ok(())
}
