//! How a process serves its HTTP port: in clear text, or over TLS when it has a certificate.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::handshakes::Handshakes;
use super::listen::{TlsError, TlsIdentity};
use super::tls::server_config;

/// An HTTP port that is ready to serve.
pub struct HttpPort(Connections);

enum Connections {
    Clear(TcpListener),
    Tls(TlsListener),
}

impl HttpPort {
    /// Serves what `listener` accepts, over TLS only when there is an identity to show.
    pub fn new(listener: TcpListener, identity: Option<&TlsIdentity>) -> Result<Self, TlsError> {
        let connections = match identity {
            None => Connections::Clear(listener),
            Some(identity) => Connections::Tls(TlsListener::new(listener, identity)?),
        };
        Ok(Self(connections))
    }

    /// Serves `router` until `stopped`.
    pub async fn serve(self, router: Router, stopped: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        match self.0 {
            Connections::Clear(tcp) => axum::serve(tcp, router).with_graceful_shutdown(stopped).await,
            Connections::Tls(tls) => axum::serve(tls, router).with_graceful_shutdown(stopped).await,
        }
    }
}

impl std::fmt::Debug for HttpPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpPort").field("tls", &matches!(self.0, Connections::Tls(_))).finish()
    }
}

/// A listener whose callers have been shown a certificate.
struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    handshakes: Handshakes<(TlsStream<TcpStream>, SocketAddr)>,
}

impl TlsListener {
    fn new(tcp: TcpListener, identity: &TlsIdentity) -> Result<Self, TlsError> {
        let acceptor = TlsAcceptor::from(server_config(identity, &[])?);
        Ok(Self { tcp, acceptor, handshakes: Handshakes::default() })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                accepted = self.handshakes.done() => return accepted,
                (stream, caller) = Listener::accept(&mut self.tcp) => {
                    let handshake = self.acceptor.accept(stream);
                    self.handshakes.begin(caller, async move { Ok((handshake.await?, caller)) });
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
