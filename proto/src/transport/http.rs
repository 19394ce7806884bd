//! How a process serves its HTTP port: in clear text, or over TLS when it has a certificate.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::listen::{TlsError, TlsIdentity};

/// Callers that may be in the middle of their handshake; further ones are turned away.
const MAX_HANDSHAKES: usize = 256;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

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

/// A listener whose connections have shown a certificate. A slow handshake holds up nobody else.
struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    handshakes: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl TlsListener {
    fn new(tcp: TcpListener, identity: &TlsIdentity) -> Result<Self, TlsError> {
        let config = server_config(identity).map_err(|reason| TlsError::Unusable { reason })?;
        Ok(Self { tcp, acceptor: TlsAcceptor::from(Arc::new(config)), handshakes: JoinSet::new() })
    }

    fn greet(&mut self, stream: TcpStream, caller: SocketAddr) {
        if self.handshakes.len() >= MAX_HANDSHAKES {
            debug!(%caller, "too many handshakes at once, caller turned away");
            return;
        }
        let handshake = self.acceptor.accept(stream);
        self.handshakes.spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
                Ok(Ok(stream)) => return Some((stream, caller)),
                Ok(Err(error)) => debug!(%caller, %error, "TLS handshake failed"),
                Err(_) => debug!(%caller, "TLS handshake took too long"),
            }
            None
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                Some(Ok(Some(accepted))) = self.handshakes.join_next() => return accepted,
                (stream, caller) = Listener::accept(&mut self.tcp) => self.greet(stream, caller),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

fn server_config(identity: &TlsIdentity) -> Result<ServerConfig, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&identity.cert_pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("certificate: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(&identity.key_pem).map_err(|error| format!("key: {error}"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| error.to_string())
}
