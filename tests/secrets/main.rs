//! Secrets are planted wherever one is taken, and nothing that a user keeps or sends on holds them: state, plan, logs at TRACE, errors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "../common/mod.rs"]
mod common;

use common::{Lab, Options, Outcome, Recorder, Tofu};

/// A configuration that takes secrets from files, as `file()` gives them: the client itself knows of no sensitive value then.
struct Planted {
    name: &'static str,
    /// Arguments of the provider block, besides the cluster's name.
    provider: String,
    /// Files with a secret each.
    files: Vec<(&'static str, String)>,
    /// Variables of the environment.
    variables: Vec<(&'static str, String)>,
    /// The message that must come; empty: it works.
    fails_with: &'static str,
    /// The chart's repository, where it is not the lab's.
    repository: Option<String>,
}

#[test]
fn no_secret_leaves_the_provider() {
    let lab = Lab::start(Options { cluster_name: "vault".into(), admin: false, ..Options::default() });
    lab.install_crds();
    let recorder = Recorder::start(&lab);
    let role = lab.boto3(
        "
         trust = {'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Principal': {'AWS': '*'}, 'Action': 'sts:AssumeRole'}]}
         result = iam.create_role(RoleName='secrets', AssumeRolePolicyDocument=json.dumps(trust))['Role']['Arn']",
    );
    for planted in [working(&lab, &recorder, role.as_str().unwrap()), failing(&lab, &recorder)].into_iter().flatten() {
        let tofu = workspace(&lab, &planted);
        let mut told = vec![];
        let mut note = |outcome: Outcome| {
            assert!(outcome.stderr.contains("[TRACE]"), "{}: the logs are on", planted.name);
            told.push(outcome.stdout.clone() + &outcome.stderr);
            outcome
        };
        let plan = note(tofu.run(&["plan", "-json", "-out=tfplan"]));
        let last = if plan.code == 0 { note(tofu.run(&["apply", "-json", "tfplan"])) } else { plan };
        match planted.fails_with {
            "" => drop(last.ok()),
            words => {
                assert!(last.errors().iter().any(|e| e.text().contains(words)), "{}: no {words:?} in {:#?}", planted.name, last.errors())
            }
        }
        for show in [vec!["show", "-json", "tfplan"], vec!["show", "-json"]] {
            told.push(note_output(&tofu, &show));
        }
        if planted.fails_with.is_empty() {
            told.push(std::fs::read_to_string(tofu.dir().join("terraform.tfstate")).unwrap());
            let destroyed = tofu.destroy().ok();
            told.push(destroyed.stdout + &destroyed.stderr);
        }
        for (file, secret) in planted.files.iter().map(|(f, s)| (*f, s)).chain(planted.variables.iter().map(|(v, s)| (*v, s))) {
            nowhere(&told, secret, &format!("{}: the secret of {file}", planted.name));
        }
    }
    a_value_of_the_chart_is_in_the_state_alone(&lab);
}

/// What `set_sensitive` sets is an argument, which a state holds; nothing else that is printed or logged does, not even drift.
fn a_value_of_the_chart_is_in_the_state_alone(lab: &Lab) {
    let hcl = |note: &str| {
        format!(
            r#"
            provider "karpenter" {{ cluster_name = "{}" }}
            resource "karpenter_bundle" "this" {{
              version = "1.14.1"
              chart {{
                repository = "{}"
                set_sensitive {{
                  name  = "podAnnotations.note"
                  value = file("{note}")
                }}
              }}
            }}"#,
            lab.cluster_name(),
            lab.chart_repository()
        )
    };
    let secrets = [("first", "planted-value-of-the-chart"), ("second", "planted-value-that-follows"), ("third", "planted-value-of-helm")];
    let tofu = Tofu::new(lab, &hcl("first")).env("TF_LOG", "TRACE");
    for (name, secret) in secrets {
        std::fs::write(tofu.dir().join(name), secret).unwrap();
    }
    let mut told = vec![];
    let mut run = |tofu: &Tofu, args: &[&str]| {
        let outcome = tofu.run(args).ok();
        told.push(outcome.stdout.clone() + &outcome.stderr);
        outcome
    };
    run(&tofu, &["plan", "-no-color"]);
    run(&tofu, &["apply", "-json", "-auto-approve"]);
    tofu.write("main.tf", &hcl("second"));
    run(&tofu, &["apply", "-no-color", "-auto-approve"]);
    assert!(std::fs::read_to_string(tofu.dir().join("terraform.tfstate")).unwrap().contains(secrets[1].1));
    let charts = format!("{}/karpenter", lab.chart_repository());
    let note = format!("podAnnotations.note={}", secrets[2].1);
    lab.helm(&["-n", "kube-system", "upgrade", "karpenter", &charts, "--plain-http", "--reuse-values", "--set", &note]);
    let drifted = run(&tofu, &["plan", "-no-color"]);
    assert!(drifted.stdout.contains("podAnnotations.note differs"), "{}", drifted.stdout);
    run(&tofu, &["show", "-no-color"]);
    tofu.destroy().ok();
    secrets.iter().for_each(|(name, secret)| nowhere(&told, secret, name));
}

