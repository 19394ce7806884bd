//! The workers: which are in touch, what is leased to each, whose output each holds, and who has free slots.
//! Owned by the [`Cluster`](super::Cluster).
//! Invariant: a worker offers its slots minus its leases, and only while it is ready, attached and not short of memory. A
//! cancelled attempt keeps its slot until the worker says that it ended.
//!
//!   duty:     Ready ──Drain──▶ Draining ──Release──▶ Leaving ──▶ gone
//!   contact:  Expected ──▶ Attached ⇄ Silent ──▶ gone        (a worker that is gone registers as if it were new)
//!                             ▲ └──▶ Broken ──▶ gone
//!                             └────────┘

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tandem_proto::{Epoch, JobId, StageId, WorkerId};

use super::config::ClusterConfig;
use super::event::{WorkerInfo, WorkerUsage};
use super::report::AttemptId;
use super::time::Timestamp;
use super::views::{NodeState, NodeView};

/// Workers that are gone and still known by name.
const REMEMBERED: usize = 32;

/// What a worker is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    /// Takes tasks.
    Ready,
    /// Takes no more tasks, finishes what it runs, and stays until nobody needs its output.
    Draining { since: Timestamp },
    /// Was told to exit.
    Leaving,
}

/// What changes a worker's duty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DutyEvent {
    /// Someone wants it drained.
    Drain(Timestamp),
    /// Nothing needs it any more.
    Release,
}

impl Duty {
    /// The duty after `event`; what was already asked for changes nothing.
    pub(super) fn apply(&mut self, event: DutyEvent) {
        *self = match (*self, event) {
            (Self::Ready, DutyEvent::Drain(since)) => Self::Draining { since },
            (Self::Draining { .. }, DutyEvent::Release) => Self::Leaving,
            (duty, DutyEvent::Drain(_) | DutyEvent::Release) => duty,
        };
    }
}

/// Whether a worker can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contact {
    /// Its stream is open and it speaks.
    Attached,
    /// Its stream is open, but it has missed heartbeats.
    Silent,
    /// Its stream broke; it may come back until then.
    Broken { until: Timestamp },
    /// A restarted coordinator has not heard of it yet; it may come back until then.
    Expected { until: Timestamp },
}

/// What changes the contact to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContactEvent {
    /// It registered.
    Registered,
    /// It sent something on its stream.
    Heard,
    /// It missed heartbeats.
    WentSilent,
    /// Its stream broke.
    StreamBroke { until: Timestamp },
    /// Nobody could have heard it; it gets at least until then.
    Excused { until: Timestamp },
}

impl Contact {
    /// The contact after `event`. What comes from a stream that is already broken changes nothing.
    pub(super) fn apply(&mut self, event: ContactEvent) {
        *self = match (*self, event) {
            (_, ContactEvent::Registered) => Self::Attached,
            (Self::Attached | Self::Silent, ContactEvent::Heard) => Self::Attached,
            (Self::Attached | Self::Silent, ContactEvent::WentSilent) => Self::Silent,
            (Self::Attached | Self::Silent, ContactEvent::StreamBroke { until }) => Self::Broken { until },
            (Self::Broken { until }, ContactEvent::Excused { until: new }) => Self::Broken { until: until.max(new) },
            (Self::Expected { until }, ContactEvent::Excused { until: new }) => {
                Self::Expected { until: until.max(new) }
            }
            (contact, ContactEvent::Excused { .. }) => contact,
            (contact @ (Self::Broken { .. } | Self::Expected { .. }), _) => contact,
        };
    }

    /// Whether messages reach it.
    pub(super) fn has_stream(self) -> bool {
        matches!(self, Self::Attached | Self::Silent)
    }
}

/// An attempt that has a slot of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) attempt: AttemptId,
    pub(super) state: LeaseState,
    /// When it was launched, cancelled, or last mentioned by the worker.
    pub(super) seen: Timestamp,
}

/// Whether an attempt that has a slot is still wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeaseState {
    /// Its result counts.
    Wanted,
    /// The worker was told to end it.
    Cancelled,
}

/// One worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) info: WorkerInfo,
    pub(super) epoch: Epoch,
    pub(super) duty: Duty,
    pub(super) contact: Contact,
    pub(super) joined: Timestamp,
    /// When it was last heard.
    pub(super) heard: Timestamp,
    pub(super) usage: WorkerUsage,
    /// Its queries hold so much of its memory that it takes no more, as long as something runs.
    pub(super) full: bool,
    pub(super) leases: Vec<Lease>,
    /// How many tasks of each stage have their output here.
    pub(super) held: BTreeMap<(JobId, StageId), u32>,
}

