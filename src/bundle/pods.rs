//! The controller's pods and their credentials. EKS puts credentials into a pod when the pod is made: one that is older than its Pod
//! Identity association, or than the role's annotation on its service account, runs without them until it is made anew.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use kube::api::{DynamicObject, ListParams};
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::arguments::Credentials;
use super::chart::Session;
use super::desired::{Desired, ROLE_ANNOTATION};
use crate::helm::manifest::{self, KindInfo};
use crate::helm::{Release, live};
use crate::kubernetes::{self, Apply, Object};
use crate::{Error, Kind};

/// How long the Deployment's controller may take to see a change of it.
const SEEN: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// Name under which pods are restarted: `kubectl rollout restart` writes the same annotation under its own.
const MANAGER: &str = "karpenter-tofu";

/// Which pods are to be made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that are older than their credentials.
    Older,
    /// Those that crash and have no credentials, however old they are: EKS may learn of an association seconds after it was made.
    Crashing,
}

/// Makes the controller's pods anew, once, where they lack their credentials and no rollout does so anyway. Whether it did.
///
/// # Errors
/// What the API server says.
pub async fn restart(session: &Session, release: &Release, desired: &Desired, made: Option<i64>, which: Which) -> Result<bool, Error> {
    let client = &session.client;
    let objects = release.current().objects()?;
    let of = |kind: &str| objects.iter().find(|object| object.info.kind == kind);
    let Some(deployment) = of("Deployment") else { return Ok(false) };
    let since = match desired.credentials {
        Credentials::PodIdentity => made,
        Credentials::Irsa => match of("ServiceAccount") {
            Some(account) => annotated(client, account).await?,
            None => None,
        },
    };
    let Some(since) = since else { return Ok(false) };
    if is_rolling(client, deployment).await? {
        return Ok(false);
    }
    let labels = deployment.json.pointer("/spec/selector/matchLabels").and_then(Json::as_object);
    let selector: Vec<String> = labels.into_iter().flatten().filter_map(|(k, v)| Some(format!("{k}={}", v.as_str()?))).collect();
    let kind = live::resource(&KindInfo { kind: "Pod", group: "", plural: "pods", namespaced: true }, "v1");
    let api = kubernetes::apply::api(client, &kind, deployment.namespace.as_deref());
    let parameters = ListParams::default().labels(&selector.join(","));
    let deadline = Instant::now() + SEEN;
    let list = || async { api.list(&parameters).await.map_err(|e| kubernetes::from_kube("list the controller's pods", e)) };
    let pods = kubernetes::apply::retry(deadline, list).await?;
    let lacks = |pod: &DynamicObject| pod.metadata.deletion_timestamp.is_none() && !has_credentials(pod, desired);
    let old = pods.items.iter().filter(|pod| lacks(pod)).any(|pod| match which {
        Which::Older => created(pod) < since,
        Which::Crashing => is_crashing(pod),
    });
    if old {
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now}}}}});
        let how = Apply { manager: MANAGER, force: false, dry_run: false };
        kubernetes::merge(client, &addressed(deployment, &live::resource(&deployment.info, &deployment.version)), &patch, how, deadline)
            .await?;
    }
    Ok(old)
}

/// Why the agent that Pod Identity needs seems to be missing: a warning's text. One GET.
pub async fn missing_agent(session: &Session, desired: &Desired) -> Option<(String, String)> {
    desired.association.as_ref()?;
    let kind = live::resource(&KindInfo { kind: "DaemonSet", group: "apps", plural: "daemonsets", namespaced: true }, "v1");
    let agent = Object { kind: &kind, namespace: Some("kube-system"), name: "eks-pod-identity-agent" };
    match kubernetes::get(&session.client, &agent, Instant::now() + SEEN).await {
        Ok(None) => Some((
            "the EKS Pod Identity agent seems to be missing".into(),
            format!(
                "There is no DaemonSet eks-pod-identity-agent in kube-system, and without the agent the controller gets no AWS credentials. \
                 Install the add-on (`aws eks create-addon --cluster-name {} --addon-name eks-pod-identity-agent`), or set credentials = \
                 \"irsa\". Nodes of EKS Auto Mode have the agent built in: there this warning is of no concern.",
                desired.place.cluster
            ),
        )),
        // found, or this identity may not look
        Ok(Some(_)) | Err(_) => None,
    }
}

