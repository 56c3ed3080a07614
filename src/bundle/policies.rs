//! What Karpenter's controller may do, by its version: statements as data, filled in and packed into managed policies.

use std::collections::BTreeSet;

use semver::Version;
use serde_json::{Value as Json, json};

use super::desired::Place;
use super::documents::allowed;
use crate::{Error, Kind};

/// IAM's limit on a managed policy, whitespace not counted.
pub const DOCUMENT_LIMIT: usize = 6144;

/// IAM's limit on managed policies attached to one role.
const ATTACHED_LIMIT: usize = 10;

/// What policies for Karpenter before 1.0 allowed besides.
const FORMERLY: [&str; 1] = ["sqs:GetQueueAttributes"];

/// The statements from a minor version of Karpenter's v1 on, until the next line. The last one also serves newer versions.
const STATEMENTS: [(u64, &str); 8] = [
    (0, include_str!("policies/1.0.json")),
    (1, include_str!("policies/1.1-1.2.json")),
    (3, include_str!("policies/1.3-1.6.json")),
    (7, include_str!("policies/1.7-1.8.json")),
    (9, include_str!("policies/1.9-1.10.json")),
    (11, include_str!("policies/1.11.json")),
    (12, include_str!("policies/1.12.json")),
    (13, include_str!("policies/1.13-1.14.json")),
];

/// The fewest policy documents that hold all of the controller's statements, in a stable order.
///
/// # Errors
/// `Invalid` for a version below 1.0, or where the documents are more than a role can carry.
pub fn documents(version: &Version, place: &Place, node_role_arns: &[String], queue_arn: Option<&str>) -> Result<Vec<Json>, Error> {
    let action = format!("choose IAM policies for Karpenter {version}");
    if version.major < 1 {
        return Err(Error::new(Kind::Invalid, action, "this version is older than 1.0.0").remedy("Choose a version from 1.0.0 on."));
    }
    let minor = if version.major > 1 { u64::MAX } else { version.minor };
    let text = STATEMENTS.iter().rev().find(|(from, _)| *from <= minor).map_or("[]", |(_, text)| text);
    let statements: Vec<Json> = serde_json::from_str(text)
        .map_err(|e| Error::new(Kind::Other, action.clone(), "the built-in statements are no JSON").caused_by(e))?;
    let filled = statements
        .into_iter()
        // without a queue the statement about it would name no resource
        .filter(|statement| queue_arn.is_some() || !statement["Resource"].as_str().is_some_and(|r| r.contains("${queue_arn}")))
        .map(|statement| fill(&statement, place, node_role_arns, queue_arn.unwrap_or_default()))
        .collect();
    let packed = pack(filled);
    if packed.len() > ATTACHED_LIMIT {
        return Err(Error::new(Kind::Invalid, action, format!("{} policies are needed, a role carries {ATTACHED_LIMIT}", packed.len())));
    }
    Ok(packed.into_iter().map(|statements| json!({"Version": "2012-10-17", "Statement": statements})).collect())
}

/// Whether a document allows something, and nothing that some version of the controller does not need: then the bundle's own
/// statements can take its place.
pub fn is_karpenters(document: &Json) -> bool {
    let statements = |text| serde_json::from_str::<Json>(text).unwrap_or_default();
    let known: BTreeSet<String> =
        STATEMENTS.iter().filter_map(|(_, text)| allowed(&json!({"Statement": statements(text)}))).flatten().collect();
    let may = |action: &String| known.contains(action) || FORMERLY.contains(&action.as_str());
    allowed(document).is_some_and(|actions| !actions.is_empty() && actions.iter().all(may))
}

/// The length that IAM counts: everything but whitespace.
pub fn counted_length(document: &Json) -> usize {
    document.to_string().chars().filter(|c| !c.is_whitespace()).count()
}

