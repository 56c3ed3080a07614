//! What a cluster's CRDs declare: each is read once in a process, and again only where somebody asks for a later look.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ApiResource;
use serde_json::{Value as Json, json};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use super::apply::{self, Object};

/// The CRDs that were looked at, by name.
#[derive(Default)]
pub struct Definitions {
    looks: Mutex<HashMap<String, Arc<Look>>>,
}

struct Look {
    began: Instant,
    /// `None` where the cluster did not tell.
    schema: OnceCell<Option<Arc<Json>>>,
}

impl Definitions {
    /// The OpenAPI schema of a kind's version, as far as its spec goes. `None` where it cannot be told: no CRD, no permission, no
    /// answer by the deadline. With `not_before`, an earlier look does not count.
    pub async fn schema(
        &self,
        client: &kube::Client,
        kind: &ApiResource,
        not_before: Option<Instant>,
        deadline: Instant,
    ) -> Option<Arc<Json>> {
        let look = self.look(format!("{}.{}", kind.plural, kind.group), not_before);
        look.schema
            .get_or_init(|| async { timeout_at(deadline, read(client, kind, deadline)).await.ok().flatten().map(Arc::new) })
            .await
            .clone()
    }

    fn look(&self, name: String, not_before: Option<Instant>) -> Arc<Look> {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        match looks.get(&name).filter(|look| not_before.is_none_or(|time| look.began >= time)) {
            Some(look) => look.clone(),
            None => {
                let look = Arc::new(Look { began: Instant::now(), schema: OnceCell::new() });
                looks.insert(name, look.clone());
                look
            }
        }
    }
}

async fn read(client: &kube::Client, kind: &ApiResource, deadline: Instant) -> Option<Json> {
    let definitions = ApiResource::erase::<CustomResourceDefinition>(&());
    let name = format!("{}.{}", kind.plural, kind.group);
    let object = Object { kind: &definitions, namespace: None, name: &name };
    let mut crd = apply::get(client, &object, deadline).await.ok().flatten()?;
    let version = crd.data["spec"]["versions"].as_array_mut()?.iter_mut().find(|v| v["name"] == kind.version.as_str())?;
    let spec = version.pointer_mut("/schema/openAPIV3Schema/properties/spec")?.take();
    Some(json!({"properties": {"spec": spec}}))
}
