//! The plugin's client, as OpenTofu and Terraform are: starts the binary, shakes hands, connects, calls.
//!
//! ```ignore
//! let plugin = Plugin::start().await;                 // mutual TLS, a P-521 certificate
//! let mut provider = plugin.provider().await;         // the generated client
//! let schema = provider.get_schema(Request::default()).await?;
//! plugin.shutdown().await;
//! ```

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hyper_util::rt::TokioIo;
use karpenter::plugin::proto::control::Empty;
use karpenter::plugin::proto::control::grpc_controller_client::GrpcControllerClient;
use karpenter::plugin::proto::tfplugin5::provider_client::ProviderClient;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Endpoint};

/// The binary of this build.
pub const BINARY: &str = env!("CARGO_BIN_EXE_terraform-provider-karpenter");
/// What a client sets to say that it is one.
pub const COOKIE: (&str, &str) = ("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2");

/// A client's certificate and key, made as go-plugin makes them: P-521, self-signed, a CA of its own.
pub struct Identity {
    /// For `PLUGIN_CLIENT_CERT`.
    pub pem: String,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    pub fn new() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature, rcgen::KeyUsagePurpose::KeyCertSign];
        parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth, rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = parameters.self_signed(&key).unwrap();
        Identity { pem: certificate.pem(), certificate: certificate.der().clone(), key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
    }

    /// The same certificate, held by somebody who does not have its key.
    pub fn with_another_key(&self) -> Self {
        Identity { pem: self.pem.clone(), certificate: self.certificate.clone(), ..Identity::new() }
    }
}

/// How to start the plugin.
pub struct Start {
    /// Whose binary, with which arguments.
    pub command: Vec<String>,
    /// None asks for plain text.
    pub identity: Option<Identity>,
    /// Beside the handshake's own.
    pub environment: Vec<(String, String)>,
}

impl Default for Start {
    fn default() -> Self {
        Start { command: vec![BINARY.to_owned()], identity: Some(Identity::new()), environment: vec![] }
    }
}

/// A running plugin. Killed when dropped.
pub struct Plugin {
    /// The process that was started.
    pub process: Child,
    /// The line that it said.
    pub line: String,
    /// How long that took.
    pub took: Duration,
    /// Where it listens.
    pub socket: PathBuf,
    identity: Option<Identity>,
    certificate: Option<CertificateDer<'static>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    _directory: TempDir,
}

impl Plugin {
    /// Starts this build's binary as a client does.
    pub async fn start() -> Plugin {
        Plugin::start_with(Start::default()).await
    }

    /// Starts it in some other way.
    pub async fn start_with(Start { command, identity, environment }: Start) -> Plugin {
        let directory = TempDir::new().unwrap();
        let started = Instant::now();
        let mut process = Command::new(&command[0]);
        process.args(&command[1..]).env(COOKIE.0, COOKIE.1).env("PLUGIN_PROTOCOL_VERSIONS", "6,5");
        process.env("PLUGIN_UNIX_SOCKET_DIR", directory.path()).env_remove("PLUGIN_CLIENT_CERT");
        match &identity {
            Some(identity) => process.env("PLUGIN_CLIENT_CERT", &identity.pem),
            None => process.env("TF_DISABLE_PLUGIN_TLS", "1"),
        };
        process.envs(environment).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut process = process.spawn().unwrap();

        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        tokio::time::timeout(Duration::from_secs(60), stdout.read_line(&mut line)).await.expect("no handshake in 60 s").unwrap();
        let took = started.elapsed();
        let stderr = Arc::new(Mutex::new(vec![]));
        let (mut pipe, seen) = (process.stderr.take().unwrap(), stderr.clone());
        tokio::spawn(async move {
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = pipe.read(&mut chunk).await {
                seen.lock().unwrap().extend(&chunk[..n]);
            }
        });

        let line = line.trim_end().to_owned();
        let fields: Vec<&str> = line.split('|').collect();
        let (socket, certificate) = match fields.as_slice() {
            ["1", "5", "unix", socket, "grpc", certificate] => (PathBuf::from(socket), STANDARD_NO_PAD.decode(certificate).unwrap()),
            _ => panic!("no handshake: {line:?}, stderr {:?}", String::from_utf8_lossy(&stderr.lock().unwrap())),
        };
        let certificate = (!certificate.is_empty()).then(|| certificate.into());
        Plugin { process, line, took, socket, identity, certificate, stderr, _directory: directory }
    }

