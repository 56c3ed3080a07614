//! What a plan of `karpenter_bundle` has to say about versions and credentials: an error where the user changes to what is known not to
//! work, a warning otherwise.

use semver::Version;

use super::bundle::Bundle;
use crate::bundle::arguments::Credentials;
use crate::bundle::context::Context;
use crate::bundle::desired::{Desired, Place};
use crate::bundle::plan;
use crate::bundle::record::Record;
use crate::bundle::supported::{beyond_tables, mismatch};
use crate::bundle::transition::require_oidc_provider;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::Path;
use crate::tofu::value::Value;
use crate::{Error, Kind};

impl Bundle {
    /// Reviews a plan that is a create (prior null) or an update; `refusal` is why there can be no such bundle. Calls are made only where
    /// version or credentials change.
    pub(super) async fn review(&self, prior: &Value, planned: &Value, refusal: Option<Error>, record: &Record) -> Diagnostics {
        if let Some(error) = refusal.filter(|_| plan::decides(planned)) {
            return error.into();
        }
        let mut diagnostics = Diagnostics::default();
        let changes = |name: &str| prior.is_null() || prior.attr(name) != planned.attr(name);
        let version = planned.attr("version").as_str().filter(|_| changes("version"));
        if let Some(text) = version.and_then(|text| Version::parse(text.trim_start_matches('v')).ok()).as_ref().and_then(beyond_tables) {
            diagnostics.warning(Path::attribute("version"), "a version of Karpenter that this provider does not know", text);
        }
        if version.is_none() && !changes("credentials") {
            return diagnostics;
        }
        let state = if prior.is_null() { planned } else { prior };
        let Ok(connection) = self.reach(state).await else { return diagnostics };
        let version = version.and_then(|text| Version::parse(text.trim_start_matches('v')).ok());
        if let Some(error) = version.and_then(|version| refuse_mismatch(&version, &connection.cluster.kubernetes_version)) {
            diagnostics.extend(error.into());
        }
        let arguments = plan::arguments(&self.schema.block, planned);
        let place = Place::of_cluster(&connection.cluster);
        if let (Some(Credentials::Irsa), true, Some(place)) = (arguments.credentials, changes("credentials"), place)
            && let Ok(desired) = self.desired_of(planned, &place, record)
            && let Err(error) = self.oidc_provider(&connection, &desired).await
        {
            let detail = format!("{}\n\n{}", error.message, error.remedy);
            diagnostics.warning(Path::attribute("credentials"), "the cluster's IAM OIDC provider is not there yet", detail);
        }
        diagnostics
    }

    async fn oidc_provider(&self, connection: &crate::provider::Connection, desired: &Desired) -> Result<(), Error> {
        let cx = Context::to_look(connection.aws.clone(), desired, self.connections.clone());
        match require_oidc_provider(&cx, desired).await {
            Err(error) if error.kind == Kind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A pair of versions that is known not to work, as an error for who changes to it.
pub(super) fn refuse_mismatch(karpenter: &Version, kubernetes: &str) -> Option<Error> {
    let why = mismatch(karpenter, kubernetes)?;
    Some(
        Error::new(Kind::Invalid, format!("choose Karpenter {karpenter}"), why)
            .remedy("Choose a newer version of Karpenter; leave version out to get the newest one.")
            .at(Path::attribute("version")),
    )
}
