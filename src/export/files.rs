//! The text of an export, and the files that it is written to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path as FilePath;

use super::found::Found;
use super::options::Options;
use crate::provider::config;
use crate::resources::nodeclass::NodeClassKind;
use crate::resources::nodepool::NodePoolKind;
use crate::resources::object::Kind;
use crate::tofu::hcl;
use crate::tofu::path::Path;
use crate::tofu::value::Value;
use crate::{Error, Kind as ErrorKind};

/// The file with the provider block.
pub const PROVIDER: &str = "providers.tf";

/// One file.
pub struct File {
    /// Its name.
    pub name: &'static str,
    /// Its text.
    pub text: String,
}

const REQUIRED: &str = r#"terraform {
  required_providers {
    karpenter = {
      source = "karpenter-tofu/karpenter"
    }
  }
}
"#;

/// The files of an export: the provider block, the classes, the pools; no file without a block in it.
pub fn of(found: &[Found], options: &Options) -> Vec<File> {
    let mut labels: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    let mut taken: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for object in found {
        let label = hcl::label(&object.name, taken.entry(object.type_name).or_default());
        labels.entry(object.type_name).or_default().insert(&object.name, label);
    }
    let provider = hcl::block("provider \"karpenter\"", &config::schema().block, &options.provider(), &|_| None);
    let mut files = vec![File { name: PROVIDER, text: format!("{REQUIRED}\n{provider}") }];
    let none = BTreeMap::new();
    let classes = labels.get(NodeClassKind::TYPE_NAME).unwrap_or(&none);
    for (name, type_name, schema) in [
        ("nodeclasses.tf", NodeClassKind::TYPE_NAME, NodeClassKind::schema()),
        ("nodepools.tf", NodePoolKind::TYPE_NAME, NodePoolKind::schema()),
    ] {
        let own = labels.get(type_name).unwrap_or(&none);
        let objects = found.iter().filter(|object| object.type_name == type_name);
        let blocks = objects.map(|object| {
            let label = own.get(object.name.as_str()).map(String::as_str).unwrap_or_default();
            let reference = |path: &Path| class_reference(path, &object.config, classes);
            let head = format!("resource \"{type_name}\" \"{label}\"");
            format!("{}{}", preamble(object, label, options), hcl::block(&head, &schema.block, &object.config, &reference))
        });
        let text = blocks.collect::<Vec<_>>().join("\n");
        if !text.is_empty() {
            files.push(File { name, text });
        }
    }
    files
}

/// What stands above a resource: the import, and what is to be known of it.
fn preamble(object: &Found, label: &str, options: &Options) -> String {
    let mut text = String::new();
    if !options.no_import {
        let id = options.cluster.as_ref().map_or_else(|| object.name.clone(), |cluster| format!("{cluster}/{}", object.name));
        let _ = write!(text, "import {{\n  to = {}.{label}\n  id = {}\n}}\n\n", object.type_name, hcl::quoted(&id));
    }
    for note in &object.notes {
        let _ = writeln!(text, "# {}", note.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    text
}

/// A pool refers to its class where that is among the exported ones, so that they are made and destroyed in order.
fn class_reference(path: &Path, config: &Value, classes: &BTreeMap<&str, String>) -> Option<String> {
    if *path != Path::attribute("template").index(0).child("node_class_ref").index(0).child("name") {
        return None;
    }
    let class = config.attr("template").first().attr("node_class_ref").first();
    let resource = NodeClassKind::api_resource();
    let is = |name: &str, own: &str| class.attr(name).as_str().is_none_or(|written| written == own);
    let label = classes.get(class.attr("name").as_str()?).filter(|_| is("group", &resource.group) && is("kind", &resource.kind))?;
    Some(format!("{}.{label}.name", NodeClassKind::TYPE_NAME))
}

/// Writes the files; their names. The provider block goes only into a directory without any other configuration.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] where a file exists and `force` is false, before anything is written; what the file system says.
pub fn write(directory: &FilePath, files: &[File], force: bool) -> Result<Vec<&'static str>, Error> {
    let action = || format!("write to {}", directory.display());
    std::fs::create_dir_all(directory).map_err(|e| refused(&action(), &e))?;
    let entries = std::fs::read_dir(directory).map_err(|e| refused(&action(), &e))?;
    let there: BTreeSet<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let ours = |name: &str| files.iter().any(|file| file.name == name);
    let is_configured = there.iter().any(|name| (name.ends_with(".tf") || name.ends_with(".tofu")) && !ours(name));
    let wanted = || files.iter().filter(|file| file.name != PROVIDER || !is_configured);
    let existing: Vec<&str> = wanted().map(|file| file.name).filter(|name| there.contains(*name)).collect();
    if !force && !existing.is_empty() {
        return Err(Error::new(ErrorKind::AlreadyExists, action(), format!("{} exist there already", existing.join(", ")))
            .remedy("Nothing was written. Give another --dir, or --force to overwrite them."));
    }
    for File { name, text } in wanted() {
        std::fs::write(directory.join(name), text).map_err(|e| refused(&format!("write {}", directory.join(name).display()), &e))?;
    }
    Ok(wanted().map(|file| file.name).collect())
}

/// What the file system says.
pub fn refused(action: &str, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Other, action, error.to_string())
}
