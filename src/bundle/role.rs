//! An IAM role: the controller's or the nodes'.

use std::collections::BTreeMap;

use aws_sdk_iam::types::Tag;
use futures::future::try_join_all;
use serde_json::Value as Json;

use super::context::{Context, Ownership, unless_gone};
use super::desired::{CREATING_TAG, MadeRole, Role};
use super::statement;
use crate::aws::Clients;
use crate::aws::error::from_sdk;
use crate::{Error, Kind};

/// A role as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Its ARN.
    pub arn: String,
    /// IAM's unique id.
    pub id: String,
    /// Its description.
    pub description: Option<String>,
    /// Longest session in seconds.
    pub max_session_duration: i64,
    /// Its IAM path.
    pub path: String,
    /// Who may assume it.
    pub trust: Json,
    /// ARN of its boundary.
    pub permissions_boundary: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// ARNs of attached managed policies.
    pub attached: Vec<String>,
}

/// The role of that name, or `None` where IAM says that there is none.
///
/// # Errors
/// Any error but absence.
pub async fn observe(aws: &Clients, name: &str) -> Result<Option<Observed>, Error> {
    let Some(mut role) = look(aws, name).await? else { return Ok(None) };
    let attached = unless_gone(|| async {
        let pages = aws.iam.list_attached_role_policies().role_name(name).into_paginator().items().send();
        let policies: Result<Vec<_>, _> = pages.collect().await;
        policies.map_err(|e| from_sdk(format!("iam:ListAttachedRolePolicies {name}"), e))
    });
    let Some(attached) = attached.await? else { return Ok(None) };
    role.attached.extend(attached.into_iter().filter_map(|policy| policy.policy_arn));
    Ok(Some(role))
}

