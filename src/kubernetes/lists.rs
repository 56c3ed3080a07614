//! Lists that serve a whole plan: each kind once in a process, and of each object only what is asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::api::ApiResource;
use serde_json::Value as Json;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use super::reads;
use crate::{Error, Kind};

/// For each object of a kind what stands at some JSON pointers, null where nothing does; `None` where the cluster did not tell.
type Listed = Option<Arc<Vec<Vec<Json>>>>;

/// What was listed in this process, by kind.
#[derive(Default)]
pub struct Lists {
    kinds: Mutex<HashMap<String, Arc<OnceCell<Listed>>>>,
}

impl Lists {
    /// What stands at these JSON pointers of every object of a kind; whoever asks for a kind asks for the same. `None` where it
    /// cannot be told: no CRD, no permission, no answer by the deadline.
    pub async fn of(&self, client: &kube::Client, kind: &ApiResource, pointers: &[&str], deadline: Instant) -> Listed {
        let list = {
            let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            kinds.entry(format!("{}/{}", kind.api_version, kind.plural)).or_default().clone()
        };
        list.get_or_init(|| async { timeout_at(deadline, read(client, kind, pointers, deadline)).await.ok()?.ok().map(Arc::new) })
            .await
            .clone()
    }
}

async fn read(client: &kube::Client, kind: &ApiResource, pointers: &[&str], deadline: Instant) -> Result<Vec<Vec<Json>>, Error> {
    let mut objects = vec![];
    reads::pages(client, kind, None, deadline, |raw| {
        let object: Json =
            serde_json::from_str(raw.get()).map_err(|e| Error::new(Kind::Other, format!("list {}", kind.plural), e.to_string()))?;
        objects.push(pointers.iter().map(|pointer| object.pointer(pointer).cloned().unwrap_or_default()).collect());
        Ok(())
    })
    .await?;
    Ok(objects)
}
