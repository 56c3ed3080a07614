//! Registry credentials that `docker login` or `helm registry login` left behind, credential helpers among them.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use oci_client::secrets::RegistryAuth;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

/// How long a credential helper may take: some ask a cloud.
const HELPER: Duration = Duration::from_secs(30);
/// The user that an identity token is a password of, where a registry hands such out (Azure's).
const TOKEN_USER: &str = "00000000-0000-0000-0000-000000000000";

/// The credentials for a registry (`host` or `host:port`); `None` where no file knows any. Files and helpers that cannot be read are
/// logged and passed over: most registries of charts are public.
pub(super) async fn find(registry: &str) -> Option<RegistryAuth> {
    for file in files() {
        let Ok(text) = tokio::fs::read(&file).await else { continue };
        let config: Value = match serde_json::from_slice(&text) {
            Ok(config) => config,
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "a file of registry credentials is no JSON");
                continue;
            }
        };
        if let Some(name) = helper(&config, registry) {
            match ask(&name, registry).await {
                Ok(Some(auth)) => return Some(auth),
                Ok(None) => {}
                Err(error) => tracing::warn!(helper = name, error, "a credential helper cannot be asked"),
            }
        }
        if let Some(auth) = written(&config, registry) {
            return Some(auth);
        }
    }
    None
}

/// Helm's file, then Docker's.
fn files() -> Vec<PathBuf> {
    let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = path("HOME").or_else(|| path("USERPROFILE"));
    let config_home = path("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let helm = path("HELM_REGISTRY_CONFIG").or_else(|| config_home.map(|dir| dir.join("helm/registry/config.json")));
    let docker = path("DOCKER_CONFIG").or_else(|| home.map(|home| home.join(".docker"))).map(|dir| dir.join("config.json"));
    helm.into_iter().chain(docker).collect()
}

/// The helper for a registry: its own, else the one for all.
fn helper(config: &Value, registry: &str) -> Option<String> {
    let own = config.get("credHelpers").and_then(Value::as_object).into_iter().flatten().find(|(key, _)| host(key) == registry);
    let name = own.map(|(_, name)| name).or_else(|| config.get("credsStore"))?.as_str()?;
    // it becomes a part of a program's name
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    plain.then(|| name.to_owned())
}

/// `docker-credential-NAME get`: the registry goes in, JSON comes out. What it prints may be a secret and is in no error.
async fn ask(name: &str, registry: &str) -> Result<Option<RegistryAuth>, String> {
    let mut command = tokio::process::Command::new(format!("docker-credential-{name}"));
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    let output = async {
        if let Some(mut input) = child.stdin.take() {
            input.write_all(registry.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(HELPER, output).await.map_err(|_| "no answer in time".to_owned())?.map_err(|e| e.to_string())?;
    // helpers end with an error when they know nothing of a registry
    if !output.status.success() {
        return Ok(None);
    }
    let answer: Value = serde_json::from_slice(&output.stdout).map_err(|_| "its answer is no JSON".to_owned())?;
    let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
    Ok(Some(match text("Username") {
        "<token>" => RegistryAuth::Basic(TOKEN_USER.to_owned(), text("Secret").to_owned()),
        user => RegistryAuth::Basic(user.to_owned(), text("Secret").to_owned()),
    }))
}

/// What the file itself holds.
fn written(config: &Value, registry: &str) -> Option<RegistryAuth> {
    let auths = config.get("auths")?.as_object()?;
    let (_, entry) = auths.iter().find(|(key, _)| host(key) == registry)?;
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("registrytoken") {
        return Some(RegistryAuth::Bearer(token.to_owned()));
    }
    if let Some(token) = text("identitytoken") {
        return Some(RegistryAuth::Basic(TOKEN_USER.to_owned(), token.to_owned()));
    }
    let decoded = text("auth").and_then(|auth| String::from_utf8(BASE64.decode(auth).ok()?).ok());
    let (user, password) = match &decoded {
        Some(both) => both.split_once(':')?,
        None => (text("username")?, text("password")?),
    };
    Some(RegistryAuth::Basic(user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// A key of such a file names a registry by its host, perhaps as a URL.
fn host(key: &str) -> &str {
    let plain = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    plain.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn files_name_credentials_in_several_ways() {
        let auth = |entry: Value| written(&json!({"auths": {"https://registry.example/v2/": entry}}), "registry.example");
        let basic = |user: &str, password: &str| Some(RegistryAuth::Basic(user.into(), password.into()));
        assert_eq!(auth(json!({"auth": BASE64.encode("user:pass:word")})), basic("user", "pass:word"));
        assert_eq!(auth(json!({"username": "user", "password": "word"})), basic("user", "word"));
        assert_eq!(auth(json!({"auth": "", "identitytoken": "t"})), basic(TOKEN_USER, "t"));
        assert_eq!(auth(json!({"registrytoken": "t"})), Some(RegistryAuth::Bearer("t".into())));
        assert_eq!(auth(json!({})), None);
        assert_eq!(written(&json!({"auths": {"other.example": {"auth": "eDp5"}}}), "registry.example"), None);
    }

    #[test]
    fn helpers_are_of_one_registry_or_of_all() {
        let config = json!({"credsStore": "all", "credHelpers": {"registry.example": "one", "bad.example": "../x"}});
        assert_eq!(helper(&config, "registry.example").as_deref(), Some("one"));
        assert_eq!(helper(&config, "other.example").as_deref(), Some("all"));
        assert_eq!(helper(&config, "bad.example"), None);
        assert_eq!(helper(&json!({}), "registry.example"), None);
    }
}
