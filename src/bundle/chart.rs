//! Karpenter's chart and CRDs on the cluster.

use super::chart_values;
use super::desired::{Chart, SetValue};
use crate::helm::crds::CrdState;
use crate::helm::{self, Capabilities, Map, Readiness, RegistryAuth, Release, conversion, registry};
use crate::tofu::path::Path;
use crate::{Error, Kind};

/// Key of the chart in `objects`.
pub const CHART: &str = "chart";
/// Key of the CRDs in `objects`.
pub const CRDS: &str = "crds";
/// What [`helm::drift`] says of an object that is as it should be.
const IN_SYNC: &str = "in sync";
/// Karpenter's newest version known here: what is installed where the repository cannot be asked.
const NEWEST_KNOWN: semver::Version = semver::Version::new(1, 14, 1);

/// How to reach the cluster and the chart's registry.
#[derive(Clone)]
pub struct Session {
    /// The cluster.
    pub client: kube::Client,
    /// Its version, e.g. `1.36`.
    pub kubernetes_version: String,
    /// The registry's credentials.
    pub auth: Option<RegistryAuth>,
    /// Whether EKS says that the cluster is in Auto Mode.
    pub auto_mode: bool,
}

/// Release and CRDs as they are.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The release, where there is one.
    pub release: Option<Release>,
    /// The CRDs of its chart.
    pub crds: Vec<CrdState>,
    /// Live releases that the CRDs are to be taken from.
    pub crd_owners: Vec<String>,
    /// Each object of the release with what differs.
    pub objects: Vec<(String, String)>,
    /// Whether its Deployment is ready.
    pub ready: bool,
    /// Why it is not.
    pub why: String,
}

/// The newest version that the repository offers, or the newest one known here where the bundle installs no chart.
///
/// # Errors
/// What the registry says, and a tag that is no version.
pub async fn newest(repository: &str, installs: bool, auth: Option<&RegistryAuth>) -> Result<semver::Version, Error> {
    if !installs {
        return Ok(NEWEST_KNOWN);
    }
    match registry::newest(repository, "karpenter", auth).await {
        Ok(tag) => parse_version(&tag),
        // a registry may forbid listing, and a mirror may not offer it
        Err(error) if matches!(error.kind, Kind::Forbidden | Kind::NotFound) => Ok(NEWEST_KNOWN),
        Err(error) => Err(error),
    }
}

/// A version as users write it.
///
/// # Errors
/// `Invalid`, at the attribute.
pub fn parse_version(text: &str) -> Result<semver::Version, Error> {
    semver::Version::parse(text.trim_start_matches('v')).map_err(|e| {
        Error::new(Kind::Invalid, "choose Karpenter's version", format!("{text:?} is no version"))
            .remedy("Write it in full, such as \"1.14.1\".")
            .at(Path::attribute("version"))
            .caused_by(e)
    })
}

/// Reads release, CRDs, objects and readiness; with no release that is one call.
///
/// # Errors
/// What the API server says.
pub async fn observe(session: &Session, want: &Chart) -> Result<Observed, Error> {
    let client = &session.client;
    let Some(release) = helm::read(client, &want.namespace, &want.release_name).await? else { return Ok(Observed::default()) };
    let record = release.current();
    let crds = match want.manage_crds {
        true => conversion::crds(&record.chart()?, &record.config(), &want.release_name, &want.namespace)?,
        false => vec![],
    };
    let (crds, objects, readiness) = futures::try_join!(
        helm::read_crds(client, &crds, session.auto_mode),
        helm::drift(client, &release),
        helm::wait_ready(client, &release, std::time::Instant::now()),
    )?;
    // whoever does not want to take them over need not know
    let owners = if want.adopt { helm::crds::live_owners(client, &crds).await? } else { vec![] };
    let crd_owners = owners.iter().map(|owner| format!("{}/{}", owner.namespace, owner.name)).collect();
    Ok(Observed { crds, crd_owners, objects, ready: readiness.ready, why: readiness.why, release: Some(release) })
}

/// How the release differs from what the bundle wants. Where a value is a secret, the lines name fields but not what is in them.
///
/// # Errors
/// Values that are no YAML.
pub fn differences(want: &Chart, live: &Observed) -> Result<Vec<String>, Error> {
    let Some(release) = &live.release else { return Ok(vec!["missing".into()]) };
    let mut found = vec![];
    let Some(record) = release.live() else {
        return Ok(vec![format!("release status {}, want deployed", release.newest.status().word())]);
    };
    if record.chart_version() != want.version.to_string() {
        found.push(format!("version {}, want {}", record.chart_version(), want.version));
    }
    found.extend(chart_values::differences(&chart_values::values(want)?, &record.config()));
    if release.newest.revision() != record.revision() {
        found.push(format!("revision {} is {}", release.newest.revision(), release.newest.status().word()));
    } else if let Some(former) = &release.deployed {
        found.push(format!("revision {} is {} too", former.revision(), former.status().word()));
    }
    found.extend(live.objects.iter().filter(|(_, line)| line != IN_SYNC).map(|(id, line)| format!("{id} {}", plain(line))));
    if want.set.iter().any(|set| set.sensitive) {
        found = found.into_iter().map(without_values).collect();
    }
    Ok(found)
}

