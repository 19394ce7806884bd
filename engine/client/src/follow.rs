//! Following one job to its end. Owned by whoever follows; dropping it ends the follower's lease on an attached job.
//! Always holds: after the final status nothing more comes, and a broken stream is renewed for at most [`PATIENCE`],
//! counted from the moment it broke.

use std::time::Duration;

use futures::Stream;
use tandem_proto::JobId;
use tandem_proto::v1::{JobState, JobStatus};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use crate::client::Client;
use crate::error::{ClientError, is_broken_connection};

/// How long a follower waits for a coordinator that went away: as long as the coordinator waits for attached clients
/// after a restart.
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_millis(5);
const LONGEST_RETRY: Duration = Duration::from_millis(250);

/// The changing status of one job.
pub struct Follow {
    client: Client,
    job: JobId,
    connection: Connection,
}

enum Connection {
    Open(Streaming<JobStatus>),
    Broken {
        since: Instant,
        retry_after: Duration,
        reason: Status,
    },
    /// The final status was given. The stream stays open, since it may be what keeps the job's result.
    Ended(#[expect(dead_code, reason = "held, never read")] Streaming<JobStatus>),
}

impl Follow {
    pub(crate) async fn start(client: Client, job: JobId) -> Result<Self, ClientError> {
        let stream =
            client.subscribe(job).await.map_err(|status| ClientError::from_status(client.address(), &status))?;
        Ok(Self { client, job, connection: Connection::Open(stream) })
    }

    /// The job that is followed.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// The next status, or none after the final one. May be dropped while waiting without losing a status.
    pub async fn next_status(&mut self) -> Result<Option<JobStatus>, ClientError> {
        loop {
            match &mut self.connection {
                Connection::Ended(_) => return Ok(None),
                Connection::Open(stream) => match stream.message().await {
                    Ok(Some(status)) => return Ok(Some(self.accept(status))),
                    Ok(None) => self.broke(Status::unavailable("the coordinator ended the stream")),
                    Err(status) if is_broken_connection(&status) => self.broke(status),
                    Err(status) => return Err(ClientError::from_status(self.client.address(), &status)),
                },
                Connection::Broken { .. } => self.renew().await?,
            }
        }
    }

    /// The statuses as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<JobStatus, ClientError>> + Send {
        futures::stream::try_unfold(self, |mut follow| async move {
            Ok(follow.next_status().await?.map(|status| (status, follow)))
        })
    }

    fn accept(&mut self, status: JobStatus) -> JobStatus {
        if is_final(status.state()) {
            let broken = Connection::Broken {
                since: Instant::now(),
                retry_after: FIRST_RETRY,
                reason: Status::unavailable("the job has ended"),
            };
            if let Connection::Open(stream) = std::mem::replace(&mut self.connection, broken) {
                self.connection = Connection::Ended(stream);
            }
        }
        status
    }

    fn broke(&mut self, reason: Status) {
        tracing::debug!(job = %self.job, %reason, "the stream of the job's status broke");
        self.connection = Connection::Broken { since: Instant::now(), retry_after: Duration::ZERO, reason };
    }

    async fn renew(&mut self) -> Result<(), ClientError> {
        let Connection::Broken { since, retry_after, reason } = &mut self.connection else { return Ok(()) };
        if since.elapsed() > PATIENCE {
            return Err(ClientError::from_status(self.client.address(), reason));
        }
        tokio::time::sleep(*retry_after).await;
        *retry_after = (*retry_after * 2).clamp(FIRST_RETRY, LONGEST_RETRY);
        match tokio::time::timeout_at(*since + PATIENCE, self.client.subscribe(self.job)).await {
            Ok(Ok(stream)) => self.connection = Connection::Open(stream),
            Ok(Err(status)) if is_broken_connection(&status) => *reason = status,
            Ok(Err(status)) => return Err(ClientError::from_status(self.client.address(), &status)),
            Err(_) => return Err(ClientError::TimedOut(self.client.address().to_owned())),
        }
        Ok(())
    }
}

/// Whether a job in this state changes no more.
pub(crate) fn is_final(state: JobState) -> bool {
    match state {
        JobState::Succeeded | JobState::Failed | JobState::Stopped | JobState::Skipped => true,
        JobState::Unspecified | JobState::Pending | JobState::Running => false,
    }
}