/// [`observe`] without the attached policies, in one call.
///
/// # Errors
/// Any error but absence.
pub async fn look(aws: &Clients, name: &str) -> Result<Option<Observed>, Error> {
    let answer = aws.iam.get_role().role_name(name).send().await.map_err(|e| from_sdk(format!("iam:GetRole {name}"), e));
    let role = match answer {
        Ok(answer) => answer.role,
        Err(error) if error.kind == Kind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(role.map(|role| Observed {
        trust: document(role.assume_role_policy_document.as_deref().unwrap_or_default()),
        permissions_boundary: role.permissions_boundary.and_then(|boundary| boundary.permissions_boundary_arn),
        tags: role.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect(),
        description: role.description,
        // IAM leaves its default out
        max_session_duration: role.max_session_duration.map_or(3600, i64::from),
        arn: role.arn,
        id: role.role_id,
        path: role.path,
        attached: vec![],
    }))
}

/// A policy document as IAM answers it: percent-encoded JSON. What is no JSON is null, which differs from everything wanted.
pub fn document(encoded: &str) -> Json {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        let hex = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        match byte {
            b'%' => match (hex(rest.next()), hex(rest.next())) {
                (Some(high), Some(low)) => bytes.push(high * 16 + low),
                _ => return Json::Null,
            },
            plain => bytes.push(plain),
        }
    }
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// How a role differs from what the bundle wants.
pub fn differences(cx: &Context, key: &str, made: &MadeRole, live: &Observed) -> Vec<String> {
    let mut found = vec![];
    if live.path != made.path {
        found.push(format!("path {}, want {}", live.path, made.path));
    }
    if !statement::same(&live.trust, &made.trust) {
        found.push("trust_policy differs".to_owned());
    }
    if made.description.is_some() && live.description != made.description {
        found.push("description differs".to_owned());
    }
    if live.max_session_duration != made.max_session_duration {
        found.push(format!("max_session_duration {}, want {}", live.max_session_duration, made.max_session_duration));
    }
    if live.permissions_boundary != made.permissions_boundary {
        let name = |arn: &Option<String>| arn.clone().unwrap_or_else(|| "none".into());
        found.push(format!("permissions_boundary {}, want {}", name(&live.permissions_boundary), name(&made.permissions_boundary)));
    }
    for arn in made.attached.iter().filter(|arn| !live.attached.contains(arn)) {
        found.push(format!("policy {} not attached", arn.rsplit('/').next().unwrap_or(arn)));
    }
    for arn in made.interim.iter().filter(|arn| live.attached.contains(arn)) {
        found.push(format!("policy {} still attached", arn.rsplit('/').next().unwrap_or(arn)));
    }
    found.extend(cx.with_own_tags(key, &made.tags).tags.differences(&live.tags));
    found
}

/// Makes the role, or changes the one that is there; its unique id. Its policies are [`attach`]'s.
///
/// # Errors
/// What IAM says; a role of that name that is not ours.
pub async fn converge(cx: &Context, role: &Role, made: &MadeRole, live: Option<&Observed>, creating: bool) -> Result<String, Error> {
    let cx = cx.with_own_tags(role.key, &made.tags);
    match live {
        None => create(&cx, role, made, creating).await,
        Some(live) => update(&cx, role, made, live).await,
    }
}

async fn create(cx: &Context, role: &Role, made: &MadeRole, creating: bool) -> Result<String, Error> {
    let description = made.description.clone().unwrap_or_else(|| format!("Karpenter on the EKS cluster {}", cx.place.cluster));
    let tags = iam_tags(&cx.tags.with_marker(creating))?;
    let created = cx
        .patiently(made.trusts_the_new(), || async {
            let sent = cx.aws.iam.create_role().role_name(&role.name).path(&made.path).description(&description);
            let sent = sent.assume_role_policy_document(made.trust.to_string()).max_session_duration(session(made));
            let sent = sent.set_permissions_boundary(made.permissions_boundary.clone()).set_tags(Some(tags.clone()));
            sent.send().await.map_err(|e| from_sdk(format!("iam:CreateRole {}", role.name), e))
        })
        .await;
    match created {
        Ok(answer) => Ok(answer.role.map(|role| role.role_id).unwrap_or_default()),
        // perhaps ours: the answer to an attempt was lost, or the look that did not find it was too early
        Err(error) if error.kind == Kind::AlreadyExists => match look(&cx.aws, &role.name).await? {
            Some(live) if cx.ownership(&live.tags) == Ownership::Ours && live.tags.contains_key(CREATING_TAG) == creating => {
                update(cx, role, made, &live).await
            }
            _ => Err(error.remedy("It appeared meanwhile: apply again to see whose it is.")),
        },
        Err(error) => Err(error),
    }
}

fn session(made: &MadeRole) -> i32 {
    i32::try_from(made.max_session_duration).unwrap_or(i32::MAX)
}

async fn update(cx: &Context, role: &Role, made: &MadeRole, live: &Observed) -> Result<String, Error> {
    let (iam, name) = (&cx.aws.iam, role.name.as_str());
    if live.path != made.path {
        let message = format!("it exists with the path {}, and IAM cannot change it to {}", live.path, made.path);
        return Err(Error::new(Kind::Invalid, format!("change the path of role {name}"), message)
            .remedy("Give the role another name together with the new path."));
    }
    if !statement::same(&live.trust, &made.trust) {
        cx.patiently(made.trusts_the_new(), || set_trust(cx, name, &made.trust)).await?;
    }
    let described = made.description.is_none() || live.description == made.description;
    if !described || live.max_session_duration != made.max_session_duration {
        let description = made.description.clone().or_else(|| live.description.clone());
        let sent = iam.update_role().role_name(name).set_description(description).max_session_duration(session(made));
        sent.send().await.map_err(|e| from_sdk(format!("iam:UpdateRole {name}"), e))?;
    }
    match &made.permissions_boundary {
        want if *want == live.permissions_boundary => {}
        Some(arn) => {
            let sent = iam.put_role_permissions_boundary().role_name(name).permissions_boundary(arn);
            sent.send().await.map_err(|e| from_sdk(format!("iam:PutRolePermissionsBoundary {name}"), e))?;
        }
        None => {
            let sent = iam.delete_role_permissions_boundary().role_name(name);
            sent.send().await.map_err(|e| from_sdk(format!("iam:DeleteRolePermissionsBoundary {name}"), e))?;
        }
    }
    let (set, remove) = (cx.tags.to_set(&live.tags), cx.tags.to_remove(&live.tags));
    if !set.is_empty() {
        let sent = iam.tag_role().role_name(name).set_tags(Some(iam_tags(&set)?));
        sent.send().await.map_err(|e| from_sdk(format!("iam:TagRole {name}"), e))?;
    }
    if !remove.is_empty() {
        untag(cx, name, remove).await?;
    }
    Ok(live.id.clone())
}

/// Says who may assume the role.
///
/// # Errors
/// What IAM says.
pub async fn set_trust(cx: &Context, name: &str, trust: &Json) -> Result<(), Error> {
    let sent = cx.aws.iam.update_assume_role_policy().role_name(name).policy_document(trust.to_string());
    sent.send().await.map_err(|e| from_sdk(format!("iam:UpdateAssumeRolePolicy {name}"), e))?;
    Ok(())
}

impl MadeRole {
    /// What to wait for: IAM refuses a principal that was made seconds ago as malformed. Services always exist.
    fn trusts_the_new(&self) -> &'static [Kind] {
        let statements = self.trust["Statement"].as_array();
        let named = |statement: &Json| ["AWS", "Federated"].iter().any(|kind| statement["Principal"].get(kind).is_some());
        if statements.is_some_and(|statements| statements.iter().any(named)) { &[Kind::Invalid, Kind::Conflict] } else { &[Kind::Conflict] }
    }
}

