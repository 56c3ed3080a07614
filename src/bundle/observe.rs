//! All objects of a bundle as they are, and how each differs from what it should be.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;

use super::chart::{self, CHART, CRDS, Session};
use super::context::{Context, Ownership};
use super::desired::{AccessEntry, CREATING_TAG, Desired};
use super::{access_entry, association, instance_profile, policy, queue, role, rules, spot_role};
use crate::Error;

/// Key of the association in `objects`.
pub const ASSOCIATION: &str = "pod_identity_association";
/// Key of the queue in `objects`.
pub const QUEUE: &str = "interruption_queue";
/// Key of the access entry in `objects`.
pub const ACCESS_ENTRY: &str = "access_entry";
/// Key of the instance profile in `objects`.
pub const INSTANCE_PROFILE: &str = "instance_profile";
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
    /// Access entries of node roles, by their keys.
    pub access_entries: BTreeMap<String, access_entry::Observed>,
    /// The instance profile.
    pub instance_profile: Option<instance_profile::Observed>,
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

/// What a create looks at first: six calls, and everything only where one of them finds something of ours.
///
/// # Errors
/// Any error but absence.
pub async fn first_look(cx: &Context, desired: &Desired, session: Option<&Session>) -> Result<Observed, Error> {
    let aws = &cx.aws;
    let queue_url = async {
        match &desired.queue {
            Some(want) => queue::look(aws, &want.name).await,
            None => Ok(None),
        }
    };
    // A policy of ours without its role is taken over when it is made; somebody else's is refused before anything is.
    let foreign_policy = async {
        let Some(want) = desired.policies.first() else { return Ok(None) };
        Ok(policy::look(aws, &want.arn).await?.filter(|found| cx.ownership(&found.tags) != Ownership::Ours))
    };
    let known = Known::default();
    let (controller_role, node_role, queue_url, association, instance_profile, rules, foreign_policy, chart) = futures::try_join!(
        role::look(aws, &desired.controller_role.name),
        role::look(aws, &desired.node_role.name),
        queue_url,
        observe_association(cx, desired, &known),
        observe_profile(cx, desired),
        rules::observe(cx, &desired.rules, None),
        foreign_policy,
        observe_chart(desired, session),
    )?;
    // A node role alone is used as it is, or refused: what is attached to it does not matter.
    if controller_role.is_none() && queue_url.is_none() && association.is_none() && instance_profile.is_none() && rules.is_empty() {
        let mut policies = vec![None; desired.policies.len()];
        if let (Some(first), Some(found)) = (policies.first_mut(), foreign_policy) {
            *first = Some(found);
        }
        return Ok(Observed { policies, node_role, chart, ..Observed::default() });
    }
    observe(cx, desired, &Known { association_id: association.map(|found| found.id), queue_url }, session).await
}

/// Looks at everything: at most 16 AWS calls and two a policy, two deep; one more for each further node role, instance profile.
///
/// # Errors
/// Any error but absence.
pub async fn observe(cx: &Context, desired: &Desired, known: &Known, session: Option<&Session>) -> Result<Observed, Error> {
    let (aws, cluster) = (&cx.aws, cx.place.cluster.as_str());
    let entries: Vec<_> = desired
        .access_entries
        .iter()
        .map(|want| async { Ok((want.key.clone(), access_entry::observe(aws, cluster, &want.role_arn).await?)) })
        .collect();
    let spot_role = async { if desired.spot_role { spot_role::observe(aws).await } else { Ok(false) } };
    let (mut observed, association, entries, spot_role, chart) = futures::try_join!(
        observe_without_cluster(cx, desired, known),
        observe_association(cx, desired, known),
        try_join_all(entries),
        spot_role,
        observe_chart(desired, session),
    )?;
    observed.access_entries = entries.into_iter().filter_map(|(key, entry): (String, _)| Some((key, entry?))).collect();
    (observed.association, observed.spot_role, observed.chart) = (association, spot_role, chart);
    Ok(observed)
}

