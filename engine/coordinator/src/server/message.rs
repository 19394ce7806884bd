//! What the owner of the cluster is told and asked, and the handle that everyone else holds.

use std::sync::Arc;

use tandem_jobs::planned::PlannedJob;
use tandem_proto::{Epoch, JobId};
use tandem_scheduler::{Cluster, Event, JobPlan, JobView, Registration};
use tokio::sync::{mpsc, oneshot, watch};
use tonic::Status;

use super::job_table::JobTable;
use super::outbox::Outbox;
use super::totals::Totals;
use crate::wire::JobFace;

/// Messages that wait for the owner; senders beyond wait themselves.
const CAPACITY: usize = 1024;

/// One thing for the owner to take in.
pub(super) enum Message {
    /// Something happened.
    Event(Event),
    /// A worker opened a stream.
    Arrived(Box<Arrival>),
    /// A job was planned and, when its plan says so, journaled.
    Accepted(Box<Acceptance>),
    /// A client wants to follow a job.
    Follow { job: JobId, answer: oneshot::Sender<Option<Follower>> },
    /// A client does not follow any more; `ended` when it knew the end of the job.
    Unfollow { job: JobId, ended: bool },
    /// The files of a job are published, or not.
    Published { job: JobId, outcome: Result<(), String> },
    /// The report of an ended job is in its folder, or there is a `problem` with that.
    Reported { job: JobId, problem: Option<String> },
    /// The coordinator is about to stop: with `stop_jobs` its jobs are to end first. `settled` is told when nothing of jobs that
    /// ended is still to be published, removed or reported.
    Settle { stop_jobs: bool, settled: oneshot::Sender<()> },
    /// Someone wants to see something.
    Look(Box<dyn FnOnce(&Seen<'_>) + Send>),
}

/// A worker that wants to register.
pub(super) struct Arrival {
    pub(super) registration: Registration,
    pub(super) outbox: Outbox,
    /// Gets the epoch that starts, or why the worker is rejected; dropped when it is not let in now.
    pub(super) answer: oneshot::Sender<Result<Epoch, String>>,
}

/// A job to take in.
pub(super) struct Acceptance {
    pub(super) job: JobId,
    pub(super) submission: String,
    pub(super) shape: Arc<JobPlan>,
    pub(super) planned: Arc<PlannedJob>,
    pub(super) answer: oneshot::Sender<()>,
}

/// What a follower watches.
pub(super) struct Follower {
    pub(super) face: Arc<JobFace>,
    pub(super) views: watch::Receiver<Option<Arc<JobView>>>,
}

/// What may be looked at.
pub(crate) struct Seen<'a> {
    /// The cluster.
    pub(crate) cluster: &'a Cluster,
    /// What the shell keeps of its jobs.
    pub(crate) jobs: &'a JobTable,
    /// What ended jobs counted.
    pub(crate) totals: &'a Totals,
    /// Messages that wait for the owner now.
    pub(crate) waiting: usize,
}

/// The owner is gone: this process is about to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator is stopping")]
pub(crate) struct Stopping;

impl From<Stopping> for Status {
    fn from(stopping: Stopping) -> Self {
        Self::unavailable(stopping.to_string())
    }
}

/// Talks to the owner of the cluster.
#[derive(Debug, Clone)]
pub(crate) struct ClusterHandle {
    messages: mpsc::Sender<Message>,
}

impl ClusterHandle {
    /// The handle and the owner's end of it.
    pub(super) fn channel() -> (Self, mpsc::Receiver<Message>) {
        let (messages, inbox) = mpsc::channel(CAPACITY);
        (Self { messages }, inbox)
    }

    pub(super) async fn send(&self, message: Message) -> Result<(), Stopping> {
        self.messages.send(message).await.map_err(|_| Stopping)
    }

    pub(super) async fn event(&self, event: Event) -> Result<(), Stopping> {
        self.send(Message::Event(event)).await
    }

    /// Returns when the owner may go without leaving behind what jobs have staged; see [`Message::Settle`].
    pub(crate) async fn settle(&self, stop_jobs: bool) -> Result<(), Stopping> {
        let (settled, told) = oneshot::channel();
        self.send(Message::Settle { stop_jobs, settled }).await?;
        told.await.map_err(|_| Stopping)
    }

    /// The result of `look` at the state as it is after all messages before this one.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Seen<'_>) -> T + Send + 'static,
    ) -> Result<T, Stopping> {
        let (answer, answered) = oneshot::channel();
        let look = move |seen: &Seen<'_>| {
            // The asker may have gone.
            let _ = answer.send(look(seen));
        };
        self.send(Message::Look(Box::new(look))).await?;
        answered.await.map_err(|_| Stopping)
    }
}
