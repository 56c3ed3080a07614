//! Removes what a bundle owns: all of it at a destroy, or what an update does not want any more.

use std::collections::BTreeSet;

use futures::future::{BoxFuture, try_join_all};
use futures::{FutureExt as _, StreamExt as _};

use super::context::{Context, Ownership, unless_gone};
use super::desired::{Desired, InstanceProfile, Role};
use super::observe::{self, ASSOCIATION, INSTANCE_PROFILE, Known, Observed, QUEUE};
use super::{access_entry, association, policy, queue, role, rules};
use crate::aws::error::from_sdk;
use crate::{Error, Kind};

/// Removals under way at once.
const CONCURRENCY: usize = 8;

/// What to remove.
#[derive(Clone, Copy, Debug)]
struct Removal<'a> {
    /// The bundle as it was wanted so far.
    old: &'a Desired,
    /// It as it is.
    live: &'a Observed,
    /// The bundle as it is wanted now, whose objects stay; `None` at a destroy.
    keep: Option<&'a Desired>,
    /// Keys of objects that are the bundle's whatever their tags say.
    owned: &'a BTreeSet<String>,
    /// Whether the cluster still exists; without it what belongs to the cluster is gone, too.
    cluster_exists: bool,
}

/// Looks at a bundle's AWS objects, and removes them, each only when it is the bundle's and not `keep`'s. Goes on after a failure; every
/// error comes back, [`Kind::InUse`] for a node role that an update leaves for now.
///
/// # Errors
/// What the look says, before anything is removed.
pub async fn look_and_remove(
    cx: &Context,
    old: &Desired,
    known: &Known,
    keep: Option<&Desired>,
    owned: &BTreeSet<String>,
    cluster_exists: bool,
) -> Result<Vec<Error>, Error> {
    let live = match cluster_exists {
        true => observe::observe(cx, old, known, None).await?,
        false => observe::observe_without_cluster(cx, old, known).await?,
    };
    Ok(remove(cx, Removal { old, live: &live, keep, owned, cluster_exists }).await)
}

async fn remove(cx: &Context, removal: Removal<'_>) -> Vec<Error> {
    let Removal { old, live, keep, cluster_exists, .. } = removal;
    let goes = removal.going(cx);
    let going = |key: &str| goes.contains(key);
    let mut steps: Vec<BoxFuture<'_, Result<(), Error>>> = vec![];
    if let Some(live) = live.association.as_ref().filter(|_| cluster_exists && going(ASSOCIATION)) {
        steps.push(association::delete(cx, &live.id).boxed());
    }
    for want in old.rules.iter().filter(|want| going(&want.key)) {
        steps.push(rules::delete(cx, &want.name).boxed());
    }
    if let Some(live) = live.queue.as_ref().filter(|_| going(QUEUE)) {
        steps.push(queue::delete(cx, &live.url).boxed());
    }
    let policies = old.policies.iter().filter(|want| going(&want.key)).map(|want| want.arn.clone()).collect();
    steps.push(controller(cx, &old.controller_role, live.controller_role.as_ref(), policies, going(old.controller_role.key)).boxed());
    let entries = old.access_entries.iter().filter(|want| cluster_exists && going(&want.key));
    let nodes = Nodes {
        want: &old.node_role,
        live: live.node_role.as_ref(),
        entries: entries.map(|want| want.role_arn.as_str()).collect(),
        profile: old.instance_profile.as_ref().filter(|_| going(INSTANCE_PROFILE)),
        role_goes: going(old.node_role.key),
        updating: keep.is_some(),
    };
    steps.push(nodes.remove(cx).boxed());
    let done: Vec<_> = futures::stream::iter(steps).buffer_unordered(CONCURRENCY).collect().await;
    done.into_iter().filter_map(Result::err).collect()
}

