//! The chart's part of `karpenter_bundle`: what validate and plan say of its values, and `moved {}` from a `helm_release`.

use serde_json::Value as Json;

use super::bundle::Bundle;
use crate::bundle::chart_values;
use crate::bundle::desired::Desired;
use crate::bundle::record::Record;
use crate::helm;
use crate::tofu::convert;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::Path;
use crate::tofu::resource::{ImportResponse, MoveRequest};
use crate::tofu::value::Value;
use crate::{Error, Kind};

/// The blocks that set one value each.
const SETS: [&str; 2] = ["set", "set_sensitive"];

/// Paths that `set` and `set_sensitive` cannot follow.
pub(super) fn check(config: &Value, diagnostics: &mut Diagnostics) {
    let chart = config.attr("chart").first();
    let at = |block: &str, index: usize| Path::attribute("chart").index(0).child(block).index(index).child("name");
    let mut values = helm::Map::new();
    for block in SETS {
        for (index, set) in chart.attr(block).items().iter().enumerate() {
            if set.attr("type").is_unknown() {
                continue;
            }
            let kind = match set.attr("type").as_str() {
                Some(word) => serde_json::from_value(Json::from(word)).unwrap_or_default(),
                None => crate::bundle::arguments::SetType::Auto,
            };
            let (Some(name), Some(value)) = (set.attr("name").as_str(), set.attr("value").as_str()) else { continue };
            if let Err(error) = helm::set::set(&mut values, name, value, kind) {
                diagnostics.extend(error.at(at(block, index)).into());
            }
        }
    }
}

/// Warns of what the chart's values say otherwise than the bundle would: they win.
pub(super) fn warnings(planned: &Value, wanted: &Desired) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    let decides = ["chart", "interruption_queue", "service_account", "cluster_name"];
    if decides.iter().any(|name| !planned.attr(name).is_wholly_known()) {
        return diagnostics;
    }
    let Some(Ok(overridden)) = wanted.chart.as_ref().map(chart_values::overridden) else { return diagnostics };
    if !overridden.is_empty() {
        let detail = format!(
            "{}.\n\nThe chart's values win over what the bundle would set. Take them out where that is not meant: the bundle's other objects \
             keep their names.",
            overridden.join("; ")
        );
        diagnostics.warning(Path::attribute("chart"), "the chart's values differ from the bundle", detail);
    }
    diagnostics
}

impl Bundle {
    /// The state of a `helm_release` of Karpenter's chart; `None` for any other source. What else there is of a bundle, the read finds that
    /// follows: a provider is not configured while state moves.
    pub(super) fn take_over_release(&self, request: &MoveRequest) -> Option<ImportResponse> {
        let provider = request.source_provider_address.rsplit('/').take(2).collect::<Vec<_>>();
        if (provider.as_slice(), request.source_type_name.as_str()) != (&["helm", "hashicorp"], "helm_release") {
            return None;
        }
        Some(self.moved(&request.source_state).unwrap_or_else(|e| ImportResponse { diagnostics: e.into(), ..ImportResponse::default() }))
    }

    fn moved(&self, source: &Json) -> Result<ImportResponse, Error> {
        let action = "move the state of a helm_release to a karpenter_bundle";
        let text = |value: &Json, key: &str| value.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        // metadata is a list of one up to version 2 of that provider
        let metadata = source.get("metadata").map(|m| m.get(0).unwrap_or(m)).cloned().unwrap_or_default();
        let first = |a: String, b: String| if a.is_empty() { b } else { a };
        let chart = first(text(&metadata, "chart"), text(source, "chart"));
        let chart = chart.trim_end_matches(".tgz").rsplit('/').next().unwrap_or_default();
        if chart != "karpenter" && !chart.starts_with("karpenter-1") {
            return Err(Error::new(Kind::Invalid, action, format!("it holds the chart {chart:?}"))
                .remedy("A bundle holds the chart karpenter. Let a release of karpenter-crd be forgotten with `removed {}`."));
        }
        let name = first(text(&metadata, "name"), text(source, "name"));
        let namespace = first(first(text(&metadata, "namespace"), text(source, "namespace")), "default".to_owned());
        if name.is_empty() {
            return Err(Error::new(Kind::Invalid, action, "its state names no release"));
        }
        let block = &self.schema.block;
        let mut state = convert::from_json(&block.ty(), &serde_json::json!({"namespace": namespace}));
        block.blocks.iter().for_each(|nested| state.set(&nested.name, Value::List(vec![])));
        let record = Record { moved: Some((namespace, name)), complete: true, ..Record::default() };
        Ok(ImportResponse { state, private: record.write(), ..ImportResponse::default() })
    }

    /// The whole bundle of which a moved `helm_release` was a part. That release counts as adopted.
    pub(super) async fn complete_move(&self, state: &Value, namespace: &str, release: &str) -> Result<ImportResponse, Error> {
        let connection = self.reach(state).await?;
        let id = if connection.cluster.arn.is_empty() { &connection.cluster.name } else { &connection.cluster.arn };
        let response = self.take_in(id, (namespace, release)).await?;
        let found = response.state.attr("namespace").as_str().unwrap_or_default();
        let record = Record::read(&response.private);
        let found_release = record.found.release.as_deref().unwrap_or("karpenter");
        if (found, found_release) != (namespace, release) {
            let action = format!("move the Helm release {namespace}/{release} to a karpenter_bundle");
            let message = format!("Karpenter of this cluster is the release {found}/{found_release}");
            return Err(
                Error::new(Kind::Invalid, action, message).remedy("Move that one, or take the moved block out and import the bundle.")
            );
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::provider::Connections;

    fn moved(address: &str, source_state: Json) -> Option<ImportResponse> {
        let bundle = Bundle::new(Arc::new(Connections::new()));
        bundle.take_over_release(&MoveRequest {
            source_provider_address: address.into(),
            source_type_name: "helm_release".into(),
            source_schema_version: 1,
            source_state,
        })
    }

    #[test]
    fn a_helm_release_of_karpenter_is_taken() {
        for metadata in [
            json!([{"chart": "karpenter", "name": "kp", "namespace": "ops"}]),
            json!({"chart": "karpenter", "name": "kp", "namespace": "ops"}),
        ] {
            let state =
                json!({"chart": "oci://public.ecr.aws/karpenter/karpenter", "name": "kp", "namespace": "ops", "metadata": metadata});
            let response = moved("registry.opentofu.org/hashicorp/helm", state).expect("known");
            assert_eq!(response.diagnostics.0, vec![]);
            assert_eq!(Record::read(&response.private).moved, Some(("ops".to_owned(), "kp".to_owned())));
        }
        let other = moved("registry.terraform.io/hashicorp/helm", json!({"chart": "nginx", "name": "x"})).expect("known");
        assert!(other.diagnostics.has_errors() && other.state.is_null());
        assert!(moved("registry.terraform.io/hashicorp/aws", json!({})).is_none());
    }
}
