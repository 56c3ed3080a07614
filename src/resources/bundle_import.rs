//! Import of `karpenter_bundle`: the state of what exists, by its cluster's name or ARN. What finds it is [`crate::bundle::import`].

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::bundle::Bundle;
use super::bundle_steps::{known, map};
use crate::bundle::context::{Context, Ownership, Tags};
use crate::bundle::desired::{Desired, OWNER_TAG, Place};
use crate::bundle::observe::{self, ACCESS_ENTRY, CRDS_STAY, MISSING, NOT_MANAGED, Observed};
use crate::bundle::record::Record;
use crate::bundle::{chart, import, plan};
use crate::tofu::convert;
use crate::tofu::resource::ImportResponse;
use crate::tofu::value::Value;
use crate::{Error, Kind};

/// How long an import may take.
const IMPORT: Duration = Duration::from_secs(2 * 60);

/// Namespace and name of a release that nothing else tells.
pub(super) const RELEASE: (&str, &str) = ("kube-system", "karpenter");

impl Bundle {
    /// What exists of a bundle, whoever made it: ours, the EKS module's, eksctl's, or by hand. `release` are namespace and name of the
    /// Helm release where no Deployment tells them.
    pub(super) async fn take_in(&self, id: &str, release: (&str, &str)) -> Result<ImportResponse, Error> {
        let action = || format!("import the bundle {id:?}");
        let deadline = Instant::now() + IMPORT;
        let connection = self.connections.connect(id).await?;
        let session = self.session(&connection).await?;
        let place = Place::of_cluster(&connection.cluster)
            .ok_or_else(|| Error::new(Kind::Invalid, action(), "it is no EKS cluster").remedy("The id is the cluster's name."))?;
        let tags = Tags { wanted: [(OWNER_TAG.to_owned(), place.arn())].into(), ..Tags::default() };
        let connections = self.connections.clone();
        let cx = Context { aws: connection.aws.clone(), place, tags, record: Record::default(), deadline, connections };
        let import::Import { arguments, found } = import::look(&cx, &session.client, release).await?;

        let mut state = convert::from_json(&self.schema.block.ty(), &arguments);
        for block in self.schema.block.blocks.iter().filter(|block| arguments.get(&block.name).is_none()) {
            state.set(&block.name, Value::List(vec![]));
        }
        if state.attr("version").is_null() {
            // nothing is installed, and which repository the configuration will name is not known here
            state.set("version", Value::from(chart::newest("", false, None).await?.to_string()));
        }
        let mut record = Record { complete: true, found, ..Record::default() };
        let target = self.target(connection, &state, &record, deadline).await?;
        let (cx, desired) = (&target.cx, &target.desired);
        let live = observe::observe(cx, desired, &known(&record, &state), target.session.as_ref()).await?;
        let lines = live.lines(cx, desired, &record.owned)?;
        if lines.iter().all(|(key, line)| line == MISSING || line == NOT_MANAGED || CRDS_STAY.contains(&key.as_str())) {
            let message = format!("nothing of it exists on cluster {}", desired.place.arn());
            return Err(Error::new(Kind::NotFound, action(), message).remedy("Leave out the import block to create it."));
        }
        record.owned = owned(cx, &live, desired);
        record.association_id = live.association.as_ref().map(|live| live.id.clone());
        state.set("objects", map(live.lines(cx, desired, &record.owned)?));
        state.set("ready", Value::from(live.chart.as_ref().is_none_or(|chart| chart.ready)));
        state.set("queue_url", live.queue.as_ref().map_or(Value::Null, |queue| Value::from(queue.url.clone())));
        plan::outputs(desired).into_iter().for_each(|(name, value)| state.set(name, value));
        Ok(ImportResponse { state, private: record.write(), ..ImportResponse::default() })
    }
}

/// What an import makes the bundle's: everything that is there and belongs to no other bundle, but not a node role and access entries that
/// nobody tagged: nodes of other makers may run with them.
fn owned(cx: &Context, live: &Observed, desired: &Desired) -> BTreeSet<String> {
    let optional = |key: &str| key == desired.node_role.key || key.starts_with(ACCESS_ENTRY);
    let tags = live.tags(desired).into_iter();
    let taken = tags.filter(|(key, tags)| match cx.ownership(tags) {
        Ownership::Ours => true,
        Ownership::Untagged => !optional(key),
        Ownership::Foreign(_) => false,
    });
    taken.map(|(key, _)| key).collect()
}
