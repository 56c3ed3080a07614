//! What a bundle made under other names than the state's: a change that did not come to its end, since the state then goes on with the former
//! arguments, and a former node role that was still in use. The arguments are kept beside the state, and their objects go when a later
//! change, or a destroy, comes to its end.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::bundle::Bundle;
use super::bundle_steps::parsed;
use crate::Error;
use crate::bundle::arguments::Arguments;
use crate::bundle::chart::{self, Session};
use crate::bundle::context::Context;
use crate::bundle::desired::{Chart, Desired, Place};
use crate::bundle::observe::Known;
use crate::bundle::record::Record;
use crate::bundle::remove;
use crate::tofu::convert;
use crate::tofu::value::Value;

/// What of the chart's arguments is kept: not its values, which may be secret.
const OF_CHART: [&str; 2] = ["create", "release_name"];

impl Bundle {
    /// Keeps the arguments of a state or a plan.
    pub(super) fn remember(&self, record: &mut Record, value: &Value) {
        let mut arguments = convert::expand(&self.schema.block, value);
        if let Some(chart) = arguments.get_mut("chart").and_then(Json::as_object_mut) {
            chart.retain(|name, _| OF_CHART.contains(&name.as_str()));
        }
        if !record.leftovers.contains(&arguments) {
            record.leftovers.push(arguments);
        }
    }
}

/// What those arguments want.
pub(super) fn leftovers(record: &Record, place: &Place) -> Vec<Desired> {
    let arguments = record.leftovers.iter().filter_map(|json| serde_json::from_value::<Arguments>(json.clone()).ok());
    arguments.filter_map(|arguments| parsed(&arguments, place, record).ok()).collect()
}

/// Uninstalls their releases, but those in one of the places that stay.
pub(super) async fn uninstall(session: &Session, leftovers: &[Desired], stay: &[&Option<(String, String)>]) -> Vec<Error> {
    let places: BTreeSet<_> = leftovers.iter().filter_map(|desired| desired.chart.as_ref().map(Chart::place)).collect();
    let mut errors = vec![];
    for place in places.into_iter().filter(|place| !stay.iter().any(|stays| stays.as_ref() == Some(place))) {
        errors.extend(chart::remove_leftover(session, &place).await.err());
    }
    errors
}

/// Removes what they made that carries the bundle's tag and is not `keep`'s.
pub(super) async fn remove(cx: &Context, leftovers: &[Desired], keep: Option<&Desired>, cluster_exists: bool) -> Vec<Error> {
    let (mut errors, owned) = (vec![], BTreeSet::new());
    for old in leftovers {
        let removed = remove::look_and_remove(cx, old, &Known::default(), keep, &owned, cluster_exists).await;
        errors.extend(removed.unwrap_or_else(|error| vec![error]));
    }
    errors
}
