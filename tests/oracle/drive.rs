//! Lives of random resources: configure, plan with unknowns, plan again, apply, read, plan to nothing, drift, replace, destroy;
//! every answer judged by the rules.

use std::sync::Arc;

use futures::executor::block_on;
use karpenter::provider::{Cluster, Provider};
use karpenter::tofu::path::Path;
use karpenter::tofu::resource::{ApplyRequest, ApplyResponse, PlanRequest, PlanResponse, Provider as _, Resource};
use karpenter::tofu::schema::Block;
use karpenter::tofu::value::Value;

use super::generate::{Generator, Taste, forget_at, is_within};
use super::proposed::proposed_new;
use super::random::Random;
use super::rules::{self, Action, Violation, show};

/// What stands behind a resource type: its pure steps, and servers in memory.
pub trait Backend {
    /// Carries out a plan.
    fn apply(&mut self, request: &ApplyRequest, cluster: &Cluster, random: &mut Random) -> ApplyResponse;
    /// Refreshes a state.
    fn read(&self, state: &Value, cluster: &Cluster) -> Value;
    /// The state of what exists, by its id alone.
    fn import(&self, cluster: &Cluster) -> Option<Value>;
    /// The same configuration as a manifest, where the type takes one.
    fn manifest(&self, config: &Value) -> Option<Value>;
    /// Other clients change something, some of it to what the given configuration says.
    fn drift(&mut self, towards: &Value, random: &mut Random);
}

/// A resource type, configured in the ways that a provider block can be: each reaches no network, as the region is unknown.
pub struct Subject {
    /// `cluster_name` unknown, "demo", "other", null.
    resources: [Arc<dyn Resource>; 4],
    generator: Generator,
}

/// How a life ended early.
#[derive(Debug)]
pub struct Failure {
    /// What was broken.
    pub violations: Vec<Violation>,
    /// When, and with which values.
    pub context: String,
}

const DEFAULTS: [Option<&str>; 4] = [None, Some("demo"), Some("other"), None];

impl Subject {
    /// The type of that name.
    pub fn new(type_name: &str) -> Subject {
        let resources = [Value::unknown(), Value::from("demo"), Value::from("other"), Value::Null].map(|cluster_name| {
            let provider = Provider::new();
            let mut config = Value::object(Vec::<(String, Value)>::new());
            let block = &provider.schema().block;
            block.attributes.iter().for_each(|a| config.set(&a.name, Value::unknown()));
            block.blocks.iter().for_each(|b| config.set(&b.name, Value::unknown()));
            config.set("cluster_name", cluster_name);
            let diagnostics = block_on(provider.configure(config));
            assert!(!diagnostics.has_errors(), "an unknown provider block is refused: {diagnostics:?}");
            provider.resources().iter().find(|r| r.type_name() == type_name).expect("a registered type").clone()
        });
        let generator = Generator::new(&resources[0].schema().block);
        Subject { resources, generator }
    }

    fn block(&self) -> &Block {
        &self.resources[0].schema().block
    }
}

/// One resource from its creation to its end.
pub struct Life<'a> {
    subject: &'a Subject,
    backend: Box<dyn Backend + 'a>,
    random: Random,
    config: Value,
    state: Value,
    private: Vec<u8>,
    provider: usize,
    lived: Lived,
}

/// What a life amounts to.
#[derive(Clone, Copy, Default)]
pub struct Lived {
    /// Random configurations planned, each from a prior and with unknowns of its own.
    pub cases: u64,
    /// Plans applied.
    pub applied: u64,
}

impl<'a> Life<'a> {
    /// Nothing exists yet.
    pub fn new(subject: &'a Subject, backend: Box<dyn Backend + 'a>, seed: u64) -> Self {
        let (config, state, private) = (Value::Null, Value::Null, vec![]);
        let mut random = Random::new(seed);
        let provider = if random.once_in(8) { 3 } else { 1 };
        Life { subject, backend, random, config, state, private, provider, lived: Lived::default() }
    }

    /// Lives; says what it did on the way.
    ///
    /// # Errors
    /// The first broken rules.
    pub fn live(&mut self) -> Result<Lived, Failure> {
        let steps = 1 + self.random.below(6);
        for _ in 0..steps {
            if self.random.once_in(2) {
                self.garbage()?;
            }
            if self.next_config() && self.change()? {
                self.refresh("R2", "reading what was applied")?;
                self.nothing_to_do()?;
                self.import()?;
            }
            if self.random.once_in(2) && !self.state.is_null() {
                self.drift()?;
            }
        }
        self.destroy()?;
        Ok(self.lived)
    }

