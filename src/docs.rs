//! The pages under `docs/`: what the registries show. [`crate::tofu::docs`] renders; here is what it is given.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::provider::{Provider, table};
use crate::tofu::docs::{Page, page};
use crate::tofu::resource::Provider as _;

/// Applied by the tests, so its blocks are examples that work.
const SEED_STACK: &str = include_str!("../examples/seed-stack/main.tf");

const INTRODUCTION: &str = r#"terraform {
  required_providers {
    karpenter = { source = "karpenter-tofu/karpenter" }
  }
}

"#;

/// Every page, by its path below `docs/`.
pub fn pages() -> Vec<(String, String)> {
    let provider = Provider::new();
    let example = format!("{INTRODUCTION}{}", block("provider \"karpenter\""));
    let index = page(&Page { title: "karpenter provider", example: &example, import: "" }, provider.schema()) + &table::markdown();
    let mut pages = vec![("index.md".to_owned(), index)];
    for resource in provider.resources() {
        let name = resource.type_name();
        let example = block(&format!("resource \"{name}\""));
        let text = page(&Page { title: name, example, import: &import(name) }, resource.schema());
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

/// The first block of the seed stack that starts so.
fn block(start: &str) -> &'static str {
    let Some(at) = SEED_STACK.find(&format!("\n{start}")) else { return "" };
    let rest = &SEED_STACK[at + 1..];
    rest.find("\n}\n").map_or(rest, |end| &rest[..end + 3])
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
        for (name, text) in pages() {
            assert!(text.contains("## Example"), "{name} has no example");
            assert!(!text.contains(": \n"), "{name} has something without a description");
        }
    }
}
