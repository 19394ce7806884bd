//! The leases that are given, and how many each owner wants.
//! Owned by the [`Cluster`](super::Cluster); what may be given where is decided in `lending.rs` and `sharing.rs`.
//! Invariants: a lease is booked on its host, or on a bundle there, from the moment it is given until the host has said that nothing runs on it; the
//! indices by host and owner have each lease once; `granted` and `usage` count the table.
//!
//!   wanted ──▶ Granted ──Revoke──▶ Revoked ──returned──▶ gone      (a host that is lost returns nothing, its leases are gone)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tandem_proto::{JobId, LeaseId, Term, WorkerId};

use crate::groups::BundleId;
use crate::resources::{Resources, Shape};
use crate::time::Timestamp;

/// Whether a lease may still be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseState {
    /// Its owner may start tasks on it.
    Granted,
    /// What runs on it may end; nothing more is started.
    Revoked { since: Timestamp },
}

/// What a lease is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Booked {
    /// What its host has.
    Worker,
    /// What its bundle has.
    Bundle,
}

/// One lease.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) id: LeaseId,
    pub(crate) job: JobId,
    pub(crate) owner: WorkerId,
    pub(crate) host: WorkerId,
    pub(crate) shape: Arc<Shape>,
    pub(crate) bundle: Option<BundleId>,
    pub(crate) booked: Booked,
    pub(crate) state: LeaseState,
    /// When its host and its owner were last told of it, or last mentioned it.
    pub(crate) host_seen: Timestamp,
    pub(crate) owner_seen: Timestamp,
}

impl Lease {
    /// Whether its owner may start tasks on it.
    pub(crate) fn is_granted(&self) -> bool {
        self.state == LeaseState::Granted
    }

    /// Whether it takes something of a bundle.
    pub(crate) fn is_in(&self, bundle: BundleId) -> bool {
        self.booked == Booked::Bundle && self.bundle == Some(bundle)
    }

    /// The bundle that it takes something of.
    pub(crate) fn inside(&self) -> Option<BundleId> {
        self.bundle.filter(|_| self.booked == Booked::Bundle)
    }

    fn claim(&self) -> Claim {
        Claim { job: self.job, shape: self.shape.clone(), bundle: self.bundle, owner: self.owner }
    }
}

/// Whose tasks want leases of which shape, and in which bundle. Ordered by job first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    pub(crate) job: JobId,
    pub(crate) shape: Arc<Shape>,
    pub(crate) bundle: Option<BundleId>,
    pub(crate) owner: WorkerId,
}

impl Claim {
    /// Whether it competes with stage tasks for nothing but processors. What a bundle has is nobody else's, and what has begun goes on
    /// before anything else begins.
    pub(crate) fn takes_cpus_only(&self) -> bool {
        self.bundle.is_none() && !self.shape.here && self.shape.cpus() > 0 && self.shape.scarce().is_none()
    }
}

/// How many leases a claim is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// In all.
    pub(crate) wanted: u32,
    /// Of which so many are granted.
    pub(crate) granted: u32,
    /// A number that only grows: of claims of one job, the one that was served longest ago comes first.
    pub(crate) served: u64,
    /// Since when no worker could ever satisfy it.
    pub(crate) hopeless: Option<Timestamp>,
    /// The owner was told that it is hopeless.
    pub(crate) refused: bool,
}

impl Wanted {
    /// Leases that are wanted and not granted.
    pub(crate) fn pending(&self) -> u32 {
        self.wanted.saturating_sub(self.granted)
    }

    /// Whether there is something to give it some day.
    pub(crate) fn waits(&self) -> bool {
        self.pending() > 0 && self.hopeless.is_none()
    }
}

/// All leases and claims.
#[derive(Debug)]
pub(crate) struct Leases {
    next: LeaseId,
    table: BTreeMap<LeaseId, Lease>,
    by_host: BTreeMap<WorkerId, BTreeSet<LeaseId>>,
    by_owner: BTreeMap<WorkerId, BTreeSet<LeaseId>>,
    claims: BTreeMap<Claim, Wanted>,
    /// Thousandths of each resource that the leases and bundles of a job take.
    usage: BTreeMap<JobId, BTreeMap<String, u64>>,
}

