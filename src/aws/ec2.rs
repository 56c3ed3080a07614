//! The two reads of EC2 that this provider makes, over its Query API: the SDK's crate for EC2 costs minutes of every build.

use std::time::{Duration, SystemTime};

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;

use super::error::{from_code, from_credentials};
use super::{arn, xml};
use crate::{Error, Kind};

/// EC2's API of this date.
const VERSION: &str = "2016-11-15";
/// How long AWS may take to answer a call.
const ANSWER: Duration = Duration::from_secs(60);
const FORM: &str = "application/x-www-form-urlencoded";

/// EC2 in one region.
#[derive(Clone, Debug)]
pub struct Ec2 {
    credentials: SharedCredentialsProvider,
    region: String,
    endpoint: String,
}

impl Ec2 {
    /// With `AWS_ENDPOINT_URL_EC2` or `AWS_ENDPOINT_URL` where one is set.
    pub fn new(credentials: SharedCredentialsProvider, region: &str) -> Ec2 {
        let set = |name| std::env::var(name).ok().filter(|url| !url.is_empty());
        let endpoint = set("AWS_ENDPOINT_URL_EC2").or_else(|| set("AWS_ENDPOINT_URL"));
        let own = || format!("https://ec2.{region}.{}", arn::dns_suffix(arn::partition(region)));
        Ec2 { credentials, region: region.to_owned(), endpoint: endpoint.unwrap_or_else(own) }
    }

    /// All pages of a Describe operation: the elements below `path`, e.g. `["reservationSet", "item"]`.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn describe(&self, operation: &str, filters: &[(&str, &[&str])], path: &[&str]) -> Result<Vec<xml::Element>, Error> {
        let mut parameters = vec![("Action".to_owned(), operation.to_owned()), ("Version".to_owned(), VERSION.to_owned())];
        for (at, (name, values)) in filters.iter().enumerate() {
            parameters.push((format!("Filter.{}.Name", at + 1), (*name).to_owned()));
            let values = values.iter().enumerate().map(|(i, value)| (format!("Filter.{}.Value.{}", at + 1, i + 1), (*value).to_owned()));
            parameters.extend(values);
        }
        let (mut found, mut token) = (vec![], String::new());
        loop {
            let next = (!token.is_empty()).then(|| ("NextToken".to_owned(), token.clone()));
            let page = self.call(operation, &parameters.iter().cloned().chain(next).collect::<Vec<_>>()).await?;
            token = page.text(&["nextToken"]).to_owned();
            found.extend(page.below(path).into_iter().cloned());
            if token.is_empty() {
                return Ok(found);
            }
        }
    }

    async fn call(&self, operation: &str, parameters: &[(String, String)]) -> Result<xml::Element, Error> {
        let action = format!("ec2:{operation}");
        let body = parameters.iter().map(|(k, v)| format!("{}={}", encoded(k), encoded(v))).collect::<Vec<_>>().join("&");
        let request = self.signed(&action, body).await?;
        let unsent = |e: reqwest::Error| Error::new(Kind::Unavailable, &action, "AWS did not answer").caused_by(e);
        let request = reqwest::Request::try_from(request).map_err(unsent)?;
        let client = reqwest::Client::builder().timeout(ANSWER).build().map_err(unsent)?;
        let answer = client.execute(request).await.map_err(unsent)?;
        let succeeded = answer.status().is_success();
        let text = answer.text().await.map_err(unsent)?;
        let root = xml::parse(&text).ok_or_else(|| Error::new(Kind::Unavailable, &action, "the answer is no XML"))?;
        if succeeded {
            return Ok(root);
        }
        let path = |name| ["Errors", "Error", name];
        Err(from_code(action, root.text(&path("Code")), root.text(&path("Message"))))
    }

    async fn signed(&self, action: &str, body: String) -> Result<http::Request<String>, Error> {
        let fail = |message: String| Error::new(Kind::Other, action, message);
        let credentials = self.credentials.provide_credentials().await.map_err(|e| from_credentials(action, e))?;
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder().identity(&identity).region(&self.region).name("ec2").time(SystemTime::now());
        let parameters = parameters.settings(SigningSettings::default()).build().map_err(|e| fail(e.to_string()))?.into();
        let url = format!("{}/", self.endpoint.trim_end_matches('/'));
        let headers = [("content-type", FORM)].into_iter();
        let signable = SignableRequest::new("POST", url.as_str(), headers, SignableBody::Bytes(body.as_bytes()));
        let (instructions, _) =
            sign(signable.map_err(|e| fail(e.to_string()))?, &parameters).map_err(|e| fail(e.to_string()))?.into_parts();
        let mut request = http::Request::post(url).header("content-type", FORM).body(body).map_err(|e| fail(e.to_string()))?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

/// Percent-encoded, but for what never needs it.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_form_cannot_hold_is_encoded() {
        assert_eq!(encoded("tag:kubernetes.io/cluster/a b"), "tag%3Akubernetes.io%2Fcluster%2Fa%20b");
    }
}
