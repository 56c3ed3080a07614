//! Every row of the documentation's table of connections: each argument and each variable is used by a case here, against real servers,
//! and a row without a case fails the test.
//!
//! A case runs in a child process: what it is configured with, what it then asks, and what the recorder saw of it.

mod aws;
mod kubernetes;
mod roles;

use std::collections::BTreeSet;

use karpenter::helm::RegistryAuth;
use karpenter::provider::{ClusterChoice, Connections, config, table};
use karpenter::tofu::json;
use serde_json::{Value as Json, json};

use crate::common::{Lab, Recorder, Seen};
use crate::connect::whoami;
use crate::{child, var};

/// What a child is to do when it is configured.
#[derive(Clone, Copy)]
pub enum Ask {
    /// Describe the cluster.
    Describe,
    /// And ask its API server who we are.
    Whoami,
    /// As `Whoami`, with no cluster named.
    WhoamiWithoutCluster,
    /// One read of each AWS service.
    Services,
    /// The tags for every AWS object.
    Tags,
    /// A pull from the repository `oci://RECORDER/charts`.
    Pull,
}

/// One configuration, and what must come of it.
pub struct Case {
    rows: Vec<&'static str>,
    config: Json,
    environment: Vec<(String, String)>,
    ask: Ask,
    check: Box<dyn Fn(&Came)>,
}

/// What came of a case.
pub struct Came {
    /// The answer, or the error's kind, text and remedy.
    pub answer: Result<String, String>,
    /// What the recorder saw.
    pub seen: Vec<Seen>,
}

