//! What every request passes: the bearer token, one more try with a fresh one after a 401, and retries while the server is busy.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use kube::client::Body;
use tower::buffer::Buffer;
use tower::{BoxError, Layer, Service, ServiceExt as _};

use super::exec::Plugin;
use crate::Error;
use crate::aws::token::Tokens;

/// Waits before the retries, each halved or more by jitter. Together they are shorter than any operation's deadline; whoever has a
/// longer one goes on with [`super::apply::retry`].
const WAITS: [Duration; 5] =
    [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Where bearer tokens come from that are renewed when they expire, and when one is refused.
#[derive(Clone)]
pub enum Bearer {
    /// EKS.
    Eks(Arc<Tokens>),
    /// A credential plugin.
    Plugin(Arc<Plugin>),
}

impl Bearer {
    /// An Authorization header that is not the `refused` one, as far as the source has another.
    async fn header(&self, refused: Option<&HeaderValue>) -> Result<HeaderValue, Error> {
        match self {
            Bearer::Eks(tokens) => tokens.header(refused).await,
            Bearer::Plugin(plugin) => plugin.header(refused).await,
        }
    }
}

/// How long an answer may take to begin, a watch's, too: somewhat longer than the API server itself gives a request.
const ANSWER: Duration = Duration::from_secs(65);

/// Makes [`Patient`] services.
#[derive(Clone)]
pub struct PatientLayer {
    tokens: Option<Bearer>,
}

impl PatientLayer {
    /// With tokens, or, where the client has another identity, without.
    pub fn new(tokens: Option<Bearer>) -> Self {
        PatientLayer { tokens }
    }
}

impl<S, B> Layer<S> for PatientLayer
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError> + Send + 'static,
    S::Future: Send + 'static,
{
    type Service = Patient<S::Future>;

    fn layer(&self, inner: S) -> Self::Service {
        // A buffer only to have a service that can be called again from within a future.
        Patient { inner: Buffer::new(inner, 256), tokens: self.tokens.clone() }
    }
}

/// A service that authorizes and retries.
pub struct Patient<F> {
    inner: Buffer<Request<Body>, F>,
    tokens: Option<Bearer>,
}

impl<F, B> Service<Request<Body>> for Patient<F>
where
    F: Future<Output = Result<Response<B>, BoxError>> + Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (mut inner, tokens) = (self.inner.clone(), self.tokens.clone());
        async move {
            let (mut parts, mut body) = request.into_parts();
            let mut renewed = false;
            let mut waits = WAITS.iter();
            loop {
                let header = match &tokens {
                    Some(tokens) => Some(tokens.header(parts.headers.get(AUTHORIZATION).filter(|_| renewed)).await?),
                    None => None,
                };
                if let Some(header) = header {
                    parts.headers.insert(AUTHORIZATION, header);
                }
                // Bodies of ours are in memory and can be sent again; a stream cannot.
                let again = body.try_clone();
                let call = inner.ready().await?.call(Request::from_parts(parts.clone(), body));
                let answer =
                    tokio::time::timeout(ANSWER, call).await.unwrap_or_else(|_| Err(Box::new(io::Error::from(io::ErrorKind::TimedOut))));
                let Some(kept) = again else { return answer };
                body = kept;
                if let Ok(response) = &answer
                    && response.status() == StatusCode::UNAUTHORIZED
                    && tokens.is_some()
                    && !renewed
                {
                    renewed = true;
                    continue;
                }
                match wait(&answer, &parts.method).and_then(|least| waits.next().map(|most| least.max(jitter(*most)))) {
                    Some(time) => tokio::time::sleep(time).await,
                    None => return answer,
                }
            }
        }
        .boxed()
    }
}

/// Whether to try again, and after how long at least.
fn wait<B>(answer: &Result<Response<B>, BoxError>, method: &Method) -> Option<Duration> {
    match answer {
        Ok(response) => match response.status() {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                let after = response.headers().get(RETRY_AFTER).map(HeaderValue::to_str).and_then(Result::ok).and_then(|s| s.parse().ok());
                Some(Duration::from_secs(after.unwrap_or(0).min(10)))
            }
            // 500 is not here: under server-side apply it can be a validation error.
            _ => None,
        },
        Err(error) => retryable(error.as_ref(), method).then_some(Duration::ZERO),
    }
}

/// Whether a request that got no answer may be sent again: one that never left may, and all that mean the same twice.
fn retryable(error: &(dyn std::error::Error + 'static), method: &Method) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return *method != Method::POST;
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            match error.kind() {
                io::ErrorKind::ConnectionRefused => return true,
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::TimedOut
                | io::ErrorKind::UnexpectedEof => {
                    return *method != Method::POST;
                }
                // An error of TLS, for instance, stays one.
                _ => {}
            }
        }
        next = error.source();
    }
    false
}

/// A random time between a half of the given one and all of it.
pub fn jitter(time: Duration) -> Duration {
    // The standard library's only source of randomness.
    let random = RandomState::new().build_hasher().finish();
    let share = u32::try_from(random % 1000).unwrap_or_default();
    time / 2 + time / 2 * share / 1000
}
