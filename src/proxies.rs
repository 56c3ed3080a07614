//! Proxies as the environment and the provider block name them, by the rules that Go's clients have for the same variables.

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// Reached without a proxy, whatever the variables say: a tunnel ends here.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// Proxies by the scheme of the URL that is called.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http`, as URL.
    pub http: Option<String>,
    /// For `https`, as URL.
    pub https: Option<String>,
    /// Hosts that need none, with commas between.
    pub exceptions: String,
}

impl Proxies {
    /// What the environment says: `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`, each in small letters, too.
    pub fn from_environment() -> Proxies {
        Proxies { http: None, https: None, exceptions: String::new() }.or_environment(None)
    }

    /// With what the environment says where nothing is set. `exceptions`, where given, stand for `NO_PROXY`.
    #[must_use]
    pub fn or_environment(self, exceptions: Option<&str>) -> Proxies {
        let exceptions = exceptions.map(str::to_owned).or_else(|| variable("NO_PROXY")).unwrap_or_default();
        Proxies {
            http: self.http.or_else(|| variable("HTTP_PROXY").map(with_scheme)),
            https: self.https.or_else(|| variable("HTTPS_PROXY").map(with_scheme)),
            exceptions: format!("{exceptions},{LOOPBACK}"),
        }
    }

    /// Whether no call ever needs one.
    pub fn is_empty(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }

    /// The proxy for a URL, where it needs one.
    pub fn of(&self, url: &Uri) -> Option<&str> {
        let proxy = if url.scheme_str() == Some("http") { &self.http } else { &self.https };
        let matcher = Matcher::builder().all(proxy.clone()?).no(self.exceptions.as_str()).build();
        matcher.intercept(url).and(proxy.as_deref())
    }
}

/// `proxy.example.com:3128` in a variable is short for a URL.
fn with_scheme(proxy: String) -> String {
    if proxy.contains("://") { proxy } else { format!("http://{proxy}") }
}

fn variable(name: &str) -> Option<String> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    set(name).or_else(|| set(&name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_for_its_scheme_and_not_for_the_exceptions() {
        let proxies = Proxies {
            http: Some("http://one:3128".into()),
            https: Some("http://two:3128".into()),
            exceptions: format!(".internal,10.0.0.0/8,exact.example.com,{LOOPBACK}"),
        };
        for (url, expected) in [
            ("http://eks.us-east-1.amazonaws.com", Some("http://one:3128")),
            ("https://eks.us-east-1.amazonaws.com/clusters", Some("http://two:3128")),
            ("https://api.internal", None),
            ("https://10.1.2.3:6443", None),
            ("https://exact.example.com", None),
            ("https://127.0.0.1:6443", None),
            ("https://localhost:6443", None),
            ("https://[::1]:6443", None),
            ("https://localhost.example.com", Some("http://two:3128")),
        ] {
            assert_eq!(proxies.of(&url.parse().unwrap()), expected, "{url}");
        }
        assert_eq!(with_scheme("proxy:3128".into()), "http://proxy:3128");
        assert_eq!(Proxies::default().of(&"https://x".parse().unwrap()), None);
    }
}
