//! The steps with a client: plan's look at the cluster, apply, read, delete, import. What they decide by is in `object`.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::formats;
use super::object::{ApiObject, Kind, Private, same_cluster};
use super::placeholders::Placeholders;
use super::readiness::{Readiness, not_ready};
use super::removal;
use crate::error::{Error, Kind as ErrorKind};
use crate::kubernetes::{self, Apply, Object, is_kind_missing};
use crate::provider::{Cluster, ClusterChoice, Connection, at_plan};
use crate::tofu::convert;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::identity::IdentityAttribute;
use crate::tofu::path::Path;
use crate::tofu::plan::mark_unknown;
use crate::tofu::resource::{
    ApplyRequest, ApplyResponse, ImportResponse, MoveRequest, PlanRequest, PlanResponse, ReadRequest, ReadResponse, Resource,
};
use crate::tofu::schema::Schema;
use crate::tofu::value::Value;

/// Our field manager. Everything that the configuration sets is owned under this name.
pub const FIELD_MANAGER: &str = "terraform-provider-karpenter";

/// A cluster's name may be used again in another region or account, its ARN may not.
const IDENTITY: [IdentityAttribute; 2] = [
    IdentityAttribute { name: "cluster_arn", required: false, description: "ARN of the cluster; the provider's where left out." },
    IdentityAttribute { name: "name", required: true, description: "Name of the object." },
];

const LAST_LOOK: Duration = Duration::from_secs(60);
pub(super) const READY_TIMEOUT: Duration = Duration::from_secs(60);
const DELETE_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// One object in one cluster, with what reaches it.
pub(super) struct Target {
    pub(super) connection: Arc<Connection>,
    pub(super) client: kube::Client,
    pub(super) resource: ApiResource,
    pub(super) name: String,
}

impl Target {
    async fn new<K: Kind>(connection: Arc<Connection>, name: &Value) -> Result<Target, Error> {
        let client = connection.kube().await?;
        Ok(Target { connection, client, resource: K::api_resource(), name: name.as_str().unwrap_or_default().to_owned() })
    }

    pub(super) fn object(&self) -> Object<'_> {
        Object { kind: &self.resource, namespace: None, name: &self.name }
    }

    /// Name of the CRD.
    pub(super) fn definition(&self) -> String {
        format!("{}.{}", self.resource.plural, self.resource.group)
    }

    /// Whether the cluster has no CRD of the kind. A 404 for the kind does not say so by itself: what stands before an API server
    /// answers with 404, too.
    ///
    /// # Errors
    /// What is answered instead, so that no error is taken for an absence.
    pub(super) async fn lacks_kind(&self, deadline: Instant) -> Result<bool, Error> {
        let (kind, name) = (ApiResource::erase::<CustomResourceDefinition>(&()), self.definition());
        let definition = Object { kind: &kind, namespace: None, name: &name };
        match kubernetes::get(&self.client, &definition, deadline).await {
            // only an API server names the CRD in its refusal, so the 404 was one's, too
            Err(error) if error.kind == ErrorKind::Forbidden && error.message.contains(&name) => Ok(true),
            other => Ok(other?.is_none()),
        }
    }
}

/// As our field manager.
pub(super) fn manager(force: bool) -> Apply<'static> {
    Apply { manager: FIELD_MANAGER, force, dry_run: false }
}

impl<K: Kind> Resource for ApiObject<K> {
    fn type_name(&self) -> &'static str {
        K::TYPE_NAME
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn validate(&self, config: &Value) -> Diagnostics {
        self.check(config)
    }

