//! The bundle's pure steps (`desired`, `plan`) around an inventory in memory: every object of it in sync, drifted or gone.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use karpenter::bundle::desired::{Desired, Place, desired};
use karpenter::bundle::plan;
use karpenter::bundle::record::Record;
use karpenter::provider::Cluster;
use karpenter::resources::bundle::Bundle;
use karpenter::tofu::convert;
use karpenter::tofu::diagnostics::Diagnostics;
use karpenter::tofu::resource::{ApplyRequest, ApplyResponse, Resource};
use karpenter::tofu::value::Value;
use semver::Version;

use super::drive::Backend;
use super::random::Random;

/// Repositories have newer versions now and then.
const NEWEST: [&str; 3] = ["1.13.0", "1.14.0", "1.14.1"];

/// A role that somebody else made is referenced only.
const NOT_MANAGED: &str = "not managed";

/// What a bundle consists of, by logical name, each with its line.
pub struct Inventory {
    resource: Arc<Bundle>,
    objects: BTreeMap<String, String>,
    ready: bool,
    /// The last answer of [`Inventory::desired`]: a state is read several times.
    last: RefCell<Option<(Question, Option<Desired>)>>,
}

/// The arguments as JSON, the version, and the cluster's ARN.
type Question = (serde_json::Value, String, String);

impl Inventory {
    /// Nothing is there.
    pub fn new(resource: Arc<Bundle>) -> Self {
        Inventory { resource, objects: BTreeMap::new(), ready: true, last: RefCell::default() }
    }

    fn desired(&self, state: &Value, newest: &str, cluster: &Cluster) -> Option<Desired> {
        let arguments = convert::expand(&self.resource.schema().block, state);
        let version = arguments["version"].as_str().unwrap_or(newest).to_owned();
        let question = (arguments, version, cluster.arn.clone());
        if let Some((_, answer)) = self.last.borrow().as_ref().filter(|(last, _)| *last == question) {
            return answer.clone();
        }
        let arguments = plan::arguments(&self.resource.schema().block, state);
        let version = Version::parse(arguments.version.as_deref().unwrap_or(newest)).ok()?;
        let answer = desired(&arguments, &version, &Place::of_arn(&cluster.arn)?, &BTreeMap::new()).ok();
        *self.last.borrow_mut() = Some((question, answer.clone()));
        answer
    }

    fn queue_url(desired: &Desired) -> Value {
        desired.queue.as_ref().map_or(Value::Null, |queue| Value::from(format!("https://sqs/{}", queue.name)))
    }

    fn lines(&self) -> Value {
        Value::object(self.objects.iter().map(|(key, line)| (key.clone(), Value::from(line.clone()))))
    }
}

impl Backend for Inventory {
    fn apply(&mut self, request: &ApplyRequest, cluster: &Cluster, random: &mut Random) -> ApplyResponse {
        if request.planned_state.is_null() {
            self.objects.clear();
            return ApplyResponse::default();
        }
        let newest = NEWEST[random.below(NEWEST.len())];
        let Some(desired) = self.desired(&request.planned_state, newest, cluster) else {
            let mut diagnostics = Diagnostics::default();
            diagnostics.error(None, "no such bundle can be", "");
            return ApplyResponse { new_state: request.prior_state.clone(), private: request.planned_private.clone(), diagnostics };
        };
        let Desired { version, controller_role, policies, queue, rules, node_role, .. } = &desired;
        let keys = [controller_role.key.to_owned(), node_role.key.to_owned()].into_iter();
        let keys = keys
            .chain(policies.iter().map(|p| p.key.clone()))
            .chain(rules.iter().map(|r| r.key.clone()))
            .chain(queue.iter().map(|_| "queue".to_owned()));
        let foreign = |key: &String| self.objects.get(key).is_some_and(|line| line == NOT_MANAGED);
        let line = |key: String| (key.clone(), if foreign(&key) { NOT_MANAGED } else { "in sync" }.to_owned());
        self.objects = keys.map(line).collect();
        self.ready = random.once_in(2);
        let mut observed = Value::object(plan::outputs(&desired));
        observed.set("cluster_name", Value::from(cluster.name.clone()));
        observed.set("version", Value::from(version.to_string()));
        observed.set("queue_url", Self::queue_url(&desired));
        observed.set("ready", Value::from(self.ready));
        observed.set("objects", self.lines());
        let mut record = Record::read(&request.planned_private);
        record.set = record.planned.take().unwrap_or_default();
        record.complete = true;
        let new_state = convert::settle(&request.planned_state, &observed);
        ApplyResponse { new_state, private: record.write(), diagnostics: Diagnostics::default() }
    }

    fn read(&self, state: &Value, cluster: &Cluster) -> Value {
        let mut seen = state.clone();
        seen.set("objects", self.lines());
        seen.set("ready", Value::from(self.ready));
        if let Some(desired) = self.desired(state, NEWEST[0], cluster).filter(|desired| desired.queue.is_some()) {
            seen.set("queue_url", Self::queue_url(&desired));
        }
        seen
    }

    fn import(&self, _cluster: &Cluster) -> Option<Value> {
        None
    }

    fn manifest(&self, _config: &Value) -> Option<Value> {
        None
    }

    fn drift(&mut self, _towards: &Value, random: &mut Random) {
        for (key, line) in &mut self.objects {
            match random.below(8) {
                0 => "missing".clone_into(line),
                1 => "drifted: path /, want /x/".clone_into(line),
                2 if key == "node_role" => NOT_MANAGED.clone_into(line),
                _ => {}
            }
        }
        self.ready = random.once_in(2);
    }
}