/// [`observe`] where the cluster is gone, and its association and access entries with it.
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
    let (controller_role, policies, queue, rules, node_role, instance_profile) = futures::try_join!(
        role::observe(aws, &desired.controller_role.name),
        try_join_all(policies),
        queue,
        rules::observe(cx, &desired.rules, desired.queue.as_ref().map(|want| want.arn.as_str())),
        role::observe(aws, &desired.node_role.name),
        observe_profile(cx, desired),
    )?;
    Ok(Observed { controller_role, policies, queue, rules, node_role, instance_profile, ..Observed::default() })
}

async fn observe_association(cx: &Context, desired: &Desired, known: &Known) -> Result<Option<association::Observed>, Error> {
    match &desired.association {
        Some(want) => association::observe(&cx.aws, &cx.place.cluster, want, known.association_id.as_deref()).await,
        None => Ok(None),
    }
}

async fn observe_profile(cx: &Context, desired: &Desired) -> Result<Option<instance_profile::Observed>, Error> {
    match &desired.instance_profile {
        Some(want) => instance_profile::observe(&cx.aws, &want.name).await,
        None => Ok(None),
    }
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
        let made = desired.queue.as_ref().is_some_and(|queue| queue.made.is_some());
        tags.extend(self.queue.as_ref().filter(|_| made).map(|live| (QUEUE.to_owned(), &live.tags)));
        tags.extend(self.access_entries.iter().map(|(key, live)| (key.clone(), &live.tags)));
        tags.extend(self.instance_profile.as_ref().map(|live| (INSTANCE_PROFILE.to_owned(), &live.tags)));
        tags
    }

    /// Unique ids and ARNs that AWS chose, by the names of the computed attributes.
    pub fn ids(&self) -> BTreeMap<&'static str, String> {
        let ids = [
            ("controller_role_unique_id", self.controller_role.as_ref().map(|live| &live.id)),
            ("node_role_unique_id", self.node_role.as_ref().map(|live| &live.id)),
            ("instance_profile_unique_id", self.instance_profile.as_ref().map(|live| &live.id)),
            ("access_entry_arn", self.access_entries.get(ACCESS_ENTRY).map(|live| &live.arn)),
        ];
        ids.into_iter().filter_map(|(name, id)| Some((name, id?.clone()))).collect()
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
                (Some(made), live) => line(live.as_ref().map(|live| role::differences(cx, want.key, made, live))),
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
            let text = match &want.made {
                None => NOT_MANAGED.into(),
                Some(made) => line(self.queue.as_ref().map(|live| queue::differences(cx, made, live))),
            };
            lines.insert(QUEUE.into(), text);
        }
        if let Some(want) = &desired.association {
            lines.insert(ASSOCIATION.into(), line(self.association.as_ref().map(|live| association::differences(cx, want, live))));
        }
        for AccessEntry { key, .. } in &desired.access_entries {
            let text = match self.access_entries.get(key) {
                Some(live) if !mine(key, &live.tags) => NOT_MANAGED.into(),
                live => line(live.map(|live| access_entry::differences(cx, live))),
            };
            lines.insert(key.clone(), text);
        }
        if let Some(want) = &desired.instance_profile {
            let found = self.instance_profile.as_ref().map(|live| instance_profile::differences(cx, want, live));
            lines.insert(INSTANCE_PROFILE.into(), line(found));
        }
        let unwanted = !desired.spot_role || !self.spot_role && cx.record.refused.contains(SPOT_ROLE);
        lines.insert(SPOT_ROLE.into(), if unwanted { NOT_MANAGED.into() } else { line(self.spot_role.then(Vec::new)) });
        if let (Some(want), Some(live)) = (&desired.chart, &self.chart) {
            let differences = live.release.as_ref().map(|_| chart::differences(want, live)).transpose()?;
            lines.insert(CHART.into(), line(differences));
            if want.manage_crds {
                let crds = (!live.crds.is_empty()).then(|| chart::crd_differences(live));
                lines.insert(CRDS.into(), line(crds));
            }
        }
        // Only while the create counts as unfinished: IAM may show a tag for seconds after it was removed.
        let marked = self.tags(desired).into_iter().filter(|(_, tags)| !cx.record.complete && tags.contains_key(CREATING_TAG));
        for (key, _) in marked {
            if lines.get(&key).is_some_and(|line| line == IN_SYNC) {
                lines.insert(key, format!("drifted: tag {CREATING_TAG} to remove"));
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
