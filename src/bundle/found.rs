//! Names that an import found: chosen by whoever made the objects, and kept while the configuration chooses no others. Pure.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::arguments::Arguments;
use super::desired::{Desired, Place, Policy, desired};
use super::names::{POLICY_LIMIT, within};
use super::policies::{DOCUMENT_LIMIT, counted_length};
use crate::Error;

/// What an import found; everything is empty for a bundle that was made here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Found {
    /// The controller's role.
    pub controller_role: Option<FoundRole>,
    /// ARNs of the managed policies on it that hold nothing but what Karpenter needs.
    pub policies: Vec<String>,
    /// ARNs of the others, which stay as they are.
    pub others: Vec<String>,
    /// Names of such inline policies on it.
    pub inline: Vec<String>,
    /// The nodes' role.
    pub node_role: Option<FoundRole>,
    /// The interruption queue's name.
    pub queue: Option<String>,
    /// Names of the rules that feed it, by their keys in `objects`.
    pub rules: BTreeMap<String, String>,
    /// The Helm release's name.
    pub release: Option<String>,
    /// Whether the controller was found installed: importing it is consent to write its objects, until the first apply has done so.
    pub adopted: bool,
}

/// An IAM role that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FoundRole {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// IAM path, `/` or `/.../`.
    pub path: String,
}

impl FoundRole {
    /// The role of an ARN; `None` for the ARN of anything else.
    pub fn of_arn(arn: &str) -> Option<FoundRole> {
        let path_and_name = arn.split_once(":role")?.1;
        let (path, name) = path_and_name.rsplit_once('/')?;
        Some(FoundRole { name: name.to_owned(), arn: arn.to_owned(), path: format!("{path}/") })
    }
}

impl Found {
    /// What a bundle of these arguments should be, with the found names where the arguments give none.
    ///
    /// # Errors
    /// As [`desired`].
    pub fn desired(
        &self,
        arguments: &Arguments,
        version: &Version,
        place: &Place,
        default_tags: &BTreeMap<String, String>,
    ) -> Result<Desired, Error> {
        if *self == Found::default() {
            return desired(arguments, version, place, default_tags);
        }
        let mut arguments = arguments.clone();
        self.fill(&mut arguments);
        let mut desired = desired(&arguments, version, place, default_tags)?;
        if self.controller_role.as_ref().is_some_and(|found| found.arn == desired.controller_role.arn) {
            self.name_policies(&mut desired);
        }
        // rules belong to their queue: another one gets rules of its own
        let chosen = arguments.rules.as_ref().is_some_and(|rules| rules.prefix.is_some());
        if !chosen && desired.queue.as_ref().is_some_and(|queue| self.queue.as_ref().is_none_or(|found| *found == queue.name)) {
            self.name_rules(&mut desired);
        }
        if let Some(chart) = &mut desired.chart {
            chart.adopt |= self.adopted && self.release.as_ref().is_none_or(|found| *found == chart.release_name);
        }
        Ok(desired)
    }

    /// After an apply: forgets what is not wanted any more, so that a name that comes back later is chosen anew, and what has been done.
    pub fn settle(&mut self, desired: &Desired) {
        self.inline.clear();
        self.adopted = false;
        if self.controller_role.as_ref().is_some_and(|found| found.arn != desired.controller_role.arn) {
            (self.controller_role, self.policies, self.others) = (None, vec![], vec![]);
        }
        if self.node_role.as_ref().is_some_and(|found| found.arn != desired.node_role.arn) {
            self.node_role = None;
        }
        if self.queue.as_ref().is_some_and(|found| desired.queue.as_ref().is_none_or(|queue| *found != queue.name)) {
            (self.queue, self.rules) = (None, BTreeMap::new());
        }
        if self.release.as_ref().is_some_and(|found| desired.chart.as_ref().is_none_or(|chart| *found != chart.release_name)) {
            self.release = None;
        }
    }

    /// Puts names in where the user gave none, and paths that IAM cannot change.
    fn fill(&self, arguments: &mut Arguments) {
        let is_same = |name: &Option<String>, found: &FoundRole| name.as_ref().is_none_or(|name| *name == found.name);
        let role = arguments.controller_role.get_or_insert_default();
        if let Some(found) = self.controller_role.as_ref().filter(|found| role.arn.is_none() && is_same(&role.name, found)) {
            role.name = Some(found.name.clone());
            role.path.get_or_insert_with(|| found.path.clone());
        }
        let role = arguments.node_role.get_or_insert_default();
        if let Some(found) = self.node_role.as_ref().filter(|found| is_same(&role.name, found)) {
            role.name = Some(found.name.clone());
            role.path.get_or_insert_with(|| found.path.clone());
        }
        let queue = arguments.interruption_queue.get_or_insert_default();
        queue.name = queue.name.take().or_else(|| self.queue.clone());
        let chart = arguments.chart.get_or_insert_default();
        chart.release_name = chart.release_name.take().or_else(|| self.release.clone());
    }