impl Case {
    /// A case that uses these arguments and variables of the table.
    pub fn of(rows: &[&'static str], config: Json) -> Case {
        Case { rows: rows.to_vec(), config, environment: vec![], ask: Ask::Describe, check: Box::new(|_| panic!("nothing is checked")) }
    }

    /// With a variable; an empty value removes it.
    pub fn env(mut self, name: &str, value: &str) -> Case {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Another question than to describe the cluster.
    pub fn ask(mut self, ask: Ask) -> Case {
        self.ask = ask;
        self
    }

    /// What must come of it.
    pub fn then(mut self, check: impl Fn(&Came) + 'static) -> Case {
        self.check = Box::new(check);
        self
    }
}

impl Came {
    /// The answer; fails the test where there is an error instead.
    pub fn ok(&self) -> &str {
        self.answer.as_deref().unwrap_or_else(|error| panic!("{error}\n{:#?}", self.seen))
    }

    /// The error; fails the test where there is none.
    pub fn err(&self) -> &str {
        self.answer.as_ref().expect_err("it works")
    }

    /// The one call of an AWS service.
    pub fn call(&self, service: &str) -> &Seen {
        let found: Vec<&Seen> = self.seen.iter().filter(|seen| seen.service == service).collect();
        assert_eq!(found.len(), 1, "calls of {service} in {:#?}", self.seen);
        found[0]
    }

    /// The calls of that action, in order.
    pub fn actions(&self, action: &str) -> Vec<&Seen> {
        self.seen.iter().filter(|seen| seen.form.get("Action").is_some_and(|a| a == action)).collect()
    }
}

/// What cases are made of.
pub struct World {
    /// The lab.
    pub lab: &'static Lab,
    /// Where the children's calls go.
    pub recorder: Recorder,
    /// A directory for files.
    pub files: tempfile::TempDir,
}

impl World {
    /// A file with this text; its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        self.lab.cluster_name()
    }

    /// A file of the lab's certificates.
    pub fn certificate(&self, name: &str) -> String {
        std::fs::read_to_string(self.lab.dir().join("certs").join(name)).unwrap()
    }
}

#[test]
fn every_row_of_the_documented_table_is_used() {
    if child(probe) {
        return;
    }
    let world = World { lab: Lab::shared(), recorder: Recorder::start(Lab::shared()), files: tempfile::tempdir().unwrap() };
    let cases: Vec<Case> = [aws::cases(&world), roles::cases(&world), kubernetes::cases(&world)].into_iter().flatten().collect();
    let covered: BTreeSet<&str> = cases.iter().flat_map(|case| case.rows.iter().copied()).collect();
    let documented: BTreeSet<&str> = table::ROWS.iter().flat_map(|row| row.variables.iter().copied().chain([row.argument])).collect();
    assert_eq!(documented.difference(&covered).collect::<Vec<_>>(), Vec::<&&str>::new(), "rows of the table that no case uses");
    assert_eq!(covered.difference(&documented).collect::<Vec<_>>(), Vec::<&&str>::new(), "cases of rows that the table does not have");
    let only = std::env::var("ROW").unwrap_or_default();
    for case in cases.into_iter().filter(|case| only.is_empty() || case.rows.contains(&only.as_str())) {
        let started = std::time::Instant::now();
        let came = run(&world, &case);
        println!("{:?} {:?}", case.rows, started.elapsed()); // shown where the case fails
        (case.check)(&came);
    }
}

fn run(world: &World, case: &Case) -> Came {
    let executable = std::env::current_exe().unwrap();
    let mut command = world.lab.command(executable.to_str().unwrap());
    let test = "rows::every_row_of_the_documented_table_is_used";
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env("TEST_CHILD", test);
    command.env_remove("NO_PROXY").env_remove("no_proxy").env_remove("KUBECONFIG");
    command.env("AWS_ENDPOINT_URL", &world.recorder.url).env("HOME", world.files.path()).env("RECORDER", &world.recorder.url);
    for (name, value) in &case.environment {
        match value.as_str() {
            "" => command.env_remove(name),
            value => command.env(name, value),
        };
    }
    command.env("PROBE_CONFIG", case.config.to_string()).env("PROBE_ASK", (case.ask as u8).to_string());
    let output = command.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = printed.lines().find_map(|line| line.split_once("PROBE ")).map(|(_, json)| json);
    let line = line.unwrap_or_else(|| panic!("{printed}{}", String::from_utf8_lossy(&output.stderr)));
    let said: Json = serde_json::from_str(line).unwrap();
    let text = |name: &str| said[name].as_str().map(str::to_owned);
    Came { answer: text("ok").ok_or_else(|| text("error").unwrap()), seen: world.recorder.take() }
}

/// In the child.
async fn probe() {
    let schema = config::schema();
    let block = json::decode(&block_lists(&schema.block, &var("PROBE_CONFIG")), &schema.block.ty()).unwrap();
    let refused = config::validate(&schema, &block);
    assert!(!refused.has_errors(), "{refused:?}");
    let connections = Connections::new();
    connections.configure(&block);
    let said = match ask(&connections, var("PROBE_ASK").parse().unwrap()).await {
        Ok(answer) => json!({ "ok": answer }),
        Err(error) => json!({ "error": format!("{:?}: {error} {}", error.kind, error.remedy) }),
    };
    println!("PROBE {said}");
}

async fn ask(connections: &Connections, ask: u8) -> Result<String, karpenter::Error> {
    let name = var("CLUSTER_NAME");
    let from_sdk = |e: String| karpenter::Error::new(karpenter::Kind::Other, "ask", e);
    match ask {
        a if a == Ask::Describe as u8 => Ok(connections.connect(&name).await?.cluster.arn.clone()),
        a if a == Ask::Whoami as u8 => {
            let client = connections.connect(&name).await?.kube().await?;
            whoami(&client).await.map_err(|e| karpenter::kubernetes::from_kube("whoami", e))
        }
        a if a == Ask::WhoamiWithoutCluster as u8 => {
            let client = connections.choose(&ClusterChoice::None).await?.kube().await?;
            whoami(&client).await.map_err(|e| karpenter::kubernetes::from_kube("whoami", e))
        }
        a if a == Ask::Services as u8 => {
            let aws = connections.connect(&name).await?.aws.clone();
            aws.iam.list_roles().send().await.map_err(|e| from_sdk(format!("{e:?}")))?;
            aws.sqs.list_queues().send().await.map_err(|e| from_sdk(format!("{e:?}")))?;
            aws.eventbridge.list_rules().send().await.map_err(|e| from_sdk(format!("{e:?}")))?;
            aws.sts.get_caller_identity().send().await.map_err(|e| from_sdk(format!("{e:?}")))?;
            Ok(String::new())
        }
        a if a == Ask::Tags as u8 => Ok(format!("{:?} {:?}", connections.default_tags()?, connections.ignore_tags()?)),
        _ => {
            let repository = format!("{}/charts", var("RECORDER").replace("http://", "oci://"));
            let auth = connections.registry_auth(&repository)?;
            let auth = auth.map(|auth| RegistryAuth { username: auth.username, password: auth.password });
            karpenter::helm::registry::pull(&repository, "karpenter", Some("1.14.1"), auth.as_ref()).await.map(|_| String::new())
        }
    }
}

/// The block as a state would have it: a nested block is a list, where the case writes one object; an absent one is an empty list.
fn block_lists(block: &karpenter::tofu::schema::Block, text: &str) -> Vec<u8> {
    fn listed(block: &karpenter::tofu::schema::Block, value: &mut Json) {
        for nested in &block.blocks {
            let mut items = match value[&nested.name].take() {
                Json::Null => vec![],
                Json::Array(items) => items,
                one => vec![one],
            };
            items.iter_mut().for_each(|item| listed(&nested.block, item));
            value[&nested.name] = Json::Array(items);
        }
    }
    let mut value: Json = serde_json::from_str(text).unwrap();
    listed(block, &mut value);
    value.to_string().into_bytes()
}
