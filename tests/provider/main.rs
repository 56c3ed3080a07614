//! The provider block against real servers: the token is verified by the API server's authenticator, roles are assumed, the
//! `kubernetes` block overrides, failures have their kinds, retries end.
//!
//! Credentials come from the environment, which a process cannot change safely for one test: every test of the library runs its
//! calls in a child of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

/// A test: `$body` in the child; in the parent `$parent`, which gets a closure that runs the child with variables.
macro_rules! lab_test {
    ($name:ident, async $body:block, |$run:ident| $parent:block) => {
        #[test]
        fn $name() {
            if crate::child(|| async $body) {
                return;
            }
            let $run = |vars: &[(&str, &str)]| crate::within(concat!(module_path!(), "::", stringify!($name)), vars);
            $parent
        }
    };
}

mod connect;
mod objects;
mod plan;
mod rows;

use std::time::Duration;

use common::Lab;
use karpenter::provider::Connections;
use karpenter::tofu::value::Value;
use kube::api::ApiResource;
use tokio::time::Instant;

/// Runs a test in a child process with the lab's environment and `vars` on top (an empty value removes one).
fn within(test: &str, vars: &[(&str, &str)]) {
    let executable = std::env::current_exe().unwrap();
    let mut command = Lab::shared().command(executable.to_str().unwrap());
    let (_, test) = test.split_once("::").unwrap();
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env("TEST_CHILD", test);
    for (name, value) in vars {
        match *value {
            "" => command.env_remove(name),
            value => command.env(name, value),
        };
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

/// In such a child: runs the body. Says whether this is one.
fn child<F: Future<Output = ()>>(body: impl FnOnce() -> F) -> bool {
    let is_child = std::env::var_os("TEST_CHILD").is_some();
    if is_child {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(body());
    }
    is_child
}

fn var(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

fn block(entries: &[(&str, &str)]) -> Value {
    Value::List(vec![Value::object(entries.iter().map(|(k, v)| (*k, Value::from(*v))))])
}

fn configured(entries: &[(&str, Value)]) -> Connections {
    let connections = Connections::new();
    connections.configure(&Value::object(entries.iter().cloned()));
    connections
}

fn of_cluster() -> Connections {
    configured(&[("cluster_name", Value::from(var("CLUSTER_NAME")))])
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn config_maps() -> ApiResource {
    ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&())
}