impl Leases {
    /// None, for a coordinator of this term. Leases of later terms have other numbers.
    pub(crate) fn new(term: Term) -> Self {
        Self {
            next: LeaseId(term.0 << 32),
            table: BTreeMap::new(),
            by_host: BTreeMap::new(),
            by_owner: BTreeMap::new(),
            claims: BTreeMap::new(),
            usage: BTreeMap::new(),
        }
    }

    /// A number that no lease had.
    pub(crate) fn next_id(&mut self) -> LeaseId {
        self.next.0 += 1;
        self.next
    }

    /// One lease.
    pub(crate) fn get(&self, id: LeaseId) -> Option<&Lease> {
        self.table.get(&id)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.table.values()
    }

    /// Those of a host.
    pub(crate) fn hosted_by(&self, worker: WorkerId) -> impl Iterator<Item = &Lease> {
        self.by_host.get(&worker).into_iter().flatten().filter_map(|id| self.table.get(id))
    }

    /// Those of an owner.
    pub(crate) fn owned_by(&self, worker: WorkerId) -> impl Iterator<Item = &Lease> {
        self.by_owner.get(&worker).into_iter().flatten().filter_map(|id| self.table.get(id))
    }

    /// How much of a resource the leases and bundles of a job take.
    pub(crate) fn usage(&self, job: JobId, resource: &str) -> u64 {
        self.usage.get(&job).and_then(|usage| usage.get(resource)).copied().unwrap_or_default()
    }

    /// Adds a lease, which the caller has booked on its host.
    pub(crate) fn insert(&mut self, lease: Lease) {
        let id = lease.id;
        self.by_host.entry(lease.host).or_default().insert(id);
        self.by_owner.entry(lease.owner).or_default().insert(id);
        if lease.booked == Booked::Worker {
            self.charge(lease.job, &lease.shape.resources);
        }
        if lease.is_granted() {
            self.count(&lease, |granted| granted + 1);
        }
        self.table.insert(id, lease);
    }

    /// Takes a lease out; the caller frees its place.
    pub(crate) fn remove(&mut self, id: LeaseId) -> Option<Lease> {
        let lease = self.table.remove(&id)?;
        for (index, worker) in [(&mut self.by_host, lease.host), (&mut self.by_owner, lease.owner)] {
            if let Some(leases) = index.get_mut(&worker) {
                leases.remove(&id);
                if leases.is_empty() {
                    index.remove(&worker);
                }
            }
        }
        if lease.booked == Booked::Worker {
            self.discharge(lease.job, &lease.shape.resources);
        }
        if lease.is_granted() {
            self.count(&lease, |granted| granted.saturating_sub(1));
        }
        Some(lease)
    }

    /// A job has so much more of what workers have.
    pub(crate) fn charge(&mut self, job: JobId, resources: &Resources) {
        if resources.milli.is_empty() {
            return;
        }
        let usage = self.usage.entry(job).or_default();
        for (name, amount) in &resources.milli {
            *usage.entry(name.clone()).or_default() += amount;
        }
    }

    /// A job has so much less.
    pub(crate) fn discharge(&mut self, job: JobId, resources: &Resources) {
        let Some(usage) = self.usage.get_mut(&job) else { return };
        for (name, amount) in &resources.milli {
            if let Some(used) = usage.get_mut(name) {
                *used = used.saturating_sub(*amount);
            }
        }
        usage.retain(|_, used| *used > 0);
        if usage.is_empty() {
            self.usage.remove(&job);
        }
    }

    /// What a lease takes is not its bundle's any more. The caller has booked it on its host.
    pub(crate) fn detach(&mut self, id: LeaseId) {
        let Some(lease) = self.table.get_mut(&id) else { return };
        lease.booked = Booked::Worker;
        let (job, shape) = (lease.job, lease.shape.clone());
        self.charge(job, &shape.resources);
    }

    /// No task is to be started on it any more. False when that was so already.
    pub(crate) fn revoke(&mut self, id: LeaseId, now: Timestamp) -> bool {
        let Some(lease) = self.table.get_mut(&id).filter(|lease| lease.is_granted()) else { return false };
        lease.state = LeaseState::Revoked { since: now };
        (lease.host_seen, lease.owner_seen) = (now, now);
        let lease = lease.clone();
        self.count(&lease, |granted| granted.saturating_sub(1));
        true
    }

