//! The conversion webhook of Karpenter 1.0's CRDs: it serves `v1beta1`, and where it is depends on the release.
//!
//! `crds/` cannot be templated, so it names a service in kube-system; the chart `karpenter-crd` and a hook of 1.0.0 put in the right one.
//! From 1.1 on there is no webhook, and an API server that still calls one cannot read a single object.

use serde_json::{Value, json};

use super::chart::Chart;
use super::{Map, values};

/// The CRDs in a chart's `crds/` as a release with these values needs them.
///
/// # Errors
/// What is no CRD.
pub fn crds(chart: &Chart, user: &Map, release: &str, namespace: &str) -> super::Result<Vec<Value>> {
    let all = values::coalesce(&chart.values, user);
    let mut crds = chart.crds()?;
    for crd in &mut crds {
        let Some(conversion) = crd.pointer_mut("/spec/conversion") else { continue };
        if !is_webhook(conversion) {
            continue;
        }
        let webhook = all.get("webhook");
        if webhook.and_then(|webhook| webhook.get("enabled")).and_then(Value::as_bool) == Some(false) {
            *conversion = json!({"strategy": "None"});
        } else if let Some(service) = conversion.pointer_mut("/webhook/clientConfig/service").and_then(Value::as_object_mut) {
            service.insert("name".to_owned(), full_name(chart, &all, release).into());
            service.insert("namespace".to_owned(), namespace.into());
            if let Some(port) = webhook.and_then(|webhook| webhook.get("port")).filter(|port| port.is_number()) {
                service.insert("port".to_owned(), port.clone());
            }
        }
    }
    Ok(crds)
}

/// Whether objects are converted by a webhook.
pub(super) fn is_webhook(conversion: &Value) -> bool {
    conversion.get("strategy").and_then(Value::as_str) == Some("Webhook")
}

/// The name that the chart gives its Service.
fn full_name(chart: &Chart, all: &Map, release: &str) -> String {
    let text = |key: &str| all.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let name = text("nameOverride").unwrap_or(chart.name());
    let full = match text("fullnameOverride") {
        Some(full) => full.to_owned(),
        None if release.contains(name) => release.to_owned(),
        None => format!("{release}-{name}"),
    };
    full.chars().take(63).collect::<String>().trim_end_matches('-').to_owned()
}
