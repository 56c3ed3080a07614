//! Commands that come before there is anything: validate without a network, a plan for a cluster that does not exist.

use std::net::TcpListener;

use serde_json::Value;

use crate::common::{Lab, Tofu};
use crate::seed_stack;

const ALL: [&str; 5] = [
    "karpenter_bundle.this: create",
    "karpenter_nodeclass.default: create",
    "karpenter_nodepool.airflow_worker: create",
    "karpenter_nodepool.jupyterhub_small: create",
    "karpenter_nodepool.trino_xsmall: create",
];

#[test]
fn validate_opens_no_connection() {
    let sink = TcpListener::bind("127.0.0.1:0").unwrap();
    sink.set_nonblocking(true).unwrap();
    let address = format!("http://{}", sink.local_addr().unwrap());
    let tofu = Tofu::offline("", &address).example("examples/seed-stack").var("cluster_name", "anything");
    let outcome = tofu.validate().ok();
    assert!(outcome.diagnostics.is_empty(), "{:#?}", outcome.diagnostics);
    assert!(sink.accept().is_err(), "something called {address}");
}

#[test]
fn a_plan_for_a_cluster_that_does_not_exist_creates_everything() {
    let plan = seed_stack(Lab::shared()).var("cluster_name", "not-there-yet").plan().ok();
    assert_eq!(plan.changes(), ALL);
}

#[test]
fn a_plan_without_credentials_creates_everything() {
    let tofu = seed_stack(Lab::shared()).env("AWS_ACCESS_KEY_ID", "").env("AWS_SECRET_ACCESS_KEY", "");
    assert_eq!(tofu.plan().ok().changes(), ALL);
}

#[test]
fn a_plan_whose_cluster_name_is_unknown_creates_everything() {
    let tofu = seed_stack(Lab::shared());
    let main = std::fs::read_to_string(tofu.dir().join("main.tf")).unwrap();
    let unknown = "resource \"terraform_data\" \"cluster\" {\n  input = var.cluster_name\n}\n";
    tofu.write("main.tf", &(main.replace("cluster_name = var.cluster_name", "cluster_name = terraform_data.cluster.output") + unknown));
    let plan = tofu.plan().ok();
    let ours: Vec<String> = plan.changes().into_iter().filter(|c| c.starts_with("karpenter_")).collect();
    assert_eq!(ours, ALL);
}

#[test]
fn credentials_that_aws_refuses_are_an_error_that_names_the_call() {
    let lab = Lab::shared();
    let proxy = lab.proxy();
    let denied = "User: arn:aws:iam::123456789012:user/x is not authorized to perform: eks:DescribeCluster on resource: y";
    proxy.fault(crate::common::Fault::on("eks:DescribeCluster").times(1000).status(403, "AccessDeniedException", denied));
    let tofu = seed_stack(lab).through(&proxy);
    let outcome = tofu.plan().outcome.err();
    let told: String = outcome.errors().iter().map(|d| d.text()).collect();
    assert!(told.contains("DescribeCluster") && told.contains(lab.cluster_name()), "{told}");
    assert_eq!(Value::Null, tofu.show()["values"]);
}
