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

/// What a user must know before importing a bundle.
const BUNDLE_IMPORT: &str = "\
The id is the name or the ARN of the EKS cluster. Importing changes nothing.

What exists is found wherever it came from, the EKS module, eksctl, helm or a person: the controller's Deployment leads to the release, the
service account and the queue, the service account's association or annotation to the controller's role, the queue to its rules, node
classes and access entries to the node role. Names that are not the bundle's own are kept as long as the configuration names no others, also
when it is empty. Values of the release, a queue's encryption, a permissions boundary, the longest session and roles of further node classes
become arguments; `tofu plan -generate-config-out=FILE` writes them down. A release's values may hold secrets: what was given as `set_sensitive`
comes back among `values`.

The first apply adds the owner tag to what was found, and from then on a destroy removes it. Left alone for good are a node role with its
access entry, unless they carry the owner tag at the import, and policies on the controller's role that allow more than Karpenter needs.
The guide [From the EKS module and helm_release](../guides/migrating.md) shows the whole way.";

const INTRODUCTION: &str = r#"terraform {
  required_providers {
    karpenter = { source = "karpenter-tofu/karpenter" }
  }
}

"#;

/// Guides that are written by hand and run by the tests, by their paths below `docs/`.
const GUIDES: [(&str, &str); 2] = [
    ("guides/migrating.md", include_str!("../docs/guides/migrating.md")),
    ("guides/upgrading.md", include_str!("../docs/guides/upgrading.md")),
];

/// Every page, by its path below `docs/`.
pub fn pages() -> Vec<(String, String)> {
    let provider = Provider::new();
    let example = format!("{INTRODUCTION}{}", block(SEED_STACK, "provider \"karpenter\""));
    let plain = Page { title: "karpenter provider", example: &example, sections: &[], product: "Karpenter", made: "nodes", import: "" };
    let mut guides: Vec<(String, String)> = GUIDES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    guides.push(("guides/permissions.md".to_owned(), permissions::page()));
    let index = page(&plain, provider.schema()) + &table::markdown() + &listed(&guides);
    let mut pages = vec![("index.md".to_owned(), index)];
    pages.append(&mut guides);
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

/// Names of the pages below a directory that are missing or not as [`write`] would write them, and of guides there that the index does
/// not list.
pub fn stale(directory: &Path) -> Vec<String> {
    let differs = |(name, text): &(String, String)| std::fs::read_to_string(directory.join(name)).map_or(true, |found| found != *text);
    let (stale, fresh): (Vec<_>, Vec<_>) = pages().into_iter().partition(differs);
    let mut stale: Vec<String> = stale.into_iter().map(|(name, _)| name).collect();
    let present = std::fs::read_dir(directory.join("guides")).into_iter().flatten().flatten();
    let present = present.map(|file| format!("guides/{}", file.file_name().to_string_lossy()));
    let unlisted: Vec<String> = present.filter(|name| !stale.contains(name) && !fresh.iter().any(|(page, _)| page == name)).collect();
    stale.extend(unlisted);
    stale
}

/// The index' section about the guides, from what they say of themselves.
fn listed(guides: &[(String, String)]) -> String {
    let mut text = "\n## Guides\n\n".to_owned();
    for (name, guide) in guides {
        let after = |mark: &str| guide.split_once(mark).and_then(|(_, rest)| rest.lines().next()).unwrap_or_default().trim();
        let _ = writeln!(text, "- [{}]({name}): {}", after("page_title:").trim_matches('"'), after("description: |-\n"));
    }
    text
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
        "karpenter_bundle" => (BUNDLE_IMPORT, "my-cluster", ""),
        _ => (
            "The id is the object's name, or `CLUSTER/NAME` for another cluster than the provider's. Importing changes nothing.",
            "default",
            ", name = \"default\"",
        ),
    };
    let mut text = format!("{says}\n\n```hcl\nimport {{\n  to = {type_name}.this\n  id = {id:?}\n}}\n```\n\n");
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
    fn the_index_lists_every_guide_and_a_guide_that_it_does_not_list_is_stale() {
        let (directory, (_, index)) = (tempfile::tempdir().unwrap(), pages().swap_remove(0));
        for (name, guide) in pages().iter().filter(|(name, _)| name.starts_with("guides/")) {
            let title = guide.split_once("\n# ").unwrap().1.lines().next().unwrap();
            assert!(index.contains(&format!("- [{title}]({name}): ")), "{title} is not in:\n{index}");
        }
        write(directory.path()).unwrap();
        assert_eq!(stale(directory.path()), [""; 0]);
        std::fs::write(directory.path().join("guides/forgotten.md"), "").unwrap();
        assert_eq!(stale(directory.path()), ["guides/forgotten.md"]);
    }

    #[test]
    fn every_resource_has_a_page_with_an_example() {
        for (name, text) in pages().iter().filter(|(name, _)| !name.starts_with("guides/")) {
            assert!(text.contains("## Example"), "{name} has no example");
            assert!(!text.contains("```hcl\n\n```"), "{name} has an empty example");
            assert!(!text.contains(": \n"), "{name} has something without a description");
        }
    }
}
