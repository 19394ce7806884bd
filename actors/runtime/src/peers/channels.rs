//! Connections to one other worker's data port: one for messages, and byte streams for objects.

use std::sync::{Mutex as SyncMutex, PoisonError};

use tandem_proto::transport::{AuthorizedChannel, ClientSecurity, ConnectError, Connection, connect, connect_stream};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

/// Objects, or parts of them, that are read from one peer at the same time.
const STREAMS: usize = 8;

/// See the module's header. Connections are made by the first to need them.
#[derive(Debug)]
pub(crate) struct Channels {
    address: String,
    security: ClientSecurity,
    control: Mutex<Option<AuthorizedChannel>>,
    turns: Semaphore,
    /// Streams that nobody uses.
    idle: SyncMutex<Vec<Connection>>,
}

impl Channels {
    pub(super) fn new(address: String, security: ClientSecurity) -> Self {
        let turns = Semaphore::new(STREAMS);
        Self { address, security, control: Mutex::default(), turns, idle: SyncMutex::default() }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The connection for messages, which mends itself.
    pub(super) async fn control(&self) -> Result<AuthorizedChannel, ConnectError> {
        let mut control = self.control.lock().await;
        if let Some(channel) = &*control {
            return Ok(channel.clone());
        }
        let channel = connect(&self.address, &self.security).await?;
        Ok(control.insert(channel).clone())
    }

    /// A stream for one object, when it is its turn.
    pub(super) async fn stream(&self) -> Result<Loan<'_>, ConnectError> {
        let stopped = || ConnectError::Unreachable { address: self.address.clone(), reason: "stopped".to_owned() };
        let turn = self.turns.acquire().await.map_err(|_| stopped())?;
        let old = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (stream, is_old) = match old {
            Some(stream) => (stream, true),
            None => (connect_stream(&self.address, &self.security).await?, false),
        };
        Ok(Loan { channels: self, stream, is_old, _turn: turn })
    }
}

/// A stream while it is used. Dropped, it ends, for nobody knows how far it was read.
#[derive(Debug)]
pub(super) struct Loan<'a> {
    channels: &'a Channels,
    stream: Connection,
    is_old: bool,
    _turn: SemaphorePermit<'a>,
}

impl Loan<'_> {
    pub(super) fn stream(&mut self) -> &mut Connection {
        &mut self.stream
    }

    /// Whether it was used before, and may have ended since.
    pub(super) fn is_old(&self) -> bool {
        self.is_old
    }

    /// Leaves it, between two objects, for the next one.
    pub(super) fn give_back(self) {
        self.channels.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.stream);
    }
}