impl Removal<'_> {
    /// Keys of the objects that are there, are the bundle's, and are not to stay.
    fn going(&self, cx: &Context) -> BTreeSet<String> {
        let Removal { old, live, keep, owned, .. } = self;
        let stays = |key: &str| {
            let Some(keep) = keep else { return false };
            match key {
                ASSOCIATION => {
                    let who = |desired: &Desired| desired.association.clone().map(|a| (a.namespace, a.service_account));
                    who(keep) == who(old)
                }
                INSTANCE_PROFILE => {
                    keep.instance_profile.as_ref().map(|profile| &profile.name)
                        == old.instance_profile.as_ref().map(|profile| &profile.name)
                }
                QUEUE => keep.queue.as_ref().map(|queue| &queue.arn) == old.queue.as_ref().map(|queue| &queue.arn),
                key if key == old.controller_role.key => keep.controller_role.arn == old.controller_role.arn,
                key if key == old.node_role.key => {
                    let named = |arn: &String| keep.access_entries.iter().any(|kept| kept.role_arn == *arn);
                    keep.node_role.arn == old.node_role.arn || named(&old.node_role.arn)
                }
                key => {
                    let policy = old
                        .policies
                        .iter()
                        .find(|want| want.key == key)
                        .is_some_and(|want| keep.policies.iter().any(|kept| kept.arn == want.arn));
                    let rule = old
                        .rules
                        .iter()
                        .find(|want| want.key == key)
                        .is_some_and(|want| keep.rules.iter().any(|kept| kept.name == want.name));
                    let kept = |arn: &String| keep.access_entries.iter().any(|kept| kept.role_arn == *arn);
                    let entry = old.access_entries.iter().find(|want| want.key == key).is_some_and(|want| kept(&want.role_arn));
                    policy || rule || entry
                }
            }
        };
        let ours = |key: &String, tags| {
            owned.contains(key) && !matches!(cx.ownership(tags), Ownership::Foreign(_)) || cx.ownership(tags) == Ownership::Ours
        };
        live.tags(old).into_iter().filter(|(key, tags)| ours(key, tags) && !stays(key)).map(|(key, _)| key).collect()
    }
}

/// The controller's policies that go, detached first, and its role.
async fn controller(cx: &Context, want: &Role, live: Option<&role::Observed>, policies: Vec<String>, role_goes: bool) -> Result<(), Error> {
    let attached = live.map(|live| live.attached.as_slice()).unwrap_or_default();
    let detach = attached.iter().filter(|arn| role_goes || policies.contains(arn));
    let calls: Vec<_> = detach.map(|arn| detach_policy(cx, &want.name, arn)).collect();
    try_join_all(calls).await?;
    let role = async { if role_goes { delete_role(cx, &want.name).await } else { Ok(()) } };
    let calls: Vec<_> = policies.iter().map(|arn| policy::delete(cx, arn)).collect();
    // what a change that was killed may have left
    let interim = want.made.iter().filter(|_| role_goes).flat_map(|made| &made.interim);
    let interim: Vec<_> = interim.map(|arn| policy::delete_own(cx, arn)).collect();
    futures::try_join!(role, try_join_all(calls), try_join_all(interim))?;
    Ok(())
}

/// The node role with what lets nodes use it.
struct Nodes<'a> {
    want: &'a Role,
    live: Option<&'a role::Observed>,
    /// Roles whose access entries go.
    entries: Vec<&'a str>,
    /// The bundle's own instance profile, where it goes.
    profile: Option<&'a InstanceProfile>,
    role_goes: bool,
    updating: bool,
}

impl Nodes<'_> {
    /// An update leaves a role that instance profiles still use: nodes run with it. A destroy takes the profiles that Karpenter left
    /// on the role for this cluster along, even where the role itself stays.
    async fn remove(self, cx: &Context) -> Result<(), Error> {
        let Nodes { want, live, entries, profile, role_goes, updating } = self;
        let looks = role_goes || (!updating && live.is_some());
        let own = profile.map(|profile| profile.name.as_str());
        let mut profiles = if looks { instance_profiles(cx, &want.name).await? } else { vec![] };
        profiles.retain(|(name, _)| Some(name.as_str()) != own);
        let of = |whose: fn(&Maker) -> bool| profiles.iter().filter(move |(_, maker)| whose(maker)).map(|(name, _)| name.as_str());
        if updating && !profiles.is_empty() {
            let names = of(|_| true).collect::<Vec<_>>().join(", ");
            let message = format!("nodes may still run with it, as instance profiles name it: {names}");
            return Err(Error::new(Kind::InUse, format!("delete the former node role {}", want.name), message)
                .remedy("It stays until a later change of the bundle, or a destroy, finds it out of use."));
        }
        let calls: Vec<_> = entries.into_iter().map(|role_arn| access_entry::delete(cx, role_arn)).collect();
        try_join_all(calls).await?;
        let goes = if role_goes { |maker: &Maker| *maker != Maker::Another } else { |maker: &Maker| *maker == Maker::Karpenter };
        let calls: Vec<_> = of(goes).chain(own).map(|name| delete_profile(cx, &want.name, name)).collect();
        try_join_all(calls).await?;
        if !role_goes {
            return Ok(());
        }
        let others = of(|maker| *maker == Maker::Another).collect::<Vec<_>>().join(", ");
        if !others.is_empty() {
            let message = format!("instance profiles that are not of this cluster use it: {others}");
            return Err(Error::new(Kind::Conflict, format!("iam:DeleteRole {}", want.name), message)
                .remedy("Take the role out of them, or delete them, and destroy again."));
        }
        let attached = live.map(|live| live.attached.as_slice()).unwrap_or_default();
        let calls: Vec<_> = attached.iter().map(|arn| detach_policy(cx, &want.name, arn)).collect();
        try_join_all(calls).await?;
        delete_role(cx, &want.name).await
    }
}

