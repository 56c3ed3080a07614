//! A call's work, answered.

use tonic::{Response, Status};

use super::encode::diagnostics;
use super::panics;
use crate::plugin::proto::tfplugin5 as proto;
use crate::tofu::diagnostics::Diagnostics;

/// Awaits a call's work; what it refuses, and a panic, become the response that `refuse` makes of diagnostics.
pub async fn answer<T>(
    rpc: &'static str,
    type_name: &str,
    work: impl Future<Output = Result<T, Diagnostics>>,
    refuse: impl FnOnce(Vec<proto::Diagnostic>) -> T,
) -> Result<Response<T>, Status> {
    let started = std::time::Instant::now();
    let result = panics::caught(rpc, work).await;
    // as the service itself
    tracing::debug!(target: "karpenter::server", rpc, type_name, ms = started.elapsed().as_millis() as u64, refused = result.is_err(), "served");
    Ok(Response::new(result.unwrap_or_else(|found| refuse(diagnostics(found)))))
}
