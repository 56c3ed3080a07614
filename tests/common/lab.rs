//! A lab: the servers of `environment/up.sh`, and the clients through which tests arrange and verify.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::boto3;
use super::proxy::Proxy;

/// How a lab is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The EKS cluster's name.
    pub cluster_name: String,
    /// Pools and classes become Ready as if Karpenter ran.
    pub karpenter_ready: bool,
    /// What DescribeCluster says about the version.
    pub kubernetes_version: String,
    /// The account holds `CLUSTER-karpenter-node-role` already, untagged.
    pub node_role: bool,
    /// Who comes with an EKS token may do everything, and not only what the documentation's ClusterRole for `apply` allows.
    pub admin: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { cluster_name: "harbor".into(), karpenter_ready: true, kubernetes_version: "1.36".into(), node_role: false, admin: true }
    }
}

/// The Kubernetes group of who comes with an EKS token.
const GROUP: &str = "karpenter-tofu";

/// One lab. It stops when dropped, and when this process is gone, however that ended.
pub struct Lab {
    dir: PathBuf,
    cluster_name: String,
    env: BTreeMap<String, String>,
    python: boto3::Pool,
}

impl Lab {
    /// The lab of this test binary, with [`Options::default`]; tests that share it use names of their own.
    pub fn shared() -> &'static Lab {
        static SHARED: OnceLock<Lab> = OnceLock::new();
        SHARED.get_or_init(|| Lab::start(Options::default()))
    }

    /// A lab of its own, for a test that needs the whole cluster or account.
    pub fn start(options: Options) -> Lab {
        Lab::start_in(None, options)
    }

    /// Another cluster in this lab's account, with this lab's registry.
    pub fn join(&self, options: Options) -> Lab {
        Lab::start_in(Some(&self.dir), options)
    }

    fn start_in(account: Option<&Path>, options: Options) -> Lab {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let home = lab_home();
        let dir = home.join("labs").join(format!("{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed)));
        let Options { cluster_name, karpenter_ready, kubernetes_version, node_role, admin } = options;
        let mut up = Command::new(repository().join("environment/up.sh"));
        up.arg(&dir).env("LAB_HOME", &home).env("LAB_OWNER", std::process::id().to_string());
        up.env("CLUSTER_NAME", &cluster_name).env("K8S_VERSION", kubernetes_version);
        up.env("LAB_GROUPS", if admin { "system:masters" } else { GROUP });
        match account {
            Some(dir) => up.env("LAB_JOIN", dir),
            None => up.env_remove("LAB_JOIN"),
        };
        for (name, on) in [("KARPENTER_READY", karpenter_ready), ("NODE_ROLE", node_role)] {
            match on {
                true => up.env(name, "1"),
                false => up.env_remove(name),
            };
        }
        let output = up.stdin(Stdio::null()).output().expect("environment/up.sh runs");
        assert!(output.status.success(), "no lab (`make tools` builds what it needs):\n{}{}", text(&output.stdout), text(&output.stderr));
        let lab = Lab { env: environment_of(&dir.join("env")), dir, cluster_name, python: boto3::Pool::default() };
        if !admin {
            let role = karpenter::permissions::rbac::cluster_role(karpenter::permissions::Phase::Apply);
            lab.kubectl_apply(&role);
            lab.bind("karpenter-tofu-apply");
        }
        lab
    }

    /// Who comes with an EKS token gets this ClusterRole, too.
    pub fn bind(&self, cluster_role: &str) {
        self.kubectl_text(&[
            "create",
            "clusterrolebinding",
            cluster_role,
            &format!("--clusterrole={cluster_role}"),
            &format!("--group={GROUP}"),
        ]);
    }

    /// The lab's directory: `log/`, `certs/`, `env`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The EKS cluster's name.
    pub fn cluster_name(&self) -> &str {
        &self.cluster_name
    }

    /// A variable of the lab's `env` file; see `environment/up.sh`.
    pub fn var(&self, name: &str) -> &str {
        self.env.get(name).unwrap_or_else(|| panic!("the lab's env has no {name}"))
    }

    /// Everything in the lab's `env` file.
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// The account's number.
    pub fn account_id(&self) -> &'static str {
        "123456789012" // moto's
    }

    /// Where the test charts were pushed, for `chart { repository = ... }`.
    pub fn chart_repository(&self) -> String {
        format!("oci://{}/karpenter", self.var("LAB_REGISTRY"))
    }

    /// A proxy of the caller's own in front of this lab's AWS and Kubernetes API.
    pub fn proxy(&self) -> Proxy {
        Proxy::start(self)
    }

    /// `kubectl ARGS -o json` as the cluster's admin; null where it prints nothing. Fails the test when kubectl fails.
    pub fn kubectl(&self, args: &[&str]) -> Value {
        json(&self.run("kubectl", &[args, &["-o", "json"]].concat()))
    }

    /// `kubectl ARGS` as the cluster's admin, for verbs that print no JSON.
    pub fn kubectl_text(&self, args: &[&str]) -> String {
        self.run("kubectl", args)
    }

    /// `kubectl ARGS` which may fail: exit code 0 or not, and what it printed.
    pub fn try_kubectl(&self, args: &[&str]) -> (bool, String) {
        let output = self.command("kubectl").args(args).output().expect("kubectl runs");
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }

    /// Is there such an object? `args` as for `kubectl get`.
    pub fn exists(&self, args: &[&str]) -> bool {
        !self.run("kubectl", &[&["get", "--ignore-not-found", "-o", "name"], args].concat()).is_empty()
    }

    /// `kubectl apply --server-side -f -` as a field manager of another name than ours.
    pub fn kubectl_apply(&self, manifest: &str) {
        self.piped(
            self.command("kubectl").args(["apply", "--server-side", "--field-manager=test", "--force-conflicts", "-f", "-"]),
            manifest,
        );
    }

    /// Karpenter's own CRDs, as `environment/tools/crds` prints them, for tests that need no bundle.
    pub fn install_crds(&self) {
        self.kubectl_apply(&self.run("karpenter-crds", &[]));
        self.run(
            "kubectl",
            &["wait", "--for=condition=Established", "--timeout=60s", "crd/nodepools.karpenter.sh", "crd/ec2nodeclasses.karpenter.k8s.aws"],
        );
    }

    /// Runs Python with boto3 against the account: clients `iam`, `sqs`, `eks`, `events`, `sts`, `ec2` are there, as are `json` and
    /// `cluster` (its name); what the script leaves in `result` comes back.
    pub fn boto3(&self, script: &str) -> Value {
        let command = || {
            let mut command = self.command(self.var("LAB_PYTHON"));
            command.arg(repository().join("tests/common/boto3_server.py"));
            command
        };
        self.python.run(command, &unindent(script))
    }

    /// Everything in the account and the cluster, by `environment/inventory.py`: what a test compares before and after.
    pub fn inventory(&self) -> Value {
        self.boto3("import inventory\nresult = inventory.everything()")
    }

    /// `helm ARGS` (Helm 3).
    pub fn helm(&self, args: &[&str]) -> String {
        self.run("helm", args)
    }

    /// `helm4 ARGS` (Helm 4).
    pub fn helm4(&self, args: &[&str]) -> String {
        self.run("helm4", args)
    }

    /// A command with the lab's environment and nothing else.
    pub fn command(&self, program: &str) -> Command {
        let program = find(program, self.var("PATH"));
        let mut command = Command::new(program);
        command.env_clear().envs(&self.env).env("GOGC", SHORT_LIVED).stdin(Stdio::null());
        command
    }

    fn run(&self, program: &str, args: &[&str]) -> String {
        let output = self.command(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
        success(&format!("{program} {}", args.join(" ")), &output)
    }

    pub fn piped(&self, command: &mut Command, input: &str) -> String {
        use std::io::Write;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
        success(&format!("{command:?} with\n{input}"), &child.wait_with_output().expect("it ends"))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let home = lab_home();
        let _ = Command::new(repository().join("environment/down.sh")).arg(&self.dir).env("LAB_HOME", home).status();
        if std::env::var_os("LAB_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// `GOGC` of commands that end at once: an eighth of their time was spent on collecting garbage.
pub const SHORT_LIVED: &str = "400";

/// Where the lab's programs were built; the same rule as `environment/lib.sh`.
pub fn lab_home() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("LAB_HOME").unwrap_or_else(|| {
        let cache = set("XDG_CACHE_HOME").unwrap_or_else(|| set("HOME").expect("HOME is set").join(".cache"));
        cache.join("karpenter-tofu")
    })
}

/// The repository's root. Asked of cargo when the test runs: clones share a target directory, and a test binary that another clone built
/// counts as fresh in this one.
pub fn repository() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the test").into()
}

/// The first `program` on `path`; a name with a slash is itself.
pub fn find(program: &str, path: &str) -> PathBuf {
    if program.contains('/') {
        return program.into();
    }
    let found = std::env::split_paths(path).map(|dir| dir.join(program)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("no {program} on {path}; `make tools` builds the lab's programs"))
}

/// The variables that sourcing `file` leaves, from an otherwise empty environment.
fn environment_of(file: &Path) -> BTreeMap<String, String> {
    let path = std::env::var("PATH").expect("PATH is set");
    let output = Command::new("bash")
        .args(["-c", ". \"$1\" && exec env -0", "bash"])
        .arg(file)
        .env_clear()
        .env("PATH", path)
        .env("HOME", file.with_file_name("home")) // no caches or settings of the user's
        .output()
        .expect("bash runs");
    let shell = ["_", "SHLVL", "PWD", "OLDPWD"];
    let variables = text(&output.stdout);
    variables.split('\0').filter_map(|v| v.split_once('=')).filter(|(k, _)| !shell.contains(k)).map(|(k, v)| (k.into(), v.into())).collect()
}

/// Takes the common indentation of a raw string's lines away: Python minds it.
fn unindent(script: &str) -> String {
    let blank = |line: &&str| !line.trim().is_empty();
    let common = script.lines().filter(blank).map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    script.lines().map(|line| line.get(common..).unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// What a successful command printed; fails the test otherwise.
pub fn success(what: &str, output: &Output) -> String {
    assert!(output.status.success(), "{what}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Bytes as text, whatever they are.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(text: &str) -> Value {
    match text.trim() {
        "" => Value::Null,
        some => serde_json::from_str(some).unwrap_or_else(|e| panic!("no JSON ({e}): {some}")),
    }
}
