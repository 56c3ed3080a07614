//! The process: what the client starts, shakes hands with, talks to and ends.
//!
//! [`serve`] and [`debug`] are the two ways to run; [`handshake`] is what is said before gRPC, [`tls`] who may talk, [`socket`] where,
//! [`connections`] how long, [`control`] the services beside the provider's own, [`logs`] what goes to stderr.

pub mod connections;
pub mod control;
pub mod handshake;
pub mod logs;
pub mod proto;
pub mod socket;
pub mod tls;

#[cfg(not(unix))]
compile_error!("only Unix so far: on Windows the client wants TCP on 127.0.0.1 between PLUGIN_MIN_PORT and PLUGIN_MAX_PORT");

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tonic::transport::Server;

use crate::server::{ProviderService, note_panics};
use crate::tofu::resource::Provider;
use crate::{Error, Kind};

use connections::Connections;
use handshake::Handshake;
use proto::control::grpc_controller_server::GrpcControllerServer;
use proto::control::grpc_stdio_server::GrpcStdioServer;
use proto::health::health_server::HealthServer;
use proto::tfplugin5::provider_server::ProviderServer;
use socket::Socket;

/// Both directions; tonic's own limit of 4 MB is less than a large state.
const MAX_MESSAGE: usize = 256 << 20;
/// How long calls in flight may go on after Shutdown. The client kills after 2 s.
const DRAIN: Duration = Duration::from_millis(500);
/// How long the last connection may be gone before the client counts as dead: its library reconnects at once.
const ORPHANED: Duration = Duration::from_secs(2);

/// Serves the client that started this process, until it says Shutdown or is gone. Without a client, tells the person who
/// started it what this is.
pub async fn serve(provider: impl FnOnce() -> Arc<dyn Provider>) -> ExitCode {
    let Some(handshake) = Handshake::from_environment(|name| std::env::var(name).ok()) else {
        eprint!("{}", handshake::FOR_PEOPLE);
        return ExitCode::FAILURE;
    };
    logs::install();
    note_panics();
    outcome(run(provider, Mode::Client(handshake)).await)
}

/// Serves any number of clients, one after the other, until interrupted: for a debugger. Prints how clients find it.
pub async fn debug(provider: impl FnOnce() -> Arc<dyn Provider>) -> ExitCode {
    logs::install();
    note_panics();
    outcome(run(provider, Mode::Debug).await)
}

enum Mode {
    Client(Handshake),
    Debug,
}

async fn run(provider: impl FnOnce() -> Arc<dyn Provider>, mode: Mode) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::new(Kind::Other, "start the plugin", error.to_string()).caused_by(error);
    // before anybody can know of this process and end the one that started it
    let parent = std::os::unix::process::parent_id();
    let (socket, listener) = Socket::bind(|name| std::env::var(name).ok()).map_err(failed)?;
    let debugged = matches!(mode, Mode::Debug);
    let (acceptor, announcement) = match mode {
        Mode::Client(handshake) => {
            let tls = handshake.client_certificate.as_deref().map(tls::server).transpose()?;
            let line = handshake::line(socket.path(), tls.as_ref().map(|tls| tls.certificate.as_ref()));
            (tls.map(|tls| tls.acceptor), line)
        }
        Mode::Debug => (None, handshake::for_debugging(socket.path())),
    };
    // before the announcement: from then on an interrupt may come
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;

    // connections queue from now on, and the client connects while the provider is made
    announce(&announcement).map_err(failed)?;
    let (controller, mut shutdown) = control::Controller::new();
    let (connections, incoming) = Connections::accept(listener, acceptor);
    let provider =
        ProviderServer::new(ProviderService::new(provider())).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE);
    let server = Server::builder()
        .add_service(provider)
        .add_service(GrpcControllerServer::new(controller.clone()))
        .add_service(GrpcStdioServer::new(controller.clone()))
        .add_service(HealthServer::new(controller))
        .serve_with_incoming_shutdown(incoming, shutdown.wait());
    let mut server = std::pin::pin!(server);
    let mut deserted = std::pin::pin!(connections.orphaned(parent, ORPHANED));
    tracing::debug!(socket = %socket.path().display(), "serving");

    let reason = loop {
        tokio::select! {
            served = &mut server => {
                served.map_err(|error| Error::new(Kind::Other, "serve", error.to_string()).caused_by(error))?;
                break "the server ended";
            }
            () = shutdown.wait() => {
                let _ = tokio::time::timeout(DRAIN, &mut server).await;
                break "the client said Shutdown";
            }
            () = &mut deserted, if !debugged => break "the client is gone",
            _ = terminate.recv() => break "terminated",
            // the whole process group gets it; the client follows with Stop, and Shutdown once all has ended
            _ = interrupt.recv() => if debugged { break "interrupted" },
            _ = hangup.recv() => if debugged { break "its terminal is gone" },
        }
    };
    tracing::debug!(reason, "ending");
    Ok(())
}

fn announce(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

fn outcome(result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("could not {error}");
            ExitCode::FAILURE
        }
    }
}
