//! One connection per peer, shared by all streams to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tandem_proto::transport::{AuthorizedChannel, ClientSecurity, ConnectError, connect};
use tandem_proto::v1::FetchRequest;
use tandem_proto::v1::shuffle_service_client::ShuffleServiceClient;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

/// Streams to one peer that may be on their way to a first answer at once.
const MAX_OPENING: usize = 16;
/// A connection unused for longer is closed when another is opened.
const IDLE: Duration = Duration::from_secs(60);

/// All peers this worker reads from.
#[derive(Debug)]
pub(super) struct Peers {
    security: ClientSecurity,
    io: Handle,
    by_address: Mutex<HashMap<String, Arc<Peer>>>,
}

impl Peers {
    pub(super) fn new(security: ClientSecurity, io: Handle) -> Self {
        Self { security, io, by_address: Mutex::default() }
    }

    /// The peer at `address`; not connected before it is used.
    pub(super) fn get(&self, address: &str) -> Arc<Peer> {
        let mut peers = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = peers.get(address) {
            peer.touch();
            return Arc::clone(peer);
        }
        peers.retain(|_, peer| Arc::strong_count(peer) > 1 || !peer.is_idle());
        let peer = Arc::new(Peer::new(address, self.security.clone(), self.io.clone()));
        peers.insert(address.to_owned(), Arc::clone(&peer));
        peer
    }

    /// Closes the connection once its open streams are done; the next use makes a new one.
    pub(super) fn forget(&self, peer: &Arc<Peer>) {
        let mut peers = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.get(peer.address()).is_some_and(|known| Arc::ptr_eq(known, peer)) {
            peers.remove(peer.address());
        }
    }
}

/// One other worker's data port.
#[derive(Debug)]
pub(super) struct Peer {
    address: String,
    security: ClientSecurity,
    io: Handle,
    channel: OnceCell<AuthorizedChannel>,
    opening: Semaphore,
    last_used: Mutex<Instant>,
}

impl Peer {
    fn new(address: &str, security: ClientSecurity, io: Handle) -> Self {
        Self {
            address: address.to_owned(),
            security,
            io,
            channel: OnceCell::new(),
            opening: Semaphore::new(MAX_OPENING),
            last_used: Mutex::new(Instant::now()),
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// A place among the streams that are being opened. None only when the semaphore is closed, which nobody does.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.opening.acquire().await.ok()
    }

    /// A client on the shared connection, which is made by the first to ask.
    pub(super) async fn client(&self) -> Result<ShuffleServiceClient<AuthorizedChannel>, ConnectError> {
        let channel = self.channel.get_or_try_init(|| self.connect()).await?;
        Ok(ShuffleServiceClient::new(channel.clone()))
    }

    /// Whether it answers anything at all within `timeout`.
    pub(super) async fn is_alive(&self, timeout: Duration) -> bool {
        let ask = async {
            let mut client = self.client().await.ok()?;
            client.fetch(FetchRequest::default()).await.ok()
        };
        matches!(tokio::time::timeout(timeout, ask).await, Ok(Some(_)))
    }

    /// On the I/O threads: whoever makes a connection drives it.
    async fn connect(&self) -> Result<AuthorizedChannel, ConnectError> {
        let (address, security) = (self.address.clone(), self.security.clone());
        let connecting = self.io.spawn(async move { connect(&address, &security).await });
        connecting.await.unwrap_or_else(|stopped| {
            Err(ConnectError::Unreachable { address: self.address.clone(), reason: stopped.to_string() })
        })
    }

    fn touch(&self) {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn is_idle(&self) -> bool {
        self.last_used.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > IDLE
    }
}