    /// Found policies keep their names, and a policy that has its default name taken gets another. Where more were found than are needed,
    /// the statements are spread over all.
    fn name_policies(&self, desired: &mut Desired) {
        let Desired { policies, controller_role, .. } = desired;
        let Some(made) = &mut controller_role.made else { return };
        if self.policies.len() > policies.len()
            && let Some(documents) = spread(policies.iter().map(|policy| &policy.document), self.policies.len())
            && let Some(first) = policies.first().cloned()
        {
            *policies = documents
                .into_iter()
                .enumerate()
                .map(|(at, document)| Policy { key: format!("controller_policy_{}", at + 1), document, ..first.clone() })
                .collect();
        }
        // names of policies are unique in an account, whatever their paths and letters' case
        let is_taken = |name: &str| self.others.iter().chain(&self.policies).any(|arn| name_of(arn).eq_ignore_ascii_case(name));
        let defaults: Vec<String> = policies.iter().map(|policy| policy.arn.clone()).collect();
        made.attached.retain(|arn| !defaults.contains(arn));
        for (at, policy) in policies.iter_mut().enumerate() {
            match self.policies.get(at) {
                Some(arn) => rename(policy, arn.clone()),
                None if is_taken(&policy.name) => {
                    let head = policy.arn.strip_suffix(&policy.name).unwrap_or_default();
                    let arn = format!("{head}{}", within(POLICY_LIMIT, &policy.name, "-karpenter"));
                    rename(policy, arn);
                }
                None => {}
            }
        }
        made.attached.extend(policies.iter().map(|policy| policy.arn.clone()));
    }

    fn name_rules(&self, desired: &mut Desired) {
        for rule in &mut desired.rules {
            let Some(name) = self.rules.get(&rule.key) else { continue };
            rule.arn = rule.arn.rsplit_once('/').map_or_else(String::new, |(head, _)| format!("{head}/{name}"));
            rule.name.clone_from(name);
        }
    }
}

fn name_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or_default()
}

fn rename(policy: &mut Policy, arn: String) {
    let path_and_name = arn.split_once(":policy").map_or("", |(_, rest)| rest);
    let (path, name) = path_and_name.rsplit_once('/').unwrap_or_default();
    (policy.path, policy.name, policy.arn) = (format!("{path}/"), name.to_owned(), arn);
}