    /// A new connection with the identity that it was started for.
    pub async fn connect(&self) -> Channel {
        self.connect_as(self.identity.as_ref()).await.unwrap()
    }

    /// A new connection with another identity, or with none.
    pub async fn connect_as(&self, identity: Option<&Identity>) -> Result<Channel, tonic::transport::Error> {
        match &self.certificate {
            Some(certificate) => connect(&self.socket, Some(client(certificate, identity))).await,
            None => connect(&self.socket, None).await,
        }
    }

    /// The provider's service over a connection of its own.
    pub async fn provider(&self) -> ProviderClient<Channel> {
        ProviderClient::new(self.connect().await).max_decoding_message_size(256 << 20).max_encoding_message_size(256 << 20)
    }

    /// Says Shutdown and waits for the end; says how long it took.
    pub async fn shutdown(mut self) -> (ExitStatus, Duration) {
        let mut controller = GrpcControllerClient::new(self.connect().await);
        let asked = Instant::now();
        // as for go-plugin's client, the answer may be lost
        let _ = controller.shutdown(Empty {}).await;
        (self.exit().await, asked.elapsed())
    }

    /// Waits for the end.
    pub async fn exit(&mut self) -> ExitStatus {
        tokio::time::timeout(Duration::from_secs(20), self.process.wait()).await.expect("it is still there after 20 s").unwrap()
    }

    /// Sends a signal by its name to the plugin's process, which is not `process` where that is a wrapper.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// The plugin's process id, which is part of the socket's name.
    pub fn pid(&self) -> u32 {
        self.socket.file_name().unwrap().to_str().unwrap().split('-').nth(1).unwrap().parse().unwrap()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8(self.stderr.lock().unwrap().clone()).unwrap()
    }

    /// Waits until a line of this is logged, at most 20 s.
    pub async fn logs(&self, part: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while !self.stderr().split_inclusive('\n').any(|line| line.contains(part) && line.ends_with('\n')) {
            assert!(Instant::now() < end, "{part:?} is not in {}", self.stderr());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A channel over the socket, with TLS or without.
pub async fn connect(socket: &Path, tls: Option<Arc<ClientConfig>>) -> Result<Channel, tonic::transport::Error> {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let (socket, tls) = (socket.clone(), tls.clone());
        async move {
            let stream = UnixStream::connect(socket).await?;
            let stream: Box<dyn Stream> = match tls {
                None => Box::new(stream),
                Some(tls) => {
                    let name = "localhost".try_into().expect("a name");
                    Box::new(tokio_rustls::TlsConnector::from(tls).connect(name, stream).await?)
                }
            };
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await
}

/// Trusts only the certificate of the handshake line, for the name localhost.
pub fn client(server: &CertificateDer<'static>, identity: Option<&Identity>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(server.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => {
            // unlike `with_client_auth_cert`, this does not mind a key that is another's
            let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&identity.key).unwrap();
            let certified = CertifiedKey::new(vec![identity.certificate.clone()], key);
            config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// Sends a signal by its name.
pub fn signal(pid: u32, name: &str) {
    let status = std::process::Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -s {name} {pid}");
}

/// Whether the process ended by itself, without an error.
pub fn ended_well(status: ExitStatus) -> bool {
    status.success() && status.signal().is_none()
}

trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for T {}
