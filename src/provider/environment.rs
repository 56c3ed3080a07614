//! The environment variables of the kubernetes provider, for what the `kubernetes` block leaves out.

use super::config::Kubernetes;

/// The block with what the environment adds to it. It counts where the block is written, and where no cluster is named: a kubeconfig that
/// lies in the environment for other programs must not lead to another cluster than the one that the configuration names.
pub fn kubernetes(block: Option<&Kubernetes>, names_cluster: bool) -> Option<Kubernetes> {
    with(block, names_cluster, &|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

fn with(block: Option<&Kubernetes>, names_cluster: bool, variable: &dyn Fn(&str) -> Option<String>) -> Option<Kubernetes> {
    let mut merged = match (block, names_cluster) {
        (Some(block), _) => block.clone(),
        (None, false) => Kubernetes::default(),
        (None, true) => return None,
    };
    let fill = |value: &mut Option<String>, name: &str| *value = value.take().or_else(|| variable(name));
    fill(&mut merged.host, "KUBE_HOST");
    fill(&mut merged.proxy_url, "KUBE_PROXY_URL");
    if merged.config_path.is_none() && merged.config_paths.is_none() {
        let list = variable("KUBE_CONFIG_PATHS").map(|all| std::env::split_paths(&all).map(|p| p.to_string_lossy().into_owned()).collect());
        merged.config_paths = list;
        fill(&mut merged.config_path, "KUBE_CONFIG_PATH");
    }
    fill(&mut merged.config_context, "KUBE_CTX");
    fill(&mut merged.config_context_auth_info, "KUBE_CTX_AUTH_INFO");
    fill(&mut merged.config_context_cluster, "KUBE_CTX_CLUSTER");
    // Who is written in the block is not mixed with somebody from the environment.
    if !merged.has_identity() {
        fill(&mut merged.token, "KUBE_TOKEN");
        if merged.token.is_none() {
            fill(&mut merged.client_certificate, "KUBE_CLIENT_CERT_DATA");
            fill(&mut merged.client_key, "KUBE_CLIENT_KEY_DATA");
        }
        if merged.token.is_none() && merged.client_certificate.is_none() {
            fill(&mut merged.username, "KUBE_USER");
            fill(&mut merged.password, "KUBE_PASSWORD");
        }
    }
    if merged.insecure.is_none() && merged.cluster_ca_certificate.is_none() {
        merged.insecure = variable("KUBE_INSECURE").and_then(|text| text.parse().ok());
    }
    if merged.insecure != Some(true) {
        fill(&mut merged.cluster_ca_certificate, "KUBE_CLUSTER_CA_CERT_DATA");
        fill(&mut merged.tls_server_name, "KUBE_TLS_SERVER_NAME");
    }
    (block.is_some() || merged.names_a_server()).then_some(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
        move |name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn a_named_cluster_is_not_led_astray() {
        let variables = of(&[("KUBE_CONFIG_PATH", "/other"), ("KUBE_TOKEN", "t")]);
        assert!(with(None, true, &variables).is_none());
        assert_eq!(with(None, false, &variables).unwrap().config_path.as_deref(), Some("/other"));
        assert!(with(None, false, &of(&[("KUBE_TOKEN", "t")])).is_none(), "it names no server");
        assert_eq!(with(Some(&Kubernetes::default()), true, &variables).unwrap().token.as_deref(), Some("t"));
    }

    #[test]
    fn what_is_written_wins() {
        let variables = of(&[("KUBE_TOKEN", "t"), ("KUBE_INSECURE", "true"), ("KUBE_CONFIG_PATHS", "/a:/b"), ("KUBE_HOST", "https://e")]);
        let block = Kubernetes {
            host: Some("https://w".into()),
            cluster_ca_certificate: Some("pem".into()),
            client_certificate: Some("c".into()),
            ..Kubernetes::default()
        };
        let merged = with(Some(&block), true, &variables).unwrap();
        assert_eq!((merged.host.as_deref(), merged.token, merged.insecure), (Some("https://w"), None, None));
        assert_eq!(merged.config_paths.unwrap(), ["/a", "/b"]);
    }
}