/// Attaches what is not attached yet, all at once.
///
/// # Errors
/// What IAM says; a role or policy that was just made may be unknown for seconds, which is waited for.
pub async fn attach(cx: &Context, role_name: &str, arns: &[String], live: Option<&Observed>) -> Result<(), Error> {
    let missing = arns.iter().filter(|arn| live.is_none_or(|live| !live.attached.contains(arn)));
    let calls: Vec<_> = missing.map(|arn| attach_one(cx, role_name, arn)).collect();
    try_join_all(calls).await?;
    Ok(())
}

async fn attach_one(cx: &Context, role_name: &str, arn: &str) -> Result<(), Error> {
    cx.patiently(&[Kind::NotFound, Kind::Conflict], || async {
        let sent = cx.aws.iam.attach_role_policy().role_name(role_name).policy_arn(arn);
        sent.send().await.map_err(|e| from_sdk(format!("iam:AttachRolePolicy {role_name} {arn}"), e)).map(|_| ())
    })
    .await
}

/// The last call of a create.
///
/// # Errors
/// What IAM says.
pub async fn remove_marker(cx: &Context, role_name: &str) -> Result<(), Error> {
    cx.patiently(&[Kind::Conflict], || untag(cx, role_name, vec![CREATING_TAG.to_owned()])).await
}

async fn untag(cx: &Context, role_name: &str, keys: Vec<String>) -> Result<(), Error> {
    let sent = cx.aws.iam.untag_role().role_name(role_name).set_tag_keys(Some(keys));
    sent.send().await.map_err(|e| from_sdk(format!("iam:UntagRole {role_name}"), e))?;
    Ok(())
}

/// Tags as IAM takes them.
///
/// # Errors
/// Never, in truth: the SDK's builder wants both key and value.
pub fn iam_tags(tags: &BTreeMap<String, String>) -> Result<Vec<Tag>, Error> {
    let build = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    tags.iter().map(build).collect::<Result<_, _>>().map_err(|e| Error::new(Kind::Other, "build IAM tags", "incomplete").caused_by(e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_is_decoded() {
        assert_eq!(document("%7B%22a%22%3A%20%22b%20c%22%7D"), json!({"a": "b c"}));
        assert_eq!(document(r#"{"a": "b c"}"#), json!({"a": "b c"}));
        assert_eq!(document("%7"), Json::Null);
    }
}
