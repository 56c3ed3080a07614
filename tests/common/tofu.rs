//! A workspace that runs the real `tofu` (or `terraform`) with the provider of this build, as a user would.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::lab::{Lab, SHORT_LIVED, find, lab_home, repository, text};
use super::outcome::{Outcome, Plan};
use super::proxy::Proxy;

const REQUIRED: &str = r#"terraform {
  required_providers {
    karpenter = { source = "karpenter-tofu/karpenter" }
  }
}
"#;

/// Which program reads the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// OpenTofu, built with the lab.
    Tofu,
    /// Terraform, where the machine has it.
    Terraform,
}

impl Engine {
    /// Terraform where it is on the PATH; says loudly when it is not.
    pub fn terraform() -> Option<Engine> {
        let path = std::env::var_os("PATH").expect("PATH is set");
        let found = std::env::split_paths(&path).any(|dir| dir.join("terraform").is_file());
        if !found {
            // straight to the terminal: cargo hides what a passing test prints
            let line = "\n*** SKIPPED: there is no `terraform` on the PATH, so nothing was tried with Terraform ***\n";
            let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
        }
        found.then_some(Engine::Terraform)
    }

    fn name(self) -> &'static str {
        match self {
            Engine::Tofu => "tofu",
            Engine::Terraform => "terraform",
        }
    }
}

/// A workspace: a directory with a configuration and a state.
pub struct Tofu {
    dir: TempDir,
    program: PathBuf,
    env: BTreeMap<String, String>,
}

impl Tofu {
    /// A workspace with this `main.tf`; `required_providers` is added where the text has none.
    pub fn new(lab: &Lab, hcl: &str) -> Tofu {
        let mut tofu = Tofu::bare(Engine::Tofu, lab.var("PATH"));
        // what a user's shell would have: AWS. The cluster follows from its name, so KUBECONFIG must not help
        tofu.env.extend(lab.env().iter().filter(|(name, _)| name.starts_with("AWS_")).map(|(k, v)| (k.clone(), v.clone())));
        tofu.write("main.tf", hcl);
        tofu
    }

    /// A workspace that knows of no lab: no region, no credentials, no endpoint, and every proxy variable pointing at `sink`.
    pub fn offline(hcl: &str, sink: &str) -> Tofu {
        let path = std::env::var("PATH").expect("PATH is set");
        let mut tofu = Tofu::bare(Engine::Tofu, &format!("{}:{path}", lab_home().join("bin").display()));
        for name in ["AWS_ENDPOINT_URL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"] {
            tofu.env.insert(name.into(), sink.into());
        }
        tofu.env.insert("AWS_EC2_METADATA_DISABLED".into(), "true".into());
        tofu.write("main.tf", hcl);
        tofu
    }

    /// Puts a directory of the repository, such as `examples/seed-stack`, in the place of the configuration so far.
    pub fn example(self, directory: &str) -> Tofu {
        for file in files(self.dir()).filter(|file| is_configuration(file)) {
            std::fs::remove_file(file).expect("it is removed");
        }
        copy(&repository().join(directory), self.dir());
        self
    }

    fn bare(engine: Engine, path: &str) -> Tofu {
        let dir = tempfile::Builder::new().prefix("karpenter-").tempdir().expect("a temporary directory");
        let provider = Path::new(env!("CARGO_BIN_EXE_terraform-provider-karpenter")).parent().expect("in a directory").display();
        let overrides: String = ["registry.opentofu.org", "registry.terraform.io"]
            .map(|host| format!("    \"{host}/karpenter-tofu/karpenter\" = \"{provider}\"\n"))
            .concat();
        let rc = dir.path().join(".tofurc");
        std::fs::write(&rc, format!("provider_installation {{\n  dev_overrides {{\n{overrides}  }}\n}}\n")).expect("it is written");
        let mut env = BTreeMap::new();
        let home = dir.path().join(".home");
        std::fs::create_dir(&home).expect("it is made");
        for (name, value) in [
            ("PATH", path),
            ("HOME", &home.to_string_lossy()),
            ("TF_CLI_CONFIG_FILE", &rc.to_string_lossy()),
            ("CHECKPOINT_DISABLE", "1"),
            ("GOGC", SHORT_LIVED),
            ("TF_INPUT", "0"),
            ("TF_IN_AUTOMATION", "1"),
        ] {
            env.insert(name.to_owned(), value.to_owned());
        }
        Tofu { program: find(engine.name(), path), dir, env }
    }

    /// The same with another program.
    pub fn engine(mut self, engine: Engine) -> Tofu {
        self.program = find(engine.name(), &self.env["PATH"]);
        self
    }

    /// All calls go through `proxy`.
    pub fn through(self, proxy: &Proxy) -> Tofu {
        self.env("AWS_ENDPOINT_URL", &proxy.aws)
    }

    /// Sets a variable of the environment; an empty value removes it.
    pub fn env(mut self, name: &str, value: &str) -> Tofu {
        match value {
            "" => self.env.remove(name),
            _ => self.env.insert(name.into(), value.into()),
        };
        self
    }

    /// Sets an input variable.
    pub fn var(self, name: &str, value: &str) -> Tofu {
        self.env(&format!("TF_VAR_{name}"), value)
    }

