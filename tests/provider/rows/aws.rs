//! Where AWS is, whose credentials count, and how its calls are made.

use serde_json::{Value as Json, json};

use super::{Ask, Came, Case, World};

const CONFIG: &str = "[profile night]\nregion = eu-west-1\n[profile silent]\nregion = eu-west-2\n";
const CREDENTIALS: &str = "[night]\naws_access_key_id = NIGHT000000000000KEY\naws_secret_access_key = night-secret\n";

/// The cases.
pub fn cases(world: &World) -> Vec<Case> {
    let cluster = json!({"cluster_name": world.cluster()});
    let with = |more: Json| {
        let mut config = cluster.clone();
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    };
    let mut cases = regions(world, &with);
    cases.extend(sources(world, &with));
    cases.extend(proxies(world, &with));
    cases.extend(manners(world, &with));
    cases
}

type With<'a> = &'a dyn Fn(Json) -> Json;

fn regions(world: &World, with: With<'_>) -> Vec<Case> {
    let in_region = |region: &'static str| move |came: &Came| assert_eq!(came.call("eks").region, region);
    let arn = format!("arn:aws:eks:us-east-1:{}:cluster/{}", world.lab.account_id(), world.cluster());
    vec![
        Case::of(&["cluster_name"], with(json!({}))).then(move |came| assert_eq!(came.ok(), arn)),
        Case::of(&["region"], with(json!({"region": "eu-west-1"}))).then(in_region("eu-west-1")),
        Case::of(&["AWS_REGION"], with(json!({}))).env("AWS_REGION", "eu-west-2").then(in_region("eu-west-2")),
        Case::of(&["AWS_DEFAULT_REGION"], with(json!({})))
            .env("AWS_REGION", "")
            .env("AWS_DEFAULT_REGION", "eu-north-1")
            .then(in_region("eu-north-1")),
        Case::of(&["sts_region"], with(json!({"sts_region": "eu-west-1"}))).ask(Ask::Services).then(|came| {
            came.ok();
            assert_eq!((came.call("sts").region.as_str(), came.call("eks").region.as_str()), ("eu-west-1", "us-east-1"));
        }),
    ]
}