fn note_output(tofu: &Tofu, args: &[&str]) -> String {
    let output = tofu.command(args).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A secret of several lines is looked for line by line: a log may break or escape it.
fn nowhere(told: &[String], secret: &str, what: &str) {
    for line in secret.lines().filter(|line| line.len() > 8 && !line.starts_with("-----")) {
        for text in told {
            if let Some(at) = text.find(line) {
                let around: String = text[..at].chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect();
                panic!("{what} is told after: {around}");
            }
        }
    }
}

fn workspace(lab: &Lab, planted: &Planted) -> Tofu {
    let with_chart = planted.provider.contains("registry");
    let repository = planted.repository.clone().unwrap_or_else(|| lab.chart_repository());
    let bundle = format!(
        r#"resource "karpenter_bundle" "this" {{
          version = "1.14.1"
          chart {{
            create     = {with_chart}
            repository = "{repository}"
          }}
        }}"#
    );
    // where the pool fails, a bundle beside it would be made, and stay
    let bundle = if with_chart || planted.fails_with.is_empty() { bundle } else { String::new() };
    let hcl = format!(
        r#"
        provider "karpenter" {{
          cluster_name = "{cluster}"
          {provider}
        }}
        resource "karpenter_nodepool" "this" {{
          name = "secrets"
          timeouts {{ create = "1s" }}
          template {{
            node_class_ref {{ name = "none" }}
            requirements = {{ "kubernetes.io/arch" = ["arm64"] }}
          }}
        }}
        {bundle}"#,
        cluster = lab.cluster_name(),
        provider = planted.provider,
    );
    let mut tofu = Tofu::new(lab, &hcl).env("TF_LOG", "TRACE");
    for (name, value) in &planted.variables {
        tofu = tofu.env(name, value);
    }
    for (name, secret) in &planted.files {
        std::fs::write(tofu.dir().join(name), secret).unwrap();
    }
    tofu
}

