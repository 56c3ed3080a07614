//! Objects: applied, read, waited for, with retries where they help.

use std::time::Duration;

use karpenter::Kind;
use karpenter::kubernetes::apply::{self, Apply, Object};
use karpenter::kubernetes::is_kind_missing;
use kube::api::ApiResource;
use tokio::time::Instant;

use crate::common::{Fault, Lab};
use crate::{config_maps, of_cluster, soon, var};

lab_test!(
    what_passes_is_retried_and_a_quota_is_not,
    async {
        let connection = of_cluster().connect(&var("CLUSTER_NAME")).await.unwrap();
        let pattern = r#"{"source": ["x"]}"#;
        let refused = connection.aws.eventbridge.put_rule().name("provider-test").event_pattern(pattern).send().await;
        assert_eq!(karpenter::aws::error::from_sdk("events:PutRule", refused.unwrap_err()).kind, Kind::Quota);
        let client = connection.kube().await.unwrap();
        let object = Object { kind: &config_maps(), namespace: Some("default"), name: "absent" };
        assert!(apply::get(&client, &object, soon()).await.unwrap().is_none());
    },
    |run| {
        let proxy = Lab::shared().proxy();
        proxy.fault(Fault::on("eks:DescribeCluster").times(2).status(429, "ThrottlingException", "slow down"));
        proxy.fault(Fault::on("events:PutRule").times(9).status(400, "LimitExceededException", "no more rules"));
        proxy.fault(Fault::on("kubernetes:GET").times(1).status(503, "ServiceUnavailable", "busy"));
        proxy.fault(Fault::on("kubernetes:GET").nth(2).times(1).close());
        run(&[("AWS_ENDPOINT_URL", &proxy.aws)]);
        let counts = [proxy.count("eks:DescribeCluster"), proxy.count("events:PutRule"), proxy.count("kubernetes:GET")];
        assert_eq!(counts, [3, 1, 3], "{:?}", proxy.counts());
    }
);

