//! The provider's binary: started by OpenTofu or Terraform without arguments, by a person with one of [`USAGE`]'s.

use std::path::Path;
use std::process::ExitCode;

use karpenter::provider::Provider;
use karpenter::{commands, docs, export, plugin};

const USAGE: &str = "\
terraform-provider-karpenter            serve the client that started it
terraform-provider-karpenter -debug     serve any client, and print how it finds this process
terraform-provider-karpenter -version   print the version
terraform-provider-karpenter docs DIR   write the documentation
";

fn main() -> ExitCode {
    // the client's calls are few and mostly wait for AWS or Kubernetes
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("could not start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let code = match arguments.as_slice() {
        [] => runtime.block_on(plugin::serve(|| Provider::new())),
        ["-debug" | "--debug"] => runtime.block_on(plugin::debug(|| Provider::new())),
        ["-version" | "--version"] => {
            println!(env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        ["orphans", rest @ ..] => runtime.block_on(commands::orphans::run(rest)),
        ["docs", directory] => write_docs(Path::new(directory)),
        ["docs", "-check", directory] => check_docs(Path::new(directory)),
        ["export", arguments @ ..] => runtime.block_on(export::run(arguments)),
        _ => {
            eprint!("{USAGE}{}{}", commands::orphans::USAGE, export::USAGE);
            ExitCode::FAILURE
        }
    };
    // calls still in flight are nobody's any more
    runtime.shutdown_background();
    code
}

fn write_docs(directory: &Path) -> ExitCode {
    match docs::write(directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("could not write the documentation to {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn check_docs(directory: &Path) -> ExitCode {
    let stale = docs::stale(directory);
    if stale.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("not as the declarations say, run `make docs`: {}", stale.join(", "));
    ExitCode::FAILURE
}