fn working(lab: &Lab, recorder: &Recorder, role: &str) -> Vec<Planted> {
    let read = |name: &str| std::fs::read_to_string(lab.dir().join("certs").join(name)).unwrap();
    lab.kubectl_text(&["create", "serviceaccount", "vault"]);
    lab.kubectl_text(&["create", "clusterrolebinding", "vault", "--clusterrole=cluster-admin", "--serviceaccount=default:vault"]);
    let token = lab.kubectl_text(&["create", "token", "vault"]).trim().to_owned();
    let printed =
        format!(r#"{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {{"token": "{token}"}}}}"#);
    let elsewhere = lab.var("CLUSTER_ENDPOINT").replace("127.0.0.1", "api.lab.invalid");
    let registry = lab.var("LAB_REGISTRY");
    vec![
        Planted {
            name: "keys of AWS, a token of Kubernetes, a password of the registry",
            provider: format!(
                r#"access_key = file("key")
                   secret_key = file("secret")
                   token      = file("session")
                   registry {{
                     url      = "oci://{registry}"
                     username = "vault"
                     password = file("password")
                   }}
                   kubernetes {{ token = file("bearer") }}"#
            ),
            files: vec![
                ("key", "PLANTED0ACCESS000KEY".into()),
                ("secret", "planted-secret-key-of-aws".into()),
                ("session", "planted-session-token-of-aws".into()),
                ("password", "planted-password-of-the-registry".into()),
                ("bearer", token.clone()),
            ],
            variables: vec![],
            fails_with: "",
            repository: None,
        },
        Planted {
            name: "variables",
            provider: "kubernetes {}".into(),
            files: vec![],
            variables: vec![
                ("AWS_SECRET_ACCESS_KEY", "planted-secret-key-of-the-shell".into()),
                ("AWS_SESSION_TOKEN", "planted-session-token-of-the-shell".into()),
                ("KUBE_CLIENT_CERT_DATA", read("admin.crt")),
                ("KUBE_CLIENT_KEY_DATA", read("admin.key")),
            ],
            fails_with: "",
            repository: None,
        },
        Planted {
            name: "a web identity, a client's key, passwords of proxies",
            provider: format!(
                r#"https_proxy = "http://vault:${{file("proxy")}}@127.0.0.1:9"
                   assume_role_with_web_identity {{
                     role_arn           = "{role}"
                     web_identity_token = file("web")
                   }}
                   kubernetes {{
                     host               = "{elsewhere}"
                     tls_server_name    = "kubernetes"
                     proxy_url          = "{proxy}"
                     client_certificate = file("certificate")
                     client_key         = file("private")
                   }}"#,
                proxy = recorder.url.replace("http://", r#"http://vault:${file("proxy")}@"#),
            ),
            files: vec![
                ("web", "planted-web-identity-token".into()),
                ("proxy", "planted-password-of-the-proxy".into()),
                ("certificate", read("admin.crt")),
                ("private", read("admin.key")),
            ],
            variables: vec![],
            fails_with: "",
            repository: None,
        },
        Planted {
            name: "a plugin",
            provider: r#"kubernetes {
                  exec {
                    api_version = "client.authentication.k8s.io/v1"
                    command     = "sh"
                    args        = ["-c", "cat printed"]
                    env         = { PLANTED = file("variable") }
                  }
                }"#
            .into(),
            files: vec![("variable", "planted-variable-of-the-plugin".into()), ("printed", printed), ("token", token)],
            variables: vec![],
            fails_with: "",
            repository: None,
        },
    ]
}

fn failing(lab: &Lab, recorder: &Recorder) -> Vec<Planted> {
    let host = recorder.url.trim_start_matches("http://");
    let kubernetes = |name, provider: &str, files, fails_with| Planted {
        name,
        provider: provider.into(),
        files,
        variables: vec![],
        fails_with,
        repository: None,
    };
    vec![
        kubernetes(
            "a token that is refused",
            r#"kubernetes { token = file("bearer") }"#,
            vec![("bearer", "planted-token-that-is-refused".into())],
            "Unauthorized",
        ),
        kubernetes(
            "a key that is none",
            r#"kubernetes {
                 client_certificate = file("certificate")
                 client_key         = file("private")
               }"#,
            vec![
                ("certificate", std::fs::read_to_string(lab.dir().join("certs/admin.crt")).unwrap()),
                (
                    "private",
                    "-----BEGIN PRIVATE KEY-----\ncGxhbnRlZC1wcml2YXRlLWtleS10aGF0LWlzLW5vbmU=\n-----END PRIVATE KEY-----\n".into(),
                ),
            ],
            "key",
        ),
        kubernetes(
            "a plugin that quotes what it was given",
            r#"kubernetes {
                 exec {
                   api_version = "client.authentication.k8s.io/v1"
                   command     = "sh"
                   args        = ["-c", "echo planted-output-of-a-plugin; echo no luck with $PLANTED >&2; exit 1"]
                   env         = { PLANTED = file("variable") }
                 }
               }"#,
            vec![("variable", "planted-variable-that-is-quoted".into())],
            "no luck with (the value of PLANTED)",
        ),
        kubernetes(
            "URLs with passwords that are refused",
            r#"https_proxy = "gopher://vault:${file("one")}@127.0.0.1"
               kubernetes { proxy_url = "socks4://vault:${file("two")}@127.0.0.1" }"#,
            vec![("one", "planted-password-in-one-url".into()), ("two", "planted-password-in-another".into())],
            "it must be text that matches",
        ),
        Planted {
            name: "a password that a registry refuses",
            provider: format!(
                r#"registry {{
                     url      = "{host}"
                     username = "vault"
                     password = file("password")
                   }}"#
            ),
            files: vec![("password", "planted-password-that-is-refused".into())],
            variables: vec![],
            fails_with: "registry",
            repository: Some(format!("oci://{host}/charts")),
        },
        Planted {
            name: "an identity that STS refuses",
            provider: r#"endpoints { sts = "http://127.0.0.1:9" }
                max_retries = 0
                assume_role_with_web_identity {
                  role_arn                = "arn:aws:iam::123456789012:role/nobody"
                  web_identity_token_file = "web"
                }"#
            .into(),
            files: vec![("web", "planted-token-that-sts-never-gets".into())],
            variables: vec![("AWS_SESSION_TOKEN", "planted-session-beside-it".into())],
            fails_with: "sts:AssumeRoleWithWebIdentity",
            repository: None,
        },
    ]
}
