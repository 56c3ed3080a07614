//! Python with boto3 at hand: `boto3_server.py`, as many processes as scripts run at once.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

/// The processes that wait for a script.
#[derive(Default)]
pub struct Pool(Mutex<Vec<Python>>);

struct Python {
    child: Child,
    scripts: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Pool {
    /// What the script leaves in `result`; `command` starts a process where none waits.
    pub fn run(&self, command: impl FnOnce() -> Command, script: &str) -> Value {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut python = waiting.unwrap_or_else(|| Python::start(command()));
        let mut answer = python.ask(script);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(python);
        match answer.get("error") {
            Some(error) => panic!("{}\nof\n{script}", error.as_str().unwrap_or_default()),
            None => answer["ok"].take(),
        }
    }
}

impl Python {
    fn start(mut command: Command) -> Python {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python starts");
        let (scripts, answers) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Python { child, scripts, answers: BufReader::new(answers) }
    }

    fn ask(&mut self, script: &str) -> Value {
        writeln!(self.scripts, "{}", json!(script)).and_then(|()| self.scripts.flush()).expect("boto3_server.py listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("boto3_server.py answers");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?} for\n{script}"))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
