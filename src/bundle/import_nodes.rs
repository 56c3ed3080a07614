//! What tells an import which role nodes run with: node classes first, then what the controller may pass, then access entries.

use std::collections::{BTreeMap, BTreeSet};

use super::context::{Context, Ownership};
use super::found::FoundRole;
use super::{access_entry, instance_profile, names, nodes, role};
use crate::Error;
use crate::aws::error::from_sdk;

/// The nodes' roles.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    /// The bundle's, with its tags.
    pub role: Option<(FoundRole, BTreeMap<String, String>)>,
    /// ARNs of the others that node classes name.
    pub additional: Vec<String>,
    /// Whether the bundle made an instance profile of that role's name.
    pub has_profile: bool,
}

/// Looks for them. `passed` are the ARNs of the roles that the controller may pass to nodes.
///
/// # Errors
/// What AWS and the API server say.
pub async fn look(cx: &Context, client: &kube::Client, passed: &[String]) -> Result<Nodes, Error> {
    let nodes::Identities { mut roles, profiles } = nodes::identities(client, cx.deadline).await?;
    for profile in profiles {
        let profile = instance_profile::observe(&cx.aws, &profile).await?;
        roles.extend(profile.into_iter().flat_map(|profile| profile.roles));
    }
    let of_classes = roles.clone();
    if roles.is_empty() {
        roles.extend(passed.iter().filter_map(|arn| FoundRole::of_arn(arn)).map(|role| role.name));
    }
    roles.insert(names::node_role(&cx.place.cluster));
    let entered = if roles.len() == 1 && cx.place.has_access_entries { entered(cx).await? } else { BTreeSet::new() };
    let mut live = vec![];
    for name in roles.union(&entered) {
        live.extend(role::look(&cx.aws, name).await?.map(|live| (name.clone(), live)));
    }
    let mut candidates = vec![];
    for (name, live) in live {
        let joins = cx.place.has_access_entries && {
            let entry = access_entry::observe(&cx.aws, &cx.place.cluster, &live.arn).await?;
            entry.is_some_and(|entry| entry.kind == access_entry::TYPE)
        };
        candidates.push(Candidate {
            named: of_classes.contains(&name),
            guessed: !roles.contains(&name),
            joins,
            tags: live.tags,
            role: FoundRole { name, arn: live.arn, path: live.path },
        });
    }
    let mut nodes = choose(candidates, &names::node_role(&cx.place.cluster));
    if let Some((role, _)) = &nodes.role {
        let profile = instance_profile::observe(&cx.aws, &role.name).await?;
        nodes.has_profile = profile.is_some_and(|profile| cx.ownership(&profile.tags) == Ownership::Ours);
    }
    Ok(nodes)
}

struct Candidate {
    role: FoundRole,
    tags: BTreeMap<String, String>,
    /// A node class names it.
    named: bool,
    /// Nothing but its name says that it may be Karpenter's.
    guessed: bool,
    /// Its nodes may join the cluster.
    joins: bool,
}

/// Named by a node class and able to join counts most; of equals, the default name, then the first. A guess must be able to join.
fn choose(mut candidates: Vec<Candidate>, default: &str) -> Nodes {
    candidates.retain(|candidate| candidate.joins || !candidate.guessed);
    candidates.sort_by_key(|candidate| (!candidate.named, !candidate.joins, candidate.role.name != default, candidate.role.name.clone()));
    let mut candidates = candidates.into_iter();
    let role = candidates.next().map(|first| (first.role, first.tags));
    Nodes { role, additional: candidates.filter(|other| other.named).map(|other| other.role.arn).collect(), has_profile: false }
}

/// Roles whose nodes may join the cluster, as far as their names say that they are Karpenter's: node groups have such entries, too.
async fn entered(cx: &Context) -> Result<BTreeSet<String>, Error> {
    let mut names = BTreeSet::new();
    let mut pages = cx.aws.eks.list_access_entries().cluster_name(&cx.place.cluster).into_paginator().items().send();
    while let Some(arn) = pages.next().await {
        match arn.map_err(|e| from_sdk(format!("eks:ListAccessEntries {}", cx.place.cluster), e)) {
            Ok(arn) => names.extend(FoundRole::of_arn(&arn).map(|role| role.name).filter(|name| name.to_lowercase().contains("karpenter"))),
            Err(error) => return Err(error),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, named: bool, joins: bool) -> Candidate {
        let role = FoundRole::of_arn(&format!("arn:aws:iam::123456789012:role/{name}")).unwrap();
        Candidate { role, tags: BTreeMap::new(), named, joins, guessed: name.starts_with("guess") }
    }

    fn chosen(candidates: Vec<Candidate>) -> (String, Vec<String>) {
        let Nodes { role, additional, has_profile: _ } = choose(candidates, "default");
        (role.map(|(role, _)| role.name).unwrap_or_default(), additional)
    }

    #[test]
    fn the_role_of_the_node_classes_wins() {
        let found = chosen(vec![candidate("default", false, true), candidate("b", true, true), candidate("a", true, false)]);
        assert_eq!(found, ("b".to_owned(), vec!["arn:aws:iam::123456789012:role/a".to_owned()]));
        assert_eq!(chosen(vec![candidate("z", false, true), candidate("default", false, true)]).0, "default");
        assert_eq!(chosen(vec![]).0, "");
        assert_eq!(chosen(vec![candidate("guess-admin", false, false)]).0, "");
        assert_eq!(chosen(vec![candidate("guess-admin", false, false), candidate("guess-nodes", false, true)]).0, "guess-nodes");
    }
}
