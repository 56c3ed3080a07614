//! An IAM role: the controller's or the nodes'.

use std::collections::BTreeMap;

use aws_sdk_iam::types::Tag;
use futures::future::try_join_all;
use serde_json::Value as Json;

use super::context::Context;
use super::desired::{CREATING_TAG, MadeRole, Role};
use super::documents::say_the_same;
use crate::aws::Clients;
use crate::aws::error::from_sdk;
use crate::{Error, Kind};

/// A role as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Its ARN.
    pub arn: String,
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
    let mut pages = aws.iam.list_attached_role_policies().role_name(name).into_paginator().items().send();
    while let Some(policy) = pages.next().await {
        match policy {
            Ok(policy) => role.attached.extend(policy.policy_arn),
            Err(error) => match from_sdk(format!("iam:ListAttachedRolePolicies {name}"), error) {
                gone if gone.kind == Kind::NotFound => return Ok(None),
                error => return Err(error),
            },
        }
    }
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
        arn: role.arn,
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
pub fn differences(cx: &Context, made: &MadeRole, live: &Observed) -> Vec<String> {
    let mut found = vec![];
    if live.path != made.path {
        found.push(format!("path {}, want {}", live.path, made.path));
    }
    if !say_the_same(&live.trust, &made.trust) {
        found.push("trust_policy differs".to_owned());
    }
    if live.permissions_boundary != made.permissions_boundary {
        let name = |arn: &Option<String>| arn.clone().unwrap_or_else(|| "none".into());
        found.push(format!("permissions_boundary {}, want {}", name(&live.permissions_boundary), name(&made.permissions_boundary)));
    }
    for arn in made.attached.iter().filter(|arn| !live.attached.contains(arn)) {
        found.push(format!("policy {} not attached", arn.rsplit('/').next().unwrap_or(arn)));
    }
    found.extend(cx.tags.differences(&live.tags));
    found
}

/// Makes the role, or changes the one that is there; its policies are [`attach`]'s.
///
/// # Errors
/// What IAM says.
pub async fn converge(cx: &Context, role: &Role, made: &MadeRole, live: Option<&Observed>, creating: bool) -> Result<(), Error> {
    match live {
        None => create(cx, role, made, creating).await,
        Some(live) => update(cx, role, made, live).await,
    }
}

async fn create(cx: &Context, role: &Role, made: &MadeRole, creating: bool) -> Result<(), Error> {
    let sent = cx.aws.iam.create_role().role_name(&role.name).path(&made.path).assume_role_policy_document(made.trust.to_string());
    let sent = sent.description(format!("Karpenter on the EKS cluster {}", cx.place.cluster));
    let sent = sent.set_permissions_boundary(made.permissions_boundary.clone()).set_tags(Some(iam_tags(&cx.tags.with_marker(creating))?));
    sent.send().await.map_err(|e| from_sdk(format!("iam:CreateRole {}", role.name), e))?;
    Ok(())
}

async fn update(cx: &Context, role: &Role, made: &MadeRole, live: &Observed) -> Result<(), Error> {
    let (iam, name) = (&cx.aws.iam, role.name.as_str());
    if live.path != made.path {
        let message = format!("it exists with the path {}, and IAM cannot change it to {}", live.path, made.path);
        return Err(Error::new(Kind::Invalid, format!("change the path of role {name}"), message)
            .remedy("Give the role another name together with the new path."));
    }
    if !say_the_same(&live.trust, &made.trust) {
        let sent = iam.update_assume_role_policy().role_name(name).policy_document(made.trust.to_string());
        sent.send().await.map_err(|e| from_sdk(format!("iam:UpdateAssumeRolePolicy {name}"), e))?;
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
    Ok(())
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
    untag(cx, role_name, vec![CREATING_TAG.to_owned()]).await
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