    /// Its host has mentioned it, or was told.
    pub(crate) fn host_saw(&mut self, id: LeaseId, now: Timestamp) {
        if let Some(lease) = self.table.get_mut(&id) {
            lease.host_seen = now;
        }
    }

    /// Its owner has mentioned it, or was told.
    pub(crate) fn owner_saw(&mut self, id: LeaseId, now: Timestamp) {
        if let Some(lease) = self.table.get_mut(&id) {
            lease.owner_seen = now;
        }
    }

    /// All claims.
    pub(crate) fn claims(&self) -> impl Iterator<Item = (&Claim, &Wanted)> {
        self.claims.iter()
    }

    /// The claims of one job.
    pub(crate) fn claims_of(&self, job: JobId) -> impl Iterator<Item = (&Claim, &Wanted)> {
        let first = Claim { job, shape: Arc::new(Shape::default()), bundle: None, owner: WorkerId(0) };
        self.claims.range(first..).take_while(move |(claim, _)| claim.job == job)
    }

    /// Whether anything is wanted, or was.
    pub(crate) fn has_claims(&self) -> bool {
        !self.claims.is_empty()
    }

    /// Whether a job waits for leases of nothing but processors.
    pub(crate) fn waits_for_cpus(&self, job: JobId) -> bool {
        self.claims_of(job).any(|(claim, wanted)| wanted.waits() && claim.takes_cpus_only())
    }

    /// How many these are, and how much the smallest takes.
    pub(crate) fn pending_cpus(&self, job: JobId) -> Option<(u32, u64)> {
        let pending = self.claims_of(job).filter(|(claim, wanted)| wanted.waits() && claim.takes_cpus_only());
        pending.fold(None, |sum, (claim, wanted)| {
            let (count, unit) = sum.unwrap_or((0u32, u64::MAX));
            Some((count.saturating_add(wanted.pending()), unit.min(claim.shape.cpus())))
        })
    }

    /// One claim, to note how it was served.
    pub(crate) fn claim_mut(&mut self, claim: &Claim) -> Option<&mut Wanted> {
        self.claims.get_mut(claim)
    }

    /// A worker is there: what it could host is not hopeless any more. What it has been told as an owner it is told again.
    /// Answers with the jobs that may hope again.
    pub(crate) fn worker_joined(&mut self, worker: WorkerId, could_host: impl Fn(&Shape) -> bool) -> BTreeSet<JobId> {
        let mut hopeful = BTreeSet::new();
        for (claim, wanted) in &mut self.claims {
            // What is wanted in a bundle may be hopeless for other reasons; it is looked at again.
            if wanted.hopeless.is_some() && (claim.bundle.is_some() || could_host(&claim.shape)) {
                (wanted.hopeless, wanted.refused) = (None, false);
                hopeful.insert(claim.job);
            }
            if claim.owner == worker {
                wanted.refused = false;
            }
        }
        hopeful
    }

    /// An owner says how many it wants in all. True when that is news.
    pub(crate) fn want(&mut self, claim: Claim, wanted: u32) -> bool {
        match self.claims.get_mut(&claim) {
            Some(known) if wanted > 0 => {
                let news = known.wanted != wanted;
                (known.wanted, known.refused) = (wanted, known.refused && !news);
                news
            }
            Some(_) => self.claims.remove(&claim).is_some(),
            None if wanted == 0 => false,
            None => {
                let theirs = |lease: &&Lease| lease.is_granted() && lease.claim() == claim;
                let granted = self.owned_by(claim.owner).filter(theirs).count() as u32;
                let new = Wanted { wanted, granted, served: 0, hopeless: None, refused: false };
                self.claims.insert(claim, new);
                true
            }
        }
    }

    /// Forgets claims. Returns the jobs they were of.
    pub(crate) fn drop_claims(&mut self, which: impl Fn(&Claim) -> bool) -> BTreeSet<JobId> {
        let mut jobs = BTreeSet::new();
        self.claims.retain(|claim, _| {
            let keep = !which(claim);
            if !keep {
                jobs.insert(claim.job);
            }
            keep
        });
        jobs
    }

    fn count(&mut self, lease: &Lease, change: impl Fn(u32) -> u32) {
        if let Some(wanted) = self.claims.get_mut(&lease.claim()) {
            wanted.granted = change(wanted.granted);
        }
    }
}