    fn plan(&self, request: PlanRequest) -> BoxFuture<'_, PlanResponse> {
        self.plan_change(request).boxed()
    }

    fn apply(&self, request: ApplyRequest) -> BoxFuture<'_, ApplyResponse> {
        async move {
            let prior = request.prior_state.clone();
            let private = request.planned_private.clone();
            let outcome = match (prior.is_null(), request.planned_state.is_null()) {
                (_, true) => self.delete(&prior, &private).await,
                (true, false) => self.create(request).await,
                (false, false) => self.update(request).await,
            };
            // what a failed call did not change is still there: the prior state
            outcome.unwrap_or_else(|diagnostics| ApplyResponse { new_state: prior, private, diagnostics })
        }
        .boxed()
    }

    fn read(&self, request: ReadRequest) -> BoxFuture<'_, ReadResponse> {
        async move {
            let ReadRequest { current_state, private } = request;
            match self.refresh(&current_state, &private).await {
                Ok((new_state, private)) => ReadResponse { new_state, private, diagnostics: Diagnostics::default() },
                Err(error) if error.kind == ErrorKind::ConfigUnknown => {
                    let mut diagnostics = Diagnostics::default();
                    let name = current_state.attr("name").as_str().unwrap_or_default();
                    diagnostics.warning(
                        None,
                        format!("{} {name:?} was not refreshed", K::KIND),
                        "The provider's configuration depends on values that are known only after apply, so the state is kept as it is.",
                    );
                    ReadResponse { new_state: current_state, private, diagnostics }
                }
                Err(error) => ReadResponse { new_state: current_state, private, diagnostics: error.into() },
            }
        }
        .boxed()
    }

    fn import(&self, id: String) -> BoxFuture<'_, ImportResponse> {
        async move { self.import_object(&id).await.unwrap_or_else(|e| ImportResponse { diagnostics: e.into(), ..ImportResponse::default() }) }
            .boxed()
    }

    fn identity(&self) -> &'static [IdentityAttribute] {
        &IDENTITY
    }

    fn identified(&self, identity: &Value) -> String {
        let name = identity.attr("name").as_str().unwrap_or_default();
        match identity.attr("cluster_arn").as_str().filter(|arn| !arn.is_empty()) {
            Some(arn) => format!("{arn}/{name}"),
            None => name.to_owned(),
        }
    }

    fn move_from(&self, request: MoveRequest) -> Option<BoxFuture<'_, ImportResponse>> {
        self.take_over(&request).map(|response| futures::future::ready(response).boxed())
    }
}

impl<K: Kind> ApiObject<K> {
    async fn plan_change(&self, request: PlanRequest) -> PlanResponse {
        let PlanRequest { prior_state: prior, config, prior_private, .. } = request;
        if config.is_null() {
            return PlanResponse { planned_private: prior_private, ..PlanResponse::default() };
        }
        let mut private = Private::decode(&prior_private);
        let mut planned = self.plan_value(&prior, &config, &private);
        let mut diagnostics = Diagnostics::default();
        let of_replaced = private.cluster.take().filter(|_| prior.is_null());
        if planned.attr("cluster_name").is_unknown() && config.attr("cluster_name").is_null() {
            match self.connections.cluster(&Value::Null) {
                ClusterChoice::Named(name) => {
                    if let Some(old) = of_replaced.filter(|old| !same_cluster(old, &name)) {
                        diagnostics.extend(moves_by_replacement(K::KIND, &old, &name));
                    }
                    planned.set("cluster_name", Value::from(name));
                }
                ClusterChoice::None => planned.set("cluster_name", Value::Null),
                ClusterChoice::Unknown => {}
            }
        }
        let requires_replace = self.replacements(&prior, &planned);
        let named = prior.attr("cluster_arn").as_str() == Some("") && planned.attr("cluster_name") != prior.attr("cluster_name");
        if named || requires_replace.contains(&Path::attribute("cluster_name")) {
            planned.set("cluster_arn", Value::unknown());
        }
        if planned.attr("cluster_arn").is_unknown() && !planned.attr("cluster_name").is_unknown() {
            match self.connect(planned.attr("cluster_name")).await.map(|c| c.cluster.arn.clone()) {
                Ok(arn) => planned.set("cluster_arn", Value::from(arn)),
                Err(error) => diagnostics.extend(at_plan(error).err().map(Diagnostics::from).unwrap_or_default()),
            }
        }
        if !prior.is_null() && planned != prior {
            mark_unknown(&mut planned, K::STATUS);
        }
        if !prior.is_null() && requires_replace.is_empty() {
            diagnostics.extend(self.warn(&prior, &config, &planned, &private));
        }
        diagnostics.extend(self.foresee(&prior, &config, &planned, &requires_replace).await);
        private.planned = Some(self.set_by(&config));
        // The plan at apply has nothing of this, so it can only be compared, not planned. Whether this plan is a replacement's, the
        // provider is not told: `-replace` and `replace_triggered_by` make one of any.
        private.cluster = prior.attr("cluster_name").as_str().map(str::to_owned);
        PlanResponse { planned_state: planned, requires_replace, planned_private: private.encode(), diagnostics }
    }

    async fn update(&self, request: ApplyRequest) -> Result<ApplyResponse, Diagnostics> {
        let planned = &request.planned_state;
        let deadline = self.deadline(planned, "update", READY_TIMEOUT);
        let target = self.reach(planned).await?;
        let mut body = self.body_for(&request, &target.connection.cluster)?;
        if let Some(uid) = Private::decode(&request.planned_private).uid {
            body["metadata"]["uid"] = json!(uid);
        }
        self.gate(&target, &body, planned, deadline).await?;
        target.connection.reads.written(&target.resource);
        let object = self.change(&target, &request, &body, deadline).await?;
        Ok(self.settle(request, object, &target, deadline, "update").await)
    }

