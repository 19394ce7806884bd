//! The simulated network: streams that break, and messages that are lost, repeated, late or out of order.

use tandem_proto::{Epoch, WorkerId};
use tandem_scheduler::{Action, Event};

use crate::worker::Link;
use crate::world::{Happening, World};

impl World {
    /// How long a message takes, and how many copies of it arrive.
    pub(crate) fn fate(&mut self, worker: WorkerId) -> Vec<u64> {
        if self.workers.get(&worker).is_some_and(|worker| worker.cut_until > self.now) {
            return Vec::new();
        }
        let delay = self.rng.range(1..8);
        if !self.faults_last() {
            return vec![delay];
        }
        match self.rng.range(0..100) {
            0 => Vec::new(),
            1 => vec![delay, delay + self.rng.range(1..2_000)],
            2 => vec![delay + self.rng.range(50..1_500)],
            _ => vec![delay],
        }
    }

    pub(crate) fn send_to_coordinator(&mut self, worker: WorkerId, stream: u64, event: Event) {
        for delay in self.fate(worker) {
            self.plan(delay, Happening::ToCoordinator { stream, event: event.clone() });
        }
    }

    pub(crate) fn route(&self, worker: WorkerId, epoch: Epoch) -> Option<u64> {
        let stream = *self.routes.get(&worker)?;
        self.streams.get(&stream).is_some_and(|&(_, known)| known == Some(epoch)).then_some(stream)
    }

    pub(crate) fn send_to_worker(&mut self, worker: WorkerId, epoch: Epoch, action: Action) {
        if matches!(action, Action::Registered { .. })
            && let Some(stream) = self.routes.get(&worker)
            && let Some(known) = self.streams.get_mut(stream)
        {
            known.1 = Some(epoch);
        }
        let Some(stream) = self.route(worker, epoch) else { return };
        // A stream loses nothing before it breaks. What most messages must bear, these need not.
        let sure = matches!(action, Action::JobGone { .. } | Action::WorkerGone { .. });
        if sure {
            let cut_ms = self.workers.get(&worker).map_or(0, |worker| worker.cut_until.saturating_sub(self.now));
            let delay = cut_ms + self.rng.range(1..8);
            return self.plan(delay, Happening::ToWorker { stream, action });
        }
        for delay in self.fate(worker) {
            self.plan(delay, Happening::ToWorker { stream, action: action.clone() });
        }
    }

    pub(crate) fn deliver_to_coordinator(&mut self, stream: u64, event: Event) -> Result<(), String> {
        if self.cluster.is_none() {
            return Ok(());
        }
        let Some(&(worker, epoch)) = self.streams.get(&stream) else { return Ok(()) };
        if matches!(event, Event::WorkerRegistered(_)) {
            if epoch.is_some() {
                // The shell takes one registration of a stream.
                return Ok(());
            }
            self.routes.insert(worker, stream);
        }
        self.feed(event)
    }

    pub(crate) fn coordinator_sees_break(&mut self, stream: u64) -> Result<(), String> {
        match self.streams.remove(&stream) {
            Some((worker, Some(epoch))) => self.feed(Event::WorkerDisconnected { worker, epoch }),
            _ => Ok(()),
        }
    }

    pub(crate) fn break_stream(&mut self, worker: WorkerId) {
        let stream = match self.workers.get(&worker).map(|worker| worker.link) {
            Some(Link::Registering { stream } | Link::Attached { stream, .. }) => stream,
            Some(Link::Away) | None => return,
        };
        let (first, second) = (self.rng.range(1..50), self.rng.range(1..50));
        self.plan(first, Happening::CoordinatorSeesBreak { stream });
        self.plan(second, Happening::WorkerSeesBreak { worker, stream });
    }
}
