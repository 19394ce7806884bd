//! The workers: which are in touch, what is placed on each, whose output each holds, and who has free slots.
//! Owned by the [`Cluster`](super::Cluster).
//! Invariant: a worker offers its slots minus those of its attempts, and only while it is ready, attached and not short of
//! memory. A cancelled attempt keeps its slot until the worker says that it ended.
//! Leases are booked beside the attempts, so nothing that a worker has is taken twice.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tandem_proto::resources::GPUS;
use tandem_proto::{JobId, StageId, WorkerId};

use crate::contact::{Contact, Duty};
use crate::event::WorkerUsage;
use crate::needs::Needs;
use crate::resources::{CPUS, Resources, Shape};
use crate::time::Timestamp;
use crate::views::{NodeState, NodeView};
use crate::worker::Worker;

/// Workers that one task avoids, at most, unless it avoids all there are.
const MOST_AVOIDED: usize = 64;

/// Workers that are gone and still known by name.
const REMEMBERED: usize = 32;

/// A worker that is gone, remembered for the names of what it ran.
#[derive(Debug)]
struct Departed {
    view: NodeView,
    /// It is shown as lost until then; none when it left as it was told to.
    shown_until: Option<Timestamp>,
}

/// All workers, with what placement needs to know of them kept ready.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    table: BTreeMap<WorkerId, Worker>,
    /// Workers with free processors, most free first.
    by_free: BTreeSet<(Reverse<u64>, WorkerId)>,
    /// Free slots of all workers, and thousandths of processors.
    free: u32,
    free_cpus: u64,
    /// What is free of everything else on all workers, in thousandths.
    free_scarce: BTreeMap<String, u64>,
    /// Workers that may be given work, those with the fewest leases first.
    by_hosted: BTreeSet<(u32, WorkerId)>,
    /// Workers that take tasks, or will again when they are back in touch.
    ready: BTreeSet<WorkerId>,
    draining: BTreeSet<WorkerId>,
    expected: BTreeSet<WorkerId>,
    /// Workers with slots that they do not offer for want of memory.
    short: BTreeSet<WorkerId>,
    departed: VecDeque<Departed>,
    changes: u64,
}

impl Workers {
    /// Adds a worker that was not known.
    pub(crate) fn insert(&mut self, worker: Worker) {
        let id = worker.id;
        self.departed.retain(|gone| gone.view.worker != id);
        self.table.insert(id, worker);
        self.index(id);
    }

    /// Takes a worker out, to be shown as lost until `shown_until` unless it was told to leave. What was placed on it and what it held
    /// is for the caller to sort out.
    pub(crate) fn remove(&mut self, id: WorkerId, shown_until: Timestamp) -> Option<Worker> {
        self.unindex(id);
        let worker = self.table.remove(&id)?;
        if self.departed.len() == REMEMBERED {
            self.departed.pop_front();
        }
        self.departed.push_back(Departed {
            view: NodeView {
                state: NodeState::Lost,
                slots_used: 0,
                used: Resources::default(),
                leases: 0,
                ..worker.view()
            },
            shown_until: (worker.duty != Duty::Leaving).then_some(shown_until),
        });
        Some(worker)
    }

    /// Changes a worker, if it is known, and keeps the indices right.
    pub(crate) fn edit<R>(&mut self, id: WorkerId, edit: impl FnOnce(&mut Worker) -> R) -> Option<R> {
        self.unindex(id);
        let result = self.table.get_mut(&id).map(edit);
        self.index(id);
        result
    }

