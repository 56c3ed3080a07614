//! Changing an object: one apply; where other field managers are in the way, exactly what the plan showed of them is taken back.

use kube::core::DynamicObject;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::drift::{Bodies, Claim};
use super::lifecycle::{Target, manager};
use super::object::{ApiObject, Kind, Private};
use super::ownership::{self, Field, Handover};
use super::placeholders::Placeholders;
use crate::error::{Error, Kind as ErrorKind};
use crate::kubernetes;
use crate::tofu::convert;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::resource::ApplyRequest;

/// A change, with what decides it.
struct Change<'a, K: Kind> {
    types: &'a ApiObject<K>,
    target: &'a Target,
    request: &'a ApplyRequest,
    /// The object to apply.
    body: &'a Json,
    bodies: Bodies,
    private: Private,
    deadline: Instant,
}

impl<K: Kind> ApiObject<K> {
    /// Applies a change.
    pub(super) async fn change(
        &self,
        target: &Target,
        request: &ApplyRequest,
        body: &Json,
        deadline: Instant,
    ) -> Result<DynamicObject, Diagnostics> {
        let placeholders = Placeholders::of(&target.connection.cluster);
        let bodies = self.bodies(&request.prior_state, &self.planned_config(request), &request.planned_state, &placeholders);
        let private = Private::decode(&request.planned_private);
        Change { types: self, target, request, body, bodies, private, deadline }.carry_out().await
    }
}

