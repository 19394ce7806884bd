//! One client's stream of a job's status. The stream is also the client's lease on an attached job, and on the result of
//! a query: it stays open after the last status until the client lets go.

use tandem_proto::JobId;
use tandem_proto::v1::JobStatus;
use tandem_scheduler::JobState;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::message::{ClusterHandle, Follower, Message, Stopping};
use crate::wire;

/// Statuses on their way to a client. A slow client gets fewer, never older ones.
const CAPACITY: usize = 2;

/// The stream of a client.
pub(super) type StatusStream = ReceiverStream<Result<JobStatus, Status>>;

/// Starts to follow `job`; none when there is no such job. `tracker` owns the task behind the stream.
pub(super) async fn follow(
    handle: &ClusterHandle,
    job: JobId,
    tracker: &TaskTracker,
    stopping: CancellationToken,
) -> Result<Option<StatusStream>, Stopping> {
    let (answer, answered) = oneshot::channel();
    handle.send(Message::Follow { job, answer }).await?;
    let Some(follower) = answered.await.map_err(|_| Stopping)? else { return Ok(None) };
    let (statuses, stream) = mpsc::channel(CAPACITY);
    let handle = handle.clone();
    tracker.spawn(async move {
        let ended = tokio::select! {
            ended = pump(follower, &statuses) => ended,
            () = stopping.cancelled() => return,
        };
        // Without an owner nobody counts followers.
        let _ = handle.send(Message::Unfollow { job, ended }).await;
    });
    Ok(Some(ReceiverStream::new(stream)))
}

/// Passes on each view until the client is gone. Returns whether the last one told of the job's end.
async fn pump(follower: Follower, statuses: &mpsc::Sender<Result<JobStatus, Status>>) -> bool {
    let Follower { face, mut views } = follower;
    let mut ended = false;
    loop {
        let view = views.borrow_and_update().clone();
        if let Some(view) = view {
            if statuses.send(Ok(wire::job_status(&view, &face, false))).await.is_err() {
                return ended;
            }
            ended = is_over(view.state);
        }
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return ended },
            () = statuses.closed() => return ended,
        }
    }
}

/// Whether a job in this state changes no more.
pub(super) fn is_over(state: JobState) -> bool {
    match state {
        JobState::Succeeded | JobState::Failed | JobState::Stopped => true,
        JobState::Pending | JobState::Running => false,
    }
}
