//! `environment/recorder.py`: a forward proxy that records which identity and parameters were sent, and where to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;

use super::lab::{Lab, repository};

/// One request that it saw.
#[derive(Clone, Debug, Deserialize)]
pub struct Seen {
    /// `direct`, `http` or `connect` (as a proxy), `tunnel`.
    pub via: String,
    /// The host that was asked for.
    pub host: String,
    /// The path.
    pub path: String,
    /// The parameters of a call in AWS' query protocol.
    pub form: BTreeMap<String, String>,
    /// The access key that signed it.
    pub key: String,
    /// The region that it was signed for.
    pub region: String,
    /// The service that it was signed for.
    pub service: String,
    /// The session token.
    pub session: String,
    /// The Authorization header.
    pub authorization: String,
    /// The Proxy-Authorization header.
    pub proxy_authorization: String,
    /// The User-Agent header.
    pub agent: String,
}

/// A running recorder; ends with the value, or with this process.
pub struct Recorder {
    /// `http://127.0.0.1:PORT`: a proxy's URL, or an AWS endpoint.
    pub url: String,
    child: Child,
    log: PathBuf,
}

impl Recorder {
    /// In front of this lab's AWS.
    pub fn start(lab: &Lab) -> Recorder {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let log = lab.dir().join(format!("log/recorder-{}.jsonl", STARTED.fetch_add(1, Ordering::Relaxed)));
        std::fs::write(&log, "").expect("the lab's log directory");
        let mut child = Command::new(lab.var("LAB_PYTHON"))
            .arg(repository().join("environment/recorder.py"))
            .args(["--aws", lab.var("AWS_ENDPOINT_URL"), "--certs"])
            .arg(lab.dir().join("certs"))
            .arg("--log")
            .arg(&log)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the recorder starts");
        let mut port = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut port).expect("it tells its port");
        Recorder { url: format!("http://127.0.0.1:{}", port.trim()), child, log }
    }

    /// What it saw since the last time.
    pub fn take(&self) -> Vec<Seen> {
        let log = std::fs::read_to_string(&self.log).expect("the recorder's log");
        std::fs::write(&self.log, "").expect("the recorder's log");
        log.lines().map(|line| serde_json::from_str(line).expect("a request")).collect()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
