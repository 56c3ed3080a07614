//! What Karpenter's controller may do, by its version: statements as data, filled in and packed into managed policies.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use semver::Version;
use serde_json::{Value as Json, json};

use super::documents::allowed;
use super::place::Place;
use crate::tofu::convert::replace_texts;
use crate::tofu::path::Path;
use crate::{Error, Kind};

/// IAM's limit on a managed policy, whitespace not counted.
pub const DOCUMENT_LIMIT: usize = 6144;

/// IAM's limit on managed policies attached to one role.
pub const ATTACHED_LIMIT: usize = 10;

/// The statements from a minor version of Karpenter's v1 on, until the next line. The last one also serves newer versions.
const TEXTS: [(u64, &str); 8] = [
    (0, include_str!("policies/1.0.json")),
    (1, include_str!("policies/1.1-1.2.json")),
    (3, include_str!("policies/1.3-1.6.json")),
    (7, include_str!("policies/1.7-1.8.json")),
    (9, include_str!("policies/1.9-1.10.json")),
    (11, include_str!("policies/1.11.json")),
    (12, include_str!("policies/1.12.json")),
    (13, include_str!("policies/1.13-1.14.json")),
];

static STATEMENTS: LazyLock<Vec<(u64, Vec<Json>)>> = LazyLock::new(|| {
    TEXTS.iter().map(|(from, text)| (*from, serde_json::from_str(text).unwrap_or_default())).collect() // a test reads them all
});

/// What policies for Karpenter before 1.0 allowed besides.
const FORMERLY: [&str; 1] = ["sqs:GetQueueAttributes"];

/// Newest minor version of Karpenter's v1 that the statements were read off.
pub const NEWEST_MINOR: u64 = 14;

/// What the controller is to be granted besides what its version needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grants<'a> {
    /// Roles that it may pass to nodes.
    pub node_role_arns: &'a [String],
    /// The queue that it reads.
    pub queue_arn: Option<&'a str>,
    /// The KMS key of the queue: an id, an ARN or an alias.
    pub kms_key_id: Option<&'a str>,
    /// The user's own statements.
    pub statements: &'a [Json],
    /// How many policies the user attaches besides.
    pub attached: usize,
}

/// The fewest policy documents that hold all of the controller's statements, in a stable order.
///
/// # Errors
/// `Invalid` for a version below 1.0, or where the statements are more than a role can carry, with how many characters too many.
pub fn documents(version: &Version, place: &Place, grants: &Grants<'_>) -> Result<Vec<Json>, Error> {
    let action = format!("choose IAM policies for Karpenter {version}");
    if version.major < 1 {
        return Err(Error::new(Kind::Invalid, action, "this version is older than 1.0.0")
            .remedy("Choose a version from 1.0.0 on.")
            .at(Path::attribute("version")));
    }
    let minor = if version.major > 1 { u64::MAX } else { version.minor };
    let statements = STATEMENTS.iter().rev().find(|(from, _)| *from <= minor).map_or(&[][..], |(_, statements)| statements);
    let fill = Fill { place, node_role_arns: grants.node_role_arns, queue_arn: grants.queue_arn.unwrap_or_default() };
    let filled = statements
        .iter()
        // without a queue the statement about it would name no resource
        .filter(|statement| grants.queue_arn.is_some() || !statement["Resource"].as_str().is_some_and(|r| r.contains("${queue_arn}")))
        .map(|statement| fill.statement(statement))
        .chain(grants.queue_arn.and(grants.kms_key_id).map(|key| decrypt(place, key)));
    let mut sized: Vec<Measured> = filled.map(Measured::new).collect();
    let own: usize = sized.iter().map(|statement| statement.size).sum();
    let users: Vec<Measured> = grants.statements.iter().cloned().map(Measured::new).collect();
    for (at, statement) in users.iter().enumerate() {
        let excess = (statement.size - 1 + frame()).saturating_sub(DOCUMENT_LIMIT);
        if excess > 0 {
            let message = format!("this statement is {excess} characters longer than the {DOCUMENT_LIMIT} that IAM allows one policy");
            return Err(Error::new(Kind::Invalid, action, message)
                .remedy("Split it, or put it into a policy of your own and name that in additional_policies.")
                .at(Path::attribute("controller_role").index(0).child("policy_statement").index(at)));
        }
    }
    let added: usize = users.iter().map(|statement| statement.size).sum();
    sized.extend(users);
    let packed = pack_measured(sized);
    let room = ATTACHED_LIMIT.saturating_sub(grants.attached);
    if packed.len() > room {
        return Err(too_many(action, packed.len(), (own, added), grants.attached, room));
    }
    let document = |statements| {
        Json::Object([("Version".into(), json!("2012-10-17")), ("Statement".into(), Json::Array(statements))].into_iter().collect())
    };
    Ok(packed.into_iter().map(document).collect())
}

