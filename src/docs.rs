//! The documentation pages under `docs/`: declarations and the applied example, nothing written twice.

use std::path::Path;

use crate::provider::Provider;
use crate::tofu::docs;
use crate::tofu::resource::Provider as _;

/// The example that tests and the demo apply.
const EXAMPLE: &str = include_str!("../examples/seed-stack/main.tf");

/// Every page: its path below `docs/`, and its text.
pub fn pages() -> Vec<(String, String)> {
    let provider = Provider::new();
    let types: Vec<&str> = provider.resources().iter().map(|resource| resource.type_name()).collect();
    let mut pages = vec![("index.md".to_owned(), docs::provider("Karpenter", provider.schema(), &types))];
    for resource in provider.resources() {
        let type_name = resource.type_name();
        let short = type_name.trim_start_matches("karpenter_");
        let ids: &[&str] = if short == "bundle" { &["CLUSTER"] } else { &["NAME", "CLUSTER/NAME"] };
        pages.push((format!("resources/{short}.md"), docs::resource(type_name, resource.schema(), &example(type_name), ids)));
    }
    pages
}

/// Writes every page below a directory.
///
/// # Errors
/// What the file system says.
pub fn write(directory: &Path) -> std::io::Result<()> {
    for (path, text) in pages() {
        let path = directory.join(path);
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(path, text)?;
    }
    Ok(())
}

/// The type's first block in the example.
fn example(type_name: &str) -> String {
    let start = format!("resource \"{type_name}\"");
    let mut lines = vec![];
    for line in EXAMPLE.lines().skip_while(|line| !line.starts_with(&start)) {
        lines.push(line);
        if line.starts_with('}') {
            break;
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_its_example_and_every_attribute_a_sentence() {
        for (path, text) in pages() {
            assert!(path == "index.md" || text.contains("```hcl\nresource \"karpenter_"), "{path} has no example");
            for line in text.lines().filter(|line| line.starts_with("- `")) {
                assert!(line.split_once(") ").is_some_and(|(_, sentence)| !sentence.is_empty()), "{path}: {line}");
            }
        }
    }
}
