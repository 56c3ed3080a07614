//! From the provider block to clients that work.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use karpenter::aws::config::Chain;
use karpenter::aws::token::Tokens;
use karpenter::kubernetes::apply::{self, Object};
use karpenter::kubernetes::client::{self, Access};
use karpenter::provider::config::ProviderConfig;
use karpenter::provider::{ClusterChoice, Connections, at_plan};
use karpenter::tofu::value::Value;
use karpenter::{Error, Kind};
use kube::api::PostParams;
use tokio::time::Instant;

use crate::common::{Fault, Lab};
use crate::{block, config_maps, configured, of_cluster, soon, var};

lab_test!(
    the_cluster_s_name_suffices,
    async {
        let connections = Arc::new(of_cluster());
        let mut all = vec![];
        for _ in 0..10 {
            let connections = connections.clone();
            all.push(tokio::spawn(async move { connections.choose(&connections.cluster(&Value::Null)).await.map(|c| c.cluster.clone()) }));
        }
        for one in all {
            one.await.unwrap().unwrap();
        }
        let arn = format!("arn:aws:eks:us-east-1:123456789012:cluster/{}", var("CLUSTER_NAME"));
        let connection = connections.connect(&arn).await.unwrap();
        let cluster = &connection.cluster;
        assert_eq!((cluster.arn.as_str(), cluster.account_id.as_str(), cluster.partition.as_str()), (arn.as_str(), "123456789012", "aws"));
        assert_eq!(
            (cluster.region.as_str(), cluster.kubernetes_version.as_str(), cluster.status.as_str()),
            ("us-east-1", "1.36", "ACTIVE")
        );
        assert_eq!((cluster.auth_mode.as_str(), cluster.service_cidr.as_str()), ("API_AND_CONFIG_MAP", "172.20.0.0/16"));
        assert!(cluster.oidc_issuer.starts_with("https://oidc.eks."), "{cluster:?}");
        let before = std::env::var("MAKE_KUBERNETES_CALL").is_ok();
        if before {
            let name = whoami(&connection.kube().await.unwrap()).await.unwrap();
            assert!(name.starts_with("arn:aws:"), "{name}");
        }
    },
    |run| {
        let proxy = Lab::shared().proxy();
        run(&[("AWS_ENDPOINT_URL", &proxy.aws)]);
        assert_eq!(proxy.counts().into_iter().collect::<Vec<_>>().len(), 1, "{:?}", proxy.counts());
        assert_eq!(proxy.count("eks:DescribeCluster"), 1);
        run(&[("AWS_ENDPOINT_URL", &proxy.aws), ("MAKE_KUBERNETES_CALL", "1")]);
        assert_eq!(proxy.count("kubernetes:POST"), 1, "accepted at once: {:?}", proxy.counts());
    }
);

/// Tells the time wrongly once.
fn late_once() -> SystemTime {
    static ASKED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    match ASKED.swap(true, std::sync::atomic::Ordering::Relaxed) {
        false => SystemTime::now() - Duration::from_secs(16 * 60),
        true => SystemTime::now(),
    }
}

lab_test!(
    an_expired_token_is_renewed_once,
    async {
        let connection = of_cluster().connect(&var("CLUSTER_NAME")).await.unwrap();
        let chain = Chain::load(&ProviderConfig::default()).await.unwrap();
        let (access, cluster) = (Access::new(&connection.cluster, None), &connection.cluster);
        let tokens = || Arc::new(Tokens::new(chain.credentials(), &cluster.name, &cluster.region).with_clock(late_once));
        let client = client::connect(&access, tokens).await.unwrap();
        whoami(&client).await.unwrap();
        whoami(&client).await.unwrap();
        // Signed for another cluster: refused, however fresh.
        let client = client::connect(&access, || Arc::new(Tokens::new(chain.credentials(), "another", &cluster.region))).await.unwrap();
        let object = Object { kind: &config_maps(), namespace: Some("default"), name: "x" };
        let error = apply::get(&client, &object, soon()).await.unwrap_err();
        assert_eq!(error.kind, Kind::Unauthorized, "{error}");
        assert!(error.remedy.contains("access entry"), "{}", error.remedy);
    },
    |run| {
        let proxy = Lab::shared().proxy();
        run(&[("AWS_ENDPOINT_URL", &proxy.aws)]);
        let statuses = |key: &str| proxy.calls().iter().filter(|c| c.key.starts_with(key)).map(|c| c.status).collect::<Vec<_>>();
        assert_eq!(statuses("kubernetes:POST"), [401, 201, 201]);
        assert_eq!(statuses("kubernetes:GET"), [401, 401], "once more, not for ever");
    }
);

