//! Where the API server is, how it is known to be the one, and who it is told that we are.

use serde_json::{Value as Json, json};

use super::{Ask, Came, Case, World};

/// The cases.
pub fn cases(world: &World) -> Vec<Case> {
    let mut cases = servers(world);
    cases.extend(identities(world));
    cases.extend(kubeconfigs(world));
    cases
}

/// A case with this `kubernetes` block for the lab's cluster.
fn block(world: &World, rows: &[&'static str], block: Json) -> Case {
    Case::of(rows, json!({"cluster_name": world.cluster(), "kubernetes": block})).ask(Ask::Whoami)
}

/// A case in which nothing names the cluster but this block.
fn alone(rows: &[&'static str], block: Json) -> Case {
    Case::of(rows, json!({ "kubernetes": block })).ask(Ask::WhoamiWithoutCluster)
}

fn is(expected: &'static str) -> impl Fn(&Came) {
    move |came| assert_eq!(came.ok(), expected)
}

fn by_eks(came: &Came) {
    assert!(came.ok().starts_with("arn:aws:"), "{}", came.ok());
}

fn fails(words: &'static str) -> impl Fn(&Came) {
    move |came| assert!(came.err().contains(words), "{}", came.err())
}

fn servers(world: &World) -> Vec<Case> {
    let endpoint = world.lab.var("CLUSTER_ENDPOINT").to_owned();
    let localhost = endpoint.replace("127.0.0.1", "localhost");
    let elsewhere = endpoint.replace("127.0.0.1", "api.lab.invalid"); // only the recorder knows where that is
    let (ca, certificate, key) = (world.certificate("ca.crt"), world.certificate("admin.crt"), world.certificate("admin.key"));
    let admin = |mut block: Json| {
        block["client_certificate"] = json!(certificate);
        block["client_key"] = json!(key);
        block
    };
    let proxy = world.recorder.url.clone();
    let with_password = proxy.replace("http://", "http://night:shift@");
    let tunnelled = |came: &Came| {
        by_eks(came);
        assert!(came.seen.iter().any(|seen| seen.via == "tunnel" && seen.host == "api.lab.invalid"), "{:?}", came.seen);
    };
    let far = json!({"host": elsewhere, "tls_server_name": "kubernetes"});
    let mut proxied = far.clone();
    proxied["proxy_url"] = json!(with_password);
    vec![
        block(world, &["kubernetes.host"], json!({"host": localhost})).then(by_eks),
        block(world, &["KUBE_HOST"], json!({})).env("KUBE_HOST", &localhost).then(by_eks),
        // without a block, a cluster that is named is not led astray
        Case::of(&["KUBE_HOST"], json!({"cluster_name": world.cluster()}))
            .env("KUBE_HOST", "https://127.0.0.1:9")
            .ask(Ask::Whoami)
            .then(by_eks),
        alone(&["kubernetes.cluster_ca_certificate"], admin(json!({"host": endpoint, "cluster_ca_certificate": ca}))).then(is("lab-admin")),
        alone(&["KUBE_CLUSTER_CA_CERT_DATA"], admin(json!({"host": endpoint}))).env("KUBE_CLUSTER_CA_CERT_DATA", &ca).then(is("lab-admin")),
        block(world, &["kubernetes.tls_server_name"], json!({"host": localhost, "tls_server_name": "kubernetes.default.svc"})).then(by_eks),
        block(world, &["kubernetes.tls_server_name"], json!({"tls_server_name": "another.example.com"})).then(fails("certificate")),
        block(world, &["KUBE_TLS_SERVER_NAME"], json!({})).env("KUBE_TLS_SERVER_NAME", "another.example.com").then(fails("certificate")),
        alone(&["kubernetes.insecure"], admin(json!({"host": endpoint}))).then(fails("certificate")),
        alone(&["kubernetes.insecure"], admin(json!({"host": endpoint, "insecure": true}))).then(is("lab-admin")),
        alone(&["KUBE_INSECURE"], admin(json!({"host": endpoint}))).env("KUBE_INSECURE", "true").then(is("lab-admin")),
        block(world, &["kubernetes.proxy_url"], proxied).then(move |came| {
            tunnelled(came);
            let through = came.seen.iter().find(|seen| seen.via == "tunnel").unwrap();
            assert_eq!(through.proxy_authorization, "Basic bmlnaHQ6c2hpZnQ=");
        }),
        block(world, &["KUBE_PROXY_URL"], far.clone()).env("KUBE_PROXY_URL", &proxy).then(tunnelled),
        block(world, &["HTTPS_PROXY"], far.clone()).env("HTTPS_PROXY", &proxy).then(tunnelled),
        block(world, &["https_proxy"], far.clone()).env("https_proxy", &proxy).then(tunnelled),
        block(world, &["NO_PROXY"], far).env("HTTPS_PROXY", &proxy).env("NO_PROXY", ".lab.invalid").then(|came| {
            assert!(came.answer.is_err() && came.seen.iter().all(|seen| seen.via != "tunnel"), "{:?}", came.seen);
        }),
        // the cluster's own endpoint is at a loopback address here: no proxy
        block(world, &["HTTPS_PROXY"], json!({})).env("HTTPS_PROXY", "http://127.0.0.1:9").then(by_eks),
    ]
}

fn identities(world: &World) -> Vec<Case> {
    let (certificate, key) = (world.certificate("admin.crt"), world.certificate("admin.key"));
    let account = world.lab.limited_token("rows-token", "");
    let named = is("system:serviceaccount:default:rows-token");
    let named_too = is("system:serviceaccount:default:rows-token");
    let basic = |came: &Came| {
        assert!(
            came.seen.iter().any(|seen| seen.authorization == "Basic bmlnaHQ6c2hpZnQ=" && seen.path.contains("selfsubjectreviews")),
            "{:?}",
            came.seen
        );
    };
    // the first token is too old: the API server refuses it, and the plugin runs again
    let script =
        format!("test \"$NIGHT\" = shift || exit 9; mkdir $1 && age=1000; exec {} $0 --age=${{age:-0}}", world.lab.var("LAB_PYTHON"));
    let token = crate::common::repository().join("environment/eks-token.py");
    let ran = world.files.path().join("ran");
    let exec = json!({"api_version": "client.authentication.k8s.io/v1beta1", "command": "sh", "args": ["-c", script, token, ran], "env": {"NIGHT": "shift"}});
    vec![
        block(world, &["kubernetes.token"], json!({"token": account})).then(named),
        block(world, &["KUBE_TOKEN"], json!({})).env("KUBE_TOKEN", &account).then(named_too),
        block(
            world,
            &["kubernetes.client_certificate", "kubernetes.client_key"],
            json!({"client_certificate": certificate, "client_key": key}),
        )
        .then(is("lab-admin")),
        block(world, &["KUBE_CLIENT_CERT_DATA", "KUBE_CLIENT_KEY_DATA"], json!({}))
            .env("KUBE_CLIENT_CERT_DATA", &certificate)
            .env("KUBE_CLIENT_KEY_DATA", &key)
            .then(is("lab-admin")),
        // the API server itself takes no passwords any more: what is before it sees them
        alone(
            &["kubernetes.username", "kubernetes.password"],
            json!({"host": world.recorder.url, "username": "night", "password": "shift"}),
        )
        .then(basic),
        alone(&["KUBE_USER", "KUBE_PASSWORD"], json!({"host": world.recorder.url}))
            .env("KUBE_USER", "night")
            .env("KUBE_PASSWORD", "shift")
            .then(basic),
        block(
            world,
            &["kubernetes.exec.api_version", "kubernetes.exec.command", "kubernetes.exec.args", "kubernetes.exec.env"],
            json!({"exec": exec}),
        )
        .then(by_eks),
    ]
}

/// Two users, two clusters, two contexts, in one file or in two.
fn kubeconfigs(world: &World) -> Vec<Case> {
    let endpoint = world.lab.var("CLUSTER_ENDPOINT");
    let certs = world.lab.dir().join("certs");
    let file = |name: &str| certs.join(name).to_str().unwrap().to_owned();
    let clusters = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: dead\n\
         clusters:\n- {{name: live, cluster: {{server: '{endpoint}', certificate-authority: '{ca}'}}}}\n- {{name: dead, cluster: {{server: 'https://127.0.0.1:9'}}}}\n\
         contexts:\n- {{name: dead, context: {{cluster: dead, user: nobody}}}}\n- {{name: live, context: {{cluster: live, user: admin}}}}\n",
        ca = file("ca.crt")
    );
    let users = format!(
        "users:\n- {{name: admin, user: {{client-certificate: '{crt}', client-key: '{key}'}}}}\n- {{name: nobody, user: {{}}}}\n- {{name: token, user: {{token: '{token}'}}}}\n",
        crt = file("admin.crt"),
        key = file("admin.key"),
        token = world.lab.limited_token("rows-kubeconfig", "")
    );
    let whole = world.file("kubeconfig", &format!("{clusters}{users}"));
    let (one, two) = (world.file("kubeconfig-1", &clusters), world.file("kubeconfig-2", &format!("apiVersion: v1\nkind: Config\n{users}")));
    let by_token = || is("system:serviceaccount:default:rows-kubeconfig");
    let of = |more: Json| {
        let mut block = json!({"config_path": whole, "config_context": "live"});
        block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        block
    };
    vec![
        alone(&["kubernetes.config_path", "kubernetes.config_context"], of(json!({}))).then(is("lab-admin")),
        alone(&["kubernetes.config_paths"], json!({"config_paths": [one, two], "config_context": "live"})).then(is("lab-admin")),
        alone(&["kubernetes.config_context_auth_info"], of(json!({"config_context_auth_info": "token"}))).then(by_token()),
        alone(
            &["kubernetes.config_context_cluster"],
            json!({"config_path": whole, "config_context_cluster": "live", "config_context_auth_info": "token"}),
        )
        .then(by_token()),
        // no block, no cluster: the variables alone
        Case::of(&["KUBE_CONFIG_PATH", "KUBE_CTX"], json!({}))
            .env("KUBE_CONFIG_PATH", &whole)
            .env("KUBE_CTX", "live")
            .ask(Ask::WhoamiWithoutCluster)
            .then(is("lab-admin")),
        alone(&["KUBE_CONFIG_PATHS"], json!({"config_context": "live"}))
            .env("KUBE_CONFIG_PATHS", &format!("{one}:{two}"))
            .then(is("lab-admin")),
        alone(&["KUBE_CTX_AUTH_INFO", "KUBE_CTX_CLUSTER"], json!({"config_path": whole}))
            .env("KUBE_CTX_AUTH_INFO", "token")
            .env("KUBE_CTX_CLUSTER", "live")
            .then(by_token()),
        alone(&["kubernetes.config_context"], json!({"config_path": whole, "config_context": "nowhere"})).then(fails("config_context")),
    ]
}