/// The statements of some documents in `count` documents, the largest first into the emptiest; `None` where one would be empty
/// or too long.
fn spread<'a>(documents: impl Iterator<Item = &'a Json>, count: usize) -> Option<Vec<Json>> {
    let statements = documents.flat_map(|document| document["Statement"].as_array().into_iter().flatten());
    let mut sized: Vec<(usize, usize, &Json)> =
        statements.enumerate().map(|(at, statement)| (counted_length(statement), at, statement)).collect();
    sized.sort_by_key(|(size, at, _)| (std::cmp::Reverse(*size), *at));
    let mut bins: Vec<(usize, BTreeSet<usize>)> = vec![(0, BTreeSet::new()); count];
    for (size, at, _) in &sized {
        let (used, bin) = bins.iter_mut().min_by_key(|(used, _)| *used)?;
        *used += size;
        bin.insert(*at);
    }
    sized.sort_by_key(|(_, at, _)| *at);
    let document = |bin: &BTreeSet<usize>| {
        let statements: Vec<&Json> = sized.iter().filter(|(_, at, _)| bin.contains(at)).map(|(_, _, statement)| *statement).collect();
        json!({"Version": "2012-10-17", "Statement": statements})
    };
    let fits = |document: &Json| counted_length(document) <= DOCUMENT_LIMIT;
    let documents: Vec<Json> = bins.iter().map(|(_, bin)| document(bin)).collect();
    (bins.iter().all(|(_, bin)| !bin.is_empty()) && documents.iter().all(fits)).then_some(documents)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:eks:us-east-1:123456789012:cluster/demo";

    fn found() -> Found {
        let role = |name: &str| FoundRole::of_arn(&format!("arn:aws:iam::123456789012:role/made/{name}")).unwrap();
        Found {
            controller_role: Some(role("KarpenterController-1")),
            policies: (1..=3).map(|n| format!("arn:aws:iam::123456789012:policy/K-{n}")).collect(),
            node_role: Some(role("Karpenter-demo-2")),
            queue: Some("Karpenter-demo".into()),
            rules: BTreeMap::from([("rule_rebalance".into(), "KarpenterInstanceRebalance-3".into())]),
            release: Some("karp".into()),
            adopted: true,
            ..Found::default()
        }
    }

    fn made(found: &Found, arguments: &Arguments) -> Desired {
        found.desired(arguments, &Version::new(1, 14, 1), &Place::of_arn(ARN).unwrap(), &BTreeMap::new()).unwrap()
    }

    #[test]
    fn found_names_are_kept_and_refer_to_each_other() {
        let desired = made(&found(), &Arguments::default());
        assert_eq!(desired.controller_role.arn, "arn:aws:iam::123456789012:role/made/KarpenterController-1");
        assert_eq!(desired.association.as_ref().unwrap().role_arn, desired.controller_role.arn);
        assert_eq!(desired.queue.as_ref().unwrap().name, "Karpenter-demo");
        let names: Vec<&str> = desired.rules.iter().map(|rule| rule.name.as_str()).collect();
        assert!(names.contains(&"KarpenterInstanceRebalance-3") && names.contains(&"demo-karpenter-health-event"), "{names:?}");
        let chart = desired.chart.unwrap();
        assert!(chart.adopt && chart.release_name == "karp" && chart.injected["settings"]["interruptionQueue"] == "Karpenter-demo");
        let documents = desired.policies.iter().map(|policy| policy.document.to_string()).collect::<String>();
        assert!(documents.contains("role/made/Karpenter-demo-2") && !documents.contains("role/Karpenter-demo-2"));
        assert_eq!(desired.policies.iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>(), ["K-1", "K-2", "K-3"]);
        assert_eq!(desired.controller_role.made.unwrap().attached, found().policies);
    }

    #[test]
    fn a_policy_that_stays_as_it_is_keeps_its_name() {
        let taken = "arn:aws:iam::123456789012:policy/KarpenterController-1".to_owned();
        let desired = made(&Found { policies: vec![], others: vec![taken], ..found() }, &Arguments::default());
        let ours = "arn:aws:iam::123456789012:policy/made/KarpenterController-1-karpenter".to_owned();
        assert_eq!((&desired.policies[0].arn, desired.controller_role.made.unwrap().attached), (&ours, vec![ours.clone()]));
        assert_eq!((desired.policies[0].path.as_str(), desired.policies[0].name.as_str()), ("/made/", "KarpenterController-1-karpenter"));
    }

    #[test]
    fn every_statement_is_in_one_of_the_found_policies() {
        let statements = |desired: &Desired| {
            let all = desired.policies.iter().flat_map(|policy| policy.document["Statement"].as_array().unwrap().clone());
            all.map(|statement| statement["Sid"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
        };
        let (one, three) = (made(&Found { policies: vec![], ..found() }, &Arguments::default()), made(&found(), &Arguments::default()));
        assert_eq!((one.policies.len(), three.policies.len()), (1, 3));
        assert_eq!(statements(&one), statements(&three));
    }

    #[test]
    fn what_the_configuration_chooses_wins_and_the_found_name_is_then_forgotten() {
        let queue = super::super::arguments::InterruptionQueue { name: Some("mine".into()), ..Default::default() };
        let arguments = Arguments { interruption_queue: Some(queue), ..Arguments::default() };
        let mut found = found();
        let desired = made(&found, &arguments);
        assert!(desired.rules.iter().all(|rule| rule.name.starts_with("demo-karpenter-")));
        found.settle(&desired);
        assert_eq!((found.queue, found.rules.len(), found.policies.len()), (None, 0, 3));
    }

    #[test]
    fn a_prefix_of_the_configurations_names_the_rules() {
        let rules = super::super::arguments::Rules { prefix: Some("mine-".into()), ..Default::default() };
        let desired = made(&found(), &Arguments { rules: Some(rules), ..Arguments::default() });
        assert!(desired.rules.iter().all(|rule| rule.name.starts_with("mine-")));
    }

    #[test]
    fn the_access_entry_is_the_found_node_roles() {
        let desired = made(&found(), &Arguments::default());
        assert_eq!(desired.access_entries[0].role_arn, "arn:aws:iam::123456789012:role/made/Karpenter-demo-2");
    }
}
