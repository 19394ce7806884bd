//! The calling side: one HTTP/2 connection that shows the token with each call.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

use super::token::Token;
use super::{CONNECTION_WINDOW_BYTES, FRAME_BYTES, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW_BYTES};

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a caller shows and what it asks to see.
#[derive(Debug, Clone, Default)]
pub struct ClientSecurity {
    /// Shown with each call.
    pub token: Option<Token>,
    /// Certificates in PEM form that may have signed the server's. With them the connection is TLS, without it is not.
    pub ca_pem: Option<Vec<u8>>,
}

/// A channel whose every call shows the token. Cheap to clone; clones share the connection.
pub type AuthorizedChannel = InterceptedService<Channel, AddToken>;

/// Puts the token into each call.
#[derive(Debug, Clone)]
pub struct AddToken(Option<MetadataValue<Ascii>>);

impl AddToken {
    fn new(token: Option<&Token>) -> Self {
        Self(token.and_then(|token| {
            let mut value: MetadataValue<Ascii> = token.authorization().parse().ok()?;
            value.set_sensitive(true);
            Some(value)
        }))
    }
}

impl Interceptor for AddToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// Connects to `address`, a `host:port`. The connection is made before this returns and made again when it breaks.
pub async fn connect(address: &str, security: &ClientSecurity) -> Result<AuthorizedChannel, ConnectError> {
    let endpoint = endpoint(address, security)?;
    if security.ca_pem.is_none() {
        refuse_clear_text_beyond_loopback(address).await?;
    }
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| ConnectError::Unreachable { address: address.to_owned(), reason: innermost(&error) })?;
    Ok(InterceptedService::new(channel, AddToken::new(security.token.as_ref())))
}

fn endpoint(address: &str, security: &ClientSecurity) -> Result<Endpoint, ConnectError> {
    let malformed = || ConnectError::Address { address: address.to_owned() };
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    if host.is_empty() || host.contains('/') || port.parse::<u16>().is_err() {
        return Err(malformed());
    }
    let scheme = if security.ca_pem.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
        .map_err(|_| malformed())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES);
    match &security.ca_pem {
        None => Ok(endpoint),
        Some(pem) => endpoint
            .tls_config(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
            .map_err(|error| ConnectError::Authority { reason: innermost(&error) }),
    }
}

/// Anyone on the way could read the token; and a listener there speaks TLS only.
pub(super) async fn refuse_clear_text_beyond_loopback(address: &str) -> Result<(), ConnectError> {
    let resolved: Vec<SocketAddr> = tokio::net::lookup_host(address)
        .await
        .map_err(|error| ConnectError::Unreachable { address: address.to_owned(), reason: error.to_string() })?
        .collect();
    match resolved.iter().find(|found| !found.ip().is_loopback()) {
        None => Ok(()),
        Some(found) => Err(ConnectError::ClearText { address: address.to_owned(), ip: found.ip().to_string() }),
    }
}

/// The cause that says most: the layers above it only say that something failed.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Why no connection was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The address cannot be one.
    #[error("`{address}` is not an address (it looks like host:port)")]
    Address {
        /// As it was given.
        address: String,
    },
    /// Nobody there, or not one who speaks as expected; may pass.
    #[error("cannot reach {address}: {reason}")]
    Unreachable {
        /// As it was given.
        address: String,
        /// The innermost cause.
        reason: String,
    },
    /// Whoever listens there has another token.
    #[error("{address} does not accept the token")]
    Refused {
        /// As it was given.
        address: String,
    },
    /// The token would cross a network in clear text.
    #[error("{address} ({ip}) is beyond this machine and needs TLS: --tls-ca is missing")]
    ClearText {
        /// As it was given.
        address: String,
        /// What it resolves to.
        ip: String,
    },
    /// The certificates to trust cannot be used.
    #[error("the certificates given with --tls-ca cannot be used: {reason}")]
    Authority {
        /// What is wrong with them.
        reason: String,
    },
}

impl ConnectError {
    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Address { .. } | Self::Refused { .. } | Self::ClearText { .. } | Self::Authority { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_address_is_named() {
        for address in ["", "localhost", ":1", "host:port", "host:99999", "http://host:1"] {
            let error = connect(address, &ClientSecurity::default()).await.unwrap_err();
            assert!(matches!(error, ConnectError::Address { .. }), "{address:?}: {error}");
        }
    }

    #[tokio::test]
    async fn a_token_is_not_sent_in_clear_text_beyond_this_machine() {
        let error = connect("192.0.2.1:1", &ClientSecurity::default()).await.unwrap_err();
        assert!(matches!(error, ConnectError::ClearText { .. }), "{error}");
        assert!(!error.retryable());
    }

    #[tokio::test]
    async fn nobody_listening_may_pass() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = connect(&free.to_string(), &ClientSecurity::default()).await.unwrap_err();
        assert!(error.retryable(), "{error}");
        assert!(error.to_string().contains("refused"), "{error}");
    }
}
