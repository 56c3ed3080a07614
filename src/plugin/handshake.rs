//! What the client and the plugin tell each other before gRPC: environment variables in, one line of stdout out.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::json;

/// Proves nothing but that a client, not a person, started this process.
const COOKIE: (&str, &str) = ("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2");
/// The only version spoken, whatever `PLUGIN_PROTOCOL_VERSIONS` lists: a client that lacks it reports the mismatch best.
const PROTOCOL: u8 = 5;
/// The provider's address without its registry.
const ADDRESS: &str = "karpenter-tofu/karpenter";

/// For whoever starts the binary by hand.
pub const FOR_PEOPLE: &str = "\
This is a provider plugin for OpenTofu and Terraform; they start it themselves. To use it, write

  terraform {
    required_providers {
      karpenter = { source = \"karpenter-tofu/karpenter\" }
    }
  }

in a configuration and run `tofu init` there. To try a build of your own, name its directory in the CLI configuration:

  provider_installation {
    dev_overrides { \"karpenter-tofu/karpenter\" = \"/directory/of/this/binary\" }
    direct {}
  }

To run it under a debugger, start it with -debug.
";

/// What the client says.
pub struct Handshake {
    /// The only certificate that may connect, in PEM; none asks for plain text (`TF_DISABLE_PLUGIN_TLS`).
    pub client_certificate: Option<String>,
}

impl Handshake {
    /// Reads the client's variables; `None` where no client started this process.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        if variable(COOKIE.0)? != COOKIE.1 {
            return None;
        }
        Some(Handshake { client_certificate: variable("PLUGIN_CLIENT_CERT").filter(|pem| !pem.is_empty()) })
    }
}

/// The line that the client waits for: `1|5|unix|PATH|grpc|CERTIFICATE`. `certificate` is DER; none without TLS.
pub fn line(socket: &Path, certificate: Option<&[u8]>) -> String {
    let certificate = certificate.map(|der| STANDARD_NO_PAD.encode(der)).unwrap_or_default();
    format!("1|{PROTOCOL}|unix|{}|grpc|{certificate}", socket.display())
}

/// The variable with which a client uses a plugin that it did not start, ready for a shell, for both registries' names.
pub fn for_debugging(socket: &Path) -> String {
    let plugin = json!({
        "Protocol": "grpc",
        "ProtocolVersion": PROTOCOL,
        "Pid": std::process::id(),
        "Test": true,
        "Addr": { "Network": "unix", "String": socket },
    });
    let plugins = ["registry.opentofu.org", "registry.terraform.io"].map(|host| (format!("{host}/{ADDRESS}"), plugin.clone()));
    let plugins = serde_json::Value::Object(plugins.into_iter().collect());
    format!("TF_REATTACH_PROVIDERS='{plugins}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_knows_the_cookie() {
        let with = |cookie: &'static str| Handshake::from_environment(move |name| (name == COOKIE.0).then(|| cookie.to_owned()));
        assert!(with("").is_none() && with("d602").is_none());
        assert!(Handshake::from_environment(|_| None).is_none());
        assert!(with(COOKIE.1).is_some_and(|handshake| handshake.client_certificate.is_none()));
    }

    #[test]
    fn the_line_has_six_fields() {
        assert_eq!(line(Path::new("/tmp/a"), Some(&[0xff])), "1|5|unix|/tmp/a|grpc|/w");
        assert_eq!(line(Path::new("/tmp/a"), None), "1|5|unix|/tmp/a|grpc|");
    }
}