impl Worker {
    /// Slots it offers.
    pub(super) fn free(&self) -> u32 {
        match (self.duty, self.contact) {
            (Duty::Ready, Contact::Attached) if !self.is_short() => {
                self.info.slots.saturating_sub(self.leases.len() as u32)
            }
            _ => 0,
        }
    }

    /// Whether memory is all that keeps it from taking more tasks. What runs will free some.
    pub(super) fn is_short(&self) -> bool {
        self.full && !self.leases.is_empty()
    }

    /// When its contact must be looked at again, and its drain.
    pub(super) fn deadline(&self, config: &ClusterConfig, now: Timestamp) -> Timestamp {
        let contact = match self.contact {
            Contact::Attached => self.heard.after_ms(config.suspect_after_ms),
            Contact::Silent => self.heard.after_ms(config.lost_after_ms),
            Contact::Broken { until } | Contact::Expected { until } => until,
        };
        match self.duty {
            Duty::Draining { since } => {
                let impatient = since.after_ms(config.drain_patience_ms);
                contact.min(impatient.max(now.after_ms(config.heartbeat_interval_ms)))
            }
            Duty::Ready | Duty::Leaving => contact,
        }
    }

    /// What is shown of it.
    pub(super) fn view(&self) -> NodeView {
        NodeView {
            worker: self.id,
            info: self.info.clone(),
            state: self.view_state(),
            slots_used: self.leases.len() as u32,
            usage: self.usage,
            joined: self.joined,
        }
    }

    /// Where it stands, for people.
    pub(super) fn view_state(&self) -> NodeState {
        match (self.contact, self.duty) {
            (Contact::Attached, Duty::Ready) => NodeState::Ready,
            (Contact::Attached, Duty::Draining { .. } | Duty::Leaving) => NodeState::Draining,
            (Contact::Silent | Contact::Broken { .. } | Contact::Expected { .. }, _) => NodeState::Suspect,
        }
    }
}

/// A worker that is gone, remembered for the names of what it ran.
#[derive(Debug)]
struct Departed {
    view: NodeView,
    /// It is shown as lost until then; none when it left as it was told to.
    shown_until: Option<Timestamp>,
}

/// All workers, with what placement needs to know of them kept ready.
#[derive(Debug, Default)]
pub(super) struct Workers {
    table: BTreeMap<WorkerId, Worker>,
    /// Workers with free slots, most free first.
    by_free: BTreeSet<(Reverse<u32>, WorkerId)>,
    free: u32,
    /// Workers that take tasks, or will again when they are back in touch.
    ready: BTreeSet<WorkerId>,
    draining: BTreeSet<WorkerId>,
    expected: BTreeSet<WorkerId>,
    /// Workers with slots that they do not offer for want of memory.
    short: BTreeSet<WorkerId>,
    departed: VecDeque<Departed>,
}

impl Workers {
    /// Adds a worker that was not known.
    pub(super) fn insert(&mut self, worker: Worker) {
        let id = worker.id;
        self.departed.retain(|gone| gone.view.worker != id);
        self.table.insert(id, worker);
        self.index(id);
    }

    /// Takes a worker out, to be shown as lost until `shown_until` unless it was told to leave. What it was leased and held
    /// is for the caller to sort out.
    pub(super) fn remove(&mut self, id: WorkerId, shown_until: Timestamp) -> Option<Worker> {
        self.unindex(id);
        let worker = self.table.remove(&id)?;
        if self.departed.len() == REMEMBERED {
            self.departed.pop_front();
        }
        self.departed.push_back(Departed {
            view: NodeView { state: NodeState::Lost, slots_used: 0, ..worker.view() },
            shown_until: (worker.duty != Duty::Leaving).then_some(shown_until),
        });
        Some(worker)
    }

    /// Changes a worker, if it is known, and keeps the indices right.
    pub(super) fn edit<R>(&mut self, id: WorkerId, edit: impl FnOnce(&mut Worker) -> R) -> Option<R> {
        self.unindex(id);
        let result = self.table.get_mut(&id).map(edit);
        self.index(id);
        result
    }