lab_test!(
    a_kubernetes_block_overrides_what_it_sets,
    async {
        let read = |name: &str| std::fs::read_to_string(format!("{}/certs/{name}", var("LAB_RUN"))).unwrap();
        let (certificate, key) = (read("admin.crt"), read("admin.key"));
        // EKS' endpoint and CA, another identity.
        assert_eq!(whoami_with(block(&[("client_certificate", &certificate), ("client_key", &key)])).await, "lab-admin");
        let token = std::process::Command::new(var("LAB_PYTHON")).args([&var("EKS_TOKEN"), "--token"]).output().unwrap();
        let token = String::from_utf8(token.stdout).unwrap();
        assert!(whoami_with(block(&[("token", token.trim())])).await.starts_with("arn:aws:"));
        let exec = Value::List(vec![Value::object([
            ("api_version", Value::from("client.authentication.k8s.io/v1beta1")),
            ("command", Value::from(var("LAB_PYTHON"))),
            ("args", Value::List(vec![Value::from(var("EKS_TOKEN"))])),
            ("env", Value::object([("IRRELEVANT", Value::from("1"))])),
        ])]);
        assert!(whoami_with(Value::List(vec![Value::object([("exec", exec)])])).await.starts_with("arn:aws:"));
        assert_eq!(whoami_with(block(&[("config_path", &var("KUBECONFIG"))])).await, "lab-admin");
        assert!(whoami_with(block(&[("config_path", &var("EKS_KUBECONFIG")), ("config_context", "c")])).await.starts_with("arn:aws:"));
        // A tunnel: EKS' CA and token, and the certificate is still that of EKS' endpoint.
        let tunnel = var("CLUSTER_ENDPOINT").replace("127.0.0.1", "localhost.localdomain.invalid");
        assert!(whoami_with(block(&[("host", &var("CLUSTER_ENDPOINT").replace("127.0.0.1", "localhost"))])).await.starts_with("arn:aws:"));
        let connections = configured(&[("kubernetes", block(&[("host", &tunnel)]))]);
        // Without a cluster's name the account comes from STS.
        let connection = connections.choose(&ClusterChoice::None).await.unwrap();
        assert_eq!((connection.cluster.account_id.as_str(), connection.cluster.name.as_str()), ("123456789012", ""));
        // A context that is not there, and a CA that did not sign.
        let error = kube_failure(block(&[("config_path", &var("KUBECONFIG")), ("config_context", "nowhere")])).await;
        assert_eq!(error.kind, Kind::Invalid, "{error}");
        let error = kube_failure(block(&[("cluster_ca_certificate", &certificate)])).await;
        assert_eq!(error.kind, Kind::Invalid, "{error}");
        // A plugin that fails after it printed a token.
        let exec = Value::List(vec![Value::object([
            ("api_version", Value::from("client.authentication.k8s.io/v1")),
            ("command", Value::from("sh")),
            ("args", Value::List(vec![Value::from("-c"), Value::from("echo s3cr3t; echo no luck >&2; exit 1")])),
        ])]);
        let error = kube_failure(Value::List(vec![Value::object([("exec", exec)])])).await;
        assert!(error.message.contains("no luck") && !format!("{error:?}").contains("s3cr3t"), "{error:?}");
        // Another cluster's resource does not go through this block.
        let both = configured(&[("cluster_name", Value::from("elsewhere")), ("kubernetes", block(&[("host", "https://127.0.0.1:1")]))]);
        let connection = both.connect(&var("CLUSTER_NAME")).await.unwrap();
        whoami(&connection.kube().await.unwrap()).await.unwrap();
    },
    |run| {
        let token = crate::common::repository().join("environment/eks-token.py");
        run(&[("EKS_TOKEN", token.to_str().unwrap())]);
    }
);

