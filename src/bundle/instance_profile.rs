//! The instance profile with the node role, for node classes that name one.

use std::collections::BTreeMap;

use super::context::{Context, Ownership};
use super::desired::InstanceProfile;
use super::role::iam_tags;
use crate::aws::Clients;
use crate::aws::error::from_sdk;
use crate::{Error, Kind};

/// An instance profile as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// IAM's unique id.
    pub id: String,
    /// Its IAM path.
    pub path: String,
    /// Names of the roles in it: at most one.
    pub roles: Vec<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// The profile of that name, or `None` where there is none.
///
/// # Errors
/// Any error but absence.
pub async fn observe(aws: &Clients, name: &str) -> Result<Option<Observed>, Error> {
    let sent = aws.iam.get_instance_profile().instance_profile_name(name);
    let found = match sent.send().await.map_err(|e| from_sdk(format!("iam:GetInstanceProfile {name}"), e)) {
        Ok(answer) => answer.instance_profile,
        Err(error) if error.kind == Kind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(found.map(|found| Observed {
        id: found.instance_profile_id,
        path: found.path,
        roles: found.roles.into_iter().map(|role| role.role_name).collect(),
        tags: found.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect(),
    }))
}

/// How a profile differs from what the bundle wants.
pub fn differences(cx: &Context, want: &InstanceProfile, live: &Observed) -> Vec<String> {
    let path = (live.path != want.path).then(|| format!("path {}, want {}", live.path, want.path));
    let role = (live.roles != [want.role_name.clone()]).then(|| format!("role {}, want {}", live.roles.join(", "), want.role_name));
    path.into_iter().chain(role).chain(cx.tags.differences(&live.tags)).collect()
}

/// Makes the profile with its role, or changes the one that is there; its unique id. The role must exist.
///
/// # Errors
/// What IAM says; a profile of that name that is not ours.
pub async fn converge(cx: &Context, want: &InstanceProfile, live: Option<&Observed>) -> Result<String, Error> {
    let made;
    let live = match live {
        Some(live) => live,
        None => {
            made = create(cx, want).await?;
            &made
        }
    };
    let (iam, name) = (&cx.aws.iam, want.name.as_str());
    if live.path != want.path {
        let message = format!("it exists with the path {}, and IAM cannot change it to {}", live.path, want.path);
        return Err(Error::new(Kind::Invalid, format!("change the path of instance profile {name}"), message)
            .remedy("Give the profile another name together with the new path."));
    }
    for other in live.roles.iter().filter(|role| **role != want.role_name) {
        let sent = iam.remove_role_from_instance_profile().instance_profile_name(name).role_name(other);
        sent.send().await.map_err(|e| from_sdk(format!("iam:RemoveRoleFromInstanceProfile {name} {other}"), e))?;
    }
    if !live.roles.contains(&want.role_name) {
        // role or profile may have been made a second ago
        let added = cx.patiently(&[Kind::NotFound, Kind::Conflict], || async {
            let sent = iam.add_role_to_instance_profile().instance_profile_name(name).role_name(&want.role_name);
            sent.send().await.map_err(|e| from_sdk(format!("iam:AddRoleToInstanceProfile {name} {}", want.role_name), e)).map(|_| ())
        });
        match added.await {
            // a profile holds one role: it may be ours, and the answer to an earlier try lost
            Err(error) if error.kind == Kind::Quota => match observe(&cx.aws, name).await? {
                Some(live) if live.roles.contains(&want.role_name) => {}
                _ => return Err(error),
            },
            done => done?,
        }
    }
    let (set, remove) = (cx.tags.to_set(&live.tags), cx.tags.to_remove(&live.tags));
    if !set.is_empty() {
        let sent = iam.tag_instance_profile().instance_profile_name(name).set_tags(Some(iam_tags(&set)?));
        sent.send().await.map_err(|e| from_sdk(format!("iam:TagInstanceProfile {name}"), e))?;
    }
    if !remove.is_empty() {
        let sent = iam.untag_instance_profile().instance_profile_name(name).set_tag_keys(Some(remove));
        sent.send().await.map_err(|e| from_sdk(format!("iam:UntagInstanceProfile {name}"), e))?;
    }
    Ok(live.id.clone())
}

async fn create(cx: &Context, want: &InstanceProfile) -> Result<Observed, Error> {
    let sent = cx.aws.iam.create_instance_profile().instance_profile_name(&want.name).path(&want.path);
    let sent = sent.set_tags(Some(iam_tags(&cx.tags.wanted)?));
    match sent.send().await.map_err(|e| from_sdk(format!("iam:CreateInstanceProfile {}", want.name), e)) {
        Ok(answer) => Ok(Observed {
            id: answer.instance_profile.map(|made| made.instance_profile_id).unwrap_or_default(),
            path: want.path.clone(),
            roles: vec![],
            tags: cx.tags.wanted.clone(),
        }),
        // the answer to an earlier try may have been lost
        Err(error) if error.kind == Kind::AlreadyExists => match observe(&cx.aws, &want.name).await? {
            Some(live) if cx.ownership(&live.tags) == Ownership::Ours => Ok(live),
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}
