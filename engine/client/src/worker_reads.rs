//! Opening a partition of a result where it is. Owned by one [`crate::Results`].
//! A worker that could not be reached once is read through the coordinator from then on.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tandem_proto::transport::{self, AuthorizedChannel};
use tandem_proto::v1::shuffle_service_client::ShuffleServiceClient;
use tandem_proto::{JobId, v1};
use tonic::{Code, Response, Status, Streaming};

use crate::client::Client;
use crate::error::{ClientError, is_broken_connection};

/// How long a worker may take to accept a connection before its output is read through the coordinator.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a partition could not be opened or read to its end.
#[derive(Debug)]
pub(crate) enum ReadFailure {
    /// Gone, or its worker is: it may turn up elsewhere while the job runs.
    Gone(String),
    /// Asking again will not help.
    Final(ClientError),
}

/// Where readers of one result keep their connections.
#[derive(Clone)]
pub(crate) struct WorkerReads {
    client: Client,
    job: JobId,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    direct: HashMap<String, ShuffleServiceClient<AuthorizedChannel>>,
    unreachable: HashSet<String>,
}

impl WorkerReads {
    pub(crate) fn new(client: Client, job: JobId) -> Self {
        Self { client, job, known: Arc::default() }
    }

    /// The bytes of one result partition, from the worker or through the coordinator.
    pub(crate) async fn open(
        self,
        stage: u32,
        partition: v1::ResultPartition,
    ) -> Result<Streaming<v1::Chunk>, ReadFailure> {
        let mut fetch = v1::FetchRequest {
            job: self.job.0,
            stage,
            partitions: vec![partition.partition],
            attempts: vec![partition.attempt],
            output_start: 0,
            output_end: 1,
            uncompressed: false,
        };
        let opened = match self.worker(&partition.data_address).await {
            Some(mut worker) => {
                fetch.uncompressed = transport::is_loopback(&partition.data_address);
                worker.fetch(fetch).await.map(Response::into_inner)
            }
            None => {
                let request = v1::RelayFetchRequest { worker: partition.worker, fetch: Some(fetch) };
                self.client.relay(request).await
            }
        };
        opened.map_err(|status| self.judge(&partition.data_address, &status))
    }

    /// What a failed read means. A broken direct connection makes the next attempt go through the coordinator, which
    /// knows whether the worker still lives.
    pub(crate) fn judge(&self, address: &str, status: &Status) -> ReadFailure {
        if is_broken_connection(status) {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.direct.remove(address);
            known.unreachable.insert(address.to_owned());
            return ReadFailure::Gone(status.message().to_owned());
        }
        match status.code() {
            Code::NotFound => ReadFailure::Gone(status.message().to_owned()),
            _ => ReadFailure::Final(ClientError::from_status(address, status)),
        }
    }

    async fn worker(&self, address: &str) -> Option<ShuffleServiceClient<AuthorizedChannel>> {
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(worker) = known.direct.get(address) {
                return Some(worker.clone());
            }
            if known.unreachable.contains(address) {
                return None;
            }
        }
        let connected =
            tokio::time::timeout(CONNECT_TIMEOUT, transport::connect(address, self.client.security())).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match connected {
            Ok(Ok(channel)) => {
                let worker = ShuffleServiceClient::new(channel);
                known.direct.insert(address.to_owned(), worker.clone());
                Some(worker)
            }
            Ok(Err(error)) => {
                tracing::debug!(address, %error, "cannot reach the worker, reading through the coordinator");
                known.unreachable.insert(address.to_owned());
                None
            }
            Err(_) => {
                tracing::debug!(address, "the worker accepts no connection, reading through the coordinator");
                known.unreachable.insert(address.to_owned());
                None
            }
        }
    }
}
