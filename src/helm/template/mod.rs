//! Go templates as far as Karpenter's charts use them.

pub mod format;

use serde_json::Value;

use super::chart::Chart;
use super::{Capabilities, Map, Result, invalid};

/// Which release templates are rendered for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseInfo {
    /// `.Release.Name`.
    pub name: String,
    /// `.Release.Namespace`.
    pub namespace: String,
    /// `.Release.Revision`.
    pub revision: u64,
    /// `.Release.IsUpgrade`; otherwise it is an install.
    pub upgrade: bool,
}

/// What a chart renders to.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The manifest as Helm records it.
    pub manifest: String,
    /// API versions that templates asked about and that are not known to be served: ask the cluster, then render again.
    pub asked: Vec<String>,
}

/// Renders a chart; `values` are the user's and ours, the chart's own lie beneath. Pure.
pub fn render(chart: &Chart, values: &Map, release: &ReleaseInfo, capabilities: &Capabilities) -> Result<Rendered> {
    let _ = (chart, values, release, capabilities, Value::Null);
    Err(invalid("render the chart", "not built yet"))
}
