//! A release of ours among those of helm: whatever either program does with it works, and what it leaves we go on from.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use karpenter::Kind;
use karpenter::bundle::arguments::SetType;
use karpenter::helm::{self, Chart, Map};
use serde_json::{Value, json};

use crate::Case;
use crate::common::Lab;

#[tokio::test(flavor = "multi_thread")]
async fn both_helms_do_everything_with_what_we_wrote() {
    for (program, name) in [("helm", "home-three"), ("helm4", "home-four")] {
        let case = Case::new(name).await;
        case.apply(&case.desired("1.14.1", "{replicas: 1}").await).await;
        case.apply(&case.desired("1.14.1", "{replicas: 2}").await).await;
        let repository = format!("{}/karpenter", case.lab.chart_repository());
        let upgrade = ["upgrade", name, &repository, "--version", "1.14.1", "--plain-http", "--reuse-values", "--set", "logLevel=debug"];
        let list: Value = serde_json::from_str(&case.helm(program, &["list", "-o", "json"])).unwrap();
        assert_eq!((&list[0]["name"], &list[0]["status"], list.as_array().unwrap().len()), (&json!(name), &json!("deployed"), 1));
        let status: Value = serde_json::from_str(&case.helm(program, &["status", name, "-o", "json"])).unwrap();
        assert_eq!((&status["version"], &status["info"]["description"]), (&json!(2), &json!("Upgrade complete")));
        let history: Value = serde_json::from_str(&case.helm(program, &["history", name, "-o", "json"])).unwrap();
        assert_eq!(history.as_array().unwrap().iter().map(|r| r["status"].clone()).collect::<Vec<_>>(), ["superseded", "deployed"]);
        assert!(case.helm(program, &["get", "all", name, "--revision", "1"]).contains("replicas: 1"));
        assert!(case.helm(program, &["get", "values", name, "--all"]).contains("logLevel: info"));
        assert_eq!(case.helm(program, &["get", "hooks", name]).trim(), "");
        let metadata: Value = serde_json::from_str(&case.helm(program, &["get", "metadata", name, "-o", "json"])).unwrap();
        assert_eq!((&metadata["chart"], &metadata["version"]), (&json!("karpenter"), &json!("1.14.1")));

        assert!(case.helm(program, &[&upgrade[..], &["--dry-run=server"]].concat()).contains("debug"));
        assert_eq!(case.history().len(), 2, "a dry run records nothing");
        case.helm(program, &upgrade);
        assert_eq!(case.deployment()["spec"]["replicas"], 2);
        case.helm(program, &["rollback", name, "1"]);
        assert_eq!(case.deployment()["spec"]["replicas"], 1);
        assert_eq!(case.history().last(), Some(&(4, "deployed".to_owned())));

        // what it did is named, and one revision puts it right
        let want = case.desired("1.14.1", "{replicas: 2}").await;
        let release = case.apply(&want).await;
        assert_eq!((release.newest.revision(), &case.deployment()["spec"]["replicas"]), (5, &json!(2)));
        assert!(helm::drift(&case.client, &release).await.unwrap().iter().all(|(_, line)| line == "in sync"));
        case.apply(&want).await;
        assert_eq!(case.history().len(), 5);
        case.helm(program, &["uninstall", name]);
        assert_eq!(case.read().await, None);
        assert!(!case.lab.exists(&["deployment,sa,role,service,pdb", "-n", name, "-l", &format!("app.kubernetes.io/instance={name}")]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_helm_left_pending_is_completed() {
    for (program, name, first) in [("helm", "stuck-three", "install"), ("helm4", "stuck-four", "upgrade")] {
        let case = Case::new(name).await;
        if first == "upgrade" {
            case.apply(&case.desired("1.14.1", "{}").await).await;
        }
        let repository = format!("{}/karpenter", case.lab.chart_repository());
        let set = "settings.clusterName=harbor,nodeSelector.no=such,podLabels.left=behind";
        let mut helm = case.lab.command(program);
        helm.args([first, name, &repository, "--plain-http", "--version", "1.14.1", "-n", name, "--wait", "--skip-crds", "--set", set]);
        let mut helm = helm.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let waits = Instant::now() + Duration::from_secs(60);
        while !case.lab.exists(&["deployment", &case.full(), "-n", name]) || !case.deployment().to_string().contains("behind") {
            assert!(Instant::now() < waits && helm.try_wait().unwrap().is_none(), "helm is done, or does nothing");
        }
        helm.kill().unwrap();
        helm.wait().unwrap();
        let pending = case.history().last().unwrap().clone();
        assert_eq!(pending.1, format!("pending-{first}"));
        case.apply(&case.desired("1.14.1", "{}").await).await;
        assert_eq!(case.history().last(), Some(&(pending.0, "deployed".to_owned())));
        let template = case.deployment()["spec"]["template"].clone();
        assert_eq!((&template["metadata"]["labels"]["left"], &template["spec"]["nodeSelector"]["no"]), (&Value::Null, &Value::Null));
        case.helm(program, &["upgrade", name, &repository, "--plain-http", "--version", "1.14.1", "--reuse-values"]);
    }
}

/// The test chart with another template.
fn with_template(dir: &Path, name: &str, text: &str) -> Chart {
    let from = crate::common::repository().join("tests/charts/karpenter");
    std::process::Command::new("cp").arg("-r").arg(from).arg(dir).status().unwrap();
    let chart = dir.join("karpenter");
    std::fs::write(chart.join("templates").join(name), text).unwrap();
    Chart::from_directory(&chart).unwrap()
}

/// A Job as Karpenter 1.0.0 has it.
fn job(name: &str, weight: i64, policy: &str, more: &str) -> String {
    format!(
        "---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{{{ .Release.Name }}}}-{name}
  annotations:
    helm.sh/hook: post-install,post-upgrade,post-rollback
    helm.sh/hook-weight: \"{weight}\"
    helm.sh/hook-delete-policy: {policy}
spec:
  {more}
  template:
    metadata: {{labels: {{hook: {name}}}}}
    spec:
      restartPolicy: Never
      containers: [{{name: c, image: registry.invalid/hook, command: [sh, -c, 'true']}}]
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_in_their_order_and_are_recorded() {
    let case = Case::new("hooked").await;
    let dir = tempfile::tempdir().unwrap();
    let hooks = job("second", 5, "before-hook-creation", "backoffLimit: 0")
        + &job("first", -1, "before-hook-creation", "backoffLimit: 0")
        + &job("gone", 0, "before-hook-creation,hook-succeeded,hook-failed", "ttlSecondsAfterFinished: 0");
    let mut desired = case.desired("1.14.1", "{replicas: 1}").await;
    desired.chart = with_template(dir.path(), "hooks.yaml", &hooks);
    case.apply(&desired).await;
    let ran = |job: &str| case.lab.kubectl(&["get", "job", &format!("hooked-{job}"), "-n", "hooked"]);
    let time = |job: &str, pointer: &str| ran(job).pointer(pointer).unwrap().as_str().unwrap().to_owned();
    assert!(time("first", "/status/completionTime") <= time("second", "/metadata/creationTimestamp"));
    assert!(!case.lab.exists(&["job", "hooked-gone", "-n", "hooked"]));
    assert_eq!(ran("first")["metadata"]["annotations"]["meta.helm.sh/release-name"], Value::Null, "a hook is no part of the release");
    assert!(helm::drift(&case.client, &case.read().await.unwrap()).await.unwrap().iter().all(|(id, _)| !id.starts_with("Job")));
    for program in ["helm", "helm4"] {
        assert!(case.helm(program, &["get", "hooks", "hooked"]).contains("helm.sh/hook-weight: \"-1\""));
        let status: Value = serde_json::from_str(&case.helm(program, &["status", "hooked", "-o", "json"])).unwrap();
        let hooks = status["hooks"].as_array().unwrap();
        assert!(hooks.len() == 3 && hooks.iter().all(|hook| hook["last_run"]["phase"] == "Succeeded"), "{program}: {hooks:#?}");
    }
    // helm runs them, too, from our record
    case.helm("helm", &["upgrade", "hooked", dir.path().join("karpenter").to_str().unwrap(), "--reuse-values", "--set", "logLevel=debug"]);
    case.helm("helm", &["rollback", "hooked", "1"]);

    // one that fails fails the release, and goes where its policy says so
    let failing = job("fails", 0, "hook-failed", "activeDeadlineSeconds: 1")
        .replace("restartPolicy: Never", "restartPolicy: Never\n      nodeSelector: {no: such}");
    desired.chart = with_template(&dir.path().join("karpenter/.."), "hooks.yaml", &failing);
    let error = helm::apply(&case.client, &desired, case.read().await).await.unwrap_err();
    assert!(error.message.contains("DeadlineExceeded") && error.action.contains("hooked-fails"), "{error}");
    assert_eq!(case.history().last(), Some(&(4, "failed".to_owned())));
    assert!(!case.lab.exists(&["job", "hooked-fails", "-n", "hooked"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_atomic_upgrade_that_fails_goes_back() {
    let case = Case::new("atomic").await;
    case.apply(&case.desired("1.14.1", "{podLabels: {good: x}}").await).await;
    let mut never_ready = case.desired("1.14.1", "{nodeSelector: {no: such}, podDisruptionBudget: {name: other}}").await;
    never_ready.atomic = true;
    never_ready.deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let error = helm::apply(&case.client, &never_ready, case.read().await).await.unwrap_err();
    assert!(error.kind == Kind::Timeout && error.message.contains("rolled back to revision 1"), "{error}");
    assert!(error.message.contains("cannot be scheduled"), "the pod's own reason: {error}");
    let words = |history: Vec<(u64, String)>| history.into_iter().map(|(_, status)| status).collect::<Vec<_>>();
    assert_eq!(words(case.history()), ["superseded", "failed", "deployed"]);
    let live = case.deployment();
    assert_eq!(
        (&live["spec"]["template"]["metadata"]["labels"]["good"], &live["spec"]["template"]["spec"]["nodeSelector"]["no"]),
        (&json!("x"), &Value::Null)
    );
    assert!(case.lab.exists(&["pdb", "karpenter", "-n", "atomic"]) && !case.lab.exists(&["pdb", "other", "-n", "atomic"]));
    assert!(case.lab.helm(&["history", "atomic", "-n", "atomic"]).contains("Rollback to 1"));
    let release = case.read().await.unwrap();
    assert!(helm::drift(&case.client, &release).await.unwrap().iter().all(|(_, line)| line == "in sync"));

    // so does one that the API server refuses
    let mut refused = case.desired("1.14.1", "{replicas: -1}").await;
    refused.atomic = true;
    let error = helm::apply(&case.client, &refused, case.read().await).await.unwrap_err();
    assert!(error.kind == Kind::Invalid && error.message.contains("rolled back to revision 3"), "{error}");
    assert_eq!(words(case.history()), ["superseded", "failed", "superseded", "failed", "deployed"]);
    for program in ["helm", "helm4"] {
        case.helm(program, &["rollback", "atomic", "1"]);
    }
}

/// `helm --set` against ours: what a template sees of all values.
#[test]
fn single_values_are_set_as_helm_sets_them() {
    let lab = Lab::shared();
    let dir = tempfile::tempdir().unwrap();
    let chart = dir.path().join("echo");
    std::fs::create_dir_all(chart.join("templates")).unwrap();
    std::fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: echo\nversion: 1.0.0\n").unwrap();
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {all: {{ toJson .Values | quote }}}\n";
    std::fs::write(chart.join("templates/all.yaml"), template).unwrap();
    let cases = [
        ("a", "1"),
        ("a", "-5"),
        ("a", "1.5"),
        ("a", "007"),
        ("a", "0"),
        ("a", "TRUE"),
        ("a", "False"),
        ("a", ""),
        ("a", "x=y"),
        ("a", "99999999999999999999"),
        ("a.b.c", "x"),
        ("a", "{x,1,true}"),
        ("a", "{}"),
        ("a", "{x},b=2"),
        ("a", "{x"),
        ("a", "x,b=2"),
        ("a", r"x\,b=2"),
        (r"a.kubernetes\.io/os", "linux"),
        ("a[1].name", "X"),
        ("a[0][1]", "2"),
        ("a[x]", "2"),
        ("a[0]b", "2"),
        ("a.", "2"),
        ("a[-1]", "2"),
    ];
    for (program, flag, kind) in
        [("helm", "--set", SetType::Auto), ("helm4", "--set-string", SetType::String), ("helm", "--set-literal", SetType::Literal)]
    {
        for (name, value) in cases {
            let output =
                lab.command(program).args(["template", "x"]).arg(&chart).args([flag, &format!("{name}={value}")]).output().unwrap();
            let mut ours = Map::new();
            let done = helm::set::set(&mut ours, name, value, kind);
            assert_eq!(
                output.status.success(),
                done.is_ok(),
                "{flag} {name}={value}: {done:?}, {}",
                String::from_utf8_lossy(&output.stderr)
            );
            if done.is_ok() {
                let text = String::from_utf8_lossy(&output.stdout);
                let map = helm::yaml::parse(text.strip_prefix("---").unwrap()).unwrap();
                let theirs: Value = serde_json::from_str(map["data"]["all"].as_str().unwrap()).unwrap();
                assert_eq!(Value::Object(ours), theirs, "{flag} {name}={value}");
            }
        }
    }
}