fn fill(template: &Json, place: &Place, node_role_arns: &[String], queue_arn: &str) -> Json {
    match template {
        Json::String(text) if text == "${node_role_arns}" => match node_role_arns {
            [one] => json!(one),
            several => json!(several),
        },
        Json::String(text) => Json::String(fill_text(text, place, queue_arn)),
        Json::Array(items) => items.iter().map(|item| fill(item, place, node_role_arns, queue_arn)).collect(),
        Json::Object(entries) => {
            entries.iter().map(|(key, value)| (fill_text(key, place, queue_arn), fill(value, place, node_role_arns, queue_arn))).collect()
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => template.clone(),
    }
}

fn fill_text(text: &str, place: &Place, queue_arn: &str) -> String {
    text.replace("${partition}", &place.partition)
        .replace("${region}", &place.region)
        .replace("${account}", &place.account)
        .replace("${cluster}", &place.cluster)
        .replace("${queue_arn}", queue_arn)
}

/// First-fit decreasing: optimal for sizes like these, and each document keeps the statements' order.
fn pack(statements: Vec<Json>) -> Vec<Vec<Json>> {
    let frame = counted_length(&json!({"Version": "2012-10-17", "Statement": []}));
    let mut sized: Vec<(usize, usize, Json)> =
        statements.into_iter().enumerate().map(|(at, statement)| (counted_length(&statement) + 1, at, statement)).collect();
    sized.sort_by_key(|(size, at, _)| (std::cmp::Reverse(*size), *at));
    let mut bins: Vec<(usize, Vec<(usize, Json)>)> = vec![];
    for (size, at, statement) in sized {
        match bins.iter_mut().find(|(used, _)| used + size <= DOCUMENT_LIMIT) {
            Some((used, bin)) => {
                *used += size;
                bin.push((at, statement));
            }
            None => bins.push((frame + size, vec![(at, statement)])),
        }
    }
    bins.into_iter()
        .map(|(_, mut bin)| {
            bin.sort_by_key(|(at, _)| *at);
            bin.into_iter().map(|(_, statement)| statement).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(cluster: &str, partition: &str) -> Place {
        let arn = format!("arn:{partition}:eks:eu-central-1:123456789012:cluster/{cluster}");
        Place::of_arn(&arn).unwrap()
    }

    fn made(version: &str, cluster: &str, queue: Option<&str>) -> Vec<Json> {
        let roles = [format!("arn:aws:iam::123456789012:role/{cluster}-karpenter-node-role")];
        documents(&Version::parse(version).unwrap(), &place(cluster, "aws"), &roles, queue).unwrap()
    }

    #[test]
    fn every_version_and_name_length_fits_and_leaves_no_placeholder() {
        for version in ["1.0.8", "1.2.0", "1.6.3", "1.8.0", "1.9.0", "1.11.0", "1.12.4", "1.14.1", "1.15.0", "2.0.0"] {
            for length in [1, 4, 20, 40, 100] {
                let cluster = "c".repeat(length);
                let documents = made(version, &cluster, Some("arn:aws:sqs:eu-central-1:123456789012:q"));
                for document in &documents {
                    assert!(counted_length(document) <= DOCUMENT_LIMIT);
                    assert!(!document.to_string().contains("${"), "{document}");
                }
                let total: usize = documents.iter().map(counted_length).sum();
                assert!(
                    documents.len() <= total.div_ceil(DOCUMENT_LIMIT) + usize::from(total % DOCUMENT_LIMIT > 6000),
                    "{version} {length}"
                );
            }
        }
    }

    #[test]
    fn the_demo_cluster_needs_one_document() {
        assert_eq!(made("1.14.1", "demo", Some("arn:aws:sqs:us-east-1:123456789012:demo-karpenter")).len(), 1);
    }

    #[test]
    fn without_a_queue_nothing_speaks_of_sqs() {
        assert!(!made("1.14.1", "demo", None)[0].to_string().contains("sqs:"));
    }

    #[test]
    fn a_policy_that_allows_more_is_not_karpenters() {
        assert!(made("1.0.8", "demo", Some("arn:aws:sqs:eu-central-1:123456789012:q")).iter().all(is_karpenters));
        let allows = |action: &str| is_karpenters(&json!({"Statement": [{"Effect": "Allow", "Action": ["ec2:RunInstances", action]}]}));
        assert!(allows("sqs:GetQueueAttributes") && !allows("kms:Decrypt") && !allows("ec2:*"));
        assert!(!is_karpenters(&json!({"Statement": []})));
    }

    #[test]
    fn a_version_before_1_0_is_refused() {
        assert!(documents(&Version::new(0, 37, 0), &place("demo", "aws"), &[], None).is_err());
    }
}
