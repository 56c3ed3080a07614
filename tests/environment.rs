//! The lab itself: it stops with its owner, labs do not meet, and it touches no directory that it did not make.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Fault, Lab, Options};
use serde_json::json;

#[test]
fn a_lab_is_a_cluster_and_an_account() {
    let lab = Lab::shared();
    let nodes = lab.kubectl(&["get", "nodes"]);
    assert_eq!(nodes["items"].as_array().map(Vec::len), Some(2));
    let cluster = lab.boto3("result = eks.describe_cluster(name=cluster)['cluster']");
    assert_eq!(cluster["name"], lab.cluster_name());
    assert_eq!(cluster["endpoint"], lab.var("CLUSTER_ENDPOINT"));
    assert_eq!(lab.boto3("result = sts.get_caller_identity()['Account']"), lab.account_id());
    assert_eq!(lab.helm(&["list", "-A", "-q"]), "");
}

#[test]
fn two_labs_side_by_side_do_not_meet() {
    let (one, other) = (Lab::shared(), Lab::start(Options { cluster_name: "other".into(), ..Options::default() }));
    other.kubectl_text(&["create", "namespace", "only-here"]);
    assert!(other.exists(&["namespace", "only-here"]) && !one.exists(&["namespace", "only-here"]));
    other.boto3("sqs.create_queue(QueueName='only-here')");
    assert_eq!(one.boto3("result = sqs.list_queues(QueueNamePrefix='only').get('QueueUrls', [])"), json!([]));
    let dir = other.dir().to_owned();
    drop(other);
    assert!(processes_of(&dir).is_empty() && !dir.exists());
}

#[test]
fn a_lab_stops_when_its_owner_is_killed() {
    let home = Lab::shared().var("LAB_HOME").to_owned(); // the environment is built
    let dir = Path::new(&home).join("labs").join(format!("{}-orphan", std::process::id()));
    let mut owner = Command::new("sleep").arg("600").spawn().unwrap();
    let up = Command::new("environment/up.sh")
        .arg(&dir)
        .env("LAB_OWNER", owner.id().to_string())
        .env("LAB_HOME", &home)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(up.success());
    assert!(processes_of(&dir).len() >= 8, "the servers run");
    owner.kill().unwrap(); // SIGKILL
    owner.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while dir.exists() || !processes_of(&dir).is_empty() {
        assert!(Instant::now() < end, "still there: {:?}", processes_of(&dir));
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn up_and_down_refuse_a_directory_that_is_not_a_lab() {
    let home = Lab::shared().var("LAB_HOME").to_owned();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("precious"), "mine").unwrap();
    for script in ["environment/up.sh", "environment/down.sh"] {
        let output = Command::new(script).arg(dir.path()).env("LAB_HOME", &home).output().unwrap();
        assert!(!output.status.success(), "{script}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&*dir.path().to_string_lossy()), "{said}");
    }
    assert_eq!(std::fs::read_to_string(dir.path().join("precious")).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn the_proxy_counts_breaks_and_holds_calls() {
    let lab = Lab::shared();
    let proxy = lab.proxy();
    let through = |script: &str| lab.boto3(&format!("def client(s): return boto3.client(s, endpoint_url='{}')\n{script}", proxy.aws));
    let endpoint = through("result = client('eks').describe_cluster(name=cluster)['cluster']['endpoint']");
    assert_eq!(endpoint, proxy.kubernetes);
    assert_eq!(proxy.counts(), [("eks:DescribeCluster".to_owned(), 1)].into());
    proxy.reset();

    // the effect happens, its answer is lost, and boto3 tries again
    proxy.fault(Fault::on("^sqs:").mutating().after_effect().close());
    through("client('sqs').create_queue(QueueName='counted')");
    assert_eq!(proxy.counts(), [("sqs:CreateQueue".to_owned(), 2)].into());

    proxy.fault(Fault::on("iam:GetRole").status(403, "AccessDenied", "not you"));
    let refused = through("try: client('iam').get_role(RoleName='x')\nexcept Exception as e: result = e.response['Error']['Code']");
    assert_eq!(refused, "AccessDenied");

    proxy.fault(Fault::on("kubernetes:GET /readyz").hold());
    let source = format!(
        "import ssl, urllib.request as u; print(u.urlopen('{}/readyz', timeout=60, context=ssl.create_default_context(cafile='{}')).read())",
        proxy.kubernetes,
        lab.dir().join("certs/ca.crt").display()
    );
    let mut probe = lab.command(lab.var("LAB_PYTHON")).args(["-c", &source]).stdout(Stdio::null()).spawn().unwrap();
    assert_eq!(proxy.held(Duration::from_secs(20)).as_deref(), Some("kubernetes:GET /readyz"));
    assert!(probe.try_wait().unwrap().is_none(), "it waits");
    proxy.release();
    assert!(probe.wait().unwrap().success());
}

/// The processes that carry the lab's mark.
fn processes_of(dir: &Path) -> Vec<String> {
    let mark = format!("LAB_MEMBER={}", dir.display());
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let marked = processes.filter(|p| {
        let environ = std::fs::read(p.path().join("environ")).unwrap_or_default();
        environ.split(|b| *b == 0).any(|v| v == mark.as_bytes())
    });
    marked.map(|p| p.file_name().to_string_lossy().into_owned()).collect()
}
