//! Credential plugins of kubeconfigs and of the `kubernetes` block: programs that print an ExecCredential.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderValue;
use kube::config::ExecConfig;
use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::{Error, Kind};

/// A plugin that asks a person, or a server that does not answer, must not hang a plan.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long before its expiry a token is renewed.
const RENEWAL: TimeDelta = TimeDelta::seconds(60);

const ACTION: &str = "run the credential plugin for Kubernetes";

/// A plugin that gives tokens, and the one that it gave last. No Debug: its variables may be secrets.
pub struct Plugin {
    config: ExecConfig,
    current: Mutex<Option<(HeaderValue, Option<DateTime<Utc>>)>>,
}

/// What a plugin gave.
pub enum Credential {
    /// A bearer token, to be renewed by running the plugin again.
    Token(Arc<Plugin>),
    /// A client's certificate and its key as PEM. They serve for the rest of this process.
    Certificate(String, String),
}

#[derive(Deserialize)]
struct ExecCredential {
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<String>,
    expiration_timestamp: Option<DateTime<Utc>>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// Runs a plugin for the first time.
///
/// # Errors
/// [`Kind::Unauthorized`] where it fails, takes longer than a minute, or prints no credential.
pub async fn first(config: ExecConfig) -> Result<Credential, Error> {
    let Status { token, expiration_timestamp, client_certificate_data, client_key_data } = run(&config).await?;
    if let (Some(certificate), Some(key)) = (client_certificate_data, client_key_data) {
        return Ok(Credential::Certificate(certificate, key));
    }
    let token = token.ok_or_else(|| failure(&config, "it printed neither a token nor a certificate"))?;
    let current = Some((header(&config, &token)?, expiration_timestamp));
    Ok(Credential::Token(Arc::new(Plugin { config, current: Mutex::new(current) })))
}

impl Plugin {
    /// An Authorization header: the last one, unless it is the `refused` one or about to expire. Concurrent callers share one run.
    ///
    /// # Errors
    /// As [`first`].
    pub async fn header(&self, refused: Option<&HeaderValue>) -> Result<HeaderValue, Error> {
        let mut current = self.current.lock().await;
        if let Some((header, until)) = current.as_ref()
            && Some(header) != refused
            && until.is_none_or(|until| Utc::now() + RENEWAL < until)
        {
            return Ok(header.clone());
        }
        let Status { token, expiration_timestamp, .. } = run(&self.config).await?;
        let token = token.ok_or_else(|| failure(&self.config, "it printed no token"))?;
        let fresh = header(&self.config, &token)?;
        *current = Some((fresh.clone(), expiration_timestamp));
        Ok(fresh)
    }
}

fn header(config: &ExecConfig, token: &str) -> Result<HeaderValue, Error> {
    let mut header = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| failure(config, "its token is no text for a header"))?;
    header.set_sensitive(true);
    Ok(header)
}

async fn run(config: &ExecConfig) -> Result<Status, Error> {
    let program = config.command.as_deref().ok_or_else(|| failure(config, "no command is given"))?;
    // Our standard input and output belong to the client: a plugin must not ask there.
    let mut spec = json!({"interactive": false});
    if let (true, Some(cluster)) = (config.provide_cluster_info, &config.cluster) {
        spec["cluster"] = serde_json::to_value(cluster).unwrap_or_default();
    }
    let version = config.api_version.as_deref().unwrap_or("client.authentication.k8s.io/v1beta1");
    let info = json!({"apiVersion": version, "kind": "ExecCredential", "spec": spec});
    let mut command = Command::new(program);
    command.args(config.args.iter().flatten()).envs(variables(config)).env("KUBERNETES_EXEC_INFO", info.to_string());
    for name in config.drop_env.iter().flatten() {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(failure(config, &format!("it cannot be started: {error}"))),
        Err(_) => return Err(failure(config, &format!("it did not end within {} s", PATIENCE.as_secs()))),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failure(config, &format!("it failed with {}: {}", output.status, said.trim())));
    }
    // Neither what it printed nor where the parser stumbled is told: it may be a token.
    let printed: ExecCredential = serde_json::from_slice(&output.stdout).map_err(|_| failure(config, "it printed no ExecCredential"))?;
    Ok(printed.status.unwrap_or_default())
}

fn variables(config: &ExecConfig) -> impl Iterator<Item = (&String, &String)> {
    config.env.iter().flatten().filter_map(|pair| Some((pair.get("name")?, pair.get("value")?)))
}

