//! Byte streams beside gRPC on one port, for what is too large to go through messages. A stream begins with a greeting that
//! shows the token; from then on it belongs to its two ends.
//!
//!   clear text: the first byte tells, gRPC begins with `P`, a stream with `T`
//!   TLS:        the protocol that both agree on in the handshake tells, `h2` or `tandem-stream`
//!
//!   greeting: `T` · length of the authorization (u16, big endian) · the authorization
//!   answer:   one byte, 1 for welcome

use std::io;
use std::sync::Arc;

use futures::Stream;
use rustix::net::sockopt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::address::host_of;
use super::connect::{CONNECT_TIMEOUT, ClientSecurity, ConnectError, refuse_clear_text_beyond_loopback};
use super::connection::Connection;
use super::handshakes::Handshakes;
use super::listen::{ServerSecurity, TlsError};
use super::tls::{client_config, server_config};
use super::token::Token;
use super::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT};

const STREAM_PROTOCOL: &[u8] = b"tandem-stream";
const GRPC_PROTOCOL: &[u8] = b"h2";
const GREETING: u8 = b'T';
const WELCOME: u8 = 1;
const REFUSED: u8 = 0;
/// Signs of life that may be missed.
const KEEP_ALIVE_PROBES: u32 = 2;
/// A token is far shorter.
const MAX_AUTHORIZATION_BYTES: usize = 4096;

/// The gRPC connections that `listener` accepts, for a server that does not speak TLS itself, while `take` is given the streams.
///
/// # Errors
/// A certificate or key that cannot be used.
pub fn incoming_with_streams(
    listener: TcpListener,
    security: &ServerSecurity,
    take: impl FnMut(Connection) + Send + 'static,
) -> Result<impl Stream<Item = io::Result<Connection>> + Send + 'static, TlsError> {
    let tls = match &security.tls {
        None => None,
        Some(identity) => Some(TlsAcceptor::from(server_config(identity, &[GRPC_PROTOCOL, STREAM_PROTOCOL])?)),
    };
    let token = Arc::new(security.token.clone());
    let port = Port { listener, doorman: Doorman { tls, token }, handshakes: Handshakes::default(), take };
    Ok(futures::stream::unfold(port, |mut port| async { Some((Ok(port.next_grpc().await), port)) }))
}

/// One port for both.
struct Port<F> {
    listener: TcpListener,
    doorman: Doorman,
    handshakes: Handshakes<Guest>,
    take: F,
}

/// What has come in.
enum Guest {
    Grpc(Connection),
    Stream(Connection),
}

impl<F: FnMut(Connection)> Port<F> {
    async fn next_grpc(&mut self) -> Connection {
        loop {
            tokio::select! {
                guest = self.handshakes.done() => match guest {
                    Guest::Grpc(connection) => return connection,
                    Guest::Stream(connection) => (self.take)(connection),
                },
                (tcp, caller) = axum::serve::Listener::accept(&mut self.listener) => {
                    let doorman = self.doorman.clone();
                    self.handshakes.begin(caller, async move { doorman.greet(tcp).await });
                }
            }
        }
    }
}

/// Finds out who comes.
#[derive(Clone)]
struct Doorman {
    tls: Option<TlsAcceptor>,
    token: Arc<Token>,
}

impl Doorman {
    async fn greet(self, tcp: TcpStream) -> io::Result<Guest> {
        set_up(&tcp)?;
        let (is_stream, connection) = match &self.tls {
            None => {
                let mut first = [0];
                if tcp.peek(&mut first).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                (first[0] == GREETING, Connection::Clear(tcp))
            }
            Some(acceptor) => {
                let tls = acceptor.accept(tcp).await?;
                let is_stream = tls.get_ref().1.alpn_protocol() == Some(STREAM_PROTOCOL);
                (is_stream, Connection::Tls(Box::new(TlsStream::Server(tls))))
            }
        };
        if is_stream { self.let_in(connection).await.map(Guest::Stream) } else { Ok(Guest::Grpc(connection)) }
    }

    /// Lets a stream in only when it shows the token.
    async fn let_in(&self, mut connection: Connection) -> io::Result<Connection> {
        let greeting = connection.read_u8().await?;
        let length = usize::from(connection.read_u16().await?);
        if greeting != GREETING || length > MAX_AUTHORIZATION_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no greeting"));
        }
        let mut authorization = vec![0; length];
        connection.read_exact(&mut authorization).await?;
        let welcome = self.token.is_shown_by(&authorization);
        connection.write_u8(if welcome { WELCOME } else { REFUSED }).await?;
        connection.flush().await?;
        if welcome { Ok(connection) } else { Err(io::Error::new(io::ErrorKind::PermissionDenied, "no token")) }
    }
}

