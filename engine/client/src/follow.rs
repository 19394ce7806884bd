//! Following one job to its end. Owned by whoever follows; dropping it ends the follower's lease on an attached job.
//! Always holds: after the final status nothing more comes. The stream stays open then, since it may be what keeps the job's
//! result.

use std::future::Future;

use futures::Stream;
use tandem_proto::JobId;
use tandem_proto::v1::{FollowRequest, JobState, JobStatus};
use tonic::{Status, Streaming};

use crate::client::Client;
use crate::error::ClientError;
use crate::renewed::{Heard, Renewed, Subscription};

/// The changing status of one job.
pub struct Follow {
    job: JobId,
    stream: Renewed<FollowRequest>,
    /// The final status was given.
    ended: bool,
}

impl Subscription for FollowRequest {
    type Message = JobStatus;

    fn subscribe(&self, client: &Client) -> impl Future<Output = Result<Streaming<JobStatus>, Status>> + Send {
        client.subscribe(JobId(self.job))
    }
}

impl Follow {
    pub(crate) async fn start(client: Client, job: JobId) -> Result<Self, ClientError> {
        Ok(Self { job, stream: Renewed::start(client, FollowRequest { job: job.0 }).await?, ended: false })
    }

    /// The job that is followed.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// The next status, or none after the final one. May be dropped while waiting without losing a status.
    pub async fn next_status(&mut self) -> Result<Option<JobStatus>, ClientError> {
        while !self.ended {
            match self.stream.next().await? {
                Heard::Message(status) => {
                    self.ended = is_final(status.state());
                    return Ok(Some(status));
                }
                Heard::Again => {}
                Heard::End => self.stream.broke(Status::unavailable("the coordinator ended the stream")),
            }
        }
        Ok(None)
    }

    /// Waits for the end of the job. None if its last status was given before.
    pub async fn last_status(&mut self) -> Result<Option<JobStatus>, ClientError> {
        let mut last = None;
        while let Some(status) = self.next_status().await? {
            last = Some(status);
        }
        Ok(last)
    }

    /// The statuses as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<JobStatus, ClientError>> + Send {
        futures::stream::try_unfold(self, |mut follow| async move {
            Ok(follow.next_status().await?.map(|status| (status, follow)))
        })
    }
}

/// What the end of a job means for who waited for it.
///
/// # Errors
/// When it has not ended well.
pub fn ended(status: JobStatus) -> Result<JobStatus, ClientError> {
    let job = JobId(status.job);
    let failure = || Box::new(status.failure.clone().unwrap_or_default());
    match status.state() {
        JobState::Succeeded | JobState::Skipped => Ok(status),
        JobState::Failed => Err(ClientError::JobFailed { job, failure: failure() }),
        JobState::Stopped => Err(ClientError::JobStopped { job, reason: failure().cause }),
        JobState::Unspecified | JobState::Pending | JobState::Running => {
            Err(ClientError::Refused { message: format!("job {job} has not ended"), help: None })
        }
    }
}

/// Whether a job in this state changes no more.
pub(crate) fn is_final(state: JobState) -> bool {
    match state {
        JobState::Succeeded | JobState::Failed | JobState::Stopped | JobState::Skipped => true,
        JobState::Unspecified | JobState::Pending | JobState::Running => false,
    }
}