/// `own` and `added`: characters of Karpenter's statements and of the user's.
fn too_many(action: String, needed: usize, (own, added): (usize, usize), attached: usize, room: usize) -> Error {
    let excess = (own + added).saturating_sub(room * (DOCUMENT_LIMIT - frame())).max(1);
    let message = format!(
        "a role carries {ATTACHED_LIMIT} policies of {DOCUMENT_LIMIT} characters each: additional_policies take {attached}, which leaves {room}, \
         and {needed} are needed for Karpenter's own statements ({own} characters) and those of policy_statement ({added}): at least {excess} \
         characters or {} policies too many",
        needed - room,
    );
    Error::new(Kind::Invalid, action, message)
        .remedy("Attach fewer additional_policies, or shorten the statements in policy_statement.")
        .at(Path::attribute("controller_role").index(0))
}

/// What the controller needs to read a queue that a KMS key encrypts. An alias is no resource of IAM's: its key is told by a condition.
fn decrypt(place: &Place, key: &str) -> Json {
    let alias = key.rsplit_once(":alias/").map(|(_, name)| name).or_else(|| key.strip_prefix("alias/"));
    let mut statement = json!({"Sid": "AllowInterruptionQueueDecryption", "Effect": "Allow", "Action": "kms:Decrypt"});
    match alias {
        Some(name) => {
            statement["Resource"] = json!(place.regional_arn("kms", "key/*"));
            statement["Condition"] = json!({"ForAnyValue:StringEquals": {"kms:ResourceAliases": format!("alias/{name}")}});
        }
        None if key.starts_with("arn:") => statement["Resource"] = json!(key),
        None => statement["Resource"] = json!(place.regional_arn("kms", &format!("key/{key}"))),
    }
    statement
}

/// Whether a document allows something, and nothing that some version of the controller does not need: then the bundle's own
/// statements can take its place.
pub fn is_karpenters(document: &Json) -> bool {
    let known: BTreeSet<String> =
        STATEMENTS.iter().filter_map(|(_, statements)| allowed(&json!({"Statement": statements}))).flatten().collect();
    let may = |action: &String| known.contains(action) || FORMERLY.contains(&action.as_str());
    allowed(document).is_some_and(|actions| !actions.is_empty() && actions.iter().all(may))
}

/// The length that IAM counts: everything but whitespace, which as JSON is written here can only be spaces in texts.
pub fn counted_length(document: &Json) -> usize {
    let text = document.to_string();
    text.chars().count() - text.matches(' ').count()
}

/// What placeholders in statements stand for.
struct Fill<'a> {
    place: &'a Place,
    node_role_arns: &'a [String],
    queue_arn: &'a str,
}

impl Fill<'_> {
    fn statement(&self, template: &Json) -> Json {
        let mut statement = template.clone();
        replace_texts(&mut statement, &|text| self.text(text));
        if statement["Resource"] == "${node_role_arns}" {
            statement["Resource"] = match self.node_role_arns {
                [one] => json!(one),
                several => json!(several),
            };
        }
        statement
    }

    /// A text without its placeholders, `None` for one that stays as it is.
    fn text(&self, text: &str) -> Option<String> {
        // 1.0 names EC2 as all partitions but China's do
        if text == "ec2.amazonaws.com" && self.place.partition == "aws-cn" {
            return Some(self.place.ec2_service().to_owned());
        }
        let (before, rest) = text.split_once('$')?;
        let mut filled = before.to_owned();
        for part in rest.split('$') {
            let placeholder = part.strip_prefix('{').and_then(|part| part.split_once('}'));
            match placeholder.and_then(|(name, rest)| Some((self.value(name)?, rest))) {
                Some((value, rest)) => filled.extend([value, rest]),
                None => filled.extend(["$", part]),
            }
        }
        Some(filled)
    }

    fn value(&self, name: &str) -> Option<&str> {
        let Place { partition, region, account, cluster, .. } = self.place;
        Some(match name {
            "partition" => partition,
            "region" => region,
            "account" => account,
            "cluster" => cluster,
            "queue_arn" => self.queue_arn,
            _ => return None,
        })
    }
}

/// Characters of a document around its statements.
fn frame() -> usize {
    counted_length(&json!({"Version": "2012-10-17", "Statement": []}))
}

/// A statement with the characters that it takes in a document, the comma after it among them.
struct Measured {
    size: usize,
    statement: Json,
}

impl Measured {
    fn new(statement: Json) -> Self {
        Measured { size: counted_length(&statement) + 1, statement }
    }
}

/// First-fit decreasing: optimal for sizes like these, and each document keeps the statements' order.
pub(super) fn pack(statements: Vec<Json>) -> Vec<Vec<Json>> {
    pack_measured(statements.into_iter().map(Measured::new).collect())
}