/// Which key signs: of the block, of a profile, of the environment, of which file.
fn sources(world: &World, with: With<'_>) -> Vec<Case> {
    let (config, credentials) = (world.file("aws-config", CONFIG), world.file("aws-credentials", CREDENTIALS));
    let night = |came: &Came| assert_eq!(came.call("eks").key, "NIGHT000000000000KEY");
    let in_files = json!({"shared_config_files": [config], "shared_credentials_files": [credentials]});
    let keys = json!({"access_key": "BLOCK000000000000KEY", "secret_key": "block-secret", "token": "block-token"});
    let without = |case: Case| case.env("AWS_ACCESS_KEY_ID", "").env("AWS_SECRET_ACCESS_KEY", "");
    let of_profile = |mut files: Json| {
        files["profile"] = json!("night");
        with(files)
    };
    vec![
        // although the environment has a key, too
        Case::of(&["profile", "shared_credentials_files"], of_profile(in_files.clone())).then(night),
        Case::of(&["shared_config_files"], of_profile(in_files.clone()))
            .env("AWS_REGION", "")
            .env("AWS_DEFAULT_REGION", "")
            .then(|came| assert_eq!(came.call("eks").region, "eu-west-1")),
        without(Case::of(&["AWS_PROFILE"], with(in_files)).env("AWS_PROFILE", "night")).then(night),
        without(Case::of(&["AWS_SHARED_CREDENTIALS_FILE"], of_profile(json!({}))))
            .env("AWS_SHARED_CREDENTIALS_FILE", &credentials)
            .then(night),
        Case::of(&["AWS_CONFIG_FILE"], of_profile(json!({"shared_credentials_files": [credentials]})))
            .env("AWS_CONFIG_FILE", &config)
            .env("AWS_REGION", "")
            .env("AWS_DEFAULT_REGION", "")
            .then(|came| assert_eq!(came.call("eks").region, "eu-west-1")),
        // a profile that is not there is no reason to take somebody else's credentials
        Case::of(&["profile"], with(json!({"profile": "nobody"}))).then(|came| {
            assert!(came.err().starts_with("NoCredentials"), "{}", came.err());
            assert!(came.seen.is_empty());
        }),
        Case::of(&["access_key", "secret_key", "token"], with(keys)).then(|came| {
            let call = came.call("eks");
            assert_eq!((call.key.as_str(), call.session.as_str()), ("BLOCK000000000000KEY", "block-token"));
        }),
        Case::of(&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"], with(json!({})))
            .env("AWS_ACCESS_KEY_ID", "SHELL000000000000KEY")
            .env("AWS_SECRET_ACCESS_KEY", "shell-secret")
            .env("AWS_SESSION_TOKEN", "shell-token")
            .then(|came| {
                let call = came.call("eks");
                assert_eq!((call.key.as_str(), call.session.as_str()), ("SHELL000000000000KEY", "shell-token"));
            }),
        Case::of(&["allowed_account_ids"], with(json!({"allowed_account_ids": [world.lab.account_id()]}))).then(|came| {
            came.ok();
        }),
        Case::of(&["allowed_account_ids"], with(json!({"allowed_account_ids": ["111122223333"]}))).then(refused("allowed_account_ids")),
        Case::of(&["forbidden_account_ids"], with(json!({"forbidden_account_ids": [world.lab.account_id()]})))
            .then(refused("forbidden_account_ids")),
        Case::of(&["default_tags.tags"], with(json!({"default_tags": {"tags": {"team": "night"}}})))
            .ask(Ask::Tags)
            .then(|came| assert!(came.ok().starts_with(r#"{"team": "night"} "#), "{}", came.ok())),
        Case::of(
            &["ignore_tags.keys", "ignore_tags.key_prefixes"],
            with(json!({"ignore_tags": {"keys": ["owner"], "key_prefixes": ["audit:"]}})),
        )
        .ask(Ask::Tags)
        .then(|came| assert!(came.ok().contains(r#"["owner"]"#) && came.ok().contains(r#"["audit:"]"#), "{}", came.ok())),
    ]
}

fn refused(argument: &'static str) -> impl Fn(&Came) {
    move |came| {
        let error = came.err();
        assert!(error.starts_with("Invalid") && error.contains(argument) && error.contains("123456789012"), "{error}");
        assert!(came.seen.iter().all(|seen| seen.service == "sts"), "nothing else was asked: {:?}", came.seen);
    }
}

fn proxies(world: &World, with: With<'_>) -> Vec<Case> {
    let proxy = world.recorder.url.clone();
    let with_password = proxy.replace("http://", "http://night:shift@");
    let bundle = world.lab.dir().join("certs/ca.crt").to_str().unwrap().to_owned();
    let by_http = |came: &Came| assert_eq!((came.ok(), came.call("eks").via.as_str(), came.call("eks").host.as_str()).1, "http");
    let by_https = |came: &Came| {
        came.ok();
        assert_eq!((came.call("eks").via.as_str(), came.call("eks").host.as_str()), ("connect", "eks.us-east-1.amazonaws.com"));
    };
    let not_at_all = |came: &Came| assert!(came.err().contains("could not be sent") && came.seen.is_empty(), "{}", came.err());
    let http = |rows: &[&'static str], more: Json| Case::of(rows, with(more)).env("AWS_ENDPOINT_URL", "http://aws.lab.invalid");
    // no endpoint at all: the SDK's own
    let https = |rows: &[&'static str], more: Json| Case::of(rows, with(more)).env("AWS_ENDPOINT_URL", "");
    let trusting = json!({"custom_ca_bundle": bundle});
    vec![
        http(&["http_proxy"], json!({"http_proxy": with_password})).then(|came| {
            came.ok();
            assert_eq!(came.call("eks").proxy_authorization, "Basic bmlnaHQ6c2hpZnQ=");
        }),
        http(&["HTTP_PROXY"], json!({})).env("HTTP_PROXY", &proxy).then(by_http),
        http(&["http_proxy"], json!({})).env("http_proxy", &proxy).then(by_http),
        https(&["https_proxy", "custom_ca_bundle"], json!({"https_proxy": proxy, "custom_ca_bundle": bundle})).then(by_https),
        https(&["HTTPS_PROXY", "AWS_CA_BUNDLE"], json!({})).env("HTTPS_PROXY", &proxy).env("AWS_CA_BUNDLE", &bundle).then(by_https),
        https(&["https_proxy"], trusting.clone()).env("https_proxy", &proxy).then(by_https),
        // not trusted without the bundle, and a file that is none is refused by its name
        https(&["custom_ca_bundle"], json!({"https_proxy": proxy, "max_retries": 0}))
            .then(|came| assert!(came.seen.is_empty() && came.answer.is_err())),
        https(&["custom_ca_bundle"], json!({"custom_ca_bundle": "/nowhere.pem"}))
            .then(|came| assert!(came.err().starts_with("Invalid") && came.err().contains("/nowhere.pem"), "{}", came.err())),
        http(&["no_proxy"], json!({"http_proxy": proxy, "no_proxy": ".lab.invalid", "max_retries": 0})).then(not_at_all),
        http(&["NO_PROXY"], json!({"http_proxy": proxy, "max_retries": 0})).env("NO_PROXY", "aws.lab.invalid").then(not_at_all),
        http(&["no_proxy"], json!({"http_proxy": proxy, "max_retries": 0})).env("no_proxy", "*").then(not_at_all),
        // loopback needs none: the lab's endpoint is there, and a proxy that is not
        Case::of(&["http_proxy"], with(json!({"http_proxy": "http://127.0.0.1:9"}))).then(|came| {
            came.ok();
            assert_eq!(came.call("eks").via, "direct");
        }),
        https(&["use_fips_endpoint"], json!({"https_proxy": proxy, "custom_ca_bundle": bundle, "use_fips_endpoint": true}))
            .then(|came| assert_eq!(came.call("eks").host, "fips.eks.us-east-1.amazonaws.com")),
        https(&["AWS_USE_FIPS_ENDPOINT"], json!({"https_proxy": proxy, "custom_ca_bundle": bundle}))
            .env("AWS_USE_FIPS_ENDPOINT", "true")
            .then(|came| assert_eq!(came.call("eks").host, "fips.eks.us-east-1.amazonaws.com")),
        https(&["use_dualstack_endpoint"], json!({"https_proxy": proxy, "custom_ca_bundle": bundle, "use_dualstack_endpoint": true}))
            .then(|came| assert_eq!(came.call("eks").host, "eks.us-east-1.api.aws")),
        https(&["AWS_USE_DUALSTACK_ENDPOINT"], json!({"https_proxy": proxy, "custom_ca_bundle": bundle}))
            .env("AWS_USE_DUALSTACK_ENDPOINT", "true")
            .then(|came| assert_eq!(came.call("eks").host, "eks.us-east-1.api.aws")),
    ]
}

/// Retries, and endpoints of single services.
fn manners(world: &World, with: With<'_>) -> Vec<Case> {
    let url = world.recorder.url.clone();
    let calls = |calls: usize| move |came: &Came| assert_eq!(came.seen.len(), calls, "{:?}", came.answer);
    // what listens here records the call and then closes the connection
    let broken = "http://broken.lab.invalid";
    let through = |more: Json| {
        let mut config = with(more);
        config["http_proxy"] = json!(url);
        config
    };
    // the SDK tells AWS how it retries: F is adaptive, E standard
    let adaptive = |came: &Came| {
        let agent = &came.call("eks").agent;
        let told = agent.split_whitespace().find_map(|word| word.strip_prefix("m/")).unwrap_or_default();
        assert!(told.split(',').any(|feature| feature == "F"), "{agent}");
    };
    let services = ["eks", "iam", "sqs", "eventbridge", "sts"];
    let endpoints: Json = services.iter().map(|service| ((*service).to_owned(), json!(url))).collect::<serde_json::Map<_, _>>().into();
    let all = |came: &Came| {
        came.ok();
        for service in ["eks", "iam", "sqs", "events", "sts"] {
            assert_eq!(came.call(service).via, "direct");
        }
    };
    let by_variable = services.iter().fold(
        Case::of(
            &[
                "AWS_ENDPOINT_URL_EKS",
                "AWS_ENDPOINT_URL_IAM",
                "AWS_ENDPOINT_URL_SQS",
                "AWS_ENDPOINT_URL_EVENTBRIDGE",
                "AWS_ENDPOINT_URL_STS",
            ],
            with(json!({})),
        )
        .env("AWS_ENDPOINT_URL", ""),
        |case, service| case.env(&format!("AWS_ENDPOINT_URL_{}", service.to_uppercase()), &url),
    );
    vec![
        Case::of(&["max_retries"], through(json!({"max_retries": 1}))).env("AWS_ENDPOINT_URL", broken).then(calls(2)),
        Case::of(&["AWS_MAX_ATTEMPTS"], through(json!({}))).env("AWS_ENDPOINT_URL", broken).env("AWS_MAX_ATTEMPTS", "3").then(calls(3)),
        Case::of(&["retry_mode"], with(json!({"retry_mode": "adaptive"}))).then(adaptive),
        Case::of(&["AWS_RETRY_MODE"], with(json!({}))).env("AWS_RETRY_MODE", "adaptive").then(adaptive),
        Case::of(
            &["endpoints.eks", "endpoints.iam", "endpoints.sqs", "endpoints.eventbridge", "endpoints.sts"],
            with(json!({"endpoints": endpoints})),
        )
        .env("AWS_ENDPOINT_URL", "")
        .ask(Ask::Services)
        .then(all),
        by_variable.ask(Ask::Services).then(all),
        Case::of(&["AWS_ENDPOINT_URL"], with(json!({}))).ask(Ask::Services).then(all),
        Case::of(
            &["registry.url", "registry.username", "registry.password"],
            with(json!({"registry": [
                {"url": "oci://other.example.com", "username": "x", "password": "y"},
                {"url": url.replace("http://", "oci://"), "username": "night", "password": "shift"}]})),
        )
        .ask(Ask::Pull)
        .then(|came| assert!(came.seen.iter().any(|seen| seen.authorization == "Basic bmlnaHQ6c2hpZnQ="), "{:?}", came.seen)),
    ]
}