    /// One worker.
    pub(super) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.table.get(&id)
    }

    /// One worker, to change what placement does not depend on.
    pub(super) fn get_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.table.get_mut(&id)
    }

    /// All workers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.table.values()
    }

    /// The last few that were lost and are still shown.
    pub(super) fn lost(&self, now: Timestamp) -> impl Iterator<Item = &NodeView> {
        self.departed.iter().filter(move |gone| gone.shown_until > Some(now)).map(|gone| &gone.view)
    }

    /// Free slots of all workers.
    pub(super) fn free_slots(&self) -> u32 {
        self.free
    }

    /// Workers with free slots, most free first.
    pub(super) fn with_free_slots(&self) -> impl Iterator<Item = (WorkerId, u32)> {
        self.by_free.iter().map(|&(Reverse(free), id)| (id, free))
    }

    /// How many workers take tasks, or will again when they are back in touch.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The workers to avoid, of those where a task failed: none when it failed on all there are, for then anywhere is as good.
    pub(super) fn to_avoid<'a>(&self, failed_on: &'a [WorkerId]) -> &'a [WorkerId] {
        let nowhere_else = self.ready.len() <= failed_on.len() && self.ready.iter().all(|id| failed_on.contains(id));
        if nowhere_else { &[] } else { failed_on }
    }

    /// Whether a worker would take more tasks if it had more memory.
    pub(super) fn any_short(&self) -> bool {
        !self.short.is_empty()
    }

    /// Notes what a worker uses. Of its memory its queries may hold up to `percent` before it takes no more tasks.
    pub(super) fn note_usage(&mut self, id: WorkerId, usage: WorkerUsage, percent: u64) {
        let Some(worker) = self.table.get_mut(&id) else { return };
        worker.usage = usage;
        let held = usage.pool_used_bytes.saturating_sub(usage.stored_bytes);
        let full = worker.info.memory_bytes > 0 && held > worker.info.memory_bytes / 100 * percent;
        if full != worker.full {
            self.edit(id, |worker| worker.full = full);
        }
    }

    /// Workers that drain.
    pub(super) fn draining(&self) -> impl Iterator<Item = WorkerId> {
        self.draining.iter().copied()
    }

    /// Whether a restarted coordinator still waits for workers it knew.
    pub(super) fn any_expected(&self) -> bool {
        !self.expected.is_empty()
    }

    /// Its name for people; the id when it is long gone.
    pub(super) fn name(&self, id: WorkerId) -> String {
        let departed = || self.departed.iter().find(|gone| gone.view.worker == id).map(|gone| &gone.view.info.name);
        match self.table.get(&id).map(|worker| &worker.info.name).or_else(departed) {
            Some(name) if !name.is_empty() => name.clone(),
            _ => id.to_string(),
        }
    }

    /// Notes that a worker holds output of one more task.
    pub(super) fn hold(&mut self, id: WorkerId, job: JobId, stage: StageId) {
        if let Some(worker) = self.table.get_mut(&id) {
            *worker.held.entry((job, stage)).or_default() += 1;
        }
    }

    /// Notes that a worker holds output of one task less.
    pub(super) fn unhold(&mut self, id: WorkerId, job: JobId, stage: StageId) {
        let Some(worker) = self.table.get_mut(&id) else { return };
        if let Some(count) = worker.held.get_mut(&(job, stage)) {
            *count -= 1;
            if *count == 0 {
                worker.held.remove(&(job, stage));
            }
        }
    }

    /// Notes that a worker's output of a stage is not needed any more.
    pub(super) fn unhold_stage(&mut self, id: WorkerId, job: JobId, stage: StageId) {
        if let Some(worker) = self.table.get_mut(&id) {
            worker.held.remove(&(job, stage));
        }
    }

    fn unindex(&mut self, id: WorkerId) {
        let Some(worker) = self.table.get(&id) else { return };
        if self.by_free.remove(&(Reverse(worker.free()), id)) {
            self.free -= worker.free();
        }
        self.ready.remove(&id);
        self.draining.remove(&id);
        self.expected.remove(&id);
        self.short.remove(&id);
    }

    fn index(&mut self, id: WorkerId) {
        let Some(worker) = self.table.get(&id) else { return };
        if worker.free() > 0 {
            self.by_free.insert((Reverse(worker.free()), id));
            self.free += worker.free();
        }
        match worker.duty {
            Duty::Ready => self.ready.insert(id),
            Duty::Draining { .. } => self.draining.insert(id),
            Duty::Leaving => false,
        };
        if matches!(worker.contact, Contact::Expected { .. }) {
            self.expected.insert(id);
        }
        if worker.is_short() && (worker.leases.len() as u32) < worker.info.slots {
            self.short.insert(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contact_transitions() {
        let broken = Contact::Broken { until: Timestamp(9) };
        let expected = Contact::Expected { until: Timestamp(9) };
        let broke = ContactEvent::StreamBroke { until: Timestamp(9) };
        let excused = ContactEvent::Excused { until: Timestamp(8) };
        let events = [ContactEvent::Registered, ContactEvent::Heard, ContactEvent::WentSilent, broke, excused];
        let table = [
            (Contact::Attached, [Contact::Attached, Contact::Attached, Contact::Silent, broken, Contact::Attached]),
            (Contact::Silent, [Contact::Attached, Contact::Attached, Contact::Silent, broken, Contact::Silent]),
            (broken, [Contact::Attached, broken, broken, broken, broken]),
            (expected, [Contact::Attached, expected, expected, expected, expected]),
        ];
        for (before, after) in table {
            for (event, after) in events.into_iter().zip(after) {
                let mut contact = before;
                contact.apply(event);
                assert_eq!(contact, after, "{before:?} by {event:?}");
            }
        }
    }

    #[test]
    fn duty_transitions() {
        let since = Timestamp(3);
        let drain = DutyEvent::Drain(Timestamp(5));
        let table = [
            (Duty::Ready, drain, Duty::Draining { since: Timestamp(5) }),
            (Duty::Ready, DutyEvent::Release, Duty::Ready),
            (Duty::Draining { since }, drain, Duty::Draining { since }),
            (Duty::Draining { since }, DutyEvent::Release, Duty::Leaving),
            (Duty::Leaving, drain, Duty::Leaving),
            (Duty::Leaving, DutyEvent::Release, Duty::Leaving),
        ];
        for (before, event, after) in table {
            let mut duty = before;
            duty.apply(event);
            assert_eq!(duty, after, "{before:?} by {event:?}");
        }
    }

    fn worker(id: u64, slots: u32) -> Worker {
        Worker {
            id: WorkerId(id),
            info: WorkerInfo { slots, ..WorkerInfo::default() },
            epoch: Epoch(1),
            duty: Duty::Ready,
            contact: Contact::Attached,
            joined: Timestamp(0),
            heard: Timestamp(0),
            usage: WorkerUsage::default(),
            full: false,
            leases: Vec::new(),
            held: BTreeMap::new(),
        }
    }

    #[test]
    fn a_task_that_failed_everywhere_avoids_nobody() {
        let mut workers = Workers::default();
        workers.insert(worker(1, 2));
        workers.insert(worker(2, 2));
        let failed_on = [WorkerId(1)];
        assert_eq!(workers.to_avoid(&failed_on), failed_on);
        workers.remove(WorkerId(2), Timestamp(0));
        assert!(workers.to_avoid(&failed_on).is_empty());
    }

    #[test]
    fn a_worker_short_of_memory_takes_no_more_as_long_as_something_runs() {
        let mut workers = Workers::default();
        workers.insert(worker(1, 2));
        workers.edit(WorkerId(1), |worker| worker.info.memory_bytes = 1_000);
        let task = tandem_proto::TaskId { job: JobId(1), stage: StageId(1), index: 0 };
        let attempt = AttemptId { task, attempt: tandem_proto::Attempt(0) };
        let lease = Lease { attempt, state: LeaseState::Wanted, seen: Timestamp(0) };
        workers.edit(WorkerId(1), |worker| worker.leases.push(lease));
        for (used, stored, free) in [(600, 0, 1), (700, 0, 0), (700, 200, 1), (900, 0, 0)] {
            let usage = WorkerUsage { pool_used_bytes: used, stored_bytes: stored, ..WorkerUsage::default() };
            workers.note_usage(WorkerId(1), usage, 60);
            assert_eq!((workers.free_slots(), workers.any_short()), (free, free == 0), "{used} used, {stored} stored");
        }
        workers.edit(WorkerId(1), |worker| worker.leases.clear());
        assert_eq!(workers.free_slots(), 2, "one that runs nothing would wait for itself");
    }

    #[test]
    fn free_slots_follow_every_change() {
        let mut workers = Workers::default();
        workers.insert(worker(1, 2));
        workers.insert(worker(2, 3));
        assert_eq!(workers.with_free_slots().collect::<Vec<_>>(), [(WorkerId(2), 3), (WorkerId(1), 2)]);
        workers.edit(WorkerId(2), |worker| worker.duty.apply(DutyEvent::Drain(Timestamp(1))));
        assert_eq!((workers.free_slots(), workers.ready()), (2, 1));
        workers.edit(WorkerId(1), |worker| worker.contact.apply(ContactEvent::WentSilent));
        assert_eq!((workers.free_slots(), workers.ready()), (0, 1));
        workers.remove(WorkerId(1), Timestamp(0));
        workers.remove(WorkerId(2), Timestamp(0));
        assert_eq!((workers.free_slots(), workers.ready(), workers.draining().count()), (0, 0, 0));
    }
}
