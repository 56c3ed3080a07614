//! The chart engine, with the real helm (3 and 4) as the other client of the same releases.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "charts/at_home.rs"]
mod at_home;
mod common;
#[path = "charts/crds.rs"]
mod crds;
#[path = "charts/registry.rs"]
mod registry;
#[path = "charts/render.rs"]
mod render;

use std::time::{Duration, Instant};

use common::{Fault, Lab, Proxy};
use karpenter::Kind;
use karpenter::helm::{self, Capabilities, Chart, Desired, Release, values};
use kube::Client;
use serde_json::{Value, json};

/// A namespace, a release of the same name in it, and a client to the API server. Every test has its own: they share a cluster.
struct Case {
    lab: &'static Lab,
    name: &'static str,
    client: Client,
}

impl Case {
    async fn new(name: &'static str) -> Case {
        let lab = Lab::shared();
        lab.kubectl_text(&["create", "namespace", name]);
        Case { lab, name, client: client(lab, lab.var("CLUSTER_ENDPOINT")).await }
    }

    async fn desired(&self, version: &str, text: &str) -> Desired {
        let chart = chart(self.lab, version).await;
        let mut all = values::parse("values", &[text.to_owned()]).unwrap();
        values::set(&mut all, &["settings", "clusterName"], "harbor".into());
        let capabilities = Capabilities::new("1.36").unwrap();
        let (name, namespace) = (self.name.to_owned(), self.name.to_owned());
        let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
        Desired {
            name,
            namespace,
            chart,
            values: all,
            capabilities,
            adopt: false,
            repair: vec![],
            max_history: 10,
            atomic: false,
            deadline,
        }
    }

    async fn read(&self) -> Option<Release> {
        helm::read(&self.client, self.name, self.name).await.unwrap()
    }

    async fn apply(&self, desired: &Desired) -> Release {
        helm::apply(&self.client, desired, self.read().await).await.unwrap()
    }

    /// What `helm history` says: revision and status.
    fn history(&self) -> Vec<(u64, String)> {
        let json: Value = serde_json::from_str(&self.lab.helm(&["history", self.name, "-n", self.name, "-o", "json"])).unwrap();
        json.as_array().unwrap().iter().map(|r| (r["revision"].as_u64().unwrap(), r["status"].as_str().unwrap().to_owned())).collect()
    }

    fn deployment(&self) -> Value {
        self.lab.kubectl(&["get", "deployment", &self.full(), "-n", self.name])
    }

    /// The name that the chart gives its objects.
    fn full(&self) -> String {
        format!("{}-karpenter", self.name)
    }

    fn helm(&self, program: &str, args: &[&str]) -> String {
        let args = [args, &["-n", self.name]].concat();
        if program == "helm4" { self.lab.helm4(&args) } else { self.lab.helm(&args) }
    }
}

async fn chart(lab: &Lab, version: &str) -> Chart {
    helm::registry::pull(&lab.chart_repository(), "karpenter", Some(version), None).await.unwrap()
}

