//! What a change keeps until the controller runs as the change wants it: permissions and trust that go come off last. Pure.

use serde_json::{Value as Json, json};

use super::desired::{Desired, Policy, interim_policy};
use super::policies::{ATTACHED_LIMIT, pack};
use super::statement;

/// What stays for the time of a change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interim {
    /// The controller role's trust: the former one and the new one.
    pub trust: Option<Json>,
    /// The statements that go, in policies of their own.
    pub policies: Vec<Policy>,
    /// Policies to take off roles afterwards: the role's key, its name, the policy's ARN.
    pub detach: Vec<(&'static str, String, String)>,
    /// Whether the controller gets its credentials in another way, so that those must be seen to work before the former ones go.
    pub new_credentials: bool,
}

impl Interim {
    /// Between a bundle as it was wanted so far, and as it is wanted now.
    pub fn between(old: &Desired, new: &Desired, live_trust: Option<&Json>) -> Interim {
        let mut interim = Interim { detach: surplus(old, new), ..Interim::default() };
        // without the chart, nobody knows when its controller runs as it should
        if new.chart.is_none() || old.chart.is_none() {
            return interim;
        }
        let who = |desired: &Desired| (desired.credentials, desired.controller_role.arn.clone());
        interim.new_credentials = who(old) != who(new);
        let (Some(before), Some(after)) = (&old.controller_role.made, &new.controller_role.made) else { return interim };
        if old.controller_role.arn != new.controller_role.arn {
            return interim;
        }
        // one that the role does not hold any more may name a principal that is gone, which IAM would refuse
        let mut leaving = leaving(&before.trust, &after.trust);
        leaving.retain(|statement| live_trust.is_none_or(|live| holds(live, statement)));
        if !leaving.is_empty() {
            let mut trust = after.trust.clone();
            let statements = after.trust["Statement"].as_array().cloned().unwrap_or_default();
            trust["Statement"] = statements.into_iter().chain(leaving).collect();
            interim.trust = Some(trust);
        }
        let kept = |policy: &Policy| new.policies.iter().find(|other| other.arn == policy.arn);
        let leaving: Vec<Json> =
            old.policies.iter().filter_map(|policy| Some(self::leaving(&policy.document, &kept(policy)?.document))).flatten().collect();
        if !leaving.is_empty() {
            let documents = pack(leaving);
            // a role that is full has no room: then they go at once
            if documents.len() <= after.interim.len() && after.attached.len() + documents.len() <= ATTACHED_LIMIT {
                let document = |statements: Vec<Json>| json!({"Version": "2012-10-17", "Statement": statements});
                let named =
                    |(at, statements)| interim_policy(at + 1, document(statements), &new.controller_role.name, &after.path, &new.place);
                interim.policies = documents.into_iter().enumerate().map(named).collect();
            }
        }
        interim
    }

    /// The bundle as it is wanted for the time of the change.
    pub fn stage(&self, new: &Desired) -> Desired {
        let mut stage = new.clone();
        if let (Some(made), Some(trust)) = (&mut stage.controller_role.made, &self.trust) {
            made.trust = trust.clone();
        }
        stage
    }
}

/// Whether a document has a statement, however it is written.
fn holds(document: &Json, statement: &Json) -> bool {
    document["Statement"].as_array().is_some_and(|statements| statements.iter().any(|held| statement::same(held, statement)))
}

/// Statements that a document has and the other one has not.
fn leaving(old: &Json, new: &Json) -> Vec<Json> {
    let statements = |document: &Json| document["Statement"].as_array().cloned().unwrap_or_default();
    let kept = statements(new);
    statements(old).into_iter().filter(|statement| !kept.contains(statement)).collect()
}

