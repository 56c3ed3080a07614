//! Karpenter as it is installed on a cluster, whoever did that: its Deployments, and the roles that their service accounts ask for.

use serde_json::Value as Json;
use tokio::time::Instant;

use super::desired::ROLE_ANNOTATION;
use crate::Error;
use crate::kubernetes::{self, apply, from_kube};

/// The controller as its Deployment shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Its namespace.
    pub namespace: String,
    /// The Helm release that it is of.
    pub release: Option<String>,
    /// Its service account.
    pub service_account: String,
    /// The cluster that it is to serve.
    pub cluster: Option<String>,
    /// Its interruption queue.
    pub queue: Option<String>,
}

impl Installation {
    /// Whether it is the cluster's of that name; one that names none may be.
    pub fn serves(&self, cluster: &str) -> bool {
        self.cluster.as_ref().is_none_or(|named| named == cluster)
    }
}

/// Every Deployment of Karpenter's chart.
///
/// # Errors
/// What the API server says.
pub async fn installations(client: &kube::Client, deadline: Instant) -> Result<Vec<Installation>, Error> {
    let api = apply::api(client, &resource("apps", "Deployment", "deployments"), None);
    let parameters = kube::api::ListParams::default().labels("app.kubernetes.io/name=karpenter");
    let found = apply::retry(deadline, || async { api.list(&parameters).await.map_err(|e| from_kube("list deployments", e)) }).await?;
    Ok(found.items.iter().filter_map(|live| serde_json::to_value(live).ok()).map(|live| installation(&live)).collect())
}

fn installation(deployment: &Json) -> Installation {
    let text = |pointer: &str| deployment.pointer(pointer).and_then(Json::as_str).map(str::to_owned);
    let containers = deployment.pointer("/spec/template/spec/containers").and_then(Json::as_array);
    let environment = containers.into_iter().flatten().filter_map(|container| container["env"].as_array()).flatten();
    let variables: Vec<&Json> = environment.collect();
    let variable = |name: &str| variables.iter().find(|entry| entry["name"] == name).and_then(|entry| entry["value"].as_str());
    Installation {
        namespace: text("/metadata/namespace").unwrap_or_default(),
        release: text("/metadata/annotations/meta.helm.sh~1release-name"),
        service_account: text("/spec/template/spec/serviceAccountName").unwrap_or_else(|| "karpenter".into()),
        cluster: variable("CLUSTER_NAME").map(str::to_owned),
        queue: variable("INTERRUPTION_QUEUE").map(str::to_owned),
    }
}

/// The role that a service account asks for, the way of IAM roles for service accounts.
///
/// # Errors
/// What the API server says; a service account that does not exist is none.
pub async fn annotated_role(client: &kube::Client, namespace: &str, name: &str, deadline: Instant) -> Result<Option<String>, Error> {
    let kind = resource("", "ServiceAccount", "serviceaccounts");
    let account = kubernetes::Object { kind: &kind, namespace: Some(namespace), name };
    let live = kubernetes::get(client, &account, deadline).await?;
    Ok(live.and_then(|live| live.metadata.annotations?.remove(ROLE_ANNOTATION)))
}

fn resource(group: &str, kind: &str, plural: &str) -> kube::api::ApiResource {
    let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    kube::api::ApiResource { group: group.into(), version: "v1".into(), api_version, kind: kind.into(), plural: plural.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_deployment_tells_release_account_and_queue() {
        let deployment = json!({
            "metadata": {"namespace": "karpenter", "annotations": {"meta.helm.sh/release-name": "karp"}},
            "spec": {"template": {"spec": {"serviceAccountName": "sa", "containers": [{"env": [
                {"name": "CLUSTER_NAME", "value": "demo"}, {"name": "INTERRUPTION_QUEUE", "value": "q"}, {"name": "X", "valueFrom": {}},
            ]}]}}},
        });
        let found = installation(&deployment);
        assert_eq!((found.release.as_deref(), found.service_account.as_str(), found.queue.as_deref()), (Some("karp"), "sa", Some("q")));
    }
}
