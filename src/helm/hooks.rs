//! Hooks: objects that a step of a release makes and waits for, and that are no part of its manifest. Of Karpenter's charts only 1.0.0 has
//! one, a Job that puts the conversion webhook into the CRDs.

use kube::Client;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::live::{self, Created, Target};
use super::manifest::{self, Object};
use super::release::{Record, now};
use super::{Result, invalid, wait};
use crate::{Error, Kind};

/// The annotation that makes an object a hook, and says of which steps.
pub const HOOK: &str = "helm.sh/hook";
const WEIGHT: &str = "helm.sh/hook-weight";
const DELETE_POLICY: &str = "helm.sh/hook-delete-policy";
/// The steps at which something is done here.
const EVENTS: &[&str] = &[
    "pre-install",
    "post-install",
    "pre-upgrade",
    "post-upgrade",
    "pre-rollback",
    "post-rollback",
    "pre-delete",
    "post-delete",
    "test",
    "test-success",
];

/// One hook as rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// The template that it is from.
    pub path: String,
    /// Its text, as a record keeps it.
    pub text: String,
    /// The object that it makes.
    pub object: Object,
}

impl Hook {
    /// A rendered object with the hook's annotation.
    ///
    /// # Errors
    /// A step that Helm does not know.
    pub fn new(path: &str, text: &str, object: Object) -> std::result::Result<Hook, String> {
        let hook = Hook { path: path.to_owned(), text: text.to_owned(), object };
        match hook.words(HOOK).iter().find(|event| !EVENTS.contains(&event.as_str())) {
            Some(unknown) => Err(format!("{path}: a hook of the unknown kind {unknown:?}")),
            None => Ok(hook),
        }
    }

    fn words(&self, annotation: &str) -> Vec<String> {
        let text = self.object.annotation(annotation).unwrap_or_default();
        text.split(',').map(|word| word.trim().to_lowercase()).filter(|word| !word.is_empty()).collect()
    }

    fn weight(&self) -> i64 {
        self.object.annotation(WEIGHT).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// Whether it is deleted then; without a word on it, before it is made again.
    fn deleted(&self, when: &str) -> bool {
        let policies = self.words(DELETE_POLICY);
        policies.iter().any(|policy| policy == when) || policies.is_empty() && when == "before-hook-creation"
    }

    /// As a release record keeps it.
    pub fn json(&self) -> Value {
        json!({
            "name": self.object.name,
            "kind": self.object.info.kind,
            "path": self.path,
            "manifest": self.text,
            "events": self.words(HOOK),
            "last_run": {"started_at": "", "completed_at": "", "phase": ""},
            "weight": self.weight(),
            "delete_policies": self.words(DELETE_POLICY),
        })
    }

    fn target(&self) -> Target {
        let mut body = self.object.json.clone();
        if let Some(namespace) = &self.object.namespace {
            body["metadata"]["namespace"] = namespace.as_str().into();
        }
        Target::with_body(&self.object, body)
    }

    /// Makes it, and waits until it has done its work.
    async fn execute(&self, client: &Client, deadline: Instant) -> Result<()> {
        let target = self.target();
        match target.create(client).await? {
            Created::New(_) => {}
            // it was deleted just now, so this is ours: the answer to its making was lost
            Created::Exists(live) if self.deleted("before-hook-creation") && live::is_ours(&live) => {}
            Created::Exists(_) => {
                let action = format!("run the hook {} {:?}", self.object.info.kind, self.object.name);
                return Err(Error::new(Kind::Conflict, action, "an object of that name exists").remedy("Delete it, and apply again."));
            }
        }
        if self.object.info.kind != "Job" {
            return Ok(());
        }
        // a Job that is gone has done its work: its time to live may be 0
        let ended = target.until(client, deadline, |live| live.is_none_or(|live| outcome(live).is_some())).await?;
        let action = || format!("wait for the hook Job {:?}", self.object.name);
        match ended {
            Ok(None) => Ok(()),
            Ok(Some(live)) => match outcome(&live) {
                Some(Err(why)) => Err(Error::new(Kind::Other, action(), format!("it failed: {why}{}", self.pods(client).await))),
                _ => Ok(()),
            },
            Err(_) => Err(Error::new(Kind::Timeout, action(), format!("it does not end{}", self.pods(client).await))),
        }
    }

    /// What its pods say, for the end of a sentence.
    async fn pods(&self, client: &Client) -> String {
        let selector = format!("job-name={}", self.object.name);
        let problems = wait::pod_problems(client, self.object.namespace.as_deref(), &selector).await;
        if problems.is_empty() { String::new() } else { format!("; {}", problems.join("; ")) }
    }

    async fn delete(&self, client: &Client) -> Result<()> {
        let target = self.target();
        match target.get(client).await? {
            Some(live) => target.delete(client, live::uid(&live)).await,
            None => Ok(()),
        }
    }
}

/// How a Job ended; `None` while it runs.
fn outcome(job: &Value) -> Option<std::result::Result<(), String>> {
    let text = |condition: &Value, key: &str| condition.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array)?;
    conditions.iter().filter(|c| text(c, "status") == "True").find_map(|c| match text(c, "type").as_str() {
        "Complete" => Some(Ok(())),
        "Failed" => Some(Err(format!("{} {}", text(c, "reason"), text(c, "message")).trim().to_owned())),
        _ => None,
    })
}

/// Runs a record's hooks of one step, by weight and name, and notes in the record how they went.
///
/// # Errors
/// The first hook that fails, after it was deleted where its policy says so.
pub async fn run(client: &Client, record: &mut Record, event: &str, deadline: Instant) -> Result<()> {
    let mut hooks: Vec<(usize, Hook)> = recorded(record)?.into_iter().enumerate().collect();
    hooks.retain(|(_, hook)| hook.words(HOOK).iter().any(|word| word == event));
    hooks.sort_by(|(_, a), (_, b)| (a.weight(), &a.object.name).cmp(&(b.weight(), &b.object.name)));
    for (index, hook) in &hooks {
        if hook.deleted("before-hook-creation") {
            hook.delete(client).await?;
        }
        let started = now();
        let done = hook.execute(client, deadline).await;
        let phase = if done.is_ok() { "Succeeded" } else { "Failed" };
        record.json["hooks"][*index]["last_run"] = json!({"started_at": started, "completed_at": now(), "phase": phase});
        if let Err(error) = done {
            if hook.deleted("hook-failed") {
                hook.delete(client).await?;
            }
            return Err(error);
        }
    }
    for (_, hook) in hooks.iter().filter(|(_, hook)| hook.deleted("hook-succeeded")) {
        hook.delete(client).await?;
    }
    Ok(())
}

/// The hooks of a record.
fn recorded(record: &Record) -> Result<Vec<Hook>> {
    let namespace = record.json.get("namespace").and_then(Value::as_str).unwrap_or_default();
    let mut hooks = vec![];
    for hook in record.json.get("hooks").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| hook.get(key).and_then(Value::as_str).unwrap_or_default();
        let object = manifest::object(text("manifest"), namespace)?;
        let object = object.ok_or_else(|| invalid("read the hooks of the release record", format!("{} is empty", text("path"))))?;
        hooks.push(Hook { path: text("path").to_owned(), text: text("manifest").to_owned(), object });
    }
    Ok(hooks)
}
