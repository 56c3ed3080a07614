//! Where charts come from, and with whose credentials.

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use karpenter::Kind;
use karpenter::helm::{RegistryAuth, registry};
use sha2::Digest as _;

use crate::common::Lab;

#[tokio::test(flavor = "multi_thread")]
async fn charts_come_from_registries_directories_and_archives() {
    let lab = Lab::shared();
    let repository = lab.chart_repository();
    assert_eq!(registry::newest(&repository, "karpenter", None).await.unwrap(), "1.14.1");
    let pulled = registry::pull(&repository, "karpenter", None, None).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    lab.helm(&["pull", &format!("{repository}/karpenter"), "--plain-http", "--version", "1.14.1", "-d", dir.path().to_str().unwrap()]);
    let archive = dir.path().join("karpenter-1.14.1.tgz");
    for place in [dir.path(), &archive] {
        assert_eq!(registry::pull(place.to_str().unwrap(), "karpenter", None, None).await.unwrap(), pulled);
    }
    let absent = registry::pull(&repository, "karpenter", Some("9.9.9"), None).await.unwrap_err();
    assert_eq!(absent.kind, Kind::NotFound, "{absent}");
    let wrong = registry::pull(archive.to_str().unwrap(), "karpenter", Some("1.0.0"), None).await.unwrap_err();
    assert!(wrong.message.contains("holds version 1.14.1, want 1.0.0"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_chart_is_refused_by_its_digest() {
    let lab = Lab::shared();
    let dir = tempfile::tempdir().unwrap();
    let version = "0.0.1-broken"; // of this test alone: blobs of equal content are one
    let packaged =
        lab.command("bash").arg(crate::common::repository().join("tests/charts/package.sh")).arg(dir.path()).arg(version).output().unwrap();
    assert!(packaged.status.success(), "{packaged:?}");
    let archive = std::fs::read(dir.path().join(format!("karpenter-{version}.tgz"))).unwrap();
    let digest: String = sha2::Sha256::digest(&archive).iter().map(|byte| format!("{byte:02x}")).collect();
    let blob = lab.dir().join(format!("registry/docker/registry/v2/blobs/sha256/{}/{digest}/data", &digest[..2]));
    let mut bytes = std::fs::read(&blob).unwrap();
    let last = bytes.len() - 9;
    bytes[last] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let error = registry::pull(&lab.chart_repository(), "karpenter", Some(version), None).await.unwrap_err();
    assert!(error.kind == Kind::Invalid && error.message.contains("igest"), "{error:?}");
    assert_eq!(registry::newest(&lab.chart_repository(), "karpenter", None).await.unwrap(), "1.14.1", "no pre-release");
}

const USER: &str = "lab-user";
const PASSWORD: &str = "lab-password";
/// The password's bcrypt, as the registry wants it.
const BCRYPT: &str = "$2b$05$abcdefghijklmnopqrstuuL/Ej5MNdcjasz4Sr7bjTMIxZn.WGpgG";

/// A registry that wants credentials.
struct Private {
    processes: Vec<Child>,
    host: String,
    dir: tempfile::TempDir,
}

impl Private {
    /// With Basic authentication, and the test chart 1.14.1 in `charts`.
    fn start(lab: &Lab) -> Private {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("htpasswd");
        std::fs::write(&file, format!("{USER}:{BCRYPT}\n")).unwrap();
        let private = Private::serve(lab, dir, vec![], &format!("{{htpasswd: {{realm: lab, path: {}}}}}", file.display()));
        private.push(lab, "charts");
        private
    }

    /// With bearer tokens, which another server hands out; the chart is in `charts` and in `public`, where nobody needs a password.
    fn with_tokens(lab: &Lab) -> (Private, String) {
        let dir = tempfile::tempdir().unwrap();
        let cert = dir.path().join("issuer.pem");
        let mut server = lab.command(lab.var("LAB_PYTHON"));
        server.arg(crate::common::repository().join("tests/charts/token_server.py")).arg(&cert).args([USER, PASSWORD]);
        let mut server = server.stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        std::io::BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let realm = format!("http://127.0.0.1:{}/token", port.trim());
        let auth = format!("{{token: {{realm: \"{realm}\", service: lab, issuer: lab-issuer, rootcertbundle: {}}}}}", cert.display());
        let private = Private::serve(lab, dir, vec![server], &auth);
        private.push(lab, "charts");
        private.push(lab, "public");
        (private, realm)
    }

    fn serve(lab: &Lab, dir: tempfile::TempDir, mut processes: Vec<Child>, auth: &str) -> Private {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let blobs = dir.path().join("blobs");
        let storage = format!("storage: {{filesystem: {{rootdirectory: {}}}}}", blobs.display());
        let config = format!("version: 0.1\nlog: {{level: warn}}\n{storage}\nhttp: {{addr: \"{host}\"}}\nauth: {auth}\n");
        let file = dir.path().join("registry.yml");
        std::fs::write(&file, config).unwrap();
        let mut registry = lab.command("registry");
        processes.push(registry.arg("serve").arg(file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(&host).is_err() {
            assert!(Instant::now() < deadline, "the registry does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        Private { processes, host, dir }
    }

    fn push(&self, lab: &Lab, path: &str) {
        let dir = self.dir.path();
        let archive = dir.join("karpenter-1.14.1.tgz");
        if !archive.exists() {
            let repository = format!("{}/karpenter", lab.chart_repository());
            lab.helm(&["pull", &repository, "--plain-http", "--version", "1.14.1", "-d", dir.to_str().unwrap()]);
        }
        let mut push = lab.command("helm");
        push.args(["push", "--plain-http", "--registry-config"]).arg(self.login()).arg(archive).arg(format!("oci://{}/{path}", self.host));
        success("helm push", &push.output().unwrap());
    }

    /// What `helm registry login` and `docker login` leave, written by hand: they want HTTPS.
    fn login(&self) -> PathBuf {
        use base64::Engine as _;
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
        let config = serde_json::json!({"auths": {self.host.clone(): {"auth": auth}}});
        self.write("config.json", &config.to_string())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    fn repository(&self) -> String {
        format!("oci://{}/charts", self.host)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn private_registries_take_credentials_from_the_provider_from_files_and_from_helpers() {
    let private = Private::start(Lab::shared());
    let empty = private.dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let none = [("HELM_REGISTRY_CONFIG", empty.join("none")), ("DOCKER_CONFIG", empty.clone())];
    let refused = in_environment(&private.repository(), &none);
    assert!(refused.contains("Unauthorized") && refused.contains("chart registry's credentials"), "{refused}");

    let auth = |password: &str| RegistryAuth { username: USER.into(), password: password.into() };
    let pulled = registry::pull(&private.repository(), "karpenter", None, Some(&auth(PASSWORD))).await.unwrap();
    assert_eq!(pulled.version(), "1.14.1");
    let wrong = registry::pull(&private.repository(), "karpenter", None, Some(&auth("wr0ng-secret"))).await.unwrap_err();
    assert!(wrong.kind == Kind::Unauthorized && !format!("{wrong:?} {wrong}").contains("wr0ng-secret"), "{wrong:?}");

    let by_helm = [("HELM_REGISTRY_CONFIG", private.login()), ("DOCKER_CONFIG", empty.clone())];
    assert_eq!(in_environment(&private.repository(), &by_helm), "pulled 1.14.1");
    let by_docker = [("HELM_REGISTRY_CONFIG", empty.join("none")), ("DOCKER_CONFIG", private.dir.path().to_owned())];
    assert_eq!(in_environment(&private.repository(), &by_docker), "pulled 1.14.1");

    // a helper is a program that reads the registry and prints JSON
    let helper = private.write(
        "docker-credential-lab",
        &format!(
            "#!/bin/sh\nread -r host\n[ \"$1 $host\" = \"get {}\" ] || {{ echo credentials not found; exit 1; }}\n\
             echo '{{\"ServerURL\": \"x\", \"Username\": \"{USER}\", \"Secret\": \"{PASSWORD}\"}}'\n",
            private.host
        ),
    );
    executable(&helper);
    let config = private.write("helpers.json", &serde_json::json!({"credHelpers": {private.host.clone(): "lab"}}).to_string());
    let path = std::env::join_paths(
        std::iter::once(private.dir.path().to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let by_helper = [("HELM_REGISTRY_CONFIG", config.clone()), ("DOCKER_CONFIG", empty.clone()), ("PATH", path.unwrap().into())];
    assert_eq!(in_environment(&private.repository(), &by_helper), "pulled 1.14.1");

    // what is stored may be stale, and the chart public
    let stale =
        serde_json::json!({"auths": {Lab::shared().var("LAB_REGISTRY"): {"username": "old", "password": "wrong"}}, "credsStore": "absent"});
    let stale = private.write("stale.json", &stale.to_string());
    let public = in_environment(&Lab::shared().chart_repository(), &[("HELM_REGISTRY_CONFIG", stale), ("DOCKER_CONFIG", empty)]);
    assert_eq!(public, "pulled 1.14.1");
}

fn success(what: &str, output: &std::process::Output) -> String {
    assert!(output.status.success(), "{what}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn executable(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Pulls in a process with this environment, which the test's own may not take on: other tests run in it. Answers what came of it.
fn in_environment(repository: &str, variables: &[(&str, PathBuf)]) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "registry::pulls_what_the_environment_says", "--ignored", "--nocapture"]).env("TEST_REPOSITORY", repository);
    let output = child.envs(variables.iter().map(|(name, value)| (*name, value))).output().unwrap();
    let text = success("the test's child", &output);
    assert!(!text.contains(PASSWORD), "{text}");
    text.lines().find_map(|line| line.split_once("outcome: ")).unwrap_or_else(|| panic!("{text}")).1.to_owned()
}

#[tokio::test]
#[ignore = "needs an environment, which another test gives it"]
async fn pulls_what_the_environment_says() {
    let Ok(repository) = std::env::var("TEST_REPOSITORY") else { return };
    match registry::pull(&repository, "karpenter", Some("1.14.1"), None).await {
        Ok(chart) => println!("outcome: pulled {}", chart.version()),
        Err(error) => println!("outcome: {:?} {error} {}", error.kind, error.remedy),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_with_tokens_are_asked_for_one() {
    let lab = Lab::shared();
    let (private, realm) = Private::with_tokens(lab);
    let empty = private.dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let environment = |config: PathBuf| [("HELM_REGISTRY_CONFIG", config), ("DOCKER_CONFIG", empty.clone())];
    let public = format!("oci://{}/public", private.host);
    assert_eq!(in_environment(&public, &environment(empty.join("none"))), "pulled 1.14.1", "a token without a password");
    let refused = in_environment(&private.repository(), &environment(empty.join("none")));
    assert!(refused.contains("Unauthorized") || refused.contains("Forbidden"), "{refused}");
    let auth = RegistryAuth { username: USER.into(), password: PASSWORD.into() };
    assert_eq!(registry::newest(&private.repository(), "karpenter", Some(&auth)).await.unwrap(), "1.14.1");
    assert_eq!(registry::pull(&private.repository(), "karpenter", None, Some(&auth)).await.unwrap().version(), "1.14.1");

    // a token that somebody fetched before
    let fetch = "
import base64, json, sys, urllib.request
request = urllib.request.Request(sys.argv[1] + '?service=lab&scope=repository:charts/karpenter:pull')
request.add_header('Authorization', 'Basic ' + base64.b64encode(sys.argv[2].encode()).decode())
print(json.load(urllib.request.urlopen(request))['token'])";
    let mut python = lab.command(lab.var("LAB_PYTHON"));
    let token = success("fetch a token", &python.args(["-c", fetch, &realm, &format!("{USER}:{PASSWORD}")]).output().unwrap());
    let config = serde_json::json!({"auths": {private.host.clone(): {"registrytoken": token.trim()}}});
    let config = private.write("token.json", &config.to_string());
    assert_eq!(in_environment(&private.repository(), &environment(config)), "pulled 1.14.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn build_metadata_and_the_old_media_type_are_understood() {
    let lab = Lab::shared();
    let dir = tempfile::tempdir().unwrap();
    let chart = crate::common::repository().join("tests/charts/karpenter");
    // a tag has no plus sign: helm pushes an underscore, and asks for one
    lab.helm(&["package", chart.to_str().unwrap(), "--version", "1.14.1+build.7", "-d", dir.path().to_str().unwrap()]);
    let archive = dir.path().join("karpenter-1.14.1+build.7.tgz");
    let host = lab.var("LAB_REGISTRY");
    lab.helm(&["push", "--plain-http", archive.to_str().unwrap(), &format!("oci://{host}/metadata")]);
    let repository = format!("oci://{host}/metadata");
    assert_eq!(registry::pull(&repository, "karpenter", Some("1.14.1+build.7"), None).await.unwrap().version(), "1.14.1+build.7");
    assert_eq!(registry::newest(&repository, "karpenter", None).await.unwrap(), "1.14.1+build.7");

    // what Helm 3.0 to 3.6 pushed
    let script = "
import hashlib, json, sys, urllib.request
host, archive = sys.argv[1:]
def put(path, data, kind, method):
    request = urllib.request.Request(path if path.startswith('http') else f'http://{host}{path}', data=data, method=method)
    request.add_header('Content-Type', kind)
    return urllib.request.urlopen(request)
def blob(data, kind):
    digest = 'sha256:' + hashlib.sha256(data).hexdigest()
    place = put('/v2/legacy/karpenter/blobs/uploads/', b'', 'application/octet-stream', 'POST').headers['Location']
    put(place + ('&' if '?' in place else '?') + 'digest=' + digest, data, 'application/octet-stream', 'PUT')
    return {'mediaType': kind, 'digest': digest, 'size': len(data)}
config = blob(b'{}', 'application/vnd.cncf.helm.config.v1+json')
layer = blob(open(archive, 'rb').read(), 'application/tar+gzip')
manifest = {'schemaVersion': 2, 'config': config, 'layers': [layer]}
put('/v2/legacy/karpenter/manifests/1.14.1_build.7', json.dumps(manifest).encode(), 'application/vnd.oci.image.manifest.v1+json', 'PUT')
";
    let mut python = lab.command(lab.var("LAB_PYTHON"));
    success("push by hand", &python.args(["-c", script, host]).arg(&archive).output().unwrap());
    let legacy = registry::pull(&format!("oci://{host}/legacy"), "karpenter", Some("1.14.1+build.7"), None).await.unwrap();
    assert_eq!(legacy.version(), "1.14.1+build.7");
}

/// A host before another one, which answers the first requests itself with that line and header lines.
fn busy(host: String, refusals: usize, answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for (nth, connection) in listener.incoming().enumerate() {
            let mut connection = connection.unwrap();
            if nth < refusals {
                let _ = connection.read(&mut [0; 4096]);
                let _ = connection.write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
                continue;
            }
            let upstream = TcpStream::connect(&host).unwrap();
            for (mut from, mut to) in [(connection.try_clone().unwrap(), upstream.try_clone().unwrap()), (upstream, connection)] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_busy_is_asked_again() {
    let host = Lab::shared().var("LAB_REGISTRY").to_owned();
    for answer in ["429 Too Many Requests", "503 Service Unavailable"] {
        let repository = format!("oci://{}/karpenter", busy(host.clone(), 2, answer));
        assert_eq!(registry::newest(&repository, "karpenter", None).await.unwrap(), "1.14.1");
        let repository = format!("oci://{}/karpenter", busy(host.clone(), 2, answer));
        assert_eq!(registry::pull(&repository, "karpenter", Some("1.14.1"), None).await.unwrap().version(), "1.14.1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_come_in_pages_of_any_length() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let repository = format!("oci://{}/charts", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 4096];
            let read = connection.read(&mut request).unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let tags = match request.split_once("last=").map(|(_, rest)| rest.split([' ', '&']).next().unwrap_or_default()) {
                None => r#"["1.10.0", "1.11.0"]"#,
                Some("1.11.0") => r#"["1.14.0", "1.9.0"]"#,
                Some(_) => "null",
            };
            let body = format!(r#"{{"name": "charts/karpenter", "tags": {tags}}}"#);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close", body.len());
            let _ = connection.write_all(format!("{head}\r\n\r\n{body}").as_bytes());
        }
    });
    assert_eq!(registry::newest(&repository, "karpenter", None).await.unwrap(), "1.14.0");
}
