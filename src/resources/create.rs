//! Making an object: one apply that creates or is told that the name is taken.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::{ApiResource, DynamicObject};
use serde_json::json;
use tokio::time::Instant;

use super::FIELD_MANAGER;
use super::lifecycle::{READY_TIMEOUT, Target, manager};
use super::object::{ApiObject, Kind};
use crate::error::{Error, Kind as ErrorKind};
use crate::kubernetes::{self, Object, is_kind_missing};
use crate::tofu::convert;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::Path;
use crate::tofu::resource::{ApplyRequest, ApplyResponse};

impl<K: Kind> ApiObject<K> {
    /// Creates the object, once the cluster knows the kind.
    pub(super) async fn create(&self, request: ApplyRequest) -> Result<ApplyResponse, Diagnostics> {
        let planned = &request.planned_state;
        let deadline = self.deadline(planned, "create", READY_TIMEOUT);
        let target = self.reach(planned).await?;
        let mut body = self.body_for(&request, &target.connection.cluster)?;
        // no object ever has resourceVersion 1: the API server creates, or answers 409 when the name is taken
        body["metadata"]["resourceVersion"] = json!("1");
        self.gate(&target, &body, planned, deadline).await?;
        target.connection.reads.written(&target.resource);
        let made = loop {
            match kubernetes::apply(&target.client, &target.object(), &body, manager(false), deadline).await {
                Ok(object) => break object,
                Err(error) if is_kind_missing(&error) && Instant::now() < deadline => target.wait_for_kind(deadline).await?,
                Err(error) if matches!(error.kind, ErrorKind::Conflict | ErrorKind::AlreadyExists) => {
                    match self.taken(&target, &request, error, deadline).await? {
                        Some(own) => break own,
                        None => continue,
                    }
                }
                Err(error) => return Err(self.refused(error, planned)),
            }
        };
        Ok(self.settle(request, made, &target, deadline, "create").await)
    }

    /// The name is taken: by an object that goes (wait, then try again), by our own whose answer was lost, or by somebody's.
    async fn taken(
        &self,
        target: &Target,
        request: &ApplyRequest,
        error: Error,
        deadline: Instant,
    ) -> Result<Option<DynamicObject>, Error> {
        let Some(live) = kubernetes::get(&target.client, &target.object(), deadline).await? else { return Ok(None) };
        if live.metadata.deletion_timestamp.is_some() {
            target.connection.watches.until(&target.client, &target.object(), deadline, |o| o.is_none()).await?;
            return Ok(None);
        }
        let cluster = &target.connection.cluster;
        let ours = live.metadata.managed_fields.iter().flatten().any(|m| m.manager.as_deref() == Some(FIELD_MANAGER));
        let observed = self.observe(&live, &request.planned_state, cluster, false);
        if ours && observed == convert::settle(&request.planned_state, &observed) {
            self.adopted(live.metadata.uid.as_deref().unwrap_or_default());
            return Ok(Some(live));
        }
        let id = if cluster.name.is_empty() { target.name.clone() } else { format!("{}/{}", cluster.name, target.name) };
        Err(Error::new(ErrorKind::AlreadyExists, format!("create {} {:?}", K::KIND, target.name), "an object of that name exists already")
            .remedy(format!("To manage the existing one, import it:\n\n  import {{\n    to = {}.NAME\n    id = {id:?}\n  }}", K::TYPE_NAME))
            .at(Path::attribute("name"))
            .caused_by(error))
    }
}

impl Target {
    /// Waits for a CRD that is about to appear.
    async fn wait_for_kind(&self, deadline: Instant) -> Result<(), Error> {
        let definitions = ApiResource::erase::<CustomResourceDefinition>(&());
        let name = self.definition();
        let object = Object { kind: &definitions, namespace: None, name: &name };
        let established = |crd: Option<&DynamicObject>| {
            let conditions = crd.and_then(|c| c.data["status"]["conditions"].as_array());
            conditions.into_iter().flatten().any(|c| c["type"] == "Established" && c["status"] == "True")
        };
        match self.connection.watches.until(&self.client, &object, deadline, established).await {
            Err(error) if error.kind == ErrorKind::Timeout => Err(Error::new(
                ErrorKind::Timeout,
                format!("create {} {:?}", self.resource.kind, self.name),
                format!("the cluster has no CRD {name}"),
            )
            .remedy("Install Karpenter first: depend on karpenter_bundle, or install its CRDs by other means.")),
            other => other.map(|_| ()),
        }
    }
}
