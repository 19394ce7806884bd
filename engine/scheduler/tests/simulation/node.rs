//! The fine tasks of a virtual worker: as owner it wants leases and gives them up, as host it runs something on them until
//! they are revoked, and a little longer.

use std::collections::{BTreeMap, BTreeSet};

use tandem_proto::{JobId, LeaseId, WorkerId};
use tandem_scheduler::{
    Action, BundleId, CPUS, Event, GroupReport, LeaseDemand, LeaseGrant, LeaseReport, PlacementGroupId, Resources,
    Shape, WorkerInfo,
};

use crate::rng::Rng;
use crate::worker::{Link, VirtualWorker};
use crate::world::{Happening, World};

/// What leases are wanted for.
pub(crate) type Wish = (JobId, Shape, Option<BundleId>);

/// What one worker knows of leases.
#[derive(Debug, Default)]
pub(crate) struct VirtualNode {
    /// Jobs of which it has executors.
    pub(crate) executors: BTreeSet<JobId>,
    pub(crate) hosted: BTreeMap<LeaseId, LeaseGrant>,
    pub(crate) owned: BTreeMap<LeaseId, LeaseGrant>,
    pub(crate) demand: BTreeMap<Wish, u32>,
    /// Placement groups that it owns.
    pub(crate) groups: BTreeMap<PlacementGroupId, GroupReport>,
    /// Leases that are over: what arrives late about them changes nothing.
    over: BTreeSet<LeaseId>,
}

impl VirtualNode {
    pub(crate) fn report(&self, may_leave: bool) -> LeaseReport {
        let demand = self.demand.iter().map(|(wish, wanted)| demand(wish, *wanted));
        LeaseReport {
            hosted: self.hosted.keys().copied().collect(),
            owned: self.owned.keys().copied().collect(),
            demand: demand.collect(),
            jobs: self.executors.iter().copied().collect(),
            groups: self.groups.values().cloned().collect(),
            may_leave,
        }
    }

    /// Hosted and owned, each once.
    pub(crate) fn leases(&self) -> Vec<LeaseGrant> {
        let all: BTreeMap<_, _> = self.hosted.iter().chain(&self.owned).collect();
        all.into_values().cloned().collect()
    }

    /// What it runs on leases takes so much.
    fn taken(&self) -> Resources {
        let mut taken = Resources::default();
        for lease in self.hosted.values() {
            for (name, amount) in &lease.shape.resources.milli {
                *taken.milli.entry(name.clone()).or_default() += amount;
            }
        }
        taken
    }
}

impl VirtualWorker {
    /// Whether the leases that it hosts take more than it has. Launches may be late, so tasks are not counted here.
    pub(crate) fn is_overbooked(&self) -> bool {
        let taken = self.node.taken();
        let has = |name: &str| if name == CPUS { u64::from(self.slots) * 1_000 } else { self.resources.amount(name) };
        taken.milli.iter().any(|(name, amount)| *amount > has(name))
    }
}

fn demand((job, shape, bundle): &Wish, wanted: u32) -> LeaseDemand {
    LeaseDemand { job: *job, shape: shape.clone(), bundle: *bundle, wanted }
}

pub(crate) fn random_shape(rng: &mut Rng) -> Shape {
    let amounts: &[(&str, u64)] = match rng.range(0..8) {
        0 => &[],
        1 => &[(CPUS, 500)],
        2 => &[(CPUS, 2_000)],
        3 => &[("gpus", 500)],
        4 => &[("gpus", 1_000), (CPUS, 1_000)],
        _ => &[(CPUS, 1_000)],
    };
    let milli = amounts.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect();
    let label = rng.chance(15).then(|| ("zone".to_owned(), "a".to_owned()));
    Shape {
        resources: Resources { milli, memory_bytes: 0 },
        labels: label.into_iter().collect(),
        spread: rng.chance(3),
        here: rng.chance(3),
    }
}

/// What a worker has besides slots.
pub(crate) fn random_extras(rng: &mut Rng, info: &mut WorkerInfo) {
    if rng.chance(30) {
        info.resources.milli.insert("gpus".to_owned(), rng.range(1..3) * 1_000);
    }
    if rng.chance(50) {
        info.labels.insert("zone".to_owned(), rng.pick(&["a", "b"]).unwrap_or_default().to_owned());
    }
}