/// A client with a token of a cluster admin: a client certificate does not pass the proxy.
async fn client(lab: &Lab, server: &str) -> Client {
    let account = "helm-tests";
    let _ = lab.try_kubectl(&["create", "serviceaccount", account, "-n", "default"]);
    let subject = format!("--serviceaccount=default:{account}");
    let _ = lab.try_kubectl(&["create", "clusterrolebinding", account, "--clusterrole=cluster-admin", &subject]);
    let token = lab.kubectl_text(&["create", "token", account, "-n", "default"]);
    let kubeconfig = serde_json::from_value(json!({
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority": lab.dir().join("certs/ca.crt")}}],
        "users": [{"name": "lab", "user": {"token": token.trim()}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        "current-context": "lab",
    }));
    let config = kube::Config::from_custom_kubeconfig(kubeconfig.unwrap(), &Default::default()).await.unwrap();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::try_from(config).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_install_is_a_release_of_helm() {
    let case = Case::new("install").await;
    let desired = case.desired("1.14.1", "{replicas: 1, podLabels: {team: x}}").await;
    let release = case.apply(&desired).await;
    let readiness = helm::wait_ready(&case.client, &release, Instant::now() + Duration::from_secs(60)).await.unwrap();
    assert!(readiness.ready, "{}", readiness.why);

    for program in ["helm", "helm4"] {
        let list: Value = serde_json::from_str(&case.helm(program, &["list", "-o", "json"])).unwrap();
        assert_eq!(list[0]["name"], "install");
        assert_eq!(list[0]["status"], "deployed");
        assert_eq!(list[0]["chart"], "karpenter-1.14.1");
        assert_eq!(list[0]["revision"].as_str().map(str::to_owned).unwrap_or(list[0]["revision"].to_string()), "1");
        let values: Value = serde_json::from_str(&case.helm(program, &["get", "values", "install", "-o", "json"])).unwrap();
        assert_eq!(values, json!({"replicas": 1, "podLabels": {"team": "x"}, "settings": {"clusterName": "harbor"}}));
        assert!(case.helm(program, &["get", "manifest", "install"]).contains("# Source: karpenter/templates/deployment.yaml"));
        assert!(case.helm(program, &["status", "install"]).contains("STATUS: deployed"));
    }
    assert_eq!(case.deployment()["metadata"]["annotations"]["meta.helm.sh/release-name"], "install");

    // Helm 3 upgrades, Helm 4 rolls back, each with its own way of writing; then we again
    let repository = format!("{}/karpenter", case.lab.chart_repository());
    case.helm(
        "helm",
        &["upgrade", "install", &repository, "--version", "1.14.1", "--plain-http", "--reuse-values", "--set", "logLevel=debug"],
    );
    assert_eq!(case.deployment()["spec"]["template"]["metadata"]["labels"]["team"], "x");
    case.helm("helm4", &["rollback", "install", "1"]);
    assert_eq!(case.history().iter().map(|(_, s)| s.as_str()).collect::<Vec<_>>(), ["superseded", "superseded", "deployed"]);

    let without = case.desired("1.14.1", "{replicas: 1}").await;
    case.apply(&without).await;
    assert_eq!(case.deployment()["spec"]["template"]["metadata"]["labels"]["team"], Value::Null, "the removed label is gone");
    assert_eq!(case.history().last(), Some(&(4, "deployed".to_owned())));
    assert_eq!(case.history().iter().filter(|(_, s)| s == "deployed").count(), 1);

    case.helm("helm", &["uninstall", "install"]);
    assert!(!case.lab.exists(&["deployment,sa,role,rolebinding,service,pdb", "-n", "install", "-l", "app.kubernetes.io/instance=install"]));
    assert_eq!(case.read().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_helm_3_or_4_becomes_ours() {
    for (program, name) in [("helm", "from-three"), ("helm4", "from-four")] {
        let case = Case::new(name).await;
        let repository = format!("{}/karpenter", case.lab.chart_repository());
        let set = "settings.clusterName=harbor,podLabels.team=x,additionalLabels.gone=soon";
        case.helm(program, &["install", name, &repository, "--version", "1.14.1", "--plain-http", "--skip-crds", "--set", set]);
        let before = case.read().await.unwrap();
        assert_eq!(helm::drift(&case.client, &before).await.unwrap().iter().filter(|(_, line)| line != "in sync").count(), 0);
        let desired = case.desired("1.14.1", "{}").await;
        case.apply(&desired).await;
        let live = case.deployment();
        assert_eq!(live["spec"]["template"]["metadata"]["labels"]["team"], Value::Null, "{program}");
        assert_eq!(live["metadata"]["labels"]["gone"], Value::Null, "{program}");
        assert_eq!(case.history(), [(1, "superseded".to_owned()), (2, "deployed".to_owned())]);
        // an object that goes from the chart goes from the cluster
        let without = case.desired("1.14.1", "{serviceAccount: {create: false, name: other}}").await;
        case.apply(&without).await;
        assert!(!case.lab.exists(&["serviceaccount", &case.full(), "-n", name]));
        let release = case.read().await.unwrap();
        helm::uninstall(&case.client, &release).await.unwrap();
        assert_eq!(case.helm("helm", &["list", "-a", "-q"]), "");
        assert!(!case.lab.exists(&["clusterrole", &case.full()]));
        assert!(!case.lab.exists(&["role", &format!("{}-dns", case.full()), "-n", "kube-system"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_its_fields_pass_to_us_is_looked_at_again() {
    let case = Case::new("restless").await;
    let repository = format!("{}/karpenter", case.lab.chart_repository());
    let set = "settings.clusterName=harbor,additionalLabels.gone=soon";
    case.helm("helm", &["install", "restless", &repository, "--version", "1.14.1", "--plain-http", "--skip-crds", "--set", set]);
    let proxy = case.lab.proxy();
    let through = client(case.lab, &proxy.kubernetes).await;
    let (desired, prior) = (case.desired("1.14.1", "{}").await, case.read().await);
    proxy.fault(Fault::on("PATCH .*/poddisruptionbudgets/").hold());
    let applying = tokio::spawn(async move { helm::apply(&through, &desired, prior).await });
    tokio::task::block_in_place(|| {
        assert!(proxy.held(Duration::from_secs(60)).is_some(), "no write to hold");
        // what the disruption controller does at any time: it counts pods, and writes them to the status
        case.lab.kubectl_text(&["annotate", "poddisruptionbudget", "karpenter", "-n", "restless", "counted=again"]);
        proxy.release();
    });
    applying.await.unwrap().unwrap();
    let writes = proxy.calls().into_iter().filter(|call| call.key.contains("PATCH") && call.key.contains("/poddisruptionbudgets/"));
    let answers: Vec<u16> = writes.map(|call| call.status).collect();
    assert!(matches!(answers[..], [409, .., 200, 200]), "refused, then passed and applied: {answers:?}");
    let live = case.lab.kubectl(&["get", "poddisruptionbudget", "karpenter", "-n", "restless"]);
    assert_eq!((&live["metadata"]["labels"]["gone"], &live["metadata"]["annotations"]["counted"]), (&Value::Null, &json!("again")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_apply_is_completed_by_the_next() {
    let case = Case::new("killed").await;
    let proxy = case.lab.proxy();
    let through = client(case.lab, &proxy.kubernetes).await;
    let versions = [("{}", 1), ("{podLabels: {a: b}, additionalLabels: {c: d}}", 2), ("{serviceAccount: {create: false, name: x}}", 3)];
    for (text, revision) in versions {
        let desired = case.desired("1.14.1", text).await;
        for nth in [1, 2, 5] {
            kill_at(&case, &proxy, &through, &desired, nth).await;
        }
        case.apply(&desired).await;
        let history = case.history();
        assert_eq!(history.last(), Some(&(revision, "deployed".to_owned())), "{history:?}");
        assert_eq!(history.iter().filter(|(_, s)| s == "deployed").count(), 1, "{history:?}");
        assert!(!history.iter().any(|(_, s)| s.starts_with("pending")), "{history:?}");
        let release = case.read().await.unwrap();
        assert!(helm::drift(&case.client, &release).await.unwrap().iter().all(|(_, line)| line == "in sync"));
    }
    assert!(!case.lab.exists(&["serviceaccount", &case.full(), "-n", "killed"]));
    case.helm("helm", &["upgrade", "killed", &format!("{}/karpenter", case.lab.chart_repository()), "--plain-http", "--reuse-values"]);
}

/// Applies, and drops everything while the nth write is under way.
async fn kill_at(case: &Case, proxy: &Proxy, through: &Client, desired: &Desired, nth: usize) {
    proxy.clear();
    proxy.reset();
    proxy.fault(Fault::on("kubernetes:").mutating().nth(nth).hold());
    let (desired, client, prior) = (desired.clone(), through.clone(), case.read().await);
    let mut run = tokio::spawn(async move { helm::apply(&client, &desired, prior).await });
    let end = Instant::now() + Duration::from_secs(60);
    while proxy.held(Duration::from_millis(50)).is_none() {
        if run.is_finished() {
            (&mut run).await.unwrap().unwrap();
            return; // it has fewer writes than that
        }
        assert!(Instant::now() < end, "neither held nor done");
    }
    run.abort();
    let _ = run.await;
    proxy.clear();
    proxy.release();
    // what was under way arrives, as it does when a process dies
    while proxy.calls().iter().filter(|call| call.mutating).count() < nth {
        assert!(Instant::now() < end, "the held call does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_others_are_refused_and_may_be_adopted() {
    let case = Case::new("refused").await;
    let role = format!("{}-core", case.full());
    case.lab.kubectl_text(&["create", "clusterrole", &role, "--verb=get", "--resource=pods"]);
    case.lab.kubectl_text(&["create", "service", "clusterip", &case.full(), "--tcp=1:1", "-n", "refused"]);
    let mut desired = case.desired("1.14.1", "{}").await;
    let error = helm::apply(&case.client, &desired, None).await.unwrap_err();
    assert_eq!(error.kind, Kind::AlreadyExists);
    assert!(
        error.message.contains(&format!("ClusterRole {role}")) && error.message.contains(&format!("Service {}", case.full())),
        "{error}"
    );
    assert!(error.remedy.contains("adopt = true"));
    assert_eq!(case.read().await, None, "no record is left");
    assert!(!case.lab.exists(&["poddisruptionbudget,serviceaccount", "-n", "refused", "-l", "app.kubernetes.io/instance=refused"]));
    assert_eq!(case.lab.kubectl(&["get", "clusterrole", &role])["rules"][0]["resources"], json!(["pods"]), "untouched");

    desired.adopt = true;
    case.apply(&desired).await;
    assert_eq!(case.lab.kubectl(&["get", "clusterrole", &role])["metadata"]["annotations"]["meta.helm.sh/release-name"], "refused");
    let twice = case.desired("1.14.1", "controller: {env: [{name: LOG_LEVEL, value: debug}]}").await;
    let error = helm::apply(&case.client, &twice, case.read().await).await.unwrap_err();
    assert!(error.message.contains("LOG_LEVEL is set twice"), "{error}");
    assert_eq!(case.history(), [(1, "deployed".to_owned())], "refused before the first write");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_release_elsewhere_is_retired() {
    let (old, new) = (Case::new("moved-from").await, Case::new("moved-to").await);
    let mut desired = old.desired("1.14.1", "{fullnameOverride: moved}").await;
    old.apply(&desired).await;
    (desired.name, desired.namespace) = ("moved-to".to_owned(), "moved-to".to_owned());
    let error = helm::apply(&new.client, &desired, None).await.unwrap_err();
    assert!(error.message.contains("ClusterRole moved (of the Helm release moved-from/moved-from)"), "{error}");
    desired.adopt = true;
    // what is taken does not tell any more whose it was
    let proxy = new.lab.proxy();
    proxy.fault(Fault::on("PATCH .*/namespaces/moved-to/deployments/").times(100).status(403, "Forbidden", "no deployments today"));
    let error = helm::apply(&client(new.lab, &proxy.kubernetes).await, &desired, None).await.unwrap_err();
    assert_eq!(error.kind, Kind::Forbidden);
    assert_eq!(old.lab.kubectl(&["get", "clusterrole", "moved"])["metadata"]["annotations"]["meta.helm.sh/release-name"], "moved-to");
    assert!(old.read().await.is_some());
    let release = new.apply(&desired).await;
    assert_eq!(old.read().await, None);
    let left = ["deployment,replicaset,pod,service,role", "-n", "moved-from", "-l", "app.kubernetes.io/instance=moved-from"];
    assert!(!old.lab.exists(&left), "the old controller has stopped before the new one is all there is");
    assert!(helm::drift(&new.client, &release).await.unwrap().iter().all(|(_, line)| line == "in sync"));
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_named_and_repaired_without_a_new_revision() {
    let case = Case::new("drift").await;
    let mut desired = case.desired("1.14.1", "controller: {resources: {requests: {cpu: 1000m, memory: 1024Mi}, limits: {cpu: 1}}}").await;
    let release = case.apply(&desired).await;
    assert!(helm::drift(&case.client, &release).await.unwrap().iter().all(|(_, line)| line == "in sync"));
    let full = case.full();
    case.lab.kubectl_text(&["scale", "deployment", &full, "--replicas=5", "-n", "drift"]);
    case.lab.kubectl_text(&["delete", "service", &full, "-n", "drift"]);
    case.lab.kubectl_text(&["annotate", "clusterrole", &full, "note=of-somebody"]);
    let drifted: Vec<_> = helm::drift(&case.client, &release).await.unwrap().into_iter().filter(|(_, line)| line != "in sync").collect();
    let line = |kind: &str, text: &str| (format!("{kind} {full}"), text.to_owned());
    assert_eq!(drifted, [line("Service", "missing"), line("Deployment", "drifted: spec.replicas is 5, want 2")]);
    desired.repair = drifted.into_iter().map(|(id, _)| id).collect();
    let repaired = case.apply(&desired).await;
    assert!(helm::drift(&case.client, &repaired).await.unwrap().iter().all(|(_, line)| line == "in sync"));
    assert_eq!(case.history(), [(1, "deployed".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_stay_within_the_budget() {
    let case = Case::new("calls").await;
    let proxy = case.lab.proxy();
    let through = client(case.lab, &proxy.kubernetes).await;
    let desired = case.desired("1.14.1", "{}").await;
    let run = async |desired: &Desired| {
        proxy.reset();
        let prior = helm::read(&through, "calls", "calls").await.unwrap();
        helm::apply(&through, desired, prior).await.unwrap();
        proxy.calls().len()
    };
    let count = run(&desired).await;
    assert!(count <= 17, "install without CRDs, of 22: {count} {:?}", proxy.counts());
    let count = run(&case.desired("1.14.1", "{logLevel: debug}").await).await;
    assert!(count <= 6, "update of one value: {count} {:?}", proxy.counts());
    let count = run(&case.desired("1.14.1", "{logLevel: debug}").await).await;
    assert_eq!(count, 1, "nothing to do: {:?}", proxy.counts());
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_leave_a_failed_record_and_the_next_apply_heals() {
    let case = Case::new("failing").await;
    let bad = case.desired("1.14.1", "{priorityClassName: 'not/valid', replicas: -1}").await;
    let error = helm::apply(&case.client, &bad, None).await.unwrap_err();
    assert_eq!(error.kind, Kind::Invalid);
    assert_eq!(case.history(), [(1, "failed".to_owned())]);
    case.apply(&case.desired("1.14.1", "{}").await).await;
    assert_eq!(case.history(), [(1, "failed".to_owned()), (2, "deployed".to_owned())]);
    let mut desired = case.desired("1.14.1", "{}").await;
    desired.max_history = 3;
    for level in ["a", "b", "c"] {
        values::set(&mut desired.values, &["logLevel"], level.into());
        case.apply(&desired).await;
    }
    assert_eq!(case.history().iter().map(|(r, _)| *r).collect::<Vec<_>>(), [3, 4, 5]);
    let waiting = case.desired("1.14.1", "{nodeSelector: {no: such}}").await;
    let release = case.apply(&waiting).await;
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let readiness = helm::wait_ready(&case.client, &release, Instant::now() + Duration::from_secs(5)).await.unwrap();
        assert!(!readiness.ready && Instant::now() < end, "{readiness:?}");
        if readiness.why.contains("cannot be scheduled") {
            break;
        }
    }
}
