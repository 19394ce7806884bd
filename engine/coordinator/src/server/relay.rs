//! The way from here to the data ports of workers. For a client that cannot reach a worker, its output is read through here:
//! chunks pass through as they are, and the two streams' flow control makes the client's pace the worker's.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tandem_proto::WorkerId;
use tandem_proto::transport::{self, AuthorizedChannel, ClientSecurity};
use tandem_proto::v1::shuffle_service_client::ShuffleServiceClient;
use tandem_proto::v1::{Chunk, FetchRequest};
use tonic::{Status, Streaming};

/// Workers whose connection is kept.
const MAX_CHANNELS: usize = 64;

/// Connections to workers, made when first asked for.
pub(crate) struct Relay {
    security: ClientSecurity,
    channels: Mutex<HashMap<WorkerId, AuthorizedChannel>>,
}

impl Relay {
    /// A relay that shows and asks for `security`.
    pub(crate) fn new(security: ClientSecurity) -> Self {
        Self { security, channels: Mutex::default() }
    }

    /// The worker's answer to `request`.
    pub(super) async fn fetch(
        &self,
        worker: WorkerId,
        address: &str,
        request: FetchRequest,
    ) -> Result<Streaming<Chunk>, Status> {
        let channel = self.channel(worker, address).await?;
        Ok(ShuffleServiceClient::new(channel).fetch(request).await?.into_inner())
    }

    /// The connection to a worker.
    pub(super) async fn channel(&self, worker: WorkerId, address: &str) -> Result<AuthorizedChannel, Status> {
        let known = self.channels.lock().unwrap_or_else(PoisonError::into_inner).get(&worker).cloned();
        match known {
            Some(channel) => Ok(channel),
            None => self.connect(worker, address).await,
        }
    }

    async fn connect(&self, worker: WorkerId, address: &str) -> Result<AuthorizedChannel, Status> {
        let channel = transport::connect(address, &self.security)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if channels.len() >= MAX_CHANNELS {
            channels.clear();
        }
        channels.insert(worker, channel.clone());
        Ok(channel)
    }
}