    /// Validation of anything at all: no panic, and no error about what is unknown.
    fn garbage(&mut self) -> Result<(), Failure> {
        let subject = self.subject;
        let taste = Taste { set: 1 + self.random.below(6), garbage: 3 };
        let config = subject.generator.config(taste, &mut self.random);
        let resource = &subject.resources[0];
        let errors = resource.validate(&config);
        for path in errors.0.iter().filter_map(|e| e.path.as_ref()).take(3) {
            let partly = forget_at(&config, &path.0);
            let still = resource.validate(&partly).0.into_iter().find(|e| e.path.as_ref().is_some_and(|p| is_within(p, path)));
            if let Some(error) = still {
                let violation = Violation::new("V1", path, format!("{}: {}, though it is unknown", error.summary, error.detail));
                return Err(self.failure(vec![violation], "validate", &partly));
            }
        }
        let partly = subject.generator.forget(&config, &mut self.random);
        resource.validate(&partly);
        // never planned by the client, but a plan must stand it
        self.lived.cases += 1;
        let (prior, private) = (self.state.clone(), self.private.clone());
        self.plan(0, &prior, &partly, &private).map(|_| ())
    }

    /// Makes a configuration that validates; says whether it found one.
    fn next_config(&mut self) -> bool {
        let subject = self.subject;
        let taste = Taste { set: 1 + self.random.below(8), garbage: [0, 40][self.random.below(2)] };
        let config = if self.config.is_null() || self.random.once_in(5) {
            subject.generator.config(taste, &mut self.random)
        } else {
            subject.generator.change(&self.config, taste, &mut self.random)
        };
        let check = |config: &Value| subject.resources[0].validate(config);
        let mut config = config;
        config.set("manifest", Value::Null);
        match subject.generator.repair(config, &check, &mut self.random) {
            Some(config) => self.config = config,
            None => return false,
        }
        if let (0, Some(manifest)) = (self.random.below(6), self.backend.manifest(&self.config)) {
            self.config = manifest;
        }
        // who has named a cluster goes on to name one, if another
        if self.provider != 3 && self.random.once_in(8) {
            self.provider = 1 + self.random.below(2);
        }
        true
    }

    /// Plans with parts unknown, then with all known, as `apply` does, and applies. Says whether the state is now as configured.
    fn change(&mut self) -> Result<bool, Failure> {
        let (config, prior, private) = (self.config.clone(), self.state.clone(), self.private.clone());
        let some_unknown = self.random.once_in(2);
        let partly = if some_unknown { self.subject.generator.forget(&config, &mut self.random) } else { config.clone() };
        let errors = self.subject.resources[0].validate(&partly);
        if errors.has_errors() {
            let message = format!("{errors:?}, though it can still become valid");
            return Err(self.failure(vec![Violation::new("V1", &Path::root(), message)], "validate", &partly));
        }
        self.lived.cases += 1;
        let before = if self.random.once_in(3) { 0 } else { self.provider };
        let first = self.plan(before, &prior, &partly, &private)?;
        if first.diagnostics.has_errors() {
            return Ok(false);
        }
        match rules::action(&prior, &first.planned_state, &first.requires_replace) {
            Action::NoOp => Ok(true),
            Action::Replace => self.replace(before, &partly, &first),
            action => {
                let second = self.plan(self.provider, &prior, &config, &private)?;
                let then = rules::action(&prior, &second.planned_state, &second.requires_replace);
                // by design, an unknown name or manifest replaces nothing; should it turn out another one, the client refuses
                let manifest = Path::attribute("manifest");
                let unknown = second.requires_replace.iter().chain([&manifest]).any(|p| is_unknown_at(&first.planned_state, p));
                let excused = then == Action::Replace && unknown;
                if excused {
                    return Ok(false);
                }
                let found = rules::completes(self.subject.block(), (&first.planned_state, action), (&second.planned_state, then));
                self.judge(found, "second plan", &partly)?;
                if then == Action::NoOp { Ok(true) } else { self.apply(then, second) }
            }
        }
    }

    fn replace(&mut self, before: usize, partly: &Value, first: &PlanResponse) -> Result<bool, Failure> {
        let second = self.plan(before, &Value::Null, partly, &first.planned_private)?;
        let config = self.config.clone();
        let at_apply = self.plan(self.provider, &Value::Null, &config, &[])?;
        if second.diagnostics.has_errors() || at_apply.diagnostics.has_errors() {
            return Ok(false);
        }
        let both = (&second.planned_state, second.requires_replace.as_slice());
        let found = rules::replaces(self.subject.block(), partly, both, &at_apply.planned_state);
        self.judge(found, "plan of a replacement", partly)?;
        let private = self.private.clone();
        self.apply(Action::Delete, PlanResponse { planned_private: private, ..PlanResponse::default() })?;
        self.apply(Action::Create, at_apply)
    }

    fn plan(&mut self, provider: usize, prior: &Value, config: &Value, private: &[u8]) -> Result<PlanResponse, Failure> {
        let subject = self.subject;
        let request = PlanRequest {
            prior_state: prior.clone(),
            config: config.clone(),
            proposed_new_state: proposed_new(subject.block(), prior, config),
            prior_private: private.to_vec(),
        };
        let response = block_on(subject.resources[provider].plan(request));
        let planned = &response.planned_state;
        let mut found = Vec::new();
        if !response.diagnostics.has_errors() {
            found = rules::plan_valid(subject.block(), prior, config, planned);
            found.extend(rules::replacements_resolve(prior, planned, &response.requires_replace));
            if !planned.is_null() && self.random.once_in(8) {
                found.extend(rules::survives_the_wire(subject.block(), planned));
            }
        }
        self.judge(found, "plan", config)?;
        Ok(response)
    }

