//! Compiles `proto/` without protoc. Clients are generated too: tests and benchmarks drive the plugin with them.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let protos = ["proto/tfplugin5.proto", "proto/plugin.proto", "proto/health.proto"];
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(protos, ["proto"])?;
    tonic_prost_build::configure().build_transport(false).compile_fds(descriptors)?;
    Ok(())
}
