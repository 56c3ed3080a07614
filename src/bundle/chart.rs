//! Karpenter's chart and CRDs on the cluster.

use serde_json::Value as Json;

use super::desired::Chart;
use crate::helm::crds::CrdState;
use crate::helm::{self, Capabilities, Map, Readiness, RegistryAuth, Release, registry, values};
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
}

/// Release and CRDs as they are.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The release, where there is one.
    pub release: Option<Release>,
    /// The CRDs of its chart.
    pub crds: Vec<CrdState>,
    /// The live release that the CRDs belong to, where the bundle takes over what others installed.
    pub crd_release: Option<String>,
    /// Each object of the release with what differs.
    pub objects: Vec<(String, String)>,
    /// Whether its Deployment is ready.
    pub ready: bool,
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
            .at(crate::tofu::path::Path::attribute("version"))
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
    let crds = if want.manage_crds { release.current().chart()?.crds()? } else { vec![] };
    let (crds, objects, readiness) = futures::try_join!(
        helm::read_crds(client, &crds),
        helm::drift(client, &release),
        helm::wait_ready(client, &release, std::time::Instant::now()),
    )?;
    let crd_release = if want.adopt { live_owner(client, &crds).await? } else { None };
    Ok(Observed { crds, crd_release, objects, ready: readiness.ready, release: Some(release) })
}

/// The live release whose marks the CRDs carry: uninstalling it would delete them, and every node pool with them.
async fn live_owner(client: &kube::Client, crds: &[CrdState]) -> Result<Option<String>, Error> {
    let mut owners: Vec<_> = crds.iter().filter_map(|crd| crd.owner.clone()).collect();
    owners.dedup();
    for (name, namespace) in owners {
        if helm::read(client, &namespace, &name).await?.is_some_and(|release| release.live().is_some()) {
            return Ok(Some(format!("{namespace}/{name}")));
        }
    }
    Ok(None)
}

/// The values that the release should have: the user's, and over them ours.
///
/// # Errors
/// Text that is no YAML.
pub fn values(want: &Chart) -> Result<Map, Error> {
    let mut merged = values::parse("read chart.values", &want.values)?;
    if let Json::Object(injected) = &want.injected {
        values::merge(&mut merged, injected);
    }
    Ok(merged)
}

/// How the release differs from what the bundle wants.
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
    if record.config() != values(want)? {
        found.push(format!("values differ: {}", values::differing(&record.config(), &values(want)?).join(", ")));
    }
    if release.newest.revision() != record.revision() {
        found.push(format!("revision {} is {}", release.newest.revision(), release.newest.status().word()));
    }
    found.extend(live.objects.iter().filter(|(_, line)| line != IN_SYNC).map(|(id, line)| format!("{id} {}", plain(line))));
    Ok(found)
}

/// How the CRDs differ.
pub fn crd_differences(live: &Observed) -> Vec<String> {
    let owned = live.crd_release.iter().map(|release| format!("they belong to the Helm release {release}"));
    owned.chain(live.crds.iter().filter(|crd| crd.drift != IN_SYNC).map(|crd| format!("{} {}", crd.name, plain(&crd.drift)))).collect()
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

/// What forbids to install here: a release of that name, or CRDs, that belong to somebody else.
///
/// # Errors
/// What the API server says, or the refusal.
pub async fn refuse(session: &Session, want: &Chart, live: &Observed, chart: &helm::Chart, resuming: bool) -> Result<(), Error> {
    if want.adopt {
        return Ok(());
    }
    let action = format!("install the chart as release {:?} in {}", want.release_name, want.namespace);
    if let Some(release) = &live.release
        && !(resuming && is_of_this_cluster(&release.newest.config(), want))
    {
        let remedy = adopt_hint(&format!("helm_release.{}", want.release_name));
        return Err(Error::new(Kind::AlreadyExists, action, "that release exists and this bundle did not make it").remedy(remedy));
    }
    if !want.manage_crds {
        return Ok(());
    }
    let mut owners: Vec<_> =
        helm::crds::crd_owners(&session.client, &chart.crds()?).await?.into_iter().filter_map(|(_, owner)| owner).collect();
    owners.dedup();
    for (name, namespace) in &owners {
        let ours = (name.as_str(), namespace) == ("karpenter-crd", &want.namespace) && resuming;
        let another = helm::read(&session.client, namespace, name).await?.is_some_and(|release| release.live().is_some());
        if !ours && another {
            let message = format!(
                "the CRDs belong to the Helm release {name:?} in {namespace}; uninstalling that later would delete every node pool"
            );
            return Err(Error::new(Kind::AlreadyExists, action, message).remedy(adopt_hint("helm_release.karpenter_crd")));
        }
    }
    Ok(())
}

fn is_of_this_cluster(config: &Map, want: &Chart) -> bool {
    config.get("settings").and_then(|settings| settings.get("clusterName")) == want.injected["settings"].get("clusterName")
}

fn adopt_hint(address: &str) -> String {
    format!(
        "To take it over, set `adopt = true` in the bundle's chart block. Where another configuration holds it, let that forget it first:\n\n\
         removed {{\n  from = {address}\n  lifecycle {{\n    destroy = false\n  }}\n}}"
    )
}

/// Applies CRDs and chart; the release as it is afterwards.
///
/// # Errors
/// What the API server says.
pub async fn converge(session: &Session, want: &Chart, live: &Observed, chart: helm::Chart) -> Result<Release, Error> {
    let client = &session.client;
    if want.manage_crds && (live.release.is_none() || !crd_differences(live).is_empty() || chart_changes(want, live)) {
        // A CRD that another live release owns was refused before the first write; one left over by a dead one is ours to take.
        helm::apply_crds(client, &chart.crds()?, &want.namespace, want.adopt).await?;
    }
    match &live.release {
        Some(release) if differences(want, live)?.is_empty() => Ok(release.clone()),
        prior => {
            let repair = live.objects.iter().filter(|(_, line)| line != IN_SYNC).map(|(id, _)| id.clone()).collect();
            let desired = helm::Desired {
                name: want.release_name.clone(),
                namespace: want.namespace.clone(),
                chart,
                values: values(want)?,
                capabilities: Capabilities::new(&session.kubernetes_version)?,
                adopt: want.adopt,
                repair,
                max_history: 10,
            };
            helm::apply(client, &desired, prior.clone()).await
        }
    }
}

/// Waits for the Deployment until the deadline, or only looks where the arguments say not to wait.
///
/// # Errors
/// What the API server says; not being ready in time is none.
pub async fn wait(session: &Session, want: &Chart, release: &Release, deadline: std::time::Instant) -> Result<Readiness, Error> {
    helm::wait_ready(&session.client, release, if want.wait { deadline } else { std::time::Instant::now() }).await
}

fn chart_changes(want: &Chart, live: &Observed) -> bool {
    live.release.as_ref().is_none_or(|release| release.current().chart_version() != want.version.to_string())
}

/// Uninstalls the release; CRDs stay.
///
/// # Errors
/// What the API server says.
pub async fn remove(session: &Session, want: &Chart) -> Result<(), Error> {
    match helm::read(&session.client, &want.namespace, &want.release_name).await? {
        Some(release) => helm::uninstall(&session.client, &release).await,
        None => Ok(()),
    }
}