    fn apply(&mut self, action: Action, plan: PlanResponse) -> Result<bool, Failure> {
        let request = ApplyRequest {
            prior_state: self.state.clone(),
            config: if action == Action::Delete { Value::Null } else { self.config.clone() },
            planned_state: plan.planned_state.clone(),
            planned_private: plan.planned_private,
        };
        // the real apply must get no further than the provider's unknown region
        if self.random.once_in(16) {
            let refused = block_on(self.subject.resources[0].apply(request.clone()));
            let mut found = rules::failed(action, &request.prior_state, &refused.new_state);
            if !refused.diagnostics.has_errors() {
                found.push(Violation::new("C1", &Path::root(), "applied with an unknown provider block"));
            }
            self.judge(found, "apply without a provider", &plan.planned_state)?;
        }
        let cluster = self.cluster(if action == Action::Delete { &request.prior_state } else { &plan.planned_state });
        self.lived.applied += 1;
        let response = self.backend.apply(&request, &cluster, &mut self.random);
        let failed = response.diagnostics.has_errors();
        let found = if failed {
            rules::failed(action, &request.prior_state, &response.new_state)
        } else {
            rules::applied(self.subject.block(), &plan.planned_state, &response.new_state)
        };
        (self.state, self.private) = (response.new_state, response.private);
        self.judge(found, &format!("apply ({action:?})"), &plan.planned_state)?;
        Ok(!failed)
    }

    fn refresh(&mut self, rule: &'static str, when: &str) -> Result<(), Failure> {
        if self.state.is_null() {
            return Ok(());
        }
        let read = self.backend.read(&self.state, &self.cluster(&self.state));
        let mut found = rules::unchanged(rule, &self.state, &read);
        if self.random.once_in(4) {
            found.extend(rules::survives_the_wire(self.subject.block(), &read));
        }
        self.judge(found, when, &self.state.clone())
    }

    /// P8: what was just applied satisfies its configuration.
    fn nothing_to_do(&mut self) -> Result<(), Failure> {
        let (config, prior, private) = (self.config.clone(), self.state.clone(), self.private.clone());
        let plan = self.plan(self.provider, &prior, &config, &private)?;
        self.judge(rules::unchanged("P8", &prior, &plan.planned_state), "plan after an apply", &config)
    }

    /// What is imported, and configured as it was found, is not changed.
    fn import(&mut self) -> Result<(), Failure> {
        if self.state.is_null() || !self.random.once_in(4) {
            return Ok(());
        }
        let cluster = self.cluster(&self.state);
        let Some(imported) = self.backend.import(&cluster) else { return Ok(()) };
        let read = self.backend.read(&imported, &cluster);
        let mut found = rules::unchanged("I1", &imported, &read);
        found.extend(rules::survives_the_wire(self.subject.block(), &imported));
        self.judge(found, "reading what was imported", &imported)
    }

    fn drift(&mut self) -> Result<(), Failure> {
        let taste = Taste { set: 2, garbage: 0 };
        let towards = self.subject.generator.config(taste, &mut self.random);
        self.backend.drift(&towards, &mut self.random);
        self.state = self.backend.read(&self.state, &self.cluster(&self.state));
        // an empty block matches any live one, so that drifted text may take more than one read to be drawn
        if self.state.attr("manifest").is_null() { self.refresh("R2", "reading again what drifted") } else { Ok(()) }
    }

    fn destroy(&mut self) -> Result<(), Failure> {
        if self.state.is_null() {
            return Ok(());
        }
        let (prior, private) = (self.state.clone(), self.private.clone());
        let plan = self.plan(0, &prior, &Value::Null, &private)?;
        self.apply(Action::Delete, plan).map(|_| ())
    }

    /// The cluster that a state or a plan names, else the provider's.
    fn cluster(&self, state: &Value) -> Cluster {
        let name = state.attr("cluster_name").as_str().or(DEFAULTS[self.provider]).unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default().to_owned();
        let arn = if name.is_empty() { String::new() } else { format!("arn:aws:eks:eu-central-1:123456789012:cluster/{name}") };
        Cluster { name, arn, account_id: "123456789012".into(), ..Cluster::default() }
    }

    fn judge(&self, found: Vec<Violation>, when: &str, value: &Value) -> Result<(), Failure> {
        if found.is_empty() { Ok(()) } else { Err(self.failure(found, when, value)) }
    }

    fn failure(&self, violations: Vec<Violation>, when: &str, value: &Value) -> Failure {
        let values = [("value", value), ("config", &self.config), ("state", &self.state)];
        let values: Vec<String> = values.iter().map(|(name, value)| format!("    {name}: {}", show(value))).collect();
        let private = String::from_utf8_lossy(&self.private);
        Failure { violations, context: format!("{when}\n{}\n    private: {private}", values.join("\n")) }
    }
}

fn is_unknown_at(planned: &Value, path: &Path) -> bool {
    (0..=path.0.len()).any(|n| rules::resolve(planned, &Path(path.0[..n].to_vec())).is_some_and(Value::is_unknown))
}
