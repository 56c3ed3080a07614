//! All objects of a bundle as they are, and how each differs from what it should be.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;

use super::chart::{self, CHART, CRDS, Session};
use super::context::{Context, Ownership};
use super::desired::Desired;
use super::{access_entry, association, policy, queue, role, rules, spot_role};
use crate::Error;

/// Key of the association in `objects`.
pub const ASSOCIATION: &str = "pod_identity_association";
/// Key of the queue in `objects`.
pub const QUEUE: &str = "interruption_queue";
/// Key of the access entry in `objects`.
pub const ACCESS_ENTRY: &str = "access_entry";
/// Key of the spot role in `objects`.
pub const SPOT_ROLE: &str = "spot_service_linked_role";

/// What an object's line says when nothing differs.
pub const IN_SYNC: &str = "in sync";
/// What it says of an object that is used as it is.
pub const NOT_MANAGED: &str = "not managed";
/// What it says of an object that is not there.
pub const MISSING: &str = "missing";

/// Keys of what outlives a bundle, and so says nothing about whether there is one.
pub const CRDS_STAY: [&str; 2] = [CRDS, SPOT_ROLE];

/// Everything that a bundle consists of, as it is.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The controller's role.
    pub controller_role: Option<role::Observed>,
    /// The controller's policies, as many as wanted, in that order.
    pub policies: Vec<Option<policy::Observed>>,
    /// The Pod Identity association.
    pub association: Option<association::Observed>,
    /// The queue.
    pub queue: Option<queue::Observed>,
    /// Rules by name.
    pub rules: BTreeMap<String, rules::Observed>,
    /// The nodes' role.
    pub node_role: Option<role::Observed>,
    /// The nodes' access entry.
    pub access_entry: Option<access_entry::Observed>,
    /// Whether the account has the spot role.
    pub spot_role: bool,
    /// Chart and CRDs; `None` where the bundle installs no chart.
    pub chart: Option<chart::Observed>,
}

/// Ids that AWS chose, which save calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The association's.
    pub association_id: Option<String>,
    /// The queue's URL.
    pub queue_url: Option<String>,
}

/// What a create looks at first: five calls, and everything only where one of them finds something.
///
/// # Errors
/// Any error but absence.
pub async fn first_look(cx: &Context, desired: &Desired, session: Option<&Session>) -> Result<Observed, Error> {
    let (aws, cluster) = (&cx.aws, cx.place.cluster.as_str());
    let queue_url = async {
        match &desired.queue {
            Some(want) => queue::look(aws, &want.name).await,
            None => Ok(None),
        }
    };
    let (controller_role, node_role, queue_url, association, rules, chart) = futures::try_join!(
        role::look(aws, &desired.controller_role.name),
        role::look(aws, &desired.node_role.name),
        queue_url,
        association::observe(aws, cluster, &desired.association, None),
        rules::observe(cx, &desired.rules, None),
        observe_chart(desired, session),
    )?;
    // A node role alone is used as it is, or refused: what is attached to it does not matter.
    if controller_role.is_none() && queue_url.is_none() && association.is_none() && rules.is_empty() {
        return Ok(Observed { policies: vec![None; desired.policies.len()], node_role, chart, ..Observed::default() });
    }
    observe(cx, desired, &Known { association_id: association.map(|found| found.id), queue_url }, session).await
}

/// Looks at everything: at most 16 AWS calls and two a policy, two deep.
///
/// # Errors
/// Any error but absence.
pub async fn observe(cx: &Context, desired: &Desired, known: &Known, session: Option<&Session>) -> Result<Observed, Error> {
    let (aws, cluster) = (&cx.aws, cx.place.cluster.as_str());
    let queue = async {
        match &desired.queue {
            Some(want) => queue::observe(aws, &want.name, known.queue_url.as_deref()).await,
            None => Ok(None),
        }
    };
    let policies: Vec<_> = desired.policies.iter().map(|want| policy::observe(aws, &want.arn)).collect();
    let (controller_role, policies, association, queue, rules, node_role, access_entry, spot_role, chart) = futures::try_join!(
        role::observe(aws, &desired.controller_role.name),
        try_join_all(policies),
        association::observe(aws, cluster, &desired.association, known.association_id.as_deref()),
        queue,
        rules::observe(cx, &desired.rules, desired.queue.as_ref().map(|want| want.arn.as_str())),
        role::observe(aws, &desired.node_role.name),
        access_entry::observe(aws, cluster, &desired.node_role.arn),
        spot_role::observe(aws),
        observe_chart(desired, session),
    )?;
    Ok(Observed { controller_role, policies, association, queue, rules, node_role, access_entry, spot_role, chart })
}

