//! The coordinator's side of the workers' streams: one bounded queue each.
//! Owned by the owner of the cluster.
//! Invariant: a worker has at most one open stream; what is sent under another epoch than the stream's is dropped.

use std::collections::{HashMap, HashSet};

use tandem_proto::v1::CoordinatorMessage;
use tandem_proto::{Epoch, JobId, StageId, WorkerId};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;

/// Messages that wait for one worker. A worker that lets more gather does not read, and is disconnected.
const CAPACITY: usize = 8192;

/// The sending end of one stream. Dropping it ends the stream after what was sent.
pub(super) struct Outbox {
    messages: mpsc::Sender<CoordinatorMessage>,
    cut: CancellationToken,
}

impl Outbox {
    /// An outbox and what comes out of it. When `cut` is cancelled the stream must end at once.
    pub(super) fn new(cut: CancellationToken) -> (Self, mpsc::Receiver<CoordinatorMessage>) {
        let (messages, outgoing) = mpsc::channel(CAPACITY);
        (Self { messages, cut }, outgoing)
    }
}

/// An open stream.
struct Open {
    epoch: Epoch,
    outbox: Outbox,
    /// Stages, each with the version of its inputs, that the worker was told of.
    told: HashSet<(JobId, StageId, u32)>,
}

/// All open streams.
#[derive(Default)]
pub(super) struct Outboxes {
    open: HashMap<WorkerId, Open>,
}

impl Outboxes {
    /// Opens the stream of `worker` under `epoch`; one it had before is cut.
    pub(super) fn open(&mut self, worker: WorkerId, epoch: Epoch, outbox: Outbox) {
        if let Some(old) = self.open.insert(worker, Open { epoch, outbox, told: HashSet::new() }) {
            old.outbox.cut.cancel();
        }
    }

    /// Notes that the worker is told of a stage. False when it was told before, or does not listen.
    pub(super) fn tell(&mut self, worker: WorkerId, epoch: Epoch, stage: (JobId, StageId, u32)) -> bool {
        let open = self.open.get_mut(&worker).filter(|open| open.epoch == epoch);
        open.is_some_and(|open| open.told.insert(stage))
    }

    /// No worker is told of stages of `job` any more.
    pub(super) fn forget(&mut self, job: JobId) {
        self.open.values_mut().for_each(|open| open.told.retain(|(of, _, _)| *of != job));
    }

    /// Puts a message on the stream, if it is still the one of `epoch`.
    pub(super) fn send(&mut self, worker: WorkerId, epoch: Epoch, message: CoordinatorMessage) {
        let Some(open) = self.open.get(&worker).filter(|open| open.epoch == epoch) else { return };
        match open.outbox.messages.try_send(message) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => self.cut(worker, epoch),
            Err(TrySendError::Full(_)) => {
                tracing::warn!(%worker, "the worker does not read its messages, disconnecting it");
                self.cut(worker, epoch);
            }
        }
    }

    /// Ends the stream at once, if it is still the one of `epoch`.
    pub(super) fn cut(&mut self, worker: WorkerId, epoch: Epoch) {
        if self.open.get(&worker).is_some_and(|open| open.epoch == epoch)
            && let Some(open) = self.open.remove(&worker)
        {
            open.outbox.cut.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKER: WorkerId = WorkerId(1);

    #[test]
    fn a_worker_that_does_not_read_is_cut() {
        let cut = CancellationToken::new();
        let (outbox, outgoing) = Outbox::new(cut.clone());
        let mut outboxes = Outboxes::default();
        outboxes.open(WORKER, Epoch(1), outbox);
        for _ in 0..CAPACITY {
            outboxes.send(WORKER, Epoch(1), CoordinatorMessage::default());
        }
        assert!(!cut.is_cancelled());
        outboxes.send(WORKER, Epoch(1), CoordinatorMessage::default());
        assert!(cut.is_cancelled());
        drop(outgoing);
    }

    #[test]
    fn an_old_epoch_neither_sends_nor_cuts() {
        let (old_cut, cut) = (CancellationToken::new(), CancellationToken::new());
        let (old, _old_outgoing) = Outbox::new(old_cut.clone());
        let (new, mut outgoing) = Outbox::new(cut.clone());
        let mut outboxes = Outboxes::default();
        outboxes.open(WORKER, Epoch(1), old);
        outboxes.open(WORKER, Epoch(2), new);
        assert!(old_cut.is_cancelled());
        outboxes.send(WORKER, Epoch(1), CoordinatorMessage::default());
        outboxes.cut(WORKER, Epoch(1));
        assert!(outgoing.try_recv().is_err());
        outboxes.send(WORKER, Epoch(2), CoordinatorMessage::default());
        assert!(outgoing.try_recv().is_ok());
        assert!(!cut.is_cancelled());
    }

    #[test]
    fn a_worker_is_told_of_a_stage_once_in_an_epoch() {
        let mut outboxes = Outboxes::default();
        let stage = (JobId(1), StageId(2), 0);
        assert!(!outboxes.tell(WORKER, Epoch(1), stage), "it is not there");
        outboxes.open(WORKER, Epoch(1), Outbox::new(CancellationToken::new()).0);
        assert!(outboxes.tell(WORKER, Epoch(1), stage));
        assert!(!outboxes.tell(WORKER, Epoch(1), stage));
        assert!(outboxes.tell(WORKER, Epoch(1), (JobId(1), StageId(2), 1)), "its inputs have moved");
        outboxes.forget(JobId(1));
        assert!(outboxes.tell(WORKER, Epoch(1), stage));
        outboxes.open(WORKER, Epoch(2), Outbox::new(CancellationToken::new()).0);
        assert!(!outboxes.tell(WORKER, Epoch(1), stage) && outboxes.tell(WORKER, Epoch(2), stage));
    }
}
