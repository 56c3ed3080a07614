//! What a plan foretells with a look at the cluster, in warnings only: nodes that a change rolls, and what the installed CRDs lack.
//! Apply looks again, and refuses what they lack.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::time::Instant;

use super::drift::recorded;
use super::gate;
use super::lifecycle::Target;
use super::object::{ApiObject, Kind};
use super::outdated::Concerned;
use super::removal::karpenter;
use crate::provider::Connection;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::Path;
use crate::tofu::value::Value;

/// How long a plan waits for what it only warns about: a cluster that does not answer is asked once.
const LOOK: Duration = Duration::from_secs(10);

impl<K: Kind> ApiObject<K> {
    /// Warnings about a planned create or change. Where the cluster cannot be asked, they say less.
    pub(super) async fn foresee(&self, prior: &Value, config: &Value, planned: &Value, replaced: &[Path]) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        if planned == prior {
            return diagnostics;
        }
        let newer = gate::newer(&self.schema.block, &self.body(config, planned, &recorded(planned)));
        if !newer.is_empty()
            && let Some(connection) = self.ask(planned).await
            && let Ok(client) = connection.kube().await
            && let Some(schema) = connection.definitions.schema(&client, &K::api_resource(), None, Instant::now() + LOOK).await
        {
            diagnostics.extend(self.warn_newer(&gate::lacking(&schema, newer), planned, &connection.cluster.name));
        }
        if prior.is_null() {
            return diagnostics;
        }
        let changes = if replaced.is_empty() { self.outdating(prior, config, planned) } else { vec![] };
        if !changes.is_empty() || !replaced.is_empty() {
            let concerned = match self.ask(prior).await {
                Some(connection) => concerned::<K>(&connection, prior.attr("name").as_str().unwrap_or_default()).await,
                None => None,
            };
            diagnostics.extend(match replaced.first() {
                Some(first) => self.warn_replaced(first, prior, planned, &concerned),
                None => self.warn_outdated(&changes, planned, &concerned),
            });
        }
        diagnostics
    }

    /// The connection to an object's cluster; `None` where there is none yet.
    async fn ask(&self, state: &Value) -> Option<Arc<Connection>> {
        self.connect(state.attr("cluster_name")).await.ok()
    }

    /// Refuses what the installed CRDs lack. What was seen in this process may be older than what was installed since, so it counts
    /// only where it suffices. Where the CRD cannot be read, the API server decides.
    pub(super) async fn gate(&self, target: &Target, body: &Json, planned: &Value, deadline: Instant) -> Result<(), Diagnostics> {
        let newer = gate::newer(&self.schema.block, body);
        let began = Instant::now();
        for not_before in [None, Some(began)] {
            if newer.is_empty() {
                return Ok(());
            }
            let definitions = &target.connection.definitions;
            match definitions.schema(&target.client, &target.resource, not_before, deadline).await {
                Some(schema) => {
                    let lacking = gate::lacking(&schema, newer.clone());
                    if lacking.is_empty() {
                        return Ok(());
                    }
                    if not_before.is_some() {
                        return Err(self.refuse_newer(&lacking, planned, &target.connection.cluster.name));
                    }
                }
                None if not_before.is_some() => return Ok(()),
                None => {}
            }
        }
        Ok(())
    }
}

/// The pools of a class, or the pool itself, with their nodes.
async fn concerned<K: Kind>(connection: &Connection, name: &str) -> Concerned {
    let client = connection.kube().await.ok()?;
    let deadline = Instant::now() + LOOK;
    let class = |reference: &Json| {
        reference["group"] == "karpenter.k8s.aws" && reference["kind"] == "EC2NodeClass" && reference["name"].as_str() == Some(name)
    };
    let claims = ["/metadata/labels/karpenter.sh~1nodepool", "/spec/nodeClassRef"];
    if K::KIND == "NodePool" {
        let claims = connection.lists.of(&client, &karpenter("NodeClaim"), &claims, deadline).await?;
        return Some(vec![(name.to_owned(), claims.iter().filter(|claim| claim[0] == name).count())]);
    }
    let pools = ["/metadata/name", "/spec/template/spec/nodeClassRef"];
    let pools = connection.lists.of(&client, &karpenter("NodePool"), &pools, deadline).await?;
    let claims = connection.lists.of(&client, &karpenter("NodeClaim"), &claims, deadline).await?;
    let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
    let mut nodes: BTreeMap<String, usize> = pools.iter().filter(|pool| class(&pool[1])).map(|pool| (text(&pool[0]), 0)).collect();
    for claim in claims.iter().filter(|claim| class(&claim[1])) {
        *nodes.entry(text(&claim[0])).or_default() += 1;
    }
    Some(nodes.into_iter().collect())
}