/// `spec.x is "a", want "b"` as `spec.x differs`.
fn without_values(line: String) -> String {
    line.find(" is ").map_or(line.clone(), |end| format!("{} differs", &line[..end]))
}

/// Names of the CRDs that are as the release's chart has them.
pub fn crds_in_sync(live: &Observed) -> Vec<String> {
    live.crds.iter().filter(|crd| crd.drift == IN_SYNC).map(|crd| crd.name.clone()).collect()
}

/// How the CRDs differ.
pub fn crd_differences(live: &Observed) -> Vec<String> {
    let drifted = live.crds.iter().filter(|crd| crd.drift != IN_SYNC).map(|crd| format!("{} {}", crd.name, plain(&crd.drift)));
    drifted.chain(live.crd_owners.iter().map(|owner| format!("owned by the Helm release {owner}"))).collect()
}

fn plain(line: &str) -> &str {
    line.strip_prefix("drifted: ").unwrap_or(line)
}

/// The chart to install: the release's own while the version stays, else pulled.
///
/// # Errors
/// What the registry says.
pub async fn source(session: &Session, want: &Chart, live: &Observed) -> Result<helm::Chart, Error> {
    let version = want.version.to_string();
    if let Some(record) = live.release.as_ref().map(Release::current)
        && record.chart_version() == version
    {
        return record.chart();
    }
    registry::pull(&want.repository, "karpenter", Some(&version), session.auth.as_ref()).await
}

/// What forbids to change release and CRDs, before anything is written: a release of that name (where the bundle is `new` here) or CRDs
/// that belong to somebody else, objects that the new CRDs would strand, a namespace that is absent.
///
/// # Errors
/// What the API server says, or the refusal.
pub async fn refuse(session: &Session, want: &Chart, live: &Observed, chart: &helm::Chart, new: bool) -> Result<(), Error> {
    let values = chart_values::values(want)?;
    let action = || format!("install the chart as release {:?} in {}", want.release_name, want.namespace);
    if let Some(release) = live.release.as_ref().filter(|_| new && !want.adopt) {
        let message = format!("that release exists (revision {}) and this bundle did not make it", release.newest.revision());
        let remedy = adopt_hint(&format!("helm_release.{}", want.release_name.replace('-', "_")));
        return Err(Error::new(Kind::AlreadyExists, action(), message).remedy(remedy));
    }
    if live.release.is_none() && !want.create_namespace && !namespace_exists(session, want).await? {
        let message = format!("the namespace {:?} does not exist, and create_namespace is false", want.namespace);
        return Err(Error::new(Kind::NotFound, action(), message)
            .remedy("Create it first, or leave create_namespace out.")
            .at(Path::attribute("namespace")));
    }
    if !applies_crds(want, live) {
        return Ok(());
    }
    let crds = conversion::crds(chart, &values, &want.release_name, &want.namespace)?;
    let found = match live.release {
        None => helm::find_crds(&session.client, &crds, session.auto_mode).await?,
        Some(_) => live.crds.clone(),
    };
    helm::crds::refuse_stranding(&crds, &found)?;
    helm::crds::refuse_owned(&session.client, &found, want.adopt).await
}

/// Whether the CRDs need a look: they, or the chart's version, are not as they should be.
fn applies_crds(want: &Chart, live: &Observed) -> bool {
    want.manage_crds && (live.release.is_none() || changes_version(want, live) || !crd_differences(live).is_empty())
}