/// What the plugin says on stderr helps, but may quote what it was given.
fn failure(config: &ExecConfig, message: &str) -> Error {
    let hidden = variables(config).filter(|(_, value)| value.len() > 3);
    let message = hidden.fold(message.to_owned(), |text, (name, value)| text.replace(value.as_str(), &format!("(the value of {name})")));
    let program = config.command.as_deref().unwrap_or_default();
    Error::new(Kind::Unauthorized, format!("{ACTION}, {program:?}"), message)
        .remedy("Run it by hand: it stands in `exec` of the provider's `kubernetes` block or of the kubeconfig.")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn shell(script: &str, variables: &[(&str, &str)]) -> ExecConfig {
        let pair = |(name, value): &(&str, &str)| {
            HashMap::from([("name".to_owned(), (*name).to_owned()), ("value".to_owned(), (*value).to_owned())])
        };
        ExecConfig {
            api_version: None,
            command: Some("sh".into()),
            args: Some(vec!["-c".into(), script.into()]),
            env: Some(variables.iter().map(pair).collect()),
            drop_env: None,
            install_hint: None,
            interactive_mode: None,
            provide_cluster_info: false,
            cluster: None,
            other: Default::default(),
        }
    }

    /// Counts its runs in a file, and prints a token with the number.
    fn counting(file: &std::path::Path, expires: &str) -> ExecConfig {
        let script =
            format!(r#"echo x >> {0}; n=$(wc -l < {0}); echo "{{\"status\": {{\"token\": \"t$((n))\"{expires}}}}}""#, file.display());
        shell(&script, &[])
    }

    async fn plugin(config: ExecConfig) -> Arc<Plugin> {
        match first(config).await.unwrap() {
            Credential::Token(plugin) => plugin,
            Credential::Certificate(..) => panic!("a certificate"),
        }
    }

    #[tokio::test]
    async fn a_token_is_kept_until_it_is_refused_or_expires() {
        let dir = tempfile::tempdir().unwrap();
        let kept = plugin(counting(&dir.path().join("kept"), "")).await;
        let one = kept.header(None).await.unwrap();
        assert_eq!((one.to_str().unwrap(), one.is_sensitive()), ("Bearer t1", true));
        assert_eq!(kept.header(None).await.unwrap(), one);
        assert_eq!(kept.header(Some(&one)).await.unwrap(), "Bearer t2");
        assert_eq!(kept.header(Some(&one)).await.unwrap(), "Bearer t2", "somebody else renewed it already");
        let past = r#", \"expirationTimestamp\": \"2020-01-01T00:00:00Z\""#;
        let expiring = plugin(counting(&dir.path().join("expiring"), past)).await;
        assert_eq!(expiring.header(None).await.unwrap(), "Bearer t2");
        let future = r#", \"expirationTimestamp\": \"2099-01-01T00:00:00Z\""#;
        let lasting = plugin(counting(&dir.path().join("lasting"), future)).await;
        assert_eq!(lasting.header(None).await.unwrap(), "Bearer t1");
    }

    #[tokio::test]
    async fn failures_tell_what_the_program_says_but_no_secret() {
        for (script, expected) in [
            ("echo s3cr3t; echo no luck with $KEY >&2; exit 3", "no luck with (the value of KEY)"),
            ("echo s3cr3t", "it printed no ExecCredential"),
            ("echo '{\"status\": {}}'", "neither a token nor a certificate"),
        ] {
            let Err(error) = first(shell(script, &[("KEY", "s3cr3t-k3y")])).await else { panic!("{script}") };
            assert_eq!(error.kind, Kind::Unauthorized);
            assert!(error.message.contains(expected) && !format!("{error:?}").contains("s3cr3t"), "{error:?}");
        }
        let absent = ExecConfig { command: Some("/nowhere/at-all".into()), ..shell("", &[]) };
        let Err(error) = first(absent).await else { panic!("it runs") };
        assert!(error.to_string().contains("/nowhere/at-all") && error.message.contains("cannot be started"), "{error}");
    }

    #[tokio::test]
    async fn a_plugin_may_give_a_certificate_and_knows_what_it_is_asked() {
        let script = r#"echo "$KUBERNETES_EXEC_INFO" | grep -q '"interactive":false' || exit 9
            echo '{"status": {"clientCertificateData": "c", "clientKeyData": "k"}}'"#;
        match first(shell(script, &[])).await.unwrap() {
            Credential::Certificate(certificate, key) => assert_eq!((certificate.as_str(), key.as_str()), ("c", "k")),
            Credential::Token(_) => panic!("a token"),
        }
    }
}