impl<K: Kind> Change<'_, K> {
    async fn carry_out(&self) -> Result<DynamicObject, Diagnostics> {
        if let Some(handover) = &self.private.handover {
            self.hand_over(handover).await?;
        } else {
            let removed: Vec<&Field> = self.private.foreign.iter().filter(|f| self.bodies.claim(&f.path) == Claim::Removed).collect();
            if !removed.is_empty() {
                return self.remove(&removed).await;
            }
        }
        match self.apply(self.body, false).await {
            Err(conflict) if conflict.kind == ErrorKind::Conflict && self.refuses() => {
                Err(self.types.refused(conflict.remedy(REFUSED), &self.request.planned_state))
            }
            Err(conflict) if conflict.kind == ErrorKind::Conflict => self.force(self.look().await?).await,
            Ok(applied) => self.remove_shared(applied).await,
            Err(error) => Err(self.types.refused(error, &self.request.planned_state)),
        }
    }

    /// What the plan removes stays where another manager had set it to the same: the apply gave up our share only.
    async fn remove_shared(&self, applied: DynamicObject) -> Result<DynamicObject, Diagnostics> {
        let stays = |f: &Field| self.bodies.claim(&f.path) == Claim::Removed && !self.types.is_default(&f.path, &f.value);
        let shared: Vec<Field> = ownership::foreign(&applied).into_iter().filter(stays).collect();
        match shared.is_empty() || self.refuses() {
            true => Ok(applied),
            false => self.remove(&shared.iter().collect::<Vec<_>>()).await,
        }
    }

    async fn apply(&self, body: &Json, force: bool) -> Result<DynamicObject, Error> {
        kubernetes::apply(&self.target.client, &self.target.object(), body, manager(force), self.deadline).await
    }

    /// Writes managed fields alone.
    async fn pass(&self, handover: &Handover) -> Result<DynamicObject, Error> {
        let Handover { resource_version, managed_fields } = handover;
        let patch = json!({"metadata": {"resourceVersion": resource_version, "managedFields": managed_fields}});
        kubernetes::merge(&self.target.client, &self.target.object(), &patch, manager(false), self.deadline).await
    }

    async fn look(&self) -> Result<DynamicObject, Error> {
        let live = kubernetes::get(&self.target.client, &self.target.object(), self.deadline).await?;
        live.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, self.action(), "it was deleted after it was planned")
                .remedy("Plan again, so that it is made anew.")
        })
    }

    fn action(&self) -> String {
        format!("apply {} {:?}", K::KIND, self.target.name)
    }

    /// After an import: what the state holds is ours from now on, so that removing it later really removes it. What the configuration
    /// says nothing of, and the plan keeps, stays with whoever set it: ours, it would go with the apply that does not say it.
    async fn hand_over(&self, all: &Handover) -> Result<(), Diagnostics> {
        let keeps = self.bodies.kept().iter().any(|(path, value)| !self.types.is_default(path, value));
        let mut known = (!keeps).then(|| all.clone());
        let held = |path: &[String]| convert::at(&self.bodies.prior, path).is_some() && self.bodies.claim(path) != Claim::None;
        for _ in 0..kubernetes::ATTEMPTS {
            let handover = match known.take() {
                Some(handover) => handover,
                None => {
                    let live = self.look().await?;
                    self.as_planned(&live)?;
                    let Some(handover) = self.types.handover(&live, &held) else { return Ok(()) };
                    handover
                }
            };
            match self.pass(&handover).await {
                Err(error) if error.kind == ErrorKind::Conflict => {}
                other => return other.map(drop).map_err(Diagnostics::from),
            }
        }
        Err(self.restless().into())
    }

    /// The plan removes what somebody else set: applying without it would leave it there.
    async fn remove(&self, removed: &[&Field]) -> Result<DynamicObject, Diagnostics> {
        if self.refuses() {
            return Err(self.told(removed.iter().map(|f| (*f).clone()).collect(), REFUSED));
        }
        for _ in 0..kubernetes::ATTEMPTS {
            let live = self.look().await?;
            self.as_planned(&live)?;
            let wanted = |path: &[String]| removed.iter().any(|field| field.path == path);
            // what is ours alone goes with the apply that does not say it
            let live = match ownership::handover(&live, &wanted) {
                Some(handover) => self.pass(&handover).await,
                None => Ok(live),
            };
            match live {
                Err(error) if error.kind == ErrorKind::Conflict => {}
                other => return self.force(other?).await,
            }
        }
        Err(self.restless().into())
    }

    /// Fields that another manager changed are ours again, if they are still as the plan knew them.
    async fn force(&self, mut live: DynamicObject) -> Result<DynamicObject, Diagnostics> {
        for _ in 0..kubernetes::ATTEMPTS {
            self.as_planned(&live)?;
            let mut body = self.body.clone();
            body["metadata"]["resourceVersion"] = json!(live.metadata.resource_version);
            match self.apply(&body, true).await {
                Err(error) if error.kind == ErrorKind::Conflict => live = self.look().await?,
                other => return other.map_err(|error| self.types.refused(error, &self.request.planned_state)),
            }
        }
        Err(self.restless().into())
    }

    /// Refuses what changed since the plan among the fields that we would write or remove.
    fn as_planned(&self, live: &DynamicObject) -> Result<(), Diagnostics> {
        if self.private.uid.is_some() && self.private.uid != live.metadata.uid {
            return Err(Error::new(ErrorKind::Conflict, self.action(), "another object of that name was made after it was planned")
                .remedy("Plan again to see what it is now.")
                .into());
        }
        let recorded = |field: &Field| self.private.foreign.iter().any(|f| f.path == field.path && f.value == field.value);
        let known = |field: &Field| recorded(field) || convert::at(&self.bodies.prior, &field.path) == Some(&field.value);
        let concerns = |field: &Field| match self.bodies.claim(&field.path) {
            Claim::Removed => true,
            Claim::None => false,
            Claim::Agreed | Claim::Set(_) => convert::at(self.body, &field.path) != Some(&field.value),
        };
        let changed: Vec<Field> = ownership::foreign(live).into_iter().filter(|f| concerns(f) && !known(f)).collect();
        match changed.is_empty() {
            true => Ok(()),
            false => Err(self.told(changed, "It changed after it was planned. Plan again to see what it is now.")),
        }
    }

    /// One error for each field, at its attribute.
    fn told(&self, fields: Vec<Field>, remedy: &str) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        for field in fields {
            let at = self.types.locate_steps(&field.steps(), &self.request.planned_state);
            let detail = format!("{} is {}, set by field manager {:?}.\n\n{remedy}", field.place(), field.value, field.manager);
            diagnostics.error(at, format!("could not {}", self.action()), detail);
        }
        diagnostics
    }

    fn refuses(&self) -> bool {
        self.request.planned_state.attr("force_conflicts").as_bool() == Some(false)
    }

    fn restless(&self) -> Error {
        Error::new(ErrorKind::Conflict, self.action(), "the object changed again and again while it was being written")
            .remedy("Apply again.")
    }
}

const REFUSED: &str = "force_conflicts is false, so it stays the other field manager's. Change the configuration to what it is, have it given up there, or \
    take force_conflicts away.";
