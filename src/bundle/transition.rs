//! The ends of a change: what is kept for its time comes first, what is no longer needed goes last, when the controller runs as the
//! change wants it.

use futures::future::try_join_all;

use super::arguments::Credentials;
use super::chart::{self, Session};
use super::context::{Context, Ownership};
use super::converge::Outcome;
use super::desired::Desired;
use super::interim::Interim;
use super::observe::Observed;
use super::pods::{Which, restart};
use super::{policy, remove, role};
use crate::aws::error::from_sdk;
use crate::{Error, Kind, helm};

/// By when a controller without credentials has crashed a few times.
const CRASHES: std::time::Duration = std::time::Duration::from_secs(90);

/// What must hold before the first write: IAM knows the cluster's OIDC provider where credentials come by it.
///
/// # Errors
/// `NotFound` with the remedy, or what IAM says.
pub async fn require_oidc_provider(cx: &Context, desired: &Desired) -> Result<(), Error> {
    if desired.credentials != Credentials::Irsa {
        return Ok(());
    }
    let (issuer, arn) = (&desired.place.oidc_issuer, desired.place.oidc_provider());
    let action = || format!("use IAM's OIDC provider of cluster {}", desired.place.cluster);
    let path = crate::tofu::path::Path::attribute("credentials");
    if issuer.is_empty() {
        return Err(Error::new(Kind::NotFound, action(), "EKS tells no issuer of the cluster's tokens").at(path));
    }
    let sent = cx.aws.iam.get_open_id_connect_provider().open_id_connect_provider_arn(&arn);
    match sent.send().await.map_err(|e| from_sdk(format!("iam:GetOpenIDConnectProvider {arn}"), e)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind == Kind::NotFound => {
            Err(Error::new(Kind::NotFound, action(), format!("{arn} does not exist, and credentials = \"irsa\" needs it"))
                .remedy(format!(
                    "Make it once for the cluster:\n\nresource \"aws_iam_openid_connect_provider\" \"this\" {{\n  url            = \
                     \"https://{issuer}\"\n  client_id_list = [\"sts.amazonaws.com\"]\n}}\n\nor `eksctl utils \
                     associate-iam-oidc-provider --cluster {} --approve`; or set credentials = \"pod_identity\".",
                    desired.place.cluster
                ))
                .at(path))
        }
        Err(error) => Err(error),
    }
}

/// CRDs of another version of the chart, before anything else of that version.
///
/// # Errors
/// What the API server says.
pub async fn upgrade_crds(session: &Session, desired: &Desired, live: &Observed, source: &helm::Chart) -> Result<(), Error> {
    let (Some(want), Some(live)) = (&desired.chart, &live.chart) else { return Ok(()) };
    if chart::changes_version(want, live) { chart::apply_crds(session, want, live, source).await } else { Ok(()) }
}

/// Keeps the permissions that go for the time of the change, in policies of their own.
///
/// # Errors
/// What IAM says.
pub async fn keep(cx: &Context, desired: &Desired, interim: &Interim) -> Result<(), Error> {
    let made: Vec<_> = interim.policies.iter().map(|want| policy::converge(cx, want, None)).collect();
    try_join_all(made).await?;
    let arns: Vec<String> = interim.policies.iter().map(|want| want.arn.clone()).collect();
    role::attach(cx, &desired.controller_role.name, &arns, None).await
}

/// Whether the controller was seen to run with its new credentials, so that the former ones may go.
///
/// # Errors
/// `Conflict`, with why it does not run: the former credentials stay as they are.
pub fn verify(interim: &Interim, desired: &Desired, outcome: &Outcome) -> Result<(), Error> {
    let waits = desired.chart.as_ref().is_some_and(|want| want.wait);
    if !interim.new_credentials || outcome.ready || !waits {
        return Ok(());
    }
    let message = format!("it was not seen to run with them: {}. The former ones still work, too", outcome.why);
    Err(Error::new(Kind::Conflict, "change how the controller gets its credentials", message)
        .remedy("Mend that and apply again; the former credentials are removed when the controller is ready."))
}

/// Takes away what was kept, and what is no longer attached.
///
/// # Errors
/// What IAM says.
pub async fn release(cx: &Context, desired: &Desired, live: &Observed, interim: &Interim) -> Result<(), Error> {
    let controller = &desired.controller_role;
    if let Some(made) = &controller.made {
        if interim.trust.is_some() {
            cx.patiently(&[Kind::Conflict], || role::set_trust(cx, &controller.name, &made.trust)).await?;
        }
        let attached = live.controller_role.as_ref().map(|live| live.attached.as_slice()).unwrap_or_default();
        let kept = |arn: &&String| attached.contains(arn) || interim.policies.iter().any(|policy| policy.arn == **arn);
        for arn in made.interim.iter().filter(kept) {
            remove::detach_policy(cx, &controller.name, arn).await?;
            policy::delete_own(cx, arn).await?;
        }
    }
    // a node role that somebody else made is left as it is
    let foreign = live.node_role.as_ref().is_some_and(|live| cx.ownership(&live.tags) != Ownership::Ours);
    let owned = |key: &str| key != desired.node_role.key || !foreign || cx.record.owned.contains(key);
    let detached = interim.detach.iter().filter(|(key, _, _)| owned(key));
    let calls: Vec<_> = detached.map(|(_, name, arn)| remove::detach_policy(cx, name, arn)).collect();
    try_join_all(calls).await?;
    Ok(())
}

/// What a user of a cluster without access entries has to do, as a warning.
pub fn let_nodes_in(desired: &Desired) -> Option<(String, String)> {
    if desired.place.has_access_entries {
        return None;
    }
    let detail = format!(
        "Its authentication mode is CONFIG_MAP, so the bundle makes no access entry. Nodes join when the ConfigMap aws-auth in kube-system \
         has this in mapRoles:\n\n- rolearn: {}\n  username: system:node:{{{{EC2PrivateDNSName}}}}\n  groups:\n  - system:bootstrappers\n  - \
         system:nodes\n\nor change the mode: `aws eks update-cluster-config --name {} --access-config \
         authenticationMode=API_AND_CONFIG_MAP`.",
        desired.node_role.arn, desired.place.cluster
    );
    Some(("the cluster has no access entries".into(), detail))
}

/// Waits for the controller, and makes its pods anew where they lack their credentials.
///
/// # Errors
/// What the API server says; not being ready in time is none.
pub async fn wait(
    cx: &Context,
    session: &Session,
    desired: &Desired,
    release: &helm::Release,
    made: Option<i64>,
) -> Result<helm::Readiness, Error> {
    let Some(want) = &desired.chart else { return Ok(helm::Readiness { ready: true, why: String::new() }) };
    restart(session, release, desired, made, Which::Older).await?;
    let deadline = cx.deadline.into_std();
    let first = deadline.min(std::time::Instant::now() + CRASHES);
    let mut readiness = chart::wait(session, want, release, first).await?;
    if !readiness.ready && want.wait && first < deadline {
        restart(session, release, desired, made, Which::Crashing).await?;
        readiness = chart::wait(session, want, release, deadline).await?;
    }
    Ok(readiness)
}
