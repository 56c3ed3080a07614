//! `environment/proxy.py`: counts the calls of one workspace, and breaks or holds those that a test names.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, atomic::AtomicUsize, atomic::Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::lab::{Lab, repository};

/// One request that went through.
#[derive(Clone, Debug, Deserialize)]
pub struct Call {
    /// `iam`, `sqs`, `eks`, `events`, `sts`, or `kubernetes`.
    pub service: String,
    /// The AWS operation; for Kubernetes the method, or `WATCH`.
    pub action: String,
    /// For Kubernetes the path without the query.
    #[serde(default)]
    pub path: String,
    /// `iam:CreateRole`, `kubernetes:PATCH /apis/karpenter.sh/v1/nodepools/x`: what faults match.
    pub key: String,
    /// Does it write?
    pub mutating: bool,
    /// The HTTP status; 0 when the connection ended first.
    pub status: u16,
    /// What a fault did to it.
    #[serde(default)]
    pub fault: Option<String>,
    /// Seconds since the epoch.
    pub start: f64,
    /// Seconds since the epoch.
    pub end: f64,
}

/// What to do to calls whose key matches a regular expression.
#[derive(Clone, Debug)]
pub struct Fault(Value);

impl Fault {
    /// Faults the first call whose key matches; `""` matches every key.
    pub fn on(matching: &str) -> Fault {
        Fault(json!({"match": matching, "do": "close"}))
    }
    /// Only calls that write count.
    pub fn mutating(self) -> Fault {
        self.with("mutating", json!(true))
    }
    /// From the nth match on (from 1).
    pub fn nth(self, nth: usize) -> Fault {
        self.with("nth", json!(nth))
    }
    /// This many matches.
    pub fn times(self, times: usize) -> Fault {
        self.with("times", json!(times))
    }
    /// The server does its work; only the answer is lost.
    pub fn after_effect(self) -> Fault {
        self.with("when", json!("after"))
    }
    /// The connection closes without an answer.
    pub fn close(self) -> Fault {
        self.with("do", json!("close"))
    }
    /// An error answer in the service's own form.
    pub fn status(self, status: u16, code: &str, message: &str) -> Fault {
        self.with("do", json!("status")).with("status", json!(status)).with("code", json!(code)).with("message", json!(message))
    }
    /// An answer with exactly this body.
    pub fn body(self, status: u16, body: &str) -> Fault {
        self.with("do", json!("status")).with("status", json!(status)).with("body", json!(body))
    }
    /// The call waits until [`Proxy::release`]; [`Proxy::held`] tells that it does.
    pub fn hold(self) -> Fault {
        self.with("do", json!("hold"))
    }
    /// No answer for so long, or until the client hangs up, and then the connection closes.
    pub fn stall(self, time: Duration) -> Fault {
        self.with("do", json!("stall")).with("seconds", json!(time.as_secs()))
    }
    /// The proxy kills that process with -9 in the middle of the call.
    pub fn kill(self, pid: u32) -> Fault {
        self.with("do", json!("kill")).with("pid", json!(pid))
    }
    fn with(mut self, key: &str, value: Value) -> Fault {
        self.0[key] = value;
        self
    }
}

/// A running proxy; ends with the value, or with this process.
pub struct Proxy {
    /// In the place of `AWS_ENDPOINT_URL`; its DescribeCluster names [`Proxy::kubernetes`].
    pub aws: String,
    /// The API server's URL through the proxy; the lab's CA is good for it.
    pub kubernetes: String,
    child: Child,
    orders: Mutex<ChildStdin>,
    answers: Mutex<Receiver<Value>>,
    holds: Mutex<Receiver<String>>,
    log: PathBuf,
}

impl Proxy {
    /// See [`Lab::proxy`].
    pub fn start(lab: &Lab) -> Proxy {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let log = lab.dir().join(format!("log/proxy-{}.jsonl", STARTED.fetch_add(1, Ordering::Relaxed)));
        std::fs::write(&log, "").expect("the lab's log directory");
        let mut child = Command::new(lab.var("LAB_PYTHON"))
            .arg(repository().join("environment/proxy.py"))
            .args(["--aws", lab.var("AWS_ENDPOINT_URL"), "--kubernetes", lab.var("CLUSTER_ENDPOINT"), "--certs"])
            .arg(lab.dir().join("certs"))
            .arg("--log")
            .arg(&log)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the proxy starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (answer, answers) = channel();
        let (hold, holds) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let said: Value = serde_json::from_str(&line).expect("the proxy speaks JSON");
                let _ = match said["held"].as_str() {
                    Some(key) => hold.send(key.to_owned()).is_ok(),
                    None => answer.send(said).is_ok(),
                };
            }
        });
        let urls = answers.recv_timeout(Duration::from_secs(30)).expect("the proxy tells its addresses");
        let url = |kind: &str| urls[kind].as_str().expect("a URL").to_owned();
        let orders = Mutex::new(child.stdin.take().expect("piped"));
        Proxy { aws: url("aws"), kubernetes: url("kubernetes"), child, orders, answers: answers.into(), holds: holds.into(), log }
    }

    /// Every call so far, in the order in which they ended.
    pub fn calls(&self) -> Vec<Call> {
        let log = std::fs::read_to_string(&self.log).expect("the proxy's log");
        log.lines().map(|line| serde_json::from_str(line).expect("a call")).collect()
    }

    /// How many calls a key so far.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for call in self.calls() {
            *counts.entry(call.key).or_default() += 1;
        }
        counts
    }

    /// How many calls whose key starts with `prefix`: `"iam:"`, `"kubernetes:PATCH"`.
    pub fn count(&self, prefix: &str) -> usize {
        self.calls().iter().filter(|call| call.key.starts_with(prefix)).count()
    }

    /// Forgets the calls so far: the next counts start at 0.
    pub fn reset(&self) {
        std::fs::write(&self.log, "").expect("the proxy's log");
    }

    /// Adds a fault.
    pub fn fault(&self, fault: Fault) {
        self.order(json!({"fault": fault.0}));
    }

    /// Makes every AWS call take at least this long, so that those which do not wait for each other overlap.
    pub fn delay(&self, each: Duration) {
        self.order(json!({"delay": each.as_secs_f64()}));
    }

    /// Forgets all faults.
    pub fn clear(&self) {
        self.order(json!({"clear": true}));
    }

    /// Waits for a call that a [`Fault::hold`] holds; its key.
    pub fn held(&self, timeout: Duration) -> Option<String> {
        self.holds.lock().expect("one reader").recv_timeout(timeout).ok()
    }

    /// Lets go what is held.
    pub fn release(&self) {
        self.order(json!({"release": true}));
    }

    /// How many calls met a fault since the last one was added, ended or not.
    pub fn met(&self) -> usize {
        self.order(json!({})).try_into().expect("a number of calls")
    }

    fn order(&self, order: Value) -> u64 {
        let mut orders = self.orders.lock().expect("one writer");
        writeln!(orders, "{order}").and_then(|()| orders.flush()).expect("the proxy listens");
        let answer = self.answers.lock().expect("one reader").recv_timeout(Duration::from_secs(10));
        let answer = answer.expect("the proxy answers");
        assert_eq!(answer["ok"], json!(true), "{answer}");
        answer["met"].as_u64().expect("a number of calls")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
