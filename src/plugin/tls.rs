//! Mutual TLS: the client trusts the certificate in our handshake line, we trust exactly the one in its environment.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use tokio_rustls::TlsAcceptor;

use crate::{Error, Kind};

/// Our end.
pub struct Tls {
    /// Accepts the client's connections, and nobody else's.
    pub acceptor: TlsAcceptor,
    /// For the handshake line.
    pub certificate: CertificateDer<'static>,
}

/// Makes a key and a certificate for `localhost`, which is what the client looks for, to serve the holder of `client` (PEM).
///
/// # Errors
/// When `client` is no certificate.
pub fn server(client: &str) -> Result<Tls, Error> {
    let bad = |error: String| Error::new(Kind::Invalid, "read the client's certificate in PLUGIN_CLIENT_CERT", error);
    let pinned = CertificateDer::from_pem_slice(client.as_bytes()).map_err(|error| bad(error.to_string()))?;
    let crypto = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(Pinned { pinned, crypto: crypto.clone() });

    let failed = |error: String| Error::new(Kind::Other, "set up TLS for the client", error);
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(|error| failed(error.to_string()))?;
    let certificate = own.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_client_cert_verifier(verifier).with_single_cert(vec![certificate.clone()], key))
        .map_err(|error| failed(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // every connection shows its certificate; nothing is resumed
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
}

/// Accepts one certificate, byte for byte, from whoever proves to hold its key. The usual verifier is of no use: the client's
/// certificate is its own CA, which that refuses.
#[derive(Debug)]
struct Pinned {
    pinned: CertificateDer<'static>,
    crypto: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if *end_entity == self.pinned {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.crypto.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.crypto.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto.signature_verification_algorithms.supported_schemes()
    }
}
