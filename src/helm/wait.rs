//! Waiting for a release's Deployment, as Helm's `--wait` does.

use std::time::Instant;

use kube::Client;
use kube::api::ListParams;
use serde_json::Value;

use super::live::Target;
use super::manifest::Object;
use super::release::Record;
use super::{Release, Result};
use crate::kubernetes::apply;

/// Whether a release's Deployments are ready, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// All of them are.
    pub ready: bool,
    /// One sentence; empty when ready.
    pub why: String,
}

/// Waits until the release's Deployments are ready, or the deadline passes: that is no error. A deadline that has passed looks once.
///
/// # Errors
/// What the API server says.
pub async fn wait_ready(client: &Client, release: &Release, deadline: Instant) -> Result<Readiness> {
    ready(client, release.current(), deadline).await
}

/// As [`wait_ready`], of one revision.
pub(super) async fn ready(client: &Client, record: &Record, deadline: Instant) -> Result<Readiness> {
    for object in record.objects()?.iter().filter(|o| o.info.kind == "Deployment") {
        let target = Target::with_body(object, Value::Null);
        let is_ready = |live: Option<&Value>| live.is_some_and(|live| readiness(live).is_ok());
        if let Err(left) = target.until(client, deadline.into(), is_ready).await? {
            let why = left.map_or_else(|| "it does not exist".to_owned(), |live| readiness(&live).err().unwrap_or_default());
            let why = format!("Deployment {}: {why}", object.name);
            return Ok(Readiness { ready: false, why: explain(client, object, &why).await });
        }
    }
    Ok(Readiness { ready: true, why: String::new() })
}

/// Helm's rule: the controller has seen this generation, and enough pods of the new template are ready.
fn readiness(live: &Value) -> std::result::Result<(), String> {
    let number = |pointer: &str, absent: i64| live.pointer(pointer).and_then(Value::as_i64).unwrap_or(absent);
    if live.pointer("/spec/paused").and_then(Value::as_bool).unwrap_or_default() {
        return Ok(());
    }
    if number("/status/observedGeneration", 0) < number("/metadata/generation", 0) {
        return Err("its controller has not seen the change yet".to_owned());
    }
    let replicas = number("/spec/replicas", 1);
    let unavailable = max_unavailable(live, replicas);
    // the status does not say which of the ready pods are new: take it that all the old ones are ready
    let old = number("/status/replicas", 0) - number("/status/updatedReplicas", 0);
    let ready = (number("/status/readyReplicas", 0) - old).max(0);
    if ready >= replicas - unavailable {
        return Ok(());
    }
    // pods that cannot even be made are not there to say why
    let conditions = live.pointer("/status/conditions").and_then(Value::as_array);
    let failure = conditions.into_iter().flatten().find(|c| c["type"] == "ReplicaFailure" && c["status"] == "True");
    let failure = failure.and_then(|c| c["message"].as_str()).map(|message| format!("; {message}")).unwrap_or_default();
    Err(format!("{ready} of {replicas} pods are ready, want {}{failure}", replicas - unavailable))
}

fn max_unavailable(live: &Value, replicas: i64) -> i64 {
    if replicas == 0 || live.pointer("/spec/strategy/type").and_then(Value::as_str) == Some("Recreate") {
        return 0;
    }
    let value = live.pointer("/spec/strategy/rollingUpdate/maxUnavailable");
    let percent = value.and_then(Value::as_str).and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok());
    let count = percent.map_or_else(|| value.and_then(Value::as_i64).unwrap_or_default(), |percent| replicas * percent / 100);
    count.min(replicas)
}

/// The reason with what the pods say.
async fn explain(client: &Client, object: &Object, reason: &str) -> String {
    let labels = object.json.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let selector: Vec<String> = labels.into_iter().flatten().filter_map(|(k, v)| Some(format!("{k}={}", v.as_str()?))).collect();
    let details = pod_problems(client, object.namespace.as_deref(), &selector.join(",")).await;
    if details.is_empty() { reason.to_owned() } else { format!("{reason}; {}", details.join("; ")) }
}

/// What is wrong with pods: an image that cannot be pulled, a container that crashes, a node that is missing. One LIST; what it cannot
/// tell is left out.
pub(super) async fn pod_problems(client: &Client, namespace: Option<&str>, selector: &str) -> Vec<String> {
    let info = super::manifest::KindInfo { kind: "Pod", group: "", plural: "pods", namespaced: true };
    let api = apply::api(client, &super::live::resource(&info, "v1"), namespace);
    let Ok(pods) = api.list(&ListParams::default().labels(selector).limit(20)).await else { return vec![] };
    let mut details: Vec<String> = pods.items.iter().filter_map(|pod| pod_problem(&pod.data)).collect();
    details.sort();
    details.dedup();
    details
}