/// Policies that were attached and are not wanted any more; those that the bundle made are deleted elsewhere.
fn surplus(old: &Desired, new: &Desired) -> Vec<(&'static str, String, String)> {
    let pairs = [(&old.controller_role, &new.controller_role), (&old.node_role, &new.node_role)];
    let mut found = vec![];
    for (before, after) in pairs.into_iter().filter(|(before, after)| before.arn == after.arn) {
        let (Some(had), Some(wants)) = (&before.made, &after.made) else { continue };
        let ours = |arn: &&String| old.policies.iter().any(|policy| policy.arn == **arn);
        let gone = had.attached.iter().filter(|arn| !wants.attached.contains(arn) && !ours(arn));
        found.extend(gone.map(|arn| (after.key, after.name.clone(), arn.clone())));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use semver::Version;

    use super::super::arguments::{Arguments, ControllerRole, Credentials};
    use super::super::desired::{Place, desired};
    use super::*;

    fn bundle(minor: u64, change: impl FnOnce(&mut Arguments)) -> Desired {
        let mut place = Place::of_arn("arn:aws:eks:us-east-1:123456789012:cluster/demo").unwrap();
        place.oidc_issuer = "oidc.eks.us-east-1.amazonaws.com/id/X".into();
        let mut arguments = Arguments::default();
        change(&mut arguments);
        desired(&arguments, &Version::new(1, minor, 0), &place, &BTreeMap::new()).unwrap()
    }

    fn statements(document: &Json) -> Vec<Json> {
        document["Statement"].as_array().unwrap().clone()
    }

    #[test]
    fn an_upgrade_and_a_downgrade_keep_what_either_version_needs() {
        for (from, to) in [(0, 14), (14, 0), (8, 9), (12, 13), (13, 12)] {
            let (old, new) = (bundle(from, |_| {}), bundle(to, |_| {}));
            let interim = Interim::between(&old, &new, None);
            let granted: Vec<Json> = new.policies.iter().chain(&interim.policies).flat_map(|policy| statements(&policy.document)).collect();
            for needed in old.policies.iter().chain(&new.policies).flat_map(|policy| statements(&policy.document)) {
                assert!(granted.contains(&needed), "1.{from} to 1.{to}: {needed}");
            }
            assert!(interim.trust.is_none() && !interim.new_credentials);
            assert!(!interim.policies.is_empty(), "1.{from} to 1.{to}");
        }
        assert_eq!(Interim::between(&bundle(13, |_| {}), &bundle(14, |_| {}), None), Interim::default(), "the same permissions");
    }

    #[test]
    fn the_registrys_policy_comes_off_after_an_upgrade() {
        let interim = Interim::between(&bundle(3, |_| {}), &bundle(4, |_| {}), None);
        let arn = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly".to_owned();
        assert_eq!(interim.detach, [("node_role", "demo-karpenter-node-role".to_owned(), arn)]);
    }

    #[test]
    fn a_change_of_credentials_trusts_both() {
        let (old, new) = (bundle(14, |_| {}), bundle(14, |arguments| arguments.credentials = Some(Credentials::Irsa)));
        let interim = Interim::between(&old, &new, None);
        assert!(interim.new_credentials && interim.policies.is_empty());
        let trust = statements(
            interim.stage(&new).controller_role.made.unwrap().trust.as_object().map(|t| Json::Object(t.clone())).as_ref().unwrap(),
        );
        assert_eq!(trust[0]["Principal"]["Federated"], "arn:aws:iam::123456789012:oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/X");
        assert_eq!(trust[1]["Principal"]["Service"], "pods.eks.amazonaws.com");
    }

    #[test]
    fn a_statement_that_iam_does_not_hold_any_more_is_not_written_again() {
        let with = |arguments: &mut Arguments| {
            let who = json!([{"type": "AWS", "identifiers": ["arn:aws:iam::123456789012:role/gone"]}]);
            let statement = serde_json::from_value(json!({"actions": ["sts:AssumeRole"], "principals": who})).unwrap();
            arguments.controller_role = Some(ControllerRole { assume_role_statement: Some(vec![statement]), ..Default::default() });
        };
        let (old, new) = (bundle(14, with), bundle(14, |_| {}));
        let held = old.controller_role.made.as_ref().unwrap().trust.clone();
        assert_eq!(statements(&Interim::between(&old, &new, Some(&held)).trust.unwrap()).len(), 2);
        // IAM names a principal that is gone by its id
        let gone = serde_json::from_str(&held.to_string().replace("arn:aws:iam::123456789012:role/gone", "AROAEXAMPLE")).unwrap();
        assert_eq!(Interim::between(&old, &new, Some(&gone)).trust, None);
    }

    #[test]
    fn a_policy_that_the_user_drops_comes_off() {
        let with = |arguments: &mut Arguments| {
            let policies = BTreeMap::from([("mine".to_owned(), "arn:aws:iam::123456789012:policy/mine".to_owned())]);
            arguments.controller_role = Some(ControllerRole { additional_policies: Some(policies), ..Default::default() });
        };
        let interim = Interim::between(&bundle(14, with), &bundle(14, |_| {}), None);
        assert_eq!(
            interim.detach,
            [("controller_role", "demo-karpenter-controller".to_owned(), "arn:aws:iam::123456789012:policy/mine".to_owned())]
        );
    }
}