    /// Waits for readiness and completes the planned state.
    pub(super) async fn settle(
        &self,
        request: ApplyRequest,
        applied: DynamicObject,
        target: &Target,
        deadline: Instant,
        what: &str,
    ) -> ApplyResponse {
        let mut private = Private::decode(&request.planned_private);
        private.applied(applied.metadata.uid.clone());
        self.remember(&mut private, &applied, &Value::Null, &Placeholders::of(&target.connection.cluster));
        let mut diagnostics = Diagnostics::default();
        let mut live = applied;
        let generation = live.metadata.generation;
        let decided = |object: Option<&DynamicObject>| {
            let last = Readiness::of(object.unwrap_or(&live));
            object.is_none_or(|o| o.metadata.generation >= generation && last.is_final())
        };
        let object = target.object();
        tokio::select! {
            biased;
            // without time to wait, what the write answered is as good as another look
            () = std::future::ready(()), if Instant::now() >= deadline => {}
            waited = target.connection.watches.until(&target.client, &object, deadline, decided) => match waited {
                Ok(Some(object)) => live = object,
                Ok(None) => {}
                Err(error) if error.kind == ErrorKind::Timeout => {
                    // the wait keeps nothing of what it saw last
                    if let Ok(Some(last)) = kubernetes::get(&target.client, &object, Instant::now() + LAST_LOOK).await {
                        live = last;
                    }
                }
                Err(error) => diagnostics.warning(None, format!("could not wait for {} {:?}", K::KIND, target.name), error.message),
            },
            () = self.connections.stopped() => diagnostics.warning(None, format!("did not wait for {} {:?}", K::KIND, target.name), "Stopped."),
        }
        let readiness = Readiness::of(&live);
        if !readiness.is_ready() {
            diagnostics.warning(None, format!("{} {:?} is not Ready", K::KIND, target.name), not_ready(&readiness, what));
        }
        let observed = self.observe(&live, &request.planned_state, &target.connection.cluster, false);
        ApplyResponse { new_state: convert::settle(&request.planned_state, &observed), private: private.encode(), diagnostics }
    }

    /// The state and what is kept beside it, of what is there now.
    async fn refresh(&self, state: &Value, private: &[u8]) -> Result<(Value, Vec<u8>), Error> {
        let connection = match self.connect(state.attr("cluster_name")).await {
            Err(error) if error.kind == ErrorKind::NotFound => {
                self.connections.confirm_gone(state.attr("cluster_arn").as_str().unwrap_or_default()).await?;
                return Ok((Value::Null, vec![]));
            }
            other => other?,
        };
        self.same_as_recorded(state, &connection.cluster, "read")?;
        let target = Target::new::<K>(connection.clone(), state.attr("name")).await?;
        let reads = &target.connection.reads;
        let live = match reads.get(&target.client, &target.object(), Instant::now() + LAST_LOOK).await {
            // without the CRD there is no object of it
            Err(error) if is_kind_missing(&error) && target.lacks_kind(Instant::now() + LAST_LOOK).await? => None,
            other => other?,
        };
        let Some(live) = live else { return Ok((Value::Null, vec![])) };
        let seen = self.observe(&live, state, &connection.cluster, false);
        let mut private = Private::decode(private);
        self.remember(&mut private, &live, &seen, &Placeholders::of(&connection.cluster));
        Ok((seen, private.encode()))
    }

    async fn delete(&self, prior: &Value, private: &[u8]) -> Result<ApplyResponse, Diagnostics> {
        let connection = match self.connect(prior.attr("cluster_name")).await {
            Err(error) if error.kind == ErrorKind::NotFound => {
                self.connections.confirm_gone(prior.attr("cluster_arn").as_str().unwrap_or_default()).await?;
                return Ok(ApplyResponse::default());
            }
            other => other?,
        };
        self.same_as_recorded(prior, &connection.cluster, "delete")?;
        let target = Target::new::<K>(connection, prior.attr("name")).await?;
        let deadline = self.deadline(prior, "delete", DELETE_TIMEOUT);
        let uid = Private::decode(private).uid;
        if let Some(uid) = uid.as_deref().filter(|uid| self.is_adopted(uid)) {
            // left in the state, the former entry would have the next apply delete what is the new one's
            let mut diagnostics = Diagnostics::default();
            diagnostics.warning(
                None,
                format!("{} {:?} was not replaced", K::KIND, target.name),
                format!(
                    "With create_before_destroy the new one was to be made first, but an object's name cannot be used twice: the object (uid \
                     {uid}) was kept as the new one, as it is. To have it made anew, take create_before_destroy away, or change its name."
                ),
            );
            return Ok(ApplyResponse { diagnostics, ..ApplyResponse::default() });
        }
        target.connection.reads.written(&target.resource);
        removal::remove(&target, uid.as_deref(), deadline, self.connections.stopped()).await?;
        Ok(ApplyResponse::default())
    }

