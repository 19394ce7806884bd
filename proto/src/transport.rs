//! How every connection of a cluster is made: who may connect (token), who may listen where (TLS), and the settings
//! both sides of a connection share.
//!
//! Invariant: a token is never shown, and never sent in clear text beyond this machine; no listener beyond loopback is
//! opened without TLS.

mod address;
mod connect;
mod connection;
mod handshakes;
mod health;
mod http;
mod listen;
mod streams;
mod tls;
mod token;

pub use address::{host_of, is_loopback};
pub use connect::{AddToken, AuthorizedChannel, ClientSecurity, ConnectError, connect};
pub use connection::Connection;
pub use health::{Health, health_router};
pub use http::HttpPort;
pub use listen::{
    BindError, RequireToken, ServerSecurity, TlsError, TlsIdentity, check_bind, incoming, plain_server, server,
};
pub use streams::{connect_stream, incoming_with_streams};
pub use token::{Token, TokenError};

use std::time::Duration;

/// What one stream may have in flight before its reader takes something.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// The same for all streams of one connection together: the most that HTTP/2 has, so that it never binds. A merge reads many
/// streams of one peer in step; those it does not read for now must not take the room of the one it waits for.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;
/// Large frames, so that a 1 MiB chunk is few of them.
const FRAME_BYTES: u32 = 1 << 20;
/// A silent connection is asked for a sign of life this often, so that a peer that vanished without a word is noticed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