async fn kube_failure(kubernetes: Value) -> Error {
    let connections = configured(&[("cluster_name", Value::from(var("CLUSTER_NAME"))), ("kubernetes", kubernetes)]);
    let connection = connections.connect(&var("CLUSTER_NAME")).await.unwrap();
    match connection.kube().await {
        Err(error) => error,
        Ok(client) => {
            apply::get(&client, &Object { kind: &config_maps(), namespace: Some("default"), name: "x" }, Instant::now()).await.unwrap_err()
        }
    }
}

lab_test!(
    a_role_is_assumed,
    async {
        let assume_role = block(&[("role_arn", &var("ROLE")), ("session_name", "night-shift"), ("duration", "15m")]);
        let connections = configured(&[("cluster_name", Value::from(var("CLUSTER_NAME"))), ("assume_role", assume_role)]);
        let connection = connections.connect(&var("CLUSTER_NAME")).await.unwrap();
        let name = whoami(&connection.kube().await.unwrap()).await.unwrap();
        assert!(name.ends_with(":assumed-role/provider-test/night-shift"), "{name}");
    },
    |run| {
        let lab = Lab::shared();
        let role = lab.boto3(
            "
             trust = {'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Principal': {'AWS': '*'}, 'Action': 'sts:AssumeRole'}]}
             result = iam.create_role(RoleName='provider-test', AssumeRolePolicyDocument=json.dumps(trust))['Role']['Arn']",
        );
        let proxy = lab.proxy();
        run(&[("AWS_ENDPOINT_URL", &proxy.aws), ("ROLE", role.as_str().unwrap())]);
        assert_eq!(proxy.count("sts:AssumeRole"), 1, "one session for calls and token: {:?}", proxy.counts());
    }
);