/// When the role's annotation came onto the service account, as far as its field managers tell.
async fn annotated(client: &kube::Client, account: &manifest::Object) -> Result<Option<i64>, Error> {
    let kind = live::resource(&account.info, &account.version);
    let Some(found) = kubernetes::get(client, &addressed(account, &kind), Instant::now() + SEEN).await? else { return Ok(None) };
    let metadata = serde_json::to_value(&found.metadata)
        .map_err(|e| Error::new(Kind::Other, format!("read ServiceAccount {}", account.name), "no JSON").caused_by(e))?;
    let sets = |entry: &&Json| entry["fieldsV1"]["f:metadata"]["f:annotations"].get(format!("f:{ROLE_ANNOTATION}")).is_some();
    let times =
        metadata["managedFields"].as_array().into_iter().flatten().filter(sets).filter_map(|entry| seconds(entry["time"].as_str()?));
    Ok(times.max())
}

/// Whether a rollout is under way, which makes the pods anew by itself. Waits until the Deployment's controller has seen its last change.
async fn is_rolling(client: &kube::Client, deployment: &manifest::Object) -> Result<bool, Error> {
    let kind = live::resource(&deployment.info, &deployment.version);
    let deadline = Instant::now() + SEEN;
    loop {
        let Some(found) = kubernetes::get(client, &addressed(deployment, &kind), deadline).await? else { return Ok(true) };
        let number = |name: &str| found.data["status"][name].as_i64().unwrap_or_default();
        if number("observedGeneration") >= found.metadata.generation.unwrap_or_default() {
            return Ok(number("updatedReplicas") < number("replicas"));
        }
        if Instant::now() + LOOK_AGAIN > deadline {
            return Ok(true);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn addressed<'a>(object: &'a manifest::Object, kind: &'a kube::core::ApiResource) -> Object<'a> {
    Object { kind, namespace: object.namespace.as_deref(), name: &object.name }
}

/// Whether EKS put credentials of the wanted kind into the pod.
fn has_credentials(pod: &DynamicObject, desired: &Desired) -> bool {
    let containers = pod.data.pointer("/spec/containers").and_then(Json::as_array);
    let mut variables = containers.into_iter().flatten().flat_map(|container| container["env"].as_array().into_iter().flatten());
    variables.any(|variable| match desired.credentials {
        Credentials::PodIdentity => variable["name"] == "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        Credentials::Irsa => variable["name"] == "AWS_ROLE_ARN" && variable["value"] == desired.controller_role.arn.as_str(),
    })
}

fn is_crashing(pod: &DynamicObject) -> bool {
    let containers = pod.data.pointer("/status/containerStatuses").and_then(Json::as_array);
    containers.into_iter().flatten().any(|container| container["state"]["waiting"]["reason"] == "CrashLoopBackOff")
}

fn created(pod: &DynamicObject) -> i64 {
    pod.metadata.creation_timestamp.as_ref().and_then(|at| seconds(serde_json::to_value(at).ok()?.as_str()?)).unwrap_or(i64::MAX)
}

fn seconds(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::arguments::Arguments;
    use super::super::desired::{Place, desired};
    use super::*;

    #[test]
    fn credentials_are_told_by_what_eks_puts_in() {
        let place = Place::of_arn("arn:aws:eks:us-east-1:123456789012:cluster/demo").unwrap();
        let wanted = |credentials| {
            let arguments = Arguments { credentials: Some(credentials), ..Arguments::default() };
            desired(&arguments, &semver::Version::new(1, 14, 1), &place, &BTreeMap::new()).unwrap()
        };
        let pod = |name: &str, value: &str| -> DynamicObject {
            let env = json!([{"name": name, "value": value}]);
            let pod = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"containers": [{"env": env}]}});
            serde_json::from_value(pod).unwrap()
        };
        let (identity, irsa) = (wanted(Credentials::PodIdentity), wanted(Credentials::Irsa));
        assert!(has_credentials(&pod("AWS_CONTAINER_CREDENTIALS_FULL_URI", "x"), &identity));
        assert!(!has_credentials(&pod("AWS_CONTAINER_CREDENTIALS_FULL_URI", "x"), &irsa));
        assert!(has_credentials(&pod("AWS_ROLE_ARN", &irsa.controller_role.arn), &irsa));
        assert!(!has_credentials(&pod("AWS_ROLE_ARN", "another"), &irsa));
        assert_eq!(created(&pod("x", "y")), 1_767_225_600);
    }
}