    /// The environment of its commands.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// The workspace's directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file of the workspace; for `main.tf`, `required_providers` is added (in `versions.tf`) where the text has none.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir().join(name), text).expect("it is written");
        if name == "main.tf" && !text.contains("required_providers") {
            std::fs::write(self.dir().join("versions.tf"), REQUIRED).expect("it is written");
        }
    }

    /// `validate -json`
    pub fn validate(&self) -> Outcome {
        self.run(&["validate", "-json"])
    }

    /// `plan -json -detailed-exitcode -out`, then `show -json` of that plan where it has something to show.
    pub fn plan(&self) -> Plan {
        self.plan_with(&[])
    }

    /// [`Tofu::plan`] with more arguments, e.g. `-refresh=false`, `-destroy`.
    pub fn plan_with(&self, args: &[&str]) -> Plan {
        let outcome = self.run(&[&["plan", "-json", "-detailed-exitcode", "-out=tfplan"], args].concat());
        // 0 says that nothing changes, but a move or an import may be there nevertheless
        let json = match outcome.code {
            1 => Value::Null,
            0 if !outcome.stdout.contains(r#""type":"planned_change""#) => Value::Null,
            _ => self.json(&["show", "-json", "tfplan"]),
        };
        Plan { outcome, json }
    }

    /// `apply -json -auto-approve`
    pub fn apply(&self) -> Outcome {
        self.run(&["apply", "-json", "-auto-approve"])
    }

    /// `apply -json` of the plan that [`Tofu::plan`] left.
    pub fn apply_planned(&self) -> Outcome {
        self.run(&["apply", "-json", "tfplan"])
    }

    /// `destroy -json -auto-approve`
    pub fn destroy(&self) -> Outcome {
        self.run(&["destroy", "-json", "-auto-approve"])
    }

    /// `import ADDRESS ID`; its diagnostics are text in `stderr`.
    pub fn import(&self, address: &str, id: &str) -> Outcome {
        self.run(&["import", address, id])
    }

    /// `show -json`: the whole state.
    pub fn show(&self) -> Value {
        self.json(&["show", "-json"])
    }

    /// The attributes of a resource in the state's file; null where there is none. The address is TYPE.NAME, of the root module.
    pub fn resource(&self, address: &str) -> Value {
        self.instance(address)["attributes"].clone()
    }

    /// As [`Tofu::resource`], with what the state has beside the attributes: `identity`, `private`.
    pub fn instance(&self, address: &str) -> Value {
        let file = std::fs::read_to_string(self.dir().join("terraform.tfstate")).unwrap_or_else(|_| "{}".into());
        let state: Value = serde_json::from_str(&file).expect("a state");
        let is_it = |r: &&Value| r["module"].is_null() && address.split_once('.') == r["type"].as_str().zip(r["name"].as_str());
        let resource = state["resources"].as_array().into_iter().flatten().find(is_it).unwrap_or(&Value::Null);
        // one that is deposed is no more the resource
        let present = resource["instances"].as_array().into_iter().flatten().find(|i| i["deposed"].is_null());
        present.cloned().unwrap_or_default()
    }

    /// An output's value.
    pub fn output(&self, name: &str) -> Value {
        self.json(&["output", "-json", name])
    }

    /// Any command, e.g. `["untaint", "karpenter_bundle.this"]`, run to its end.
    pub fn run(&self, args: &[&str]) -> Outcome {
        self.start(args).wait()
    }

    /// Any command, not waited for; in a process group of its own, with the plugins that it starts.
    pub fn start(&self, args: &[&str]) -> Running {
        let file = |name: &str| File::create(self.dir().join(name)).expect("it is made");
        let child = self.command(args).stdout(file(".stdout")).stderr(file(".stderr")).process_group(0).spawn().expect("it starts");
        Running { child, command: args.join(" "), dir: self.dir().to_owned() }
    }

    /// The command itself, for what the methods here do not do.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(self.dir()).env_clear().envs(&self.env).stdin(Stdio::null());
        command
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.command(args).output().expect("it runs");
        let printed = super::lab::success(&args.join(" "), &output);
        serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{}: {e}: {printed}", args.join(" ")))
    }
}

/// A command that is running.
pub struct Running {
    child: Child,
    command: String,
    dir: PathBuf,
}

impl Running {
    /// Ends the program and the plugins that it started with SIGKILL, all at once.
    pub fn kill(mut self) {
        self.signal("KILL");
        let _ = self.child.wait();
    }

    /// What Ctrl-C does in a terminal: SIGINT to the program and the plugins that it started.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    fn signal(&self, signal: &str) {
        let group = format!("-{}", self.child.id());
        let status = Command::new("bash").args(["-c", "kill -s \"$1\" -- \"$2\"", "bash", signal, &group]).status().expect("bash runs");
        assert!(status.success(), "the process group {group} is there");
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Outcome {
        let status = self.child.wait().expect("it ends");
        let read = |name: &str| text(&std::fs::read(self.dir.join(name)).expect("its output"));
        let (stdout, stderr) = (read(".stdout"), read(".stderr"));
        Outcome::new(std::mem::take(&mut self.command), status.code().unwrap_or(-1), stdout, stderr)
    }
}

impl Drop for Running {
    /// A test that fails leaves nothing running.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal("KILL");
            let _ = self.child.wait();
        }
    }
}

fn files(dir: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path())
}

fn is_configuration(file: &Path) -> bool {
    file.extension().is_some_and(|e| e == "tf" || e == "yaml")
}

/// Copies what is configuration, with the folders that hold some.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("it is made");
    for file in files(from) {
        let there = to.join(file.file_name().expect("a name"));
        if file.is_dir() && files(&file).any(|f| is_configuration(&f)) {
            copy(&file, &there);
        } else if is_configuration(&file) {
            std::fs::copy(&file, there).expect("it is copied");
        }
    }
}
