//! The pages under `docs/`: what the registries show. [`crate::tofu::docs`] renders; here is what it is given.

use std::io;
use std::path::Path;

use crate::provider::{Provider, table};
use crate::tofu::docs::{Page, page};
use crate::tofu::resource::Provider as _;

/// Applied by the tests, so its blocks are examples that work.
const SEED_STACK: &str = include_str!("../examples/seed-stack/main.tf");

/// What a user must know before importing a bundle.
const BUNDLE_IMPORT: &str = "\
The id is the name or the ARN of the EKS cluster. Importing changes nothing.

What exists is found wherever it came from, the EKS module, eksctl, helm or a person: the controller's Deployment leads to the release, the
service account and the queue, the service account's association or annotation to the controller's role, the queue to its rules, node
classes and access entries to the node role. Names that are not the bundle's own are kept as long as the configuration names no others, also
when it is empty. Values of the release, a queue's KMS key, a permissions boundary and roles of further node classes become arguments;
`tofu plan -generate-config-out=FILE` writes them down.

The first apply adds the owner tag to what was found, and from then on a destroy removes it. Left alone for good are a node role with its
access entry, unless they carry the owner tag at the import, and policies on the controller's role that allow more than Karpenter needs.
The guide [From the EKS module and helm_release](../guides/migrating.md) shows the whole way.";

const INTRODUCTION: &str = r#"terraform {
  required_providers {
    karpenter = { source = "karpenter-tofu/karpenter" }
  }
}

"#;

/// The guides, by their file's name below `docs/guides/`: written by hand, and run by the tests.
const GUIDES: [(&str, &str); 2] =
    [("migrating.md", include_str!("../docs/guides/migrating.md")), ("upgrading.md", include_str!("../docs/guides/upgrading.md"))];

/// Every page, by its path below `docs/`.
pub fn pages() -> Vec<(String, String)> {
    let provider = Provider::new();
    let example = format!("{INTRODUCTION}{}", block("provider \"karpenter\""));
    let index = page(&Page { title: "karpenter provider", example: &example, import: "" }, provider.schema()) + &table::markdown();
    let mut pages = vec![("index.md".to_owned(), index + &guides())];
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

/// Names of the pages below a directory that are missing or not as [`write`] would write them, and of guides there that the index does
/// not list.
pub fn stale(directory: &Path) -> Vec<String> {
    let differs = |(name, text): &(String, String)| std::fs::read_to_string(directory.join(name)).map_or(true, |found| found != *text);
    let mut stale: Vec<String> = pages().into_iter().filter(differs).map(|(name, _)| name).collect();
    let present = std::fs::read_dir(directory.join("guides")).into_iter().flatten().flatten();
    let present: Vec<String> = present.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    let listed = |name: &String| GUIDES.iter().any(|(guide, _)| guide == name);
    stale.extend(present.iter().filter(|name| !listed(name)).map(|name| format!("guides/{name} (not listed)")));
    stale.extend(GUIDES.iter().filter(|(name, _)| !present.iter().any(|file| file == name)).map(|(name, _)| format!("guides/{name}")));
    stale
}

/// The index' section about the guides, from what they say of themselves.
fn guides() -> String {
    let mut text = "\n## Guides\n\n".to_owned();
    for (name, guide) in GUIDES {
        let after =
            |mark: &str| guide.split_once(mark).and_then(|(_, rest)| rest.lines().next()).unwrap_or_default().trim().trim_matches('"');
        text.push_str(&format!("- [{}](guides/{name}): {}\n", after("page_title:"), after("description: |-\n")));
    }
    text
}

/// The first block of the seed stack that starts so.
fn block(start: &str) -> &'static str {
    let Some(at) = SEED_STACK.find(&format!("\n{start}")) else { return "" };
    let rest = &SEED_STACK[at + 1..];
    rest.find("\n}\n").map_or(rest, |end| &rest[..end + 3])
}

fn import(type_name: &str) -> String {
    let (id, says) = match type_name {
        "karpenter_bundle" => ("my-cluster", BUNDLE_IMPORT),
        _ => (
            "default",
            "The id is the object's name, or `CLUSTER/NAME` for another cluster than the provider's. Importing changes nothing.",
        ),
    };
    format!("{says}\n\n```hcl\nimport {{\n  to = {type_name}.this\n  id = {id:?}\n}}\n```\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_lists_every_guide_and_a_guide_that_it_does_not_list_is_stale() {
        let (directory, (_, index)) = (tempfile::tempdir().unwrap(), pages().swap_remove(0));
        for (name, guide) in GUIDES {
            let title = guide.split_once("\n# ").unwrap().1.lines().next().unwrap();
            assert!(index.contains(&format!("- [{title}](guides/{name}): ")), "{title} is not in:\n{index}");
        }
        write(directory.path()).unwrap();
        let guides = directory.path().join("guides");
        std::fs::create_dir(&guides).unwrap();
        std::fs::write(guides.join("forgotten.md"), "").unwrap();
        assert_eq!(stale(directory.path()), ["guides/forgotten.md (not listed)", "guides/migrating.md", "guides/upgrading.md"]);
    }

    #[test]
    fn every_resource_has_a_page_with_an_example() {
        for (name, text) in pages() {
            assert!(text.contains("## Example"), "{name} has no example");
            assert!(!text.contains(": \n"), "{name} has something without a description");
        }
    }
}