fn pack_measured(statements: Vec<Measured>) -> Vec<Vec<Json>> {
    let frame = frame();
    let mut sized: Vec<(usize, Measured)> = statements.into_iter().enumerate().collect();
    sized.sort_by_key(|(at, statement)| (std::cmp::Reverse(statement.size), *at));
    let mut bins: Vec<(usize, Vec<(usize, Json)>)> = vec![];
    for (at, Measured { size, statement }) in sized {
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
        let grants = Grants { node_role_arns: &roles, queue_arn: queue, ..Grants::default() };
        documents(&Version::parse(version).unwrap(), &place(cluster, "aws"), &grants).unwrap()
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
    fn the_built_in_statements_are_json() {
        assert!(STATEMENTS.iter().all(|(_, statements)| !statements.is_empty()));
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
        assert!(documents(&Version::new(0, 37, 0), &place("demo", "aws"), &Grants::default()).is_err());
    }

    fn statement(length: usize) -> Json {
        let empty = json!({"Effect": "Allow", "Action": "", "Resource": "*"});
        json!({"Effect": "Allow", "Action": "x".repeat(length - counted_length(&empty)), "Resource": "*"})
    }

    fn refused(grants: &Grants<'_>) -> Error {
        documents(&Version::new(1, 14, 1), &place("demo", "aws"), grants).unwrap_err()
    }

    #[test]
    fn a_statement_that_no_policy_holds_is_refused_with_its_excess() {
        let longest = DOCUMENT_LIMIT - frame();
        let fits = [statement(longest)];
        assert_eq!(
            documents(&Version::new(1, 14, 1), &place("demo", "aws"), &Grants { statements: &fits, ..Grants::default() }).unwrap().len(),
            2
        );
        let error = refused(&Grants { statements: &[statement(100), statement(longest + 7)], ..Grants::default() });
        assert!(error.message.contains("is 7 characters longer"), "{error}");
        assert_eq!(error.path.unwrap().to_string(), "controller_role[0].policy_statement[1]");
    }

    #[test]
    fn more_policies_than_a_role_carries_are_refused_with_how_many_too_many() {
        let error = refused(&Grants { attached: 10, ..Grants::default() });
        assert!(
            error.message.contains("additional_policies take 10, which leaves 0") && error.message.contains("or 1 policies too many"),
            "{error}"
        );
        let large: Vec<Json> = (0..9).map(|_| statement(6000)).collect();
        assert_eq!(
            documents(&Version::new(1, 14, 1), &place("demo", "aws"), &Grants { statements: &large, ..Grants::default() }).unwrap().len(),
            10
        );
        let error = refused(&Grants { statements: &large, attached: 1, ..Grants::default() });
        let total = 9 * 6001;
        assert!(error.message.contains(&format!("those of policy_statement ({total})")), "{error}");
    }

    #[test]
    fn a_key_of_the_queues_is_granted_however_it_is_named() {
        let made = |key| {
            let grants = Grants { queue_arn: Some("q"), kms_key_id: Some(key), ..Grants::default() };
            let documents = documents(&Version::new(1, 14, 1), &place("demo", "aws-us-gov"), &grants).unwrap();
            let statements = documents[0]["Statement"].as_array().unwrap().clone();
            statements.into_iter().find(|s| s["Action"] == "kms:Decrypt").unwrap()
        };
        assert_eq!(made("arn:aws-us-gov:kms:x:1:key/k")["Resource"], "arn:aws-us-gov:kms:x:1:key/k");
        assert_eq!(made("1234")["Resource"], "arn:aws-us-gov:kms:eu-central-1:123456789012:key/1234");
        for alias in ["alias/a", "arn:aws-us-gov:kms:x:1:alias/a"] {
            assert_eq!(made(alias)["Condition"]["ForAnyValue:StringEquals"]["kms:ResourceAliases"], "alias/a");
        }
    }

    #[test]
    fn other_partitions_have_their_own_arns_and_names() {
        let roles = ["r".to_owned()];
        let grants = Grants { node_role_arns: &roles, queue_arn: Some("q"), ..Grants::default() };
        for (partition, other) in [("aws-cn", "arn:aws:"), ("aws-us-gov", "arn:aws:")] {
            for minor in 0..=NEWEST_MINOR {
                let documents = documents(&Version::new(1, minor, 0), &place("demo", partition), &grants).unwrap();
                assert!(documents.iter().all(|document| !document.to_string().contains(other)), "{partition} 1.{minor}");
            }
        }
        let china = documents(&Version::new(1, 0, 8), &place("demo", "aws-cn"), &grants).unwrap();
        assert!(china[0].to_string().contains(r#""iam:PassedToService":"ec2.amazonaws.com.cn""#), "{}", china[0]);
    }
}
