//! `terraform-provider-karpenter export`: HCL with `import` blocks for the pools and classes of a cluster, or of manifests.
//!
//! Nothing is written to the cluster. What comes out plans no change of the API's objects; see [`found`] for what is left out.

mod files;
mod found;
mod options;

use std::io::Write as _;
use std::process::ExitCode;

use crate::Error;
use found::Export;
use options::Options;

/// How the command is used.
pub const USAGE: &str = "\
terraform-provider-karpenter export --cluster NAME [--region REGION] [--profile PROFILE] [--dir DIR] [--force]
terraform-provider-karpenter export --kubeconfig FILE [--context CONTEXT] [--cluster NAME] [--dir DIR] [--force]
                                        print HCL with import blocks for every EC2NodeClass and NodePool of a cluster (a name or
                                        an ARN), or write it to DIR; files that exist are kept, except with --force
terraform-provider-karpenter export --from FILE [--cluster NAME] [--no-import] [--dir DIR] [--force]
                                        the same for the manifests in FILE, a YAML or JSON text of any number of documents (-: stdin)
";

/// Runs the command; says on stderr what went wrong and what was left out.
pub async fn run(arguments: &[&str]) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(message) => {
            eprint!("export: {message}\n\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    match export(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let remedy = if error.remedy.is_empty() { String::new() } else { format!("\n{}", error.remedy) };
            eprintln!("could not {}: {}{remedy}", error.action, error.message);
            ExitCode::FAILURE
        }
    }
}

async fn export(options: &Options) -> Result<(), Error> {
    let Export { found, skipped } = match &options.from {
        Some(file) => found::of_manifests(file)?,
        None => found::of_cluster(options).await?,
    };
    for line in &skipped {
        eprintln!("left out: {line}");
    }
    for object in &found {
        object.notes.iter().for_each(|note| eprintln!("note: {} {:?}: {note}", object.kind, object.name));
    }
    let files = files::of(&found, options);
    match &options.dir {
        None => {
            let text = files.iter().filter(|f| f.name != files::PROVIDER).map(|f| f.text.as_str()).collect::<Vec<_>>().join("\n");
            std::io::stdout().write_all(text.as_bytes()).map_err(|e| files::refused("print the configuration", &e))
        }
        Some(directory) => {
            for name in files::write(directory, &files, options.force)? {
                eprintln!("wrote {}", directory.join(name).display());
            }
            Ok(())
        }
    }
}