impl World {
    /// The driver of a job runs here and wants something else now.
    pub(crate) fn want(&mut self, id: WorkerId, job: JobId) {
        if let Some(delay) = self.stopped_for(id) {
            return self.plan(delay, Happening::Want { worker: id, job });
        }
        let (shape, wanted) = (random_shape(&mut self.rng), self.rng.range(0..7) as u32);
        let bundle = self.random_bundle(id, job);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if !worker.running.keys().any(|attempt| attempt.task.job == job) {
            return;
        }
        let key = (job, shape, bundle);
        if wanted == 0 {
            worker.node.demand.remove(&key);
        } else {
            worker.node.demand.insert(key.clone(), wanted);
        }
        if let Link::Attached { stream, epoch } = worker.link {
            let demand = demand(&key, wanted);
            self.send_to_coordinator(id, stream, Event::LeaseDemand { worker: id, epoch, demand });
        }
        self.release_surplus(id, &key);
        let delay = self.rng.range(50..900);
        self.plan(delay, Happening::Want { worker: id, job });
    }

    /// An owner gives up what it has beyond its wish.
    fn release_surplus(&mut self, id: WorkerId, key: &Wish) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let (link, node) = (worker.link, &mut worker.node);
        let wanted = node.demand.get(key).copied().unwrap_or_default() as usize;
        let theirs = |grant: &&LeaseGrant| (grant.job, &grant.shape, grant.bundle) == (key.0, &key.1, key.2);
        let surplus: Vec<_> = node.owned.values().filter(theirs).map(|grant| grant.lease).skip(wanted).collect();
        node.owned.retain(|lease, _| !surplus.contains(lease));
        if let Link::Attached { stream, epoch } = link {
            for lease in surplus {
                self.send_to_coordinator(id, stream, Event::LeaseReleased { worker: id, epoch, lease });
            }
        }
    }

    /// What a worker does that is told of leases.
    pub(crate) fn obey_lending(&mut self, id: WorkerId, action: Action) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match action {
            Action::GrantLease { grant, .. } if !worker.node.over.contains(&grant.lease) => {
                if grant.host == id {
                    worker.node.executors.insert(grant.job);
                    worker.node.hosted.insert(grant.lease, grant.clone());
                }
                if grant.owner == id {
                    worker.node.owned.insert(grant.lease, grant.clone());
                    self.release_surplus(id, &(grant.job, grant.shape, grant.bundle));
                }
            }
            Action::RevokeLease { lease, .. } => {
                worker.node.over.insert(lease);
                worker.node.owned.remove(&lease);
                self.finish_leases(id, |grant| grant.lease == lease);
            }
            Action::RefuseLease { job, shape, bundle, .. } => {
                worker.node.demand.remove(&(job, shape, bundle));
                self.tally.refused += 1;
            }
            Action::JobGone { job, .. } => {
                worker.node.executors.remove(&job);
                worker.node.owned.retain(|_, grant| grant.job != job);
                worker.node.demand.retain(|(of, ..), _| *of != job);
                worker.node.groups.retain(|_, group| group.plan.job != job);
                self.finish_leases(id, |grant| grant.job == job);
            }
            Action::WorkerGone { gone, .. } => {
                worker.node.owned.retain(|_, grant| grant.host != gone);
                self.finish_leases(id, |grant| grant.owner == gone);
            }
            _ => {}
        }
    }

    /// What runs on these leases ends soon.
    fn finish_leases(&mut self, id: WorkerId, which: impl Fn(&LeaseGrant) -> bool) {
        let Some(worker) = self.workers.get(&id) else { return };
        let ending: Vec<_> =
            worker.node.hosted.values().filter(|grant| which(grant)).map(|grant| grant.lease).collect();
        for lease in ending {
            let delay = if self.rng.chance(90) { self.rng.range(1..800) } else { self.rng.range(2_000..5_000) };
            self.plan(delay, Happening::Return { worker: id, lease });
        }
    }

    /// Nothing runs on a lease any more.
    pub(crate) fn return_lease(&mut self, id: WorkerId, lease: LeaseId) {
        if let Some(delay) = self.stopped_for(id) {
            return self.plan(delay, Happening::Return { worker: id, lease });
        }
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.node.over.insert(lease);
        if worker.node.hosted.remove(&lease).is_some()
            && let Link::Attached { stream, epoch } = worker.link
        {
            self.send_to_coordinator(id, stream, Event::LeaseReturned { worker: id, epoch, lease });
        }
    }
}