/// Who made an instance profile, as its tags tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    /// Karpenter, from a node class of this cluster.
    Karpenter,
    /// Something else of this cluster.
    Cluster,
    /// Somebody else.
    Another,
}

/// The instance profiles with this role.
async fn instance_profiles(cx: &Context, role_name: &str) -> Result<Vec<(String, Maker)>, Error> {
    let iam = &cx.aws.iam;
    let mut profiles = vec![];
    let mut pages = iam.list_instance_profiles_for_role().role_name(role_name).into_paginator().items().send();
    while let Some(profile) = pages.next().await {
        match profile.map_err(|e| from_sdk(format!("iam:ListInstanceProfilesForRole {role_name}"), e)) {
            Ok(profile) => profiles.push(profile.instance_profile_name),
            Err(error) if error.kind == Kind::NotFound => return Ok(vec![]),
            Err(error) => return Err(error),
        }
    }
    let mut found = vec![];
    for name in profiles {
        // one that was just deleted may still be listed
        if let Some(maker) = unless_gone(|| maker(cx, &name)).await? {
            found.push((name, maker));
        }
    }
    Ok(found)
}

/// Who made the profile; a list of profiles leaves tags out.
async fn maker(cx: &Context, profile: &str) -> Result<Maker, Error> {
    let sent = cx.aws.iam.list_instance_profile_tags().instance_profile_name(profile);
    let tags = sent.send().await.map_err(|e| from_sdk(format!("iam:ListInstanceProfileTags {profile}"), e))?.tags;
    let of = |key: &str| tags.iter().find(|tag| tag.key == key).map(|tag| tag.value.as_str());
    let owned = of(&format!("kubernetes.io/cluster/{}", cx.place.cluster)) == Some("owned");
    let here = of("topology.kubernetes.io/region").is_none_or(|region| region == cx.place.region);
    Ok(match (owned && here, of("karpenter.k8s.aws/ec2nodeclass")) {
        (true, Some(_)) => Maker::Karpenter,
        (true, None) => Maker::Cluster,
        (false, _) => Maker::Another,
    })
}

async fn delete_profile(cx: &Context, role_name: &str, profile: &str) -> Result<(), Error> {
    let iam = &cx.aws.iam;
    unless_gone(|| async {
        let sent = iam.remove_role_from_instance_profile().instance_profile_name(profile).role_name(role_name);
        sent.send().await.map_err(|e| from_sdk(format!("iam:RemoveRoleFromInstanceProfile {profile}"), e))
    })
    .await?;
    unless_gone(|| async {
        let sent = iam.delete_instance_profile().instance_profile_name(profile);
        sent.send().await.map_err(|e| from_sdk(format!("iam:DeleteInstanceProfile {profile}"), e))
    })
    .await
    .map(drop)
}

/// Takes a policy off a role; one that is off is fine.
///
/// # Errors
/// What IAM says.
pub async fn detach_policy(cx: &Context, role_name: &str, arn: &str) -> Result<(), Error> {
    unless_gone(|| async {
        let sent = cx.aws.iam.detach_role_policy().role_name(role_name).policy_arn(arn);
        sent.send().await.map_err(|e| from_sdk(format!("iam:DetachRolePolicy {role_name} {arn}"), e))
    })
    .await
    .map(drop)
}

async fn delete_role(cx: &Context, name: &str) -> Result<(), Error> {
    let delete = || async {
        let sent = cx.aws.iam.delete_role().role_name(name);
        sent.send().await.map_err(|e| from_sdk(format!("iam:DeleteRole {name}"), e))
    };
    // IAM may still see a policy that was just detached
    unless_gone(|| cx.patiently(&[Kind::Conflict], delete)).await.map(drop).map_err(|error| match error.kind {
        Kind::Conflict => error.remedy("Remove the inline policies and instance profiles that others put on it, and apply again."),
        _ => error,
    })
}