/// [`observe`] where the cluster is gone, and its association and access entry with it.
///
/// # Errors
/// Any error but absence.
pub async fn observe_without_cluster(cx: &Context, desired: &Desired, known: &Known) -> Result<Observed, Error> {
    let aws = &cx.aws;
    let queue = async {
        match &desired.queue {
            Some(want) => queue::observe(aws, &want.name, known.queue_url.as_deref()).await,
            None => Ok(None),
        }
    };
    let policies: Vec<_> = desired.policies.iter().map(|want| policy::observe(aws, &want.arn)).collect();
    let (controller_role, policies, queue, rules, node_role) = futures::try_join!(
        role::observe(aws, &desired.controller_role.name),
        try_join_all(policies),
        queue,
        rules::observe(cx, &desired.rules, desired.queue.as_ref().map(|want| want.arn.as_str())),
        role::observe(aws, &desired.node_role.name),
    )?;
    Ok(Observed { controller_role, policies, queue, rules, node_role, ..Observed::default() })
}

/// Whether the object of that key carries this cluster's owner tag.
pub fn is_ours(cx: &Context, live: &Observed, desired: &Desired, key: &str) -> bool {
    live.tags(desired).get(key).is_some_and(|tags| cx.ownership(tags) == Ownership::Ours)
}

async fn observe_chart(desired: &Desired, session: Option<&Session>) -> Result<Option<chart::Observed>, Error> {
    match (&desired.chart, session) {
        (Some(want), Some(session)) => chart::observe(session, want).await.map(Some),
        _ => Ok(None),
    }
}

impl Observed {
    /// The tags of each AWS object that exists and that a bundle could own, by its key.
    pub fn tags(&self, desired: &Desired) -> BTreeMap<String, &BTreeMap<String, String>> {
        let mut tags: BTreeMap<String, &BTreeMap<String, String>> = BTreeMap::new();
        let roles = [(&desired.controller_role, &self.controller_role), (&desired.node_role, &self.node_role)];
        for (want, live) in roles {
            if let (Some(_), Some(live)) = (&want.made, live) {
                tags.insert(want.key.into(), &live.tags);
            }
        }
        for (want, live) in desired.policies.iter().zip(&self.policies) {
            tags.extend(live.as_ref().map(|live| (want.key.clone(), &live.tags)));
        }
        for want in &desired.rules {
            tags.extend(self.rules.get(&want.name).map(|live| (want.key.clone(), &live.tags)));
        }
        tags.extend(self.association.as_ref().map(|live| (ASSOCIATION.to_owned(), &live.tags)));
        tags.extend(self.queue.as_ref().map(|live| (QUEUE.to_owned(), &live.tags)));
        tags.extend(self.access_entry.as_ref().map(|live| (ACCESS_ENTRY.to_owned(), &live.tags)));
        tags
    }

    /// The computed map `objects`: each object's line by its key. `owned` are the keys of objects that the bundle is known to
    /// own whatever their tags say.
    ///
    /// # Errors
    /// Chart values that are no YAML.
    pub fn lines(&self, cx: &Context, desired: &Desired, owned: &BTreeSet<String>) -> Result<BTreeMap<String, String>, Error> {
        let mut lines = BTreeMap::new();
        let mine = |key: &str, tags: &BTreeMap<String, String>| owned.contains(key) || cx.ownership(tags) == Ownership::Ours;
        for (want, live) in [(&desired.controller_role, &self.controller_role), (&desired.node_role, &self.node_role)] {
            let text = match (&want.made, live) {
                (None, _) => NOT_MANAGED.into(),
                (Some(made), Some(live)) if made.may_be_foreign && !mine(want.key, &live.tags) => NOT_MANAGED.into(),
                (Some(made), live) => line(live.as_ref().map(|live| role::differences(cx, made, live))),
            };
            lines.insert(want.key.to_owned(), text);
        }
        for (want, live) in desired.policies.iter().zip(&self.policies) {
            lines.insert(want.key.clone(), line(live.as_ref().map(|live| policy::differences(cx, want, live))));
        }
        for want in &desired.rules {
            lines.insert(want.key.clone(), line(self.rules.get(&want.name).map(|live| rules::differences(cx, want, live))));
        }
        if let Some(want) = &desired.queue {
            lines.insert(QUEUE.into(), line(self.queue.as_ref().map(|live| queue::differences(cx, want, live))));
        }
        let association = self.association.as_ref().map(|live| association::differences(cx, &desired.association, live));
        lines.insert(ASSOCIATION.into(), line(association));
        let entry = match &self.access_entry {
            Some(live) if !mine(ACCESS_ENTRY, &live.tags) => NOT_MANAGED.into(),
            live => line(live.as_ref().map(|live| access_entry::differences(cx, live))),
        };
        lines.insert(ACCESS_ENTRY.into(), entry);
        lines.insert(SPOT_ROLE.into(), line(self.spot_role.then(Vec::new)));
        if let (Some(want), Some(live)) = (&desired.chart, &self.chart) {
            let differences = live.release.as_ref().map(|_| chart::differences(want, live)).transpose()?;
            lines.insert(CHART.into(), line(differences));
            if want.manage_crds {
                let crds = (!live.crds.is_empty()).then(|| chart::crd_differences(live));
                lines.insert(CRDS.into(), line(crds));
            }
        }
        Ok(lines)
    }
}

fn line(differences: Option<Vec<String>>) -> String {
    match differences {
        None => MISSING.into(),
        Some(differences) if differences.is_empty() => IN_SYNC.into(),
        Some(differences) => format!("drifted: {}", differences.join("; ")),
    }
}