lab_test!(
    what_is_not_there_yet_is_no_error_at_plan,
    async {
        match var("CASE").as_str() {
            "no credentials" => assert_eq!(failure(&of_cluster()).await.kind, Kind::NoCredentials),
            "no credentials, no region" => assert_eq!(failure(&of_cluster()).await.kind, Kind::NoCredentials),
            "no region" => {
                let error = failure(&of_cluster()).await;
                assert!(error.kind == Kind::Invalid && error.remedy.contains("`region`"), "{error:?}");
                return;
            }
            "no cluster" => {
                let connections = configured(&[("cluster_name", Value::from("nowhere"))]);
                assert_eq!(connections.connect("nowhere").await.err().unwrap().kind, Kind::NotFound);
            }
            case => panic!("{case}"),
        }
        let Err(error) = configured(&[("region", Value::unknown())]).connect("x").await else { panic!("it connects") };
        assert_eq!(error.kind, Kind::ConfigUnknown);
        assert!(at_plan(error).is_ok());
        let unknown = configured(&[("cluster_name", Value::unknown())]);
        assert_eq!(unknown.cluster(&Value::Null), ClusterChoice::Unknown);
        assert_eq!(unknown.cluster(&Value::from("own")), ClusterChoice::Named("own".into()));
        assert!(at_plan(unknown.choose(&ClusterChoice::Unknown).await.err().unwrap()).is_ok());
        let error = Connections::new().choose(&ClusterChoice::None).await.err().unwrap();
        assert!(at_plan(error).is_err(), "nothing will ever name a cluster");
    },
    |run| {
        let keys = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
        let regions = [("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "")];
        run(&[&keys[..], &[("CASE", "no credentials")]].concat());
        run(&[&keys[..], &regions[..], &[("CASE", "no credentials, no region")]].concat());
        run(&[&regions[..], &[("CASE", "no region")]].concat());
        run(&[("CASE", "no cluster")]);
    }
);

lab_test!(
    a_kubernetes_block_is_about_the_provider_s_own_cluster,
    async {
        let nobody = block(&[("host", "https://127.0.0.1:1"), ("token", "x")]);
        let own = var("CLUSTER_NAME");
        // a resource names the cluster, the provider names none: as EKS says
        let connection = configured(&[("kubernetes", nobody.clone())]).connect(&own).await.unwrap();
        whoami(&connection.kube().await.unwrap()).await.unwrap();
        // the provider's may turn out to be that one
        let connections = configured(&[("cluster_name", Value::unknown()), ("kubernetes", nobody.clone())]);
        assert_eq!(connections.connect(&own).await.unwrap().kube().await.err().unwrap().kind, Kind::ConfigUnknown);
        let connection = configured(&[("cluster_name", Value::from(own.clone())), ("kubernetes", nobody)]).connect(&own).await.unwrap();
        assert!(whoami(&connection.kube().await.unwrap()).await.is_err());
    },
    |run| { run(&[]) }
);

lab_test!(
    what_aws_refuses_is_an_error_that_names_the_call,
    async {
        let error = failure(&of_cluster()).await;
        let kind = if var("CODE") == "AccessDeniedException" { Kind::Forbidden } else { Kind::Unauthorized };
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(error.action.starts_with("eks:DescribeCluster ") && error.message.contains("go away"), "{error}");
        assert!(kind == Kind::Unauthorized || error.remedy.contains("permission eks:DescribeCluster"), "{}", error.remedy);
        assert!(at_plan(error).is_err());
    },
    |run| {
        let proxy = Lab::shared().proxy();
        for code in ["AccessDeniedException", "ExpiredTokenException", "UnrecognizedClientException"] {
            proxy.clear();
            proxy.fault(Fault::on("eks:DescribeCluster").times(9).status(403, code, "go away"));
            run(&[("AWS_ENDPOINT_URL", &proxy.aws), ("CODE", code)]);
        }
        assert_eq!(proxy.count("eks:DescribeCluster"), 3, "never retried");
    }
);

lab_test!(
    a_cluster_is_gone_only_where_it_was,
    async {
        let connections = of_cluster();
        let arn = |region: &str, account: &str, name: &str| format!("arn:aws:eks:{region}:{account}:cluster/{name}");
        connections.confirm_gone(&arn("us-east-1", "123456789012", "former")).await.unwrap();
        let elsewhere = configured(&[("region", Value::from("eu-west-1"))]);
        assert_eq!(elsewhere.connect(&var("CLUSTER_NAME")).await.err().unwrap().kind, Kind::NotFound);
        for other in [arn("us-east-1", "123456789012", &var("CLUSTER_NAME")), arn("us-east-1", "111122223333", "former")] {
            let error = elsewhere.confirm_gone(&other).await.unwrap_err();
            assert_eq!(error.kind, Kind::Conflict, "{other}: {error}");
        }
    },
    |run| { run(&[]) }
);

pub async fn whoami(client: &kube::Client) -> Result<String, kube::Error> {
    let api: kube::Api<SelfSubjectReview> = kube::Api::all(client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    Ok(review.status.and_then(|s| s.user_info).and_then(|u| u.username).unwrap_or_default())
}

/// Who the API server takes a client with this `kubernetes` block for.
async fn whoami_with(kubernetes: Value) -> String {
    let connections = configured(&[("cluster_name", Value::from(var("CLUSTER_NAME"))), ("kubernetes", kubernetes)]);
    let connection = connections.connect(&var("CLUSTER_NAME")).await.unwrap();
    whoami(&connection.kube().await.unwrap()).await.unwrap()
}

async fn failure(connections: &Connections) -> Error {
    let Err(error) = connections.connect(&var("CLUSTER_NAME")).await else { panic!("it connects") };
    error
}