lab_test!(
    objects_are_applied_and_waited_for,
    async {
        let connection = of_cluster().connect(&var("CLUSTER_NAME")).await.unwrap();
        let (client, kind, how) = (connection.kube().await.unwrap(), config_maps(), Apply { manager: "provider-test", ..Apply::default() });
        let body = |name: &str, value: &str| serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {"k": value}});
        let names: Vec<String> = (0..5).map(|i| format!("provider-test-{i}")).collect();
        let waits = names.iter().map(|name| {
            let object = Object { kind: &kind, namespace: Some("default"), name };
            let (connection, client) = (&connection, &client);
            async move {
                let is_two = |o: Option<&kube::api::DynamicObject>| o.is_some_and(|o| o.data["data"]["k"] == "two");
                connection.watches.until(client, &object, soon(), is_two).await.unwrap();
                apply::delete(client, &object, None, soon()).await.unwrap();
                let gone = connection.watches.until(client, &object, soon(), |o| o.is_none()).await.unwrap();
                assert!(gone.is_none() && !apply::delete(client, &object, None, soon()).await.unwrap());
            }
        });
        let writes = async {
            for value in ["one", "two"] {
                for name in &names {
                    let object = Object { kind: &kind, namespace: Some("default"), name };
                    apply::apply(&client, &object, &body(name, value), how, soon()).await.unwrap();
                }
            }
        };
        futures::join!(writes, futures::future::join_all(waits));
        // A wait that ends too late says so, and so does one for a kind that is not there.
        let object = Object { kind: &kind, namespace: Some("default"), name: "never" };
        let error =
            connection.watches.until(&client, &object, Instant::now() + Duration::from_millis(300), |o| o.is_some()).await.unwrap_err();
        assert_eq!(error.kind, Kind::Timeout, "{error}");
        let nothing = ApiResource {
            group: "nothing.example.com".into(),
            version: "v1".into(),
            api_version: "nothing.example.com/v1".into(),
            kind: "Nothing".into(),
            plural: "nothings".into(),
        };
        let object = Object { kind: &nothing, namespace: None, name: "x" };
        let error = connection.watches.until(&client, &object, soon(), |o| o.is_some()).await.unwrap_err();
        assert_eq!(error.kind, Kind::NotFound, "{error}");
        let error = apply::get(&client, &object, soon()).await.unwrap_err();
        assert!(is_kind_missing(&error), "{error:?}");
        // Conflicts and undeclared fields.
        let object = Object { kind: &kind, namespace: Some("default"), name: "provider-test-shared" };
        apply::apply(&client, &object, &body("provider-test-shared", "mine"), how, soon()).await.unwrap();
        let other = Apply { manager: "another", ..how };
        let error = apply::apply(&client, &object, &body("provider-test-shared", "theirs"), other, soon()).await.unwrap_err();
        assert_eq!((error.kind, error.causes[0].field.as_str()), (Kind::Conflict, ".data.k"), "{error:?}");
        apply::apply(&client, &object, &body("provider-test-shared", "theirs"), Apply { force: true, ..other }, soon()).await.unwrap();
        apply::delete(&client, &object, None, soon()).await.unwrap();
        let pool = serde_json::json!({"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "x"}, "spec": {"wait": 1, "weight": 500}});
        let object = Object { kind: &node_pools(), namespace: None, name: "x" };
        let error = apply::apply(&client, &object, &pool, how, soon()).await.unwrap_err();
        assert_eq!((error.kind, error.causes[0].field.as_str()), (Kind::Invalid, "spec.wait"), "{error:?}");
    },
    |run| {
        let lab = Lab::shared();
        lab.install_crds();
        lab.kubectl_text(&["wait", "--for=condition=Established", "--timeout=20s", "crd/nodepools.karpenter.sh"]);
        let proxy = lab.proxy();
        run(&[("AWS_ENDPOINT_URL", &proxy.aws)]);
        let lists = proxy.calls().iter().filter(|c| c.key.ends_with("/namespaces/default/configmaps") && c.action == "GET").count();
        assert_eq!(lists, 1, "waits share a LIST: {:?}", proxy.counts());
        assert_eq!(
            proxy.calls().iter().filter(|c| c.path == "/apis/karpenter.sh/v1/nodepools/x").count(),
            1,
            "a validation error is not retried"
        );
    }
);

lab_test!(
    the_second_read_of_a_kind_lists_it,
    async {
        let connection = of_cluster().connect(&var("CLUSTER_NAME")).await.unwrap();
        let (client, kind) = (connection.kube().await.unwrap(), config_maps());
        let named = |name| Object { kind: &kind, namespace: Some("kube-public"), name };
        for name in ["read-0", "read-1", "read-2", "read-3"] {
            let found = connection.reads.get(&client, &named(name), soon()).await.unwrap().unwrap();
            assert_eq!((found.metadata.name.as_deref(), found.data["data"]["k"].as_str()), (Some(name), Some("v")));
            assert!(found.metadata.managed_fields.is_some());
        }
        assert!(connection.reads.get(&client, &named("read-absent"), soon()).await.unwrap().is_none());
        connection.reads.written(&kind);
        connection.reads.get(&client, &named("read-1"), soon()).await.unwrap().unwrap();
    },
    |run| {
        let lab = Lab::shared();
        for i in 0..4 {
            lab.kubectl_text(&["create", "configmap", &format!("read-{i}"), "--namespace=kube-public", "--from-literal=k=v"]);
        }
        let proxy = lab.proxy();
        run(&[("AWS_ENDPOINT_URL", &proxy.aws)]);
        let paths: Vec<String> = proxy.calls().into_iter().filter(|c| c.action == "GET").map(|c| c.path).collect();
        let all = "/api/v1/namespaces/kube-public/configmaps";
        assert_eq!(paths, [&format!("{all}/read-0"), all, &format!("{all}/read-absent"), &format!("{all}/read-1")]);
    }
);

fn node_pools() -> ApiResource {
    ApiResource {
        group: "karpenter.sh".into(),
        version: "v1".into(),
        api_version: "karpenter.sh/v1".into(),
        kind: "NodePool".into(),
        plural: "nodepools".into(),
    }
}
