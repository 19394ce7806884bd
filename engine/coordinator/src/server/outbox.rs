//! The coordinator's side of the workers' streams: one bounded queue each.
//! Owned by the owner of the cluster.
//! Invariant: a worker has at most one open stream; what is sent under another epoch than the stream's is dropped.

use std::collections::HashMap;

use tandem_proto::v1::CoordinatorMessage;
use tandem_proto::{Epoch, WorkerId};
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

/// All open streams.
#[derive(Default)]
pub(super) struct Outboxes {
    open: HashMap<WorkerId, (Epoch, Outbox)>,
}

impl Outboxes {
    /// Opens the stream of `worker` under `epoch`; one it had before is cut.
    pub(super) fn open(&mut self, worker: WorkerId, epoch: Epoch, outbox: Outbox) {
        if let Some((_, old)) = self.open.insert(worker, (epoch, outbox)) {
            old.cut.cancel();
        }
    }

    /// Puts a message on the stream, if it is still the one of `epoch`.
    pub(super) fn send(&mut self, worker: WorkerId, epoch: Epoch, message: CoordinatorMessage) {
        let Some((_, outbox)) = self.open.get(&worker).filter(|(open, _)| *open == epoch) else { return };
        match outbox.messages.try_send(message) {
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
        if self.open.get(&worker).is_some_and(|(open, _)| *open == epoch)
            && let Some((_, outbox)) = self.open.remove(&worker)
        {
            outbox.cut.cancel();
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
}
