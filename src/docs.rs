//! The pages under `docs/`: what the registries show. [`crate::tofu::docs`] renders; here is what it is given.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::permissions;
use crate::provider::{Provider, table};
use crate::tofu::docs::{Page, page};
use crate::tofu::resource::Provider as _;

/// Applied by the tests, so their blocks are examples that work.
const SEED_STACK: &str = include_str!("../examples/seed-stack/main.tf");
const OBJECTS: &str = include_str!("../examples/objects/main.tf");
const POOL: &str = include_str!("../examples/objects/pools/web.yaml");
const CLASS: &str = include_str!("../examples/objects/class.yaml");

/// Further sections of the two kinds' pages: title, words, the file and the block in it, and a manifest beside it.
type Section = (&'static str, &'static str, &'static str, &'static str);

const OF_POOLS: [Section; 4] = [
    ("Budgets and requirements", "Every operator, and budgets by the clock:", "resource \"karpenter_nodepool\" \"batch\"", ""),
    ("A static pool", "A fixed number of nodes, whatever pods there are:", "resource \"karpenter_nodepool\" \"static\"", ""),
    (
        "Pools kept as manifests",
        "Text as `kubectl` takes it, instead of arguments; types, checks, equality and drift are the same:",
        "resource \"karpenter_nodepool\" \"from_catalog\"",
        POOL,
    ),
    (
        "Readiness in CI",
        "A pool that Karpenter does not report as Ready is a warning and `ready = false`, so that the next apply does not replace it. A \
         `check` shows it to whoever reads the plan:",
        "check \"karpenter\"",
        "",
    ),
];

const OF_CLASSES: [Section; 2] = [
    ("Kubelet, volumes and networks", "More of what a class can say:", "resource \"karpenter_nodeclass\" \"tuned\"", ""),
    (
        "A class kept as a manifest",
        "Text as `kubectl` takes it, instead of arguments; types, checks, equality and drift are the same:",
        "resource \"karpenter_nodeclass\" \"from_catalog\"",
        CLASS,
    ),
];

const INTRODUCTION: &str = r#"terraform {
  required_providers {
    karpenter = { source = "karpenter-tofu/karpenter" }
  }
}

"#;

/// Every page, by its path below `docs/`.
pub fn pages() -> Vec<(String, String)> {
    let provider = Provider::new();
    let example = format!("{INTRODUCTION}{}", block(SEED_STACK, "provider \"karpenter\""));
    let plain = Page { title: "karpenter provider", example: &example, sections: &[], product: "Karpenter", made: "nodes", import: "" };
    let index = page(&plain, provider.schema()) + &table::markdown();
    let mut pages = vec![("index.md".to_owned(), index), ("guides/permissions.md".to_owned(), permissions::page())];
    for resource in provider.resources() {
        let name = resource.type_name();
        let example = block(SEED_STACK, &format!("resource \"{name}\""));
        let sections = sections(name);
        let text = page(&Page { title: name, example, sections: &sections, import: &import(name), ..plain }, resource.schema());
        pages.push((format!("resources/{}.md", name.trim_start_matches("karpenter_")), text));
    }
    pages
}

/// Writes every page below a directory.
///
/// # Errors
/// What the file system says.
pub fn write(directory: &Path) -> io::Result<()> {
    for (name, text) in pages() {
        let file = directory.join(name);
        file.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(file, text)?;
    }
    Ok(())
}

/// Names of the pages below a directory that are missing or not as [`write`] would write them.
pub fn stale(directory: &Path) -> Vec<String> {
    let differs = |(name, text): &(String, String)| std::fs::read_to_string(directory.join(name)).map_or(true, |found| found != *text);
    pages().into_iter().filter(differs).map(|(name, _)| name).collect()
}

/// The first block of a configuration that starts so.
fn block(configuration: &'static str, start: &str) -> &'static str {
    let Some(at) = configuration.find(&format!("\n{start}")) else { return "" };
    let rest = &configuration[at + 1..];
    rest.find("\n}\n").map_or(rest, |end| &rest[..end + 3])
}

/// Examples beside the first one.
fn sections(type_name: &str) -> Vec<(&'static str, String)> {
    let sections: &[Section] = match type_name {
        "karpenter_nodepool" => &OF_POOLS,
        "karpenter_nodeclass" => &OF_CLASSES,
        _ => &[],
    };
    let section = |(title, words, start, manifest): &Section| {
        let beside = if manifest.is_empty() { String::new() } else { format!("\n```yaml\n{}\n```\n", manifest.trim_end()) };
        (*title, format!("{words}\n\n```hcl\n{}\n```\n{beside}", block(OBJECTS, start).trim_end()))
    };
    sections.iter().map(section).collect()
}

fn import(type_name: &str) -> String {
    let (says, id, identity) = match type_name {
        "karpenter_bundle" => ("The id is the name of the EKS cluster.", "my-cluster", ""),
        _ => ("The id is the object's name, or `CLUSTER/NAME` for another cluster than the provider's.", "default", ", name = \"default\""),
    };
    let mut text = format!("{says} Importing changes nothing.\n\n```hcl\nimport {{\n  to = {type_name}.this\n  id = {id:?}\n}}\n```\n\n");
    text.push_str("Clients that know resource identity (from 1.12 on) take that, too:\n\n");
    let arn = "arn:aws:eks:eu-west-1:123456789012:cluster/my-cluster";
    let _ = write!(text, "```hcl\nimport {{\n  to       = {type_name}.this\n  identity = {{ cluster_arn = {arn:?}{identity} }}\n}}\n```\n");
    if type_name != "karpenter_bundle" {
        let _ = write!(text, "{}", MOVING.replace("TYPE", type_name));
    }
    text
}

/// How whole clusters, and objects that other providers hold, come here.
const MOVING: &str = "
`terraform-provider-karpenter export --cluster NAME --dir DIR` writes the configuration of every class and pool of a cluster with its
`import` block; `export --from FILE` does the same for manifests.

From `kubernetes_manifest` (hashicorp) and `kubectl_manifest` (gavinbunney, alekc) an object moves without being touched, the former
field manager's entries pass with the first change:

```hcl
moved {
  from = kubernetes_manifest.this
  to   = TYPE.this
}
```
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_has_a_page_with_an_example() {
        for (name, text) in pages().iter().filter(|(name, _)| !name.starts_with("guides/")) {
            assert!(text.contains("## Example"), "{name} has no example");
            assert!(!text.contains("```hcl\n\n```"), "{name} has an empty example");
            assert!(!text.contains(": \n"), "{name} has something without a description");
        }
    }
}