    async fn import_object(&self, id: &str) -> Result<ImportResponse, Error> {
        let (cluster, name) = id.rsplit_once('/').map_or((None, id), |(cluster, name)| (Some(cluster), name));
        let choice = match cluster.map(Value::from) {
            Some(own) => own,
            None => match self.connections.cluster(&Value::Null) {
                ClusterChoice::Named(name) => Value::from(name),
                ClusterChoice::Unknown | ClusterChoice::None => Value::Null,
            },
        };
        let connection = self.connect(&choice).await?;
        let target = Target::new::<K>(connection.clone(), &Value::from(name)).await?;
        let reads = &target.connection.reads;
        let live = reads.get(&target.client, &target.object(), Instant::now() + LAST_LOOK).await?;
        let Some(live) = live else {
            return Err(Error::new(ErrorKind::NotFound, format!("import {} {id:?}", K::KIND), "there is no object of that name")
                .remedy(format!("The id is NAME or CLUSTER/NAME; `kubectl get {}` lists the names.", K::api_resource().plural)));
        };
        let prior = Value::object([("cluster_name", choice)]);
        let state = self.observe(&live, &prior, &connection.cluster, true);
        let mut private = Private { uid: live.metadata.uid.clone(), imported: true, ..Private::default() };
        self.remember(&mut private, &live, &state, &Placeholders::of(&connection.cluster));
        Ok(ImportResponse { state, private: private.encode(), diagnostics: Diagnostics::default() })
    }

    pub(super) async fn connect(&self, own: &Value) -> Result<Arc<Connection>, Error> {
        self.connections.choose(&self.connections.cluster(own)).await
    }

    /// Where a planned object goes.
    pub(super) async fn reach(&self, planned: &Value) -> Result<Target, Error> {
        let connection = self.connect(planned.attr("cluster_name")).await?;
        self.same_as_recorded(planned, &connection.cluster, "apply")?;
        Target::new::<K>(connection, planned.attr("name")).await
    }

    /// Refuses a cluster other than the one that the state or plan names.
    fn same_as_recorded(&self, state: &Value, cluster: &Cluster, action: &str) -> Result<(), Error> {
        let name = state.attr("name").as_str().unwrap_or_default();
        match state.attr("cluster_arn").as_str() {
            Some(recorded) if !recorded.is_empty() && recorded != cluster.arn => Err(Error::new(
                ErrorKind::Invalid,
                format!("{action} {} {name:?}", K::KIND),
                format!("it belongs to cluster {recorded}, but the configuration reaches {}", cluster.arn),
            )
            .remedy("Set cluster_name, region and credentials so that they reach the recorded cluster.")
            .at(Path::attribute("cluster_name"))),
            _ => Ok(()),
        }
    }

    pub(super) fn body_for(&self, request: &ApplyRequest, cluster: &Cluster) -> Result<Json, Error> {
        let placeholders = Placeholders::of(cluster);
        let config = self.planned_config(request);
        let body = self.body(&config, &request.planned_state, &placeholders);
        if cluster.name.is_empty()
            && self.body(&config, &request.planned_state, &Placeholders { cluster_name: "?".into(), ..placeholders }) != body
        {
            let name = request.planned_state.attr("name").as_str().unwrap_or_default();
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("apply {} {name:?}", K::KIND),
                "{{ cluster_name }} stands for nothing: neither the provider nor the resource has a cluster_name",
            )
            .remedy("Set cluster_name in the provider block or here.")
            .at(Path::attribute("cluster_name")));
        }
        Ok(body)
    }

    pub(super) fn deadline(&self, state: &Value, operation: &str, otherwise: Duration) -> Instant {
        let written = state.attr("timeouts").first().attr(operation).as_str().and_then(formats::seconds);
        Instant::now() + written.map_or(otherwise, Duration::from_secs)
    }
}

/// A replacement would otherwise make the new object in whatever cluster the provider's default has become.
pub(super) fn moves_by_replacement(kind: &str, old: &str, new: &str) -> Diagnostics {
    Error::new(
        ErrorKind::Invalid,
        format!("replace the {kind}"),
        format!("it is in cluster {old:?}, but the provider's cluster_name is now {new:?}"),
    )
    .remedy(format!("Write the one that is meant: cluster_name = {old:?} replaces it in place, {new:?} moves it."))
    .at(Path::attribute("cluster_name"))
    .into()
}