fn pod_problem(pod: &Value) -> Option<String> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let list = |pointer: &str| pod.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let said = |container: &Value, state: &Value| {
        let text = format!("container {}: {} {}", text(container, "name"), text(state, "reason"), text(state, "message"));
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for container in list("/status/initContainerStatuses").chain(list("/status/containerStatuses")) {
        let waiting =
            container.pointer("/state/waiting").filter(|w| !["", "ContainerCreating", "PodInitializing"].contains(&&*text(w, "reason")));
        // what a crashed container said last tells more than that it is restarted
        let crashed = container.pointer("/lastState/terminated").or(container.pointer("/state/terminated"));
        let crashed = crashed.filter(|t| t.get("exitCode").and_then(Value::as_i64) != Some(0)).map(|t| {
            let code = t.get("exitCode").and_then(Value::as_i64).unwrap_or_default();
            let rest = format!("{} {}", text(t, "reason"), text(t, "message"));
            format!("exit code {code}, {}", rest.trim())
        });
        match (waiting, crashed) {
            (Some(waiting), Some(crashed)) => return Some(format!("{} (last: {crashed})", said(container, waiting))),
            (Some(waiting), None) => return Some(said(container, waiting)),
            (None, Some(crashed)) => return Some(format!("container {}: {crashed}", text(container, "name"))),
            (None, None) => {}
        }
    }
    let failed = list("/status/conditions").find(|c| text(c, "type") == "PodScheduled" && text(c, "status") == "False");
    if let Some(unscheduled) = failed {
        return Some(format!("a pod cannot be scheduled: {}: {}", text(unscheduled, "reason"), text(unscheduled, "message")));
    }
    let status = pod.get("status")?;
    let evicted = Some(text(status, "reason")).filter(|reason| !reason.is_empty() && text(status, "phase") == "Failed")?;
    Some(format!("a pod failed: {evicted} {}", text(status, "message")).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ready_when_enough_new_pods_are() {
        let deployment = |observed: i64, total: i64, updated: i64, ready: i64| {
            json!({"metadata": {"generation": 2}, "spec": {"replicas": 2, "strategy": {"rollingUpdate": {"maxUnavailable": 1}}},
                   "status": {"observedGeneration": observed, "replicas": total, "updatedReplicas": updated, "readyReplicas": ready}})
        };
        assert!(readiness(&deployment(2, 2, 2, 2)).is_ok());
        assert!(readiness(&deployment(2, 2, 2, 1)).is_ok());
        assert!(readiness(&deployment(2, 2, 2, 0)).is_err());
        assert!(readiness(&deployment(1, 2, 2, 2)).is_err());
        assert!(readiness(&deployment(2, 3, 2, 1)).is_err(), "the one that is ready is an old one");
        let mut failing = deployment(2, 0, 0, 0);
        failing["status"]["conditions"] = json!([{"type": "ReplicaFailure", "status": "True", "message": "no service account"}]);
        assert!(readiness(&failing).is_err_and(|why| why.ends_with("; no service account")));
        assert_eq!(max_unavailable(&json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": "25%"}}}}), 10), 2);
    }

    #[test]
    fn pods_say_what_is_wrong() {
        let container = |state: Value| json!({"status": {"containerStatuses": [{"name": "controller"}, state]}});
        let cases = [
            (
                container(json!({"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}})),
                "container c: ImagePullBackOff Back-off pulling image",
            ),
            (
                container(json!({"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                                 "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "no cluster"}}})),
                "container c: CrashLoopBackOff (last: exit code 1, Error no cluster)",
            ),
            (
                json!({"status": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]}}),
                "a pod cannot be scheduled: Unschedulable: 0/3 nodes",
            ),
            (json!({"status": {"phase": "Failed", "reason": "Evicted"}}), "a pod failed: Evicted"),
        ];
        for (pod, want) in cases {
            assert_eq!(pod_problem(&pod).as_deref(), Some(want));
        }
        let creating = container(json!({"name": "c", "state": {"waiting": {"reason": "ContainerCreating"}}}));
        assert_eq!(pod_problem(&creating), None);
    }
}
