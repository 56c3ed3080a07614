//! Changes of a bundle that did not come to their end. The state goes on with the former arguments, so the arguments of such a change are
//! kept beside it: what it made under other names goes when a later change, or a destroy, comes to its end.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::bundle::Bundle;
use super::bundle_steps::parsed;
use crate::Error;
use crate::bundle::arguments::Arguments;
use crate::bundle::chart::{self, Session};
use crate::bundle::context::Context;
use crate::bundle::desired::{Chart, Desired, Place};
use crate::bundle::observe::{self, Known};
use crate::bundle::record::Record;
use crate::bundle::remove::{self, Removal};
use crate::tofu::convert;
use crate::tofu::value::Value;

/// What of the chart's arguments is kept: not its values, which may be secret.
const OF_CHART: [&str; 2] = ["create", "release_name"];

impl Bundle {
    /// Keeps the arguments of a change that failed.
    pub(super) fn remember(&self, record: &mut Record, planned: &Value) {
        let mut arguments = convert::expand(&self.schema.block, planned);
        if let Some(chart) = arguments.get_mut("chart").and_then(Json::as_object_mut) {
            chart.retain(|name, _| OF_CHART.contains(&name.as_str()));
        }
        if !record.started.contains(&arguments) {
            record.started.push(arguments);
        }
    }
}

/// What the changes wanted that did not come to their end.
pub(super) fn started(record: &Record, place: &Place) -> Vec<Desired> {
    let arguments = record.started.iter().filter_map(|json| serde_json::from_value::<Arguments>(json.clone()).ok());
    arguments.filter_map(|arguments| parsed(&arguments, place, record).ok()).collect()
}

/// Uninstalls their releases, but those in one of the places that stay.
pub(super) async fn uninstall(session: &Session, started: &[Desired], stay: &[&Option<(String, String)>]) -> Vec<Error> {
    let places: BTreeSet<_> = started.iter().filter_map(|desired| desired.chart.as_ref().map(Chart::place)).collect();
    let mut errors = vec![];
    for place in places.into_iter().filter(|place| !stay.iter().any(|stays| stays.as_ref() == Some(place))) {
        errors.extend(chart::remove_started(session, &place).await.err());
    }
    errors
}

/// Removes what they made that carries the bundle's tag and is not `keep`'s.
pub(super) async fn remove(cx: &Context, started: &[Desired], keep: Option<&Desired>, cluster_exists: bool) -> Vec<Error> {
    let (mut errors, owned) = (vec![], BTreeSet::new());
    for old in started {
        let live = match cluster_exists {
            true => observe::observe(cx, old, &Known::default(), None).await,
            false => observe::observe_without_cluster(cx, old, &Known::default()).await,
        };
        match live {
            Ok(live) => errors.extend(remove::remove(cx, Removal { old, live: &live, keep, owned: &owned, cluster_exists }).await),
            Err(error) => errors.push(error),
        }
    }
    errors
}
