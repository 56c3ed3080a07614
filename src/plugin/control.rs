//! The services that every plugin has beside its own: shutdown, health, and an output stream that stays silent.

use std::pin::Pin;
use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, async_trait};

use super::proto::control::grpc_controller_server::GrpcController;
use super::proto::control::grpc_stdio_server::GrpcStdio;
use super::proto::control::{Empty, StdioData};
use super::proto::health::health_check_response::ServingStatus;
use super::proto::health::health_server::Health;
use super::proto::health::{HealthCheckRequest, HealthCheckResponse};

/// Implements all three.
#[derive(Clone)]
pub struct Controller {
    ended: Arc<watch::Sender<bool>>,
}

/// Where a Shutdown arrives.
#[derive(Clone)]
pub struct Shutdown {
    ended: watch::Receiver<bool>,
}

impl Controller {
    /// The services, and where their Shutdown arrives.
    pub fn new() -> (Self, Shutdown) {
        let (ended, receiver) = watch::channel(false);
        (Controller { ended: Arc::new(ended) }, Shutdown { ended: receiver })
    }

    fn shutdown(&self) -> Shutdown {
        Shutdown { ended: self.ended.subscribe() }
    }
}

impl Shutdown {
    /// Waits for it.
    pub fn wait(&mut self) -> impl Future<Output = ()> + use<> {
        let mut ended = self.ended.clone();
        async move {
            // an error means that no service is left to say it
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[async_trait]
impl GrpcController for Controller {
    async fn shutdown(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        self.ended.send_replace(true);
        Ok(Response::new(Empty {}))
    }
}

#[async_trait]
impl GrpcStdio for Controller {
    type StreamStdioStream = Streamed<StdioData>;

    /// Stays open without a word: an open call keeps the client's channel from going idle, which would look like its death.
    async fn stream_stdio(&self, _: Request<Empty>) -> Result<Response<Self::StreamStdioStream>, Status> {
        let ended = self.shutdown().wait();
        Ok(Response::new(futures::stream::pending().take_until(ended).boxed()))
    }
}

#[async_trait]
impl Health for Controller {
    type WatchStream = Streamed<HealthCheckResponse>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        match request.into_inner().service.as_str() {
            "" | "plugin" => Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() })),
            other => Err(Status::not_found(format!("there is no service {other:?}"))),
        }
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let status = match request.into_inner().service.as_str() {
            "" | "plugin" => ServingStatus::Serving,
            _ => ServingStatus::ServiceUnknown,
        };
        let first = futures::stream::iter([Ok(HealthCheckResponse { status: status.into() })]);
        let ended = self.shutdown().wait();
        Ok(Response::new(first.chain(futures::stream::pending()).take_until(ended).boxed()))
    }
}
