//! Where cells are played: a lab, a proxy before its APIs, and a process that counts and clears what is there.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::{Value as Json, json};
use tokio::runtime::{Builder, Runtime};

use super::client::{Client, End, Kept};
use super::common::{Fault, Lab, Options, Proxy};

/// The cluster of every stage, so that what one saw is expected of the others.
pub const CLUSTER: &str = "matrix";

/// The one stage of this test binary's tests, which take turns.
pub fn shared() -> MutexGuard<'static, Stage> {
    static SHARED: OnceLock<Mutex<Stage>> = OnceLock::new();
    // a test that failed has left a mess, which the next one wipes
    SHARED.get_or_init(|| Mutex::new(Stage::start())).lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lab with all that a cell needs.
pub struct Stage {
    /// Its servers.
    pub lab: Lab,
    /// In front of them.
    pub proxy: Proxy,
    census: Census,
    runtime: Runtime,
}

/// `census.py`.
struct Census {
    child: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Stage {
    /// Starts one.
    pub fn start() -> Stage {
        let lab = Lab::start(Options { cluster_name: CLUSTER.into(), karpenter_ready: false, ..Options::default() });
        // of other nodes: EKS lets in no role that does not exist
        lab.boto3("iam.create_role(RoleName='another', AssumeRolePolicyDocument='{}')");
        let python = lab.var("LAB_PYTHON").to_owned();
        let script = super::common::repository().join("tests/matrix/census.py");
        let mut child = lab.command(&python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("census.py starts");
        let pipes = (child.stdin.take().expect("piped"), BufReader::new(child.stdout.take().expect("piped")));
        let census = Census { child, pipes: Mutex::new(pipes) };
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        Stage { proxy: lab.proxy(), lab, census, runtime }
    }

    /// What there is of a bundle.
    pub fn count(&self) -> Json {
        self.census.ask(&json!({"do": "count"}))
    }

    /// Nothing of a bundle is left; the CRDs go only where asked.
    pub fn wipe(&self, crds: bool) {
        self.proxy.clear();
        self.census.ask(&json!({"do": "wipe", "crds": crds}));
    }

    /// Runs Python with boto3's clients `iam`, `sqs`, `eks`, `events`, `ec2` and the API server's `get`, `items`, `post`, `put`, `patch`,
    /// `delete`; what it leaves in `result`.
    pub fn python(&self, script: &str) -> Json {
        let common = script.lines().filter(|l| !l.trim().is_empty()).map(|l| l.len() - l.trim_start().len()).min().unwrap_or(0);
        let script: Vec<&str> = script.lines().map(|line| line.get(common..).unwrap_or("")).collect();
        self.census.ask(&json!({"do": "python", "script": script.join("\n")}))
    }

    /// A client of this stage's cluster.
    pub fn client(&self) -> Client<'_> {
        Client::new(&self.lab, &self.proxy)
    }

    /// `tofu apply`; without arguments, `tofu destroy`.
    pub fn apply(&self, kept: &mut Kept, arguments: Option<&Json>) -> End {
        self.apply_under(kept, arguments, None)
    }

    /// The same with a fault over the process that applies.
    pub fn apply_under(&self, kept: &mut Kept, arguments: Option<&Json>, fault: Option<&dyn Fn(u32) -> Fault>) -> End {
        let client = self.client();
        let config = arguments.map_or_else(Default::default, |arguments| client.config(arguments));
        let end = self.runtime.block_on(client.apply(kept, &config, fault));
        self.proxy.clear();
        end
    }

    /// `tofu refresh`.
    pub fn refresh(&self, kept: &mut Kept) -> Result<(), Vec<String>> {
        self.runtime.block_on(self.client().refresh(kept))
    }

    /// `tofu plan`, after a refresh: whether there is something to do.
    pub fn plans_a_change(&self, kept: &mut Kept, arguments: &Json) -> Result<bool, Vec<String>> {
        let client = self.client();
        let (planned, _) = self.runtime.block_on(client.plan(kept, &client.config(arguments)))?;
        Ok(planned != kept.state)
    }

    /// `tofu import`.
    pub fn import(&self) -> Kept {
        self.runtime.block_on(self.client().import())
    }

    /// A bundle with its chart, and what else is set.
    pub fn whole(&self, arguments: Json) -> Json {
        let mut arguments = arguments;
        let mut chart = arguments.pointer("/chart/0").cloned().unwrap_or_else(|| json!({}));
        chart["repository"] = json!(self.lab.chart_repository());
        arguments["chart"] = json!([chart]);
        arguments
    }
}

impl Census {
    fn ask(&self, order: &Json) -> Json {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(pipes.0, "{order}").and_then(|()| pipes.0.flush()).expect("census.py listens");
        let mut line = String::new();
        pipes.1.read_line(&mut line).expect("census.py answers");
        let mut answer: Json = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{order}: {e}: {line}"));
        match answer.get("error") {
            Some(error) => panic!("{order}:\n{}", error.as_str().unwrap_or_default()),
            None => answer["ok"].take(),
        }
    }
}

impl Drop for Census {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
