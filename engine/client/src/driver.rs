//! Being the driver of a job: finding the worker that stands for this process, and the stream to it.
//! Always holds: one stream is one life of the driver. A stream that broke is not opened again.

use std::time::Duration;

use bytes::Bytes;
use tandem_proto::v1::driver_service_client::DriverServiceClient;
use tandem_proto::{CHUNK_BYTES, JobId, transport, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Response, Status, Streaming};

use crate::client::Client;
use crate::error::{ClientError, is_broken_connection};
use crate::follow::{Follow, ended};

/// Messages that are ahead of the connection.
const AHEAD: usize = 2;
/// What comes around the bytes of a message.
const ENVELOPE_BYTES: usize = 64;
/// Between two tries to attach: the worker may hear of its driver later than this client.
const RETRY: Duration = Duration::from_millis(20);
/// For how long it is tried.
const PATIENCE: Duration = Duration::from_secs(10);

/// The stream to the worker that stands for this process. Dropped, the driver is over.
pub struct DriverStream {
    /// Takes what this process says.
    pub sender: DriverSender,
    /// Gives what the worker says.
    pub receiver: DriverReceiver,
}

/// See [`DriverStream`].
pub struct DriverSender(mpsc::Sender<v1::DriverBytes>);

/// See [`DriverStream`].
pub struct DriverReceiver(Streaming<v1::DriverBytes>);

impl Client {
    /// Attaches to the worker that the driver of a job was placed on. Waits for a place.
    ///
    /// # Errors
    /// When the job has ended, or the worker cannot be reached.
    pub async fn attach_driver(&self, follow: &mut Follow) -> Result<DriverStream, ClientError> {
        let job = follow.job();
        let address = driver_address(follow).await?;
        let unreachable = |reason: String| {
            let message = format!("cannot reach the worker that {job} was placed on: {address}: {reason}");
            let help = "a program outside of the cluster must reach the data ports of its workers; `tandem job submit` needs the coordinator only";
            ClientError::Refused { message, help: Some(help.to_owned()) }
        };
        let channel = transport::connect(&address, self.security()).await;
        let channel = channel.map_err(|error| unreachable(error.to_string()))?;
        let worker = DriverServiceClient::new(channel).max_decoding_message_size(CHUNK_BYTES + ENVELOPE_BYTES);
        let opened = async {
            loop {
                match attach(worker.clone(), job).await {
                    Err(status) if status.code() == Code::NotFound => tokio::time::sleep(RETRY).await,
                    other => return other,
                }
            }
        };
        match tokio::time::timeout(PATIENCE, opened).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(status)) if is_broken_connection(&status) => Err(unreachable(status.message().to_owned())),
            Ok(Err(status)) => Err(ClientError::from_status(&address, &status)),
            Err(_) => Err(ClientError::TimedOut(address)),
        }
    }
}

/// Where the driver of a job was placed, once it is.
async fn driver_address(follow: &mut Follow) -> Result<String, ClientError> {
    let mut last = v1::JobStatus::default();
    while let Some(status) = follow.next_status().await? {
        if !status.driver_address.is_empty() {
            return Ok(status.driver_address);
        }
        last = status;
    }
    ended(last).and_then(|_| Err(ClientError::Protocol("a job without a driver has ended well".to_owned())))
}

async fn attach(
    mut worker: DriverServiceClient<transport::AuthorizedChannel>,
    job: JobId,
) -> Result<DriverStream, Status> {
    let (sender, messages) = mpsc::channel(AHEAD);
    let first = v1::DriverBytes { job: job.0, data: Bytes::new() };
    sender.send(first).await.map_err(|_| Status::internal("a stream that was not opened"))?;
    let receiver = worker.attach(ReceiverStream::new(messages)).await.map(Response::into_inner)?;
    Ok(DriverStream { sender: DriverSender(sender), receiver: DriverReceiver(receiver) })
}

impl DriverSender {
    /// The most bytes that go at once.
    pub const MAX_BYTES: usize = CHUNK_BYTES;

    /// Says the next bytes, no more than [`Self::MAX_BYTES`]. False when nobody hears them any more.
    pub async fn send(&self, data: Bytes) -> bool {
        self.0.send(v1::DriverBytes { job: 0, data }).await.is_ok()
    }
}

impl DriverReceiver {
    /// The next bytes; none when the worker has ended the stream.
    ///
    /// # Errors
    /// Why the stream broke, in words.
    pub async fn next(&mut self) -> Result<Option<Bytes>, String> {
        match self.0.message().await {
            Ok(message) => Ok(message.map(|message| message.data)),
            Err(status) => Err(status.message().to_owned()),
        }
    }
}
