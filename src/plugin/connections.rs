//! Connections that were let in, and how many of them are left: none means that the client is dead.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// How often to look whether the process that started us still lives.
const PARENT: Duration = Duration::from_millis(500);

/// Counts the connections.
pub struct Connections {
    count: watch::Receiver<Count>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    open: usize,
    /// How many there ever were: one may come and go between two looks.
    ever: usize,
}

impl Connections {
    /// Accepts connections, with TLS where there is an acceptor. A handshake holds up no other; who fails it is dropped.
    pub fn accept(
        listener: UnixListener,
        acceptor: Option<TlsAcceptor>,
    ) -> (Self, impl Stream<Item = Result<Connection, std::convert::Infallible>>) {
        let (count, seen) = watch::channel(Count::default());
        let (sender, receiver) = mpsc::channel(8);
        let count = Arc::new(count);
        tokio::spawn(async move {
            loop {
                let stream = match listener.accept().await {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        // out of file descriptors, as a rule: it passes
                        tracing::warn!(%error, "could not accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                };
                let (sender, acceptor, count) = (sender.clone(), acceptor.clone(), count.clone());
                tokio::spawn(async move {
                    let io = match acceptor {
                        None => Io::Plain(stream),
                        Some(acceptor) => match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                            Ok(Ok(stream)) => Io::Tls(Box::new(stream)),
                            Ok(Err(error)) => return tracing::warn!(%error, "refused a connection"),
                            Err(_) => return tracing::warn!("refused a connection that did not finish its TLS handshake"),
                        },
                    };
                    count.send_modify(|Count { open, ever }| (*open, *ever) = (*open + 1, *ever + 1));
                    // the receiver is gone only when the server has ended
                    let _ = sender.send(Ok(Connection { io, count })).await;
                });
            }
        });
        (Connections { count: seen }, ReceiverStream::new(receiver))
    }

    /// Waits until the client must be dead: connections there were and, for the time given, none is left; or none is open and the
    /// process that started this one, `parent`, is gone.
    pub async fn orphaned(&self, parent: u32, after: Duration) {
        let deserted = async {
            let mut count = self.count.clone();
            // an error means that nobody accepts any more, which is no better
            while let Ok(ever) = count.wait_for(|count| count.open == 0 && count.ever > 0).await.map(|count| count.ever) {
                if tokio::time::timeout(after, count.wait_for(|count| count.ever > ever)).await.is_err() {
                    return;
                }
            }
        };
        let orphan = async {
            while self.count.borrow().open > 0 || std::os::unix::process::parent_id() == parent {
                tokio::time::sleep(PARENT).await;
            }
        };
        tokio::select! { () = deserted => {}, () = orphan => {} }
    }
}

/// A connection that was let in.
pub struct Connection {
    io: Io,
    count: Arc<watch::Sender<Count>>,
}

enum Io {
    Plain(UnixStream),
    Tls(Box<TlsStream<UnixStream>>),
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.count.send_modify(|count| count.open -= 1);
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
