//! The listening side: where it may listen, with which certificate, and whom it lets in.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tonic::service::Interceptor;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Status};

use super::token::Token;
use super::{CONNECTION_WINDOW_BYTES, FRAME_BYTES, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW_BYTES};

/// What a listener asks for and what it shows.
#[derive(Debug, Clone)]
pub struct ServerSecurity {
    /// Every caller must show it.
    pub token: Token,
    /// With it the listener speaks TLS only.
    pub tls: Option<TlsIdentity>,
}

/// A certificate chain and its private key, both in PEM form.
#[derive(Clone)]
pub struct TlsIdentity {
    /// The certificate, then those that signed it.
    pub cert_pem: Vec<u8>,
    /// The private key.
    pub key_pem: Vec<u8>,
}

impl TlsIdentity {
    /// Reads both files.
    pub fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = |path: &Path| std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source });
        Ok(Self { cert_pem: read(cert)?, key_pem: read(key)? })
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsIdentity(***)")
    }
}

/// Why a certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Certificate and key do not make an identity.
    #[error("the certificate and key given with --tls-cert and --tls-key cannot be used: {reason}")]
    Unusable {
        /// What is wrong with them.
        reason: String,
    },
}

/// A listener that may not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address} can be reached from other machines and needs TLS: --tls-cert and --tls-key are missing")]
pub struct BindError {
    address: SocketAddr,
}

/// Refuses an address beyond loopback for a listener without TLS.
pub fn check_bind(address: SocketAddr, security: &ServerSecurity) -> Result<(), BindError> {
    let private = address.ip().to_canonical().is_loopback();
    if private || security.tls.is_some() { Ok(()) } else { Err(BindError { address }) }
}

/// A gRPC server with the settings every listener of a cluster shares, for connections that are made ready elsewhere. Services
/// still need [`RequireToken`].
pub fn plain_server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
}

/// As [`plain_server`], and speaks TLS itself when there is an identity to show.
pub fn server(security: &ServerSecurity) -> Result<Server, TlsError> {
    match &security.tls {
        None => Ok(plain_server()),
        Some(identity) => plain_server()
            .tls_config(ServerTlsConfig::new().identity(Identity::from_pem(&identity.cert_pem, &identity.key_pem)))
            .map_err(|error| TlsError::Unusable {
                reason: std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string),
            }),
    }
}

/// The connections that `listener` accepts, without Nagle's delay.
pub fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

/// Lets a call in only when it shows the token; the same answer whether it is wrong or missing.
#[derive(Debug, Clone)]
pub struct RequireToken(Arc<Token>);

impl RequireToken {
    /// Asks for `token`.
    pub fn new(token: Token) -> Self {
        Self(Arc::new(token))
    }
}

impl Interceptor for RequireToken {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        match request.metadata().get("authorization") {
            Some(header) if self.0.is_shown_by(header.as_bytes()) => Ok(request),
            _ => Err(Status::unauthenticated("the token is missing or wrong")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn security(tls: bool) -> ServerSecurity {
        let identity = TlsIdentity { cert_pem: Vec::new(), key_pem: Vec::new() };
        ServerSecurity { token: Token::generate(), tls: tls.then_some(identity) }
    }

    #[test]
    fn only_loopback_may_do_without_tls() {
        for (address, loopback) in [
            ("127.0.0.1:0", true),
            ("127.9.9.9:7000", true),
            ("[::1]:7000", true),
            ("[::ffff:127.0.0.1]:7000", true),
            ("0.0.0.0:7000", false),
            ("[::]:7000", false),
            ("10.0.0.1:7000", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(check_bind(address, &security(false)).is_ok(), loopback, "{address}");
            assert_eq!(check_bind(address, &security(true)), Ok(()), "{address}");
        }
        let error = check_bind("0.0.0.0:7000".parse().unwrap(), &security(false)).unwrap_err().to_string();
        assert!(error.contains("--tls-cert"), "{error}");
    }

    #[test]
    fn a_key_that_is_none_is_an_error_not_a_panic() {
        let error = server(&security(true)).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("--tls-key"), "{error}");
    }

    #[test]
    fn a_call_without_the_right_token_is_unauthenticated() {
        let token = Token::generate();
        let mut guard = RequireToken::new(token.clone());
        for (header, let_in) in [
            (None, false),
            (Some("Bearer wrong".to_owned()), false),
            (Some(Token::generate().authorization()), false),
            (Some(token.authorization()), true),
        ] {
            let mut request = Request::new(());
            if let Some(header) = &header {
                request.metadata_mut().insert("authorization", header.parse().unwrap());
            }
            let answer = guard.call(request);
            assert_eq!(answer.is_ok(), let_in);
            if let Err(status) = answer {
                assert_eq!(status.code(), tonic::Code::Unauthenticated);
            }
        }
    }
}
