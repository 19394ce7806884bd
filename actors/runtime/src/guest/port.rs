//! Where clients attach: a driver that waits for its client, and the client that comes.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tandem_actor_protocol::JobId;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_node::DRIVER;
use tandem_proto::CHUNK_BYTES;
use tandem_proto::v1::DriverBytes;
use tandem_proto::v1::driver_service_server::{DriverService, DriverServiceServer};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::frames::{FromClient, ToClient};

/// Messages to a client that are ahead of its connection.
const AHEAD: usize = 2;
/// What comes around the bytes of a message.
const ENVELOPE_BYTES: usize = 64;

/// Serves [`DriverService`] for one runtime.
#[derive(Debug, Clone)]
pub struct DriverPort {
    visits: Visits,
}

/// A client that has come.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(super) from: FromClient,
    pub(super) to: ToClient,
}

/// Drivers that wait for their clients.
#[derive(Debug, Clone, Default)]
pub(crate) struct Visits(Arc<Mutex<HashMap<JobId, oneshot::Sender<Visit>>>>);

impl Visits {
    /// Waits for the client of a job.
    ///
    /// # Errors
    /// When it does not come in time.
    pub(crate) async fn wait(&self, job: JobId, grace: Duration) -> Result<Visit, Failure> {
        let (sender, visit) = oneshot::channel();
        self.lock().insert(job, sender);
        let _waiting = Waiting { visits: self, job };
        match tokio::time::timeout(grace, visit).await {
            Ok(Ok(visit)) => Ok(visit),
            Ok(Err(_)) => Err(Failure::new(FailureKind::Cancelled, DRIVER, "another attempt waits for its client")),
            Err(_) => {
                let message = format!("its client did not attach within {grace:?}");
                Err(Failure::new(FailureKind::ProcessLost, DRIVER, message))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, oneshot::Sender<Visit>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dropped, nobody waits any more.
struct Waiting<'a> {
    visits: &'a Visits,
    job: JobId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = self.visits.lock();
        // Another attempt may wait by now.
        if waiting.get(&self.job).is_some_and(oneshot::Sender::is_closed) {
            waiting.remove(&self.job);
        }
    }
}

type Frames = Pin<Box<dyn Stream<Item = Result<DriverBytes, Status>> + Send>>;

impl DriverPort {
    pub(crate) fn new(visits: Visits) -> Self {
        Self { visits }
    }

    /// The service for the worker's data port.
    pub fn service(self) -> DriverServiceServer<Self> {
        DriverServiceServer::new(self).max_decoding_message_size(CHUNK_BYTES + ENVELOPE_BYTES)
    }
}

#[tonic::async_trait]
impl DriverService for DriverPort {
    type AttachStream = Frames;

    async fn attach(&self, request: Request<Streaming<DriverBytes>>) -> Result<Response<Frames>, Status> {
        let mut stream = request.into_inner();
        let first = stream.message().await?;
        let DriverBytes { job, data } =
            first.ok_or_else(|| Status::invalid_argument("a stream without a first message"))?;
        let job = JobId(job);
        let not_here = || Status::not_found(format!("no driver of {job} is awaited here"));
        let waiting = self.visits.lock().remove(&job).ok_or_else(not_here)?;
        let (sender, frames) = mpsc::channel(AHEAD);
        let visit = Visit { from: FromClient::new(data, stream), to: ToClient::new(sender) };
        waiting.send(visit).map_err(|_| not_here())?;
        Ok(Response::new(Box::pin(ReceiverStream::new(frames))))
    }
}