async fn namespace_exists(session: &Session, want: &Chart) -> Result<bool, Error> {
    let namespace = helm::live::namespace(&want.namespace);
    match namespace.get(&session.client).await {
        Ok(found) => Ok(found.is_some_and(|live| live.pointer("/metadata/deletionTimestamp").is_none())),
        // whoever may not look may still install
        Err(error) if error.kind == Kind::Forbidden => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether a release that exists is what a create or a change of this bundle left that failed or died: this provider wrote its newest
/// revision, for this very cluster. The state does not know it yet.
pub fn is_left_behind(want: &Chart, live: &Observed) -> bool {
    let name = |values: &Map| values.get("settings").and_then(|settings| settings.get("clusterName")).cloned();
    let (Ok(values), Some(release)) = (chart_values::values(want), &live.release) else { return false };
    release.newest.is_ours && name(&release.newest.config()) == name(&values)
}

fn adopt_hint(address: &str) -> String {
    format!(
        "To take it over, set `adopt = true` in the bundle's chart block. Where another configuration holds it, let that forget it first:\n\n\
         removed {{\n  from = {address}\n  lifecycle {{\n    destroy = false\n  }}\n}}"
    )
}

/// Whether an installed release becomes one of another version: its CRDs then go ahead of everything else.
pub fn changes_version(want: &Chart, live: &Observed) -> bool {
    live.release.as_ref().is_some_and(|release| release.current().chart_version() != want.version.to_string())
}

/// Applies the CRDs of a chart where they, or the chart's version, are not as they should be.
///
/// # Errors
/// What the API server says.
pub async fn apply_crds(session: &Session, want: &Chart, live: &Observed, chart: &helm::Chart) -> Result<(), Error> {
    if !applies_crds(want, live) {
        return Ok(());
    }
    // a CRD that another live release owns was refused before the first write; one left over by a dead one is ours to take
    let crds = conversion::crds(chart, &chart_values::values(want)?, &want.release_name, &want.namespace)?;
    helm::apply_crds(&session.client, &crds, &want.namespace, want.adopt, session.auto_mode).await
}

/// Applies CRDs, unless they went ahead, and chart; the release as it is afterwards.
///
/// # Errors
/// What the API server says.
pub async fn converge(
    session: &Session,
    want: &Chart,
    live: &Observed,
    chart: helm::Chart,
    deadline: tokio::time::Instant,
) -> Result<Release, Error> {
    let client = &session.client;
    let values = chart_values::values(want)?;
    if live.release.is_none() && want.create_namespace && !namespace_exists(session, want).await? {
        helm::live::namespace(&want.namespace).create(client).await?;
    }
    if !changes_version(want, live) {
        apply_crds(session, want, live, &chart).await?;
    }
    match &live.release {
        Some(release) if differences(want, live)?.is_empty() => Ok(release.clone()),
        prior => {
            let repair = live.objects.iter().filter(|(_, line)| line != IN_SYNC).map(|(id, _)| id.clone()).collect();
            let desired = helm::Desired {
                name: want.release_name.clone(),
                namespace: want.namespace.clone(),
                chart,
                values,
                capabilities: Capabilities::new(&session.kubernetes_version)?,
                adopt: want.adopt,
                repair,
                max_history: want.max_history,
                atomic: want.atomic,
                deadline,
            };
            helm::apply(client, &desired, prior.clone()).await.map_err(|error| without_secrets(&want.set, error))
        }
    }
}

/// An error that shows no sensitive value: the API server repeats what it refuses.
fn without_secrets(set: &[SetValue], mut error: Error) -> Error {
    // shorter ones are no secrets, and part of too many words
    let secrets = set.iter().filter(|set| set.sensitive && set.value.len() > 3).map(|set| set.value.as_str());
    for secret in secrets {
        let texts = error.causes.iter_mut().map(|cause| &mut cause.message).chain([&mut error.message]);
        texts.for_each(|text| *text = text.replace(secret, "(sensitive value)"));
    }
    error
}

/// Waits for the Deployment until the deadline, or only looks where the arguments say not to wait.
///
/// # Errors
/// What the API server says; not being ready in time is none.
pub async fn wait(session: &Session, want: &Chart, release: &Release, deadline: std::time::Instant) -> Result<Readiness, Error> {
    helm::wait_ready(&session.client, release, if want.wait { deadline } else { std::time::Instant::now() }).await
}

/// Uninstalls a release, by namespace and name, that a change began to install and did not finish. One that it never came to write, or
/// that Helm wrote since, stays.
///
/// # Errors
/// What the API server says.
pub async fn remove_leftover(session: &Session, (namespace, name): &(String, String)) -> Result<(), Error> {
    match helm::read(&session.client, namespace, name).await? {
        Some(release) if release.newest.is_ours => helm::uninstall(&session.client, &release).await,
        _ => Ok(()),
    }
}

/// Uninstalls the release. CRDs stay, unless the arguments say otherwise and no object of theirs is left.
///
/// # Errors
/// What the API server says; [`Kind::Conflict`] naming the objects that are left, before anything is deleted.
pub async fn remove(session: &Session, want: &Chart) -> Result<(), Error> {
    let client = &session.client;
    let delete_crds = want.manage_crds && want.delete_crds;
    if delete_crds {
        helm::crds::refuse_used(client, &want.namespace).await?;
    }
    if let Some(release) = helm::read(client, &want.namespace, &want.release_name).await? {
        helm::uninstall(client, &release).await?;
    }
    if delete_crds { helm::delete_crds(client, &want.namespace).await } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::arguments::SetType;
    use crate::error::Cause;

    #[test]
    fn an_error_shows_no_sensitive_value() {
        let value = |value: &str, sensitive| SetValue { name: "a.b".into(), value: value.into(), kind: SetType::Auto, sensitive };
        let set = [value("12345678", true), value("plain", false), value("on", true)];
        let mut error = Error::new(Kind::Invalid, "apply Deployment \"a\"", "expected string, got 12345678 instead of plain, only");
        error.causes = vec![Cause { field: "spec".into(), message: "Invalid value: \"12345678\"".into() }];
        let error = without_secrets(&set, error);
        assert_eq!(error.message, "expected string, got (sensitive value) instead of plain, only");
        assert_eq!(error.causes[0].message, "Invalid value: \"(sensitive value)\"");
    }
}
