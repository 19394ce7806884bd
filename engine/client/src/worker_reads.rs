//! Opening a partition of a result where it is. Owned by one [`crate::Results`]; connections to workers are the [`Client`]'s.
//! A worker that could not be reached once is read through the coordinator from then on.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use tandem_proto::transport::{self, AuthorizedChannel};
use tandem_proto::v1::shuffle_service_client::ShuffleServiceClient;
use tandem_proto::{JobId, v1};
use tonic::{Code, Response, Status};

use crate::client::Client;
use crate::error::{ClientError, is_broken_connection};

/// How long a worker may take to accept a connection before its output is read through the coordinator.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections that a client keeps; one that reads from more workers connects to them again.
const KEPT_CONNECTIONS: usize = 64;

type Worker = ShuffleServiceClient<AuthorizedChannel>;

/// Connections to workers by address, for all results of a client: a short query takes less time than to connect.
#[derive(Default)]
pub(crate) struct WorkerConnections(Mutex<HashMap<String, Worker>>);

impl WorkerConnections {
    fn get(&self, address: &str) -> Option<Worker> {
        self.lock().get(address).cloned()
    }

    fn keep(&self, address: &str, worker: Worker) {
        let mut kept = self.lock();
        if kept.len() >= KEPT_CONNECTIONS {
            kept.clear();
        }
        kept.insert(address.to_owned(), worker);
    }

    fn forget(&self, address: &str) {
        self.lock().remove(address);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Worker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a partition.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Of its encoded form, which may end anywhere.
    Bytes(Bytes),
    /// Some of its rows, as they are.
    Rows(RecordBatch),
    /// Behind its rows: they are all there. The encoded form says so itself.
    End,
}

/// All parts of a partition in order.
pub(crate) type Pieces = BoxStream<'static, Result<Piece, Status>>;

/// Why a partition could not be opened or read to its end.
#[derive(Debug)]
pub(crate) enum ReadFailure {
    /// Gone, or its worker is: it may turn up elsewhere while the job runs.
    Gone(String),
    /// Asking again will not help.
    Final(ClientError),
}

/// How the partitions of one result are read.
#[derive(Clone)]
pub(crate) struct WorkerReads {
    client: Client,
    job: JobId,
    unreachable: Arc<Mutex<HashSet<String>>>,
}

impl WorkerReads {
    pub(crate) fn new(client: Client, job: JobId) -> Self {
        Self { client, job, unreachable: Arc::default() }
    }

    /// One result partition: its rows if the client has them, else its bytes from the worker or through the coordinator.
    pub(crate) async fn open(self, stage: u32, partition: v1::ResultPartition) -> Result<Pieces, ReadFailure> {
        if let Some(rows) = self.client.own_rows().and_then(|own| own.read(self.job, stage, &partition)) {
            return Ok(rows.map_ok(Piece::Rows).chain(stream::iter([Ok(Piece::End)])).boxed());
        }
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
        let chunks = opened.map_err(|status| self.judge(&partition.data_address, &status))?;
        Ok(chunks.map_ok(|chunk| Piece::Bytes(chunk.data)).boxed())
    }

    /// What a failed read means. A broken direct connection makes the next attempt go through the coordinator, which
    /// knows whether the worker still lives.
    pub(crate) fn judge(&self, address: &str, status: &Status) -> ReadFailure {
        if is_broken_connection(status) {
            self.client.workers().forget(address);
            self.unreachable().insert(address.to_owned());
            return ReadFailure::Gone(status.message().to_owned());
        }
        match status.code() {
            Code::NotFound => ReadFailure::Gone(status.message().to_owned()),
            _ => ReadFailure::Final(ClientError::from_status(address, status)),
        }
    }

    /// A worker to read from directly.
    async fn worker(&self, address: &str) -> Option<Worker> {
        if self.unreachable().contains(address) {
            return None;
        }
        if let Some(worker) = self.client.workers().get(address) {
            return Some(worker);
        }
        let connecting = transport::connect(address, self.client.security());
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(channel)) => {
                let worker = Worker::new(channel);
                self.client.workers().keep(address, worker.clone());
                return Some(worker);
            }
            Ok(Err(error)) => {
                tracing::debug!(address, %error, "cannot reach the worker, reading through the coordinator");
            }
            Err(_) => tracing::debug!(address, "the worker accepts no connection, reading through the coordinator"),
        }
        self.unreachable().insert(address.to_owned());
        None
    }

    fn unreachable(&self) -> MutexGuard<'_, HashSet<String>> {
        self.unreachable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
