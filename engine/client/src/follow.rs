//! Following one job to its end. Owned by whoever follows; dropping it ends the follower's lease on an attached job.
//! Always holds: after the final status nothing more comes, and a broken stream is renewed while [`Patience`] lasts.

use futures::Stream;
use tandem_proto::JobId;
use tandem_proto::v1::{JobState, JobStatus};
use tonic::{Status, Streaming};

use crate::client::Client;
use crate::error::{ClientError, is_broken_connection};
use crate::patience::Patience;

/// The changing status of one job.
pub struct Follow {
    client: Client,
    job: JobId,
    connection: Connection,
}

enum Connection {
    Open(Streaming<JobStatus>),
    Broken {
        patience: Patience,
        reason: Status,
    },
    /// The final status was given. The stream stays open, since it may be what keeps the job's result.
    Ended(#[expect(dead_code, reason = "held, never read")] Streaming<JobStatus>),
}

impl Follow {
    pub(crate) async fn start(client: Client, job: JobId) -> Result<Self, ClientError> {
        let connection = match client.subscribe(job).await {
            Ok(stream) => Connection::Open(stream),
            Err(reason) if is_broken_connection(&reason) => Connection::broken(reason),
            Err(status) => return Err(ClientError::from_status(client.address(), &status)),
        };
        Ok(Self { client, job, connection })
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
            let broken = Connection::broken(Status::unavailable("the job has ended"));
            if let Connection::Open(stream) = std::mem::replace(&mut self.connection, broken) {
                self.connection = Connection::Ended(stream);
            }
        }
        status
    }

    fn broke(&mut self, reason: Status) {
        tracing::debug!(job = %self.job, %reason, "the stream of the job's status broke");
        self.connection = Connection::broken(reason);
    }

    async fn renew(&mut self) -> Result<(), ClientError> {
        let Connection::Broken { patience, reason } = &mut self.connection else { return Ok(()) };
        if !patience.wait().await {
            return Err(ClientError::from_status(self.client.address(), reason));
        }
        match tokio::time::timeout_at(patience.until, self.client.subscribe(self.job)).await {
            Ok(Ok(stream)) => self.connection = Connection::Open(stream),
            Ok(Err(status)) if is_broken_connection(&status) => *reason = status,
            Ok(Err(status)) => return Err(ClientError::from_status(self.client.address(), &status)),
            Err(_) => return Err(ClientError::TimedOut(self.client.address().to_owned())),
        }
        Ok(())
    }
}

impl Connection {
    fn broken(reason: Status) -> Self {
        Self::Broken { patience: Patience::from_now(), reason }
    }
}

/// Whether a job in this state changes no more.
pub(crate) fn is_final(state: JobState) -> bool {
    match state {
        JobState::Succeeded | JobState::Failed | JobState::Stopped | JobState::Skipped => true,
        JobState::Unspecified | JobState::Pending | JobState::Running => false,
    }
}
