//! Connections to one other worker's data port: one for messages, some for the bytes of objects, since one connection has
//! one receiver that all its streams share.

use tandem_proto::transport::{AuthorizedChannel, ClientSecurity, ConnectError, connect};
use tokio::sync::{Mutex, OnceCell};

/// Connections for objects.
pub(super) const LANES: usize = 4;

/// See the module's header. Connections are made by the first to need them and mended by themselves.
#[derive(Debug)]
pub(crate) struct Channels {
    address: String,
    security: ClientSecurity,
    control: Mutex<Option<AuthorizedChannel>>,
    lanes: [OnceCell<AuthorizedChannel>; LANES],
}

impl Channels {
    pub(super) fn new(address: String, security: ClientSecurity) -> Self {
        Self { address, security, control: Mutex::default(), lanes: Default::default() }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The connection for messages.
    pub(super) async fn control(&self) -> Result<AuthorizedChannel, ConnectError> {
        let mut control = self.control.lock().await;
        if let Some(channel) = &*control {
            return Ok(channel.clone());
        }
        let channel = connect(&self.address, &self.security).await?;
        Ok(control.insert(channel).clone())
    }

    /// The connection for the `lane`th part of an object.
    pub(super) async fn lane(&self, lane: usize) -> Result<AuthorizedChannel, ConnectError> {
        let lane = &self.lanes[lane % LANES];
        lane.get_or_try_init(|| connect(&self.address, &self.security)).await.cloned()
    }
}