/// Opens a stream to the port at `address`, a `host:port`.
///
/// # Errors
/// As [`connect`](super::connect()), and [`ConnectError::Refused`].
pub async fn connect_stream(address: &str, security: &ClientSecurity) -> Result<Connection, ConnectError> {
    if security.ca_pem.is_none() {
        refuse_clear_text_beyond_loopback(address).await?;
    }
    let unreachable = |reason: String| ConnectError::Unreachable { address: address.to_owned(), reason };
    let tls = match &security.ca_pem {
        None => None,
        Some(pem) => Some(TlsConnector::from(client_config(pem, &[STREAM_PROTOCOL])?)),
    };
    let greeted = async {
        let mut connection = open(address, tls).await?;
        let welcome = greet(&mut connection, security.token.as_ref()).await?;
        Ok::<_, io::Error>((connection, welcome))
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, greeted).await {
        Ok(Ok((connection, true))) => Ok(connection),
        Ok(Ok((_, false))) => Err(ConnectError::Refused { address: address.to_owned() }),
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Err(_) => Err(unreachable("it does not answer".to_owned())),
    }
}

async fn open(address: &str, tls: Option<TlsConnector>) -> io::Result<Connection> {
    let tcp = TcpStream::connect(address).await?;
    set_up(&tcp)?;
    let Some(connector) = tls else { return Ok(Connection::Clear(tcp)) };
    let host = host_of(address).trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let tls = connector.connect(name, tcp).await?;
    Ok(Connection::Tls(Box::new(TlsStream::Client(tls))))
}

/// No delays, and an end when the other machine has vanished without a word.
fn set_up(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, KEEP_ALIVE_INTERVAL)?;
    sockopt::set_tcp_keepintvl(tcp, KEEP_ALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(tcp, KEEP_ALIVE_PROBES)?;
    Ok(sockopt::set_tcp_user_timeout(tcp, KEEP_ALIVE_TIMEOUT.as_millis() as u32)?)
}

/// Shows the token; whether it was the right one.
async fn greet(connection: &mut Connection, token: Option<&Token>) -> io::Result<bool> {
    let authorization = token.map(Token::authorization).unwrap_or_default();
    let length = u16::try_from(authorization.len()).map_err(io::Error::other)?;
    let mut greeting = vec![GREETING];
    greeting.extend(length.to_be_bytes());
    greeting.extend(authorization.as_bytes());
    connection.write_all(&greeting).await?;
    connection.flush().await?;
    Ok(connection.read_u8().await? == WELCOME)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tokio::sync::mpsc;

    use super::*;
    use crate::transport::{TlsIdentity, connect};

    /// A port that serves no gRPC calls, but takes the connections.
    struct Served {
        address: String,
        streams: mpsc::UnboundedReceiver<Connection>,
        grpc: mpsc::UnboundedReceiver<Connection>,
    }

    async fn serve(security: &ServerSecurity) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stream, streams) = mpsc::unbounded_channel();
        let take = move |connection| stream.send(connection).unwrap();
        let incoming = incoming_with_streams(listener, security, take).unwrap();
        let (sender, grpc) = mpsc::unbounded_channel();
        tokio::spawn(incoming.for_each(move |connection| {
            let _ = sender.send(connection.unwrap());
            std::future::ready(())
        }));
        Served { address, streams, grpc }
    }

    fn identity() -> (TlsIdentity, Vec<u8>) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let cert_pem = made.cert.pem().into_bytes();
        let key_pem = made.signing_key.serialize_pem().into_bytes();
        (TlsIdentity { cert_pem: cert_pem.clone(), key_pem }, cert_pem)
    }

    /// Both ways of one port, in clear text and over TLS.
    fn securities() -> [(ServerSecurity, ClientSecurity); 2] {
        let token = Token::generate();
        let (identity, ca_pem) = identity();
        let server = |tls| ServerSecurity { token: token.clone(), tls };
        let client = |ca_pem| ClientSecurity { token: Some(token.clone()), ca_pem };
        [(server(None), client(None)), (server(Some(identity)), client(Some(ca_pem)))]
    }

    #[tokio::test]
    async fn streams_and_grpc_come_by_one_port() {
        for (server, client) in securities() {
            let mut served = serve(&server).await;
            // Whoever says nothing holds up nobody.
            let _silent = TcpStream::connect(&served.address).await.unwrap();
            let mut near = connect_stream(&served.address, &client).await.unwrap();
            let mut far = served.streams.recv().await.unwrap();
            let _channel = connect(&served.address, &client).await.unwrap();
            assert!(served.grpc.recv().await.is_some());
            near.write_all(b"there").await.unwrap();
            near.flush().await.unwrap();
            let mut heard = [0; 5];
            far.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"there");
        }
    }

    #[tokio::test]
    async fn a_stream_without_the_right_token_is_refused() {
        for (server, client) in securities() {
            let mut served = serve(&server).await;
            for token in [None, Some(Token::generate())] {
                let error =
                    connect_stream(&served.address, &ClientSecurity { token, ..client.clone() }).await.unwrap_err();
                assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
                assert!(!error.retryable());
            }
            assert!(served.streams.try_recv().is_err());
        }
    }

    #[tokio::test]
    async fn what_is_no_greeting_is_not_let_in() {
        let [(server, _), _] = securities();
        let mut served = serve(&server).await;
        for greeting in [&b"T\xff\xffxxxx"[..], b"T"] {
            let mut tcp = TcpStream::connect(&served.address).await.unwrap();
            tcp.write_all(greeting).await.unwrap();
            tcp.shutdown().await.unwrap();
            assert_eq!(tcp.read(&mut [0]).await.unwrap_or(0), 0);
        }
        assert!(served.streams.try_recv().is_err());
    }
}