    /// One worker.
    pub(crate) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.table.get(&id)
    }

    /// One worker, to change what placement does not depend on.
    pub(crate) fn get_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.table.get_mut(&id)
    }

    /// All workers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.table.values()
    }

    /// The last few that were lost and are still shown.
    pub(crate) fn lost(&self, now: Timestamp) -> impl Iterator<Item = &NodeView> {
        self.departed.iter().filter(move |gone| gone.shown_until > Some(now)).map(|gone| &gone.view)
    }

    /// Free slots of all workers.
    pub(crate) fn free_slots(&self) -> u32 {
        self.free
    }

    /// Thousandths of processors that are free on all workers.
    pub(crate) fn free_cpus(&self) -> u64 {
        self.free_cpus
    }

    /// Thousandths of processors that are free on the worker where most are.
    pub(crate) fn largest_free(&self) -> u64 {
        self.by_free.first().map_or(0, |(Reverse(free), _)| *free)
    }

    /// Workers with free slots, most free first.
    pub(crate) fn with_free_slots(&self) -> impl Iterator<Item = (WorkerId, u32)> {
        let workers = self.by_free.iter().filter_map(|(_, id)| self.table.get(id));
        workers.map(|worker| (worker.id, worker.free())).filter(|(_, free)| *free > 0)
    }

    /// Workers that can start tasks with these needs now, and how many; as many workers as `limit` tasks could be on, and some more, since a
    /// task may avoid a few.
    pub(crate) fn offers_for(&self, needs: &Needs, limit: u32) -> BTreeMap<WorkerId, u32> {
        if !self.may_have_room(&needs.shape.resources) {
            return BTreeMap::new();
        }
        let workers = self.by_free.iter().filter_map(|(_, id)| self.table.get(id));
        let offers = workers.map(|worker| (worker.id, worker.room_for_tasks(needs))).filter(|(_, tasks)| *tasks > 0);
        offers.take((limit as usize).saturating_add(MOST_AVOIDED)).collect()
    }

    /// Whether all workers together have so much free. Looks at none of them.
    pub(crate) fn may_have_room(&self, resources: &Resources) -> bool {
        let free = |name: &str| self.free_scarce.get(name).copied().unwrap_or_default();
        let enough = |name: &String, amount: u64| amount <= if name == CPUS { self.free_cpus } else { free(name) };
        resources.milli.iter().all(|(name, amount)| enough(name, *amount))
    }

    /// Where a lease goes. One that is spread: where the fewest are, to its owner if that is such a worker. Any other: to its
    /// owner if that has room; else where most processors are free, or if it takes none, where the fewest leases are.
    pub(crate) fn host_for(&self, shape: &Shape, owner: WorkerId) -> Option<WorkerId> {
        if shape.here {
            return self.table.get(&owner).filter(|worker| worker.can_go_on(shape)).map(|worker| worker.id);
        }
        if !self.may_have_room(&shape.resources) {
            return None;
        }
        let room = |id: &WorkerId| self.table.get(id).is_some_and(|worker| worker.has_room_for(shape));
        if shape.spread {
            let (fewest, first) = self.by_hosted.iter().find(|(_, id)| room(id))?;
            let near = self.table.get(&owner).is_some_and(|owner| owner.hosted == *fewest && room(&owner.id));
            return Some(if near { owner } else { *first });
        }
        if room(&owner) {
            return Some(owner);
        }
        if shape.cpus() > 0 {
            let enough = self.by_free.iter().take_while(|(Reverse(free), _)| *free >= shape.cpus());
            return enough.map(|(_, id)| *id).find(room);
        }
        self.by_hosted.iter().map(|(_, id)| *id).find(room)
    }

    /// Books what a lease or a bundle takes of a worker.
    pub(crate) fn reserve(&mut self, id: WorkerId, resources: &Resources) {
        self.edit(id, |worker| {
            worker.leased.add(resources);
            worker.leased_gpus.add(resources.amount(GPUS));
        });
    }

    /// Frees what a lease or a bundle took of a worker.
    pub(crate) fn unreserve(&mut self, id: WorkerId, resources: &Resources) {
        self.edit(id, |worker| {
            worker.leased.subtract(resources);
            worker.leased_gpus.remove(resources.amount(GPUS));
        });
    }

    /// A worker hosts one lease more.
    pub(crate) fn host_more(&mut self, id: WorkerId) {
        self.edit(id, |worker| worker.hosted += 1);
    }

    /// A worker hosts one lease less.
    pub(crate) fn host_fewer(&mut self, id: WorkerId) {
        self.edit(id, |worker| worker.hosted = worker.hosted.saturating_sub(1));
    }

    /// Is another number whenever anything that matters to placement may be other than before. Never zero.
    pub(crate) fn version(&self) -> u64 {
        self.changes + 1
    }

    /// How many workers take tasks, or will again when they are back in touch.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The workers to avoid, of those where a task failed: none when it failed on all there are that could run it, for then anywhere is as
    /// good.
    pub(crate) fn to_avoid<'a>(&self, failed_on: &'a [WorkerId], needs: Option<&Needs>) -> &'a [WorkerId] {
        let could_run = |id: &WorkerId| match needs {
            Some(needs) => self.table.get(id).is_some_and(|worker| worker.could_ever_host(&needs.shape)),
            None => true,
        };
        let elsewhere = |id: &WorkerId| !failed_on.contains(id) && could_run(id);
        if failed_on.is_empty() || self.ready.iter().any(elsewhere) { failed_on } else { &[] }
    }

    /// Whether a worker would take more tasks if it had more memory.
    pub(crate) fn any_short(&self) -> bool {
        !self.short.is_empty()
    }

    /// Notes what a worker uses. Of its memory its queries may hold up to `percent` before it takes no more tasks.
    pub(crate) fn note_usage(&mut self, id: WorkerId, usage: WorkerUsage, percent: u64) {
        let Some(worker) = self.table.get_mut(&id) else { return };
        worker.usage = usage;
        let held = usage.pool_used_bytes.saturating_sub(usage.stored_bytes);
        let full = worker.info.memory_bytes > 0 && held > worker.info.memory_bytes / 100 * percent;
        if full != worker.full {
            self.edit(id, |worker| worker.full = full);
        }
    }

    /// Workers that drain.
    pub(crate) fn draining(&self) -> impl Iterator<Item = WorkerId> {
        self.draining.iter().copied()
    }

    /// Whether a restarted coordinator still waits for workers it knew.
    pub(crate) fn any_expected(&self) -> bool {
        !self.expected.is_empty()
    }

    /// Its name for people; the id when it is long gone.
    pub(crate) fn name(&self, id: WorkerId) -> String {
        let departed = || self.departed.iter().find(|gone| gone.view.worker == id).map(|gone| &gone.view.info.name);
        match self.table.get(&id).map(|worker| &worker.info.name).or_else(departed) {
            Some(name) if !name.is_empty() => name.clone(),
            _ => id.to_string(),
        }
    }

    /// Notes that a worker holds output of one more task.
    pub(crate) fn hold(&mut self, id: WorkerId, job: JobId, stage: StageId) {
        if let Some(worker) = self.table.get_mut(&id) {
            *worker.held.entry((job, stage)).or_default() += 1;
        }
    }

    /// Notes that a worker holds output of one task less.
    pub(crate) fn unhold(&mut self, id: WorkerId, job: JobId, stage: StageId) {
        let Some(worker) = self.table.get_mut(&id) else { return };
        if let Some(count) = worker.held.get_mut(&(job, stage)) {
            *count -= 1;
            if *count == 0 {
                worker.held.remove(&(job, stage));
            }
        }
    }

    /// Notes that a worker's output of a stage is not needed any more.
    pub(crate) fn unhold_stage(&mut self, id: WorkerId, job: JobId, stage: StageId) {
        if let Some(worker) = self.table.get_mut(&id) {
            worker.held.remove(&(job, stage));
        }
    }

    fn unindex(&mut self, id: WorkerId) {
        self.changes += 1;
        let Some(worker) = self.table.get(&id) else { return };
        if self.by_free.remove(&(Reverse(worker.free_cpus()), id)) {
            self.free -= worker.free();
            self.free_cpus -= worker.free_cpus();
        }
        for (name, amount) in worker.free_scarce() {
            if let Some(free) = self.free_scarce.get_mut(name) {
                *free -= amount;
            }
        }
        self.by_hosted.remove(&(worker.hosted, id));
        self.ready.remove(&id);
        self.draining.remove(&id);
        self.expected.remove(&id);
        self.short.remove(&id);
    }

    fn index(&mut self, id: WorkerId) {
        let Some(worker) = self.table.get(&id) else { return };
        if worker.free_cpus() > 0 {
            self.by_free.insert((Reverse(worker.free_cpus()), id));
            self.free += worker.free();
            self.free_cpus += worker.free_cpus();
        }
        for (name, amount) in worker.free_scarce() {
            *self.free_scarce.entry(name.clone()).or_default() += amount;
        }
        if worker.takes_work() {
            self.by_hosted.insert((worker.hosted, id));
        }
        match worker.duty {
            Duty::Ready => self.ready.insert(id),
            Duty::Draining { .. } => self.draining.insert(id),
            Duty::Leaving => false,
        };
        if matches!(worker.contact, Contact::Expected { .. }) {
            self.expected.insert(id);
        }
        if worker.is_short() && worker.slots_used() < worker.info.slots {
            self.short.insert(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use tandem_graph::StageNeeds;
    use tandem_proto::{Attempt, Epoch, TaskId};

    use super::*;
    use crate::contact::{ContactEvent, DutyEvent};
    use crate::event::WorkerInfo;
    use crate::report::AttemptId;
    use crate::resources::SLOT_MILLI;
    use crate::worker::{Placed, Standing};

    fn worker(id: u64, slots: u32) -> Worker {
        let info = WorkerInfo { slots, ..WorkerInfo::default() };
        Worker::new(WorkerId(id), info.completed(), Epoch(1), Contact::Attached, Timestamp(0))
    }

    #[test]
    fn a_task_that_failed_everywhere_avoids_nobody() {
        let mut workers = Workers::default();
        workers.insert(worker(1, 2));
        workers.insert(worker(2, 2));
        let failed_on = [WorkerId(1)];
        assert_eq!(workers.to_avoid(&failed_on, None), failed_on);
        workers.remove(WorkerId(2), Timestamp(0));
        assert!(workers.to_avoid(&failed_on, None).is_empty());
    }

    #[test]
    fn a_task_that_failed_wherever_it_could_run_avoids_nobody() {
        let workers = equipped();
        let needs = StageNeeds { milli: [("gpus".to_owned(), 1_000)].into(), ..StageNeeds::default() };
        let needs = Needs::new(&needs);
        let of = |ids: &[u64]| ids.iter().copied().map(WorkerId).collect::<Vec<_>>();
        assert_eq!(workers.to_avoid(&of(&[1]), Some(&needs)), of(&[1]), "the third has GPUs too");
        assert!(workers.to_avoid(&of(&[1, 3]), Some(&needs)).is_empty());
        assert_eq!(workers.to_avoid(&of(&[1, 3]), None), of(&[1, 3]));
    }

    #[test]
    fn a_worker_short_of_memory_takes_no_more_as_long_as_something_runs() {
        let mut workers = Workers::default();
        workers.insert(worker(1, 2));
        workers.edit(WorkerId(1), |worker| worker.info.memory_bytes = 1_000);
        let task = TaskId { job: JobId(1), stage: StageId(1), index: 0 };
        let attempt = AttemptId { task, attempt: Attempt(0) };
        let placed = Placed { attempt, standing: Standing::Wanted, seen: Timestamp(0), slots: 1, needs: None };
        workers.edit(WorkerId(1), |worker| worker.placed.push(placed));
        for (used, stored, free) in [(600, 0, 1), (700, 0, 0), (700, 200, 1), (900, 0, 0)] {
            let usage = WorkerUsage { pool_used_bytes: used, stored_bytes: stored, ..WorkerUsage::default() };
            workers.note_usage(WorkerId(1), usage, 60);
            assert_eq!((workers.free_slots(), workers.any_short()), (free, free == 0), "{used} used, {stored} stored");
        }
        workers.edit(WorkerId(1), |worker| worker.placed.clear());
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

    /// One thing that takes or gives back room.
    #[derive(Debug, Clone)]
    enum Booking {
        Lease {
            shape: Shape,
            owner: u64,
        },
        Task,
        /// As many as there is room for anywhere.
        Needy {
            milli: BTreeMap<String, u64>,
            labelled: bool,
        },
        Return(usize),
    }

    fn bookings() -> impl Strategy<Value = Vec<Booking>> {
        let amounts = (
            prop::sample::select(vec![0u64, 250, 500, 1_000, 3_000]),
            prop::sample::select(vec![0u64, 0, 500, 600, 1_000]),
        );
        let shape = (amounts, 0u64..3, any::<bool>(), any::<bool>()).prop_map(
            |((cpus, gpus), memory_bytes, labelled, spread)| {
                let milli = [(CPUS, cpus), ("gpus", gpus)].into_iter().filter(|(_, amount)| *amount > 0);
                let milli = milli.map(|(name, amount)| (name.to_owned(), amount)).collect();
                let labels = labelled.then(|| ("zone".to_owned(), "a".to_owned())).into_iter().collect();
                Shape { resources: Resources { milli, memory_bytes }, labels, spread, here: false }
            },
        );
        let lease = (shape, 0u64..5).prop_map(|(shape, owner)| Booking::Lease { shape, owner });
        let amounts = prop::sample::select(vec![(0u64, 500u64), (0, 1_000), (2_000, 0), (500, 2_000), (0, 0)]);
        let needy = (amounts, any::<bool>()).prop_map(|((cpus, gpus), labelled)| {
            let milli = [(CPUS, cpus), ("gpus", gpus)].into_iter().filter(|(_, amount)| *amount > 0);
            Booking::Needy { milli: milli.map(|(name, amount)| (name.to_owned(), amount)).collect(), labelled }
        });
        let booking =
            prop_oneof![4 => lease, 2 => Just(Booking::Task), 2 => needy, 3 => (0usize..50).prop_map(Booking::Return)];
        prop::collection::vec(booking, 0..120)
    }

    /// Three workers: with GPUs, with a label, and with both.
    fn equipped() -> Workers {
        let mut workers = Workers::default();
        for id in 1..4u64 {
            let mut worker = worker(id, id as u32 * 2);
            worker.info.resources.memory_bytes = 4;
            if id != 2 {
                worker.info.resources.milli.insert("gpus".to_owned(), 2_000);
            }
            if id != 1 {
                worker.info.labels.insert("zone".to_owned(), "a".to_owned());
            }
            workers.insert(worker);
        }
        workers
    }

    #[test]
    fn a_share_of_a_gpu_goes_where_one_has_so_much_free() {
        let mut workers = equipped();
        let milli = [("gpus".to_owned(), 600)].into();
        let shape = Shape { resources: Resources { milli, memory_bytes: 0 }, ..Shape::default() };
        let mut hosts = Vec::new();
        while let Some(host) = workers.host_for(&shape, WorkerId(1)) {
            workers.reserve(host, &shape.resources);
            hosts.push(host.0);
        }
        assert_eq!(hosts, [1, 1, 3, 3], "two GPUs each, though eight tenths are free in all");
        let milli = [("gpus".to_owned(), 600)].into();
        let needs = Needs::new(&StageNeeds { milli, ..StageNeeds::default() });
        assert!(workers.offers_for(&needs, u32::MAX).is_empty());
        workers.unreserve(WorkerId(3), &shape.resources);
        assert_eq!(workers.offers_for(&needs, u32::MAX), [(WorkerId(3), 1)].into());
    }

    proptest! {
        #[test]
        fn nothing_is_booked_twice_and_no_room_is_overlooked(bookings in bookings()) {
            let mut workers = equipped();
            let mut leases: Vec<(WorkerId, Shape)> = Vec::new();
            for booking in bookings {
                match booking {
                    Booking::Lease { shape, owner } => match workers.host_for(&shape, WorkerId(owner)) {
                        Some(host) => {
                            workers.reserve(host, &shape.resources);
                            workers.host_more(host);
                            leases.push((host, shape));
                        }
                        None => prop_assert!(workers.iter().all(|worker| !worker.has_room_for(&shape)), "{shape}"),
                    },
                    Booking::Task => {
                        let Some((host, _)) = workers.with_free_slots().next() else { continue };
                        let task = TaskId { job: JobId(1), stage: StageId(1), index: 0 };
                        let attempt = AttemptId { task, attempt: Attempt(0) };
                        let placed = Placed { attempt, standing: Standing::Wanted, seen: Timestamp(0), slots: 1, needs: None };
                        workers.edit(host, |worker| worker.placed.push(placed));
                    }
                    Booking::Needy { milli, labelled } => {
                        let labels = labelled.then(|| ("zone".to_owned(), "a".to_owned())).into_iter().collect();
                        let needs = Needs::new(&StageNeeds { step: "needy".to_owned(), milli, labels });
                        let offers = workers.offers_for(&needs, u32::MAX);
                        for (host, tasks) in offers {
                            for _ in 0..tasks {
                                let task = TaskId { job: JobId(1), stage: StageId(1), index: 0 };
                                let (attempt, standing) = (AttemptId { task, attempt: Attempt(0) }, Standing::Wanted);
                                let needs = Some(Arc::new(needs.clone()));
                                let placed = Placed { attempt, standing, seen: Timestamp(0), slots: 1, needs };
                                workers.edit(host, |worker| worker.placed.push(placed));
                            }
                        }
                        prop_assert!(workers.iter().all(|worker| worker.room_for_tasks(&needs) == 0), "{needs:?}");
                        let first = workers.iter().map(|worker| worker.id).next();
                        let done = |worker: &mut Worker| worker.placed.retain(|placed| placed.needs.is_none());
                        first.and_then(|host| workers.edit(host, done));
                    }
                    Booking::Return(place) => {
                        if !leases.is_empty() {
                            let (host, shape) = leases.swap_remove(place % leases.len());
                            workers.unreserve(host, &shape.resources);
                            workers.host_fewer(host);
                        }
                    }
                }
                for worker in workers.iter() {
                    let (all, taken) = (&worker.info.resources, worker.view().used);
                    prop_assert!(taken.milli.iter().all(|(name, amount)| *amount <= all.amount(name)), "{taken:?}");
                    prop_assert!(taken.memory_bytes <= all.memory_bytes);
                    let theirs = leases.iter().filter(|(host, _)| *host == worker.id);
                    prop_assert!(theirs.clone().all(|(_, shape)| shape.accepts(&worker.info.labels)));
                    prop_assert_eq!(theirs.count(), worker.hosted as usize);
                }
                let free = workers.iter().map(|worker| worker.free()).sum::<u32>();
                prop_assert_eq!(free, workers.free_slots());
                prop_assert!(u64::from(free) * SLOT_MILLI <= workers.free_cpus());
            }
        }
    }
}
