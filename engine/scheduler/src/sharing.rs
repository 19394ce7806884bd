//! Who gets how many leases, and whose are taken back. Part of the [`Cluster`].
//!
//! Leases of processors are given in the same rounds as the slots of stage tasks, each to the job that has the least. Those
//! that take something else too come first, since fewer workers have it, each to the job that has the least of it; and those by
//! which something goes on. A task of
//! a stage ends soon, a lease may last: so where a job has less than its fair share and waits, one that has more
//! loses leases. What runs on them may end.

use std::collections::{BTreeMap, BTreeSet};

use tandem_proto::{JobId, LeaseId, WorkerId};

use crate::action::Action;
use crate::cluster::Cluster;
use crate::job::Job;
use crate::leases::{Claim, Lease, LeaseState, Wanted};
use crate::placement::fair_level;
use crate::resources::{CPUS, Mib, Milli, SLOT_MILLI, Shape};
use crate::timers::Timer;

/// A revoked lease is expected back for so long; then another is revoked in its place.
const RETURN_WITHIN_MS: u64 = 2_000;

/// What a job has of one resource, and what it would have if it could. In thousandths.
#[derive(Debug, Default, Clone, Copy)]
struct Holding {
    has: u64,
    wants: u64,
    /// Of what it has, so much comes back soon.
    returning: u64,
}

impl Cluster {
    /// Gives each job so many leases of processors; those that could place one are not in `unplaceable` after.
    pub(crate) fn grant_shares(
        &mut self,
        shares: &[(JobId, u32)],
        budget: u32,
        unplaceable: &mut BTreeSet<JobId>,
    ) -> u32 {
        let mut granted = 0;
        for &(job, share) in shares {
            let given = self.grant_to(job, share.min(budget - granted), Claim::takes_cpus_only);
            if given > 0 {
                unplaceable.remove(&job);
            }
            granted += given;
        }
        granted
    }

    /// Gives a job up to `limit` leases, to its claims in turn.
    fn grant_to(&mut self, job: JobId, limit: u32, which: impl Fn(&Claim) -> bool) -> u32 {
        let pending = self.leases.claims_of(job).filter(|(claim, wanted)| wanted.waits() && which(claim));
        let mut claims: Vec<_> =
            pending.map(|(claim, wanted)| (wanted.served, claim.clone(), wanted.pending())).collect();
        claims.sort_by_key(|(served, ..)| *served);
        let mut granted = 0;
        while granted < limit && !claims.is_empty() {
            claims.retain_mut(|(_, claim, pending)| {
                let more = granted < limit && self.grant(claim);
                if more {
                    granted += 1;
                    *pending -= 1;
                }
                more && *pending > 0
            });
        }
        granted
    }

    /// Gives leases that take nothing, or something besides processors, and places tasks that do.
    pub(crate) fn grant_scarce(&mut self, budget: &mut u32) {
        let waits = |(claim, wanted): &(&Claim, &Wanted)| wanted.waits() && !claim.takes_cpus_only();
        let mut classes: BTreeMap<Option<String>, BTreeSet<JobId>> = BTreeMap::new();
        let expected = self.workers.any_expected();
        for (claim, _) in self.leases.claims().filter(waits) {
            if self.jobs.get(&claim.job).is_some_and(|job| job.may_lease(expected)) {
                classes.entry(claim.shape.scarce().map(str::to_owned)).or_default().insert(claim.job);
            }
        }
        for &id in &self.demanding {
            for resource in self.jobs.get(&id).map(Job::scarce).into_iter().flatten() {
                classes.entry(Some(resource.to_owned())).or_default().insert(id);
            }
        }
        for (resource, mut jobs) in classes {
            let of_class = |claim: &Claim| !claim.takes_cpus_only() && claim.shape.scarce() == resource.as_deref();
            while *budget > 0
                && let Some(job) = self.poorest(&jobs, resource.as_deref())
            {
                // One that nobody competes with need not take turns.
                let turn = if jobs.len() == 1 { *budget } else { 1 };
                let mut given = self.grant_to(job, turn, of_class);
                if resource.is_some() {
                    given += self.place_demanding(job, turn - given, resource.as_deref());
                }
                *budget -= given;
                if given == 0 {
                    jobs.remove(&job);
                }
            }
        }
    }

    /// The job that has the least of a resource; of several, the one that was served longest ago.
    fn poorest(&self, jobs: &BTreeSet<JobId>, resource: Option<&str>) -> Option<JobId> {
        let takes = |job: &JobId, resource| self.jobs.get(job).map_or(0, |job| job.takes(resource));
        let has = |job: &JobId| resource.map_or(0, |of| self.leases.usage(*job, of) + takes(job, of));
        let served = |job: &JobId| self.jobs.get(job).map_or(0, |job| job.served);
        jobs.iter().copied().min_by_key(|job| (has(job), served(job)))
    }

    /// Someone waits for leases, or for slots while others have leases: looks again in a while.
    pub(crate) fn watch_sharing(&mut self) {
        let waiting = self.leases.claims().any(|(_, wanted)| wanted.pending() > 0 && !wanted.refused);
        if waiting
            || self.groups.any_waits()
            || !self.demanding.is_empty()
            || (!self.wanting.is_empty() && self.leases.len() > 0)
        {
            self.timers.arm(Timer::Sharing, self.now.after_ms(self.config.sharing_interval_ms));
        }
    }

    /// Takes leases back from jobs that have more than their fair share, and refuses what nobody can give.
    pub(crate) fn share_again(&mut self) {
        self.refuse_hopeless();
        self.give_up_groups();
        self.give_up_stages();
        let mut resources = BTreeSet::from([CPUS.to_owned()]);
        let pending = self.leases.claims().filter(|(_, wanted)| wanted.waits());
        resources.extend(pending.filter_map(|(claim, _)| claim.shape.scarce()).map(str::to_owned));
        let demanding = self.demanding.iter().filter_map(|id| self.jobs.get(id));
        resources.extend(demanding.flat_map(Job::scarce).map(str::to_owned));
        for resource in resources {
            self.level(&resource);
        }
    }

    /// Revokes what jobs have of a resource beyond their share, as much as others lack of theirs.
    fn level(&mut self, resource: &str) {
        let holdings = self.holdings(resource);
        let total: u64 = self
            .workers
            .iter()
            .filter(|worker| worker.takes_work())
            .map(|worker| worker.info.resources.amount(resource))
            .sum();
        let wants: Vec<_> = holdings.values().map(|holding| holding.wants).collect();
        let level = fair_level(total, &wants);
        let lacks = |holding: &Holding| holding.wants.min(level).saturating_sub(holding.has);
        let returning: u64 = holdings.values().map(|holding| holding.returning).sum();
        let mut missing = holdings.values().map(lacks).sum::<u64>().saturating_sub(returning);
        let poor: BTreeSet<_> =
            holdings.iter().filter(|(_, holding)| lacks(holding) > 0).map(|(job, _)| *job).collect();
        for (job, holding) in &holdings {
            let mut surplus = (holding.has - holding.returning).saturating_sub(level.min(holding.wants));
            if missing == 0 || surplus == 0 {
                // Its leases, which may be many, are not looked at.
                continue;
            }
            for (lease, amount) in self.revocable(*job, resource, &poor) {
                if missing == 0 || amount > surplus {
                    break;
                }
                (surplus, missing) = (surplus - amount, missing.saturating_sub(amount));
                self.context().revoke_lease(lease);
            }
        }
    }

    /// What each job that has or wants something of a resource has and wants.
    fn holdings(&self, resource: &str) -> BTreeMap<JobId, Holding> {
        let mut holdings: BTreeMap<JobId, Holding> = BTreeMap::new();
        for group in self.groups.iter() {
            let amounts = group.reserved().map(|(_, resources)| resources.amount(resource));
            holdings.entry(group.plan.job).or_default().has += amounts.sum::<u64>();
        }
        for lease in self.leases.iter().filter(|lease| lease.inside().is_none()) {
            let amount = lease.shape.resources.amount(resource);
            let holding = holdings.entry(lease.job).or_default();
            holding.has += amount;
            if let LeaseState::Revoked { since } = lease.state
                && self.now.ms_since(since) < RETURN_WITHIN_MS
            {
                holding.returning += amount;
            }
        }
        for job in self.jobs.values().filter(|job| job.slots > 0) {
            let has = if resource == CPUS { job.task_cpus() } else { job.takes(resource) };
            if has > 0 {
                holdings.entry(job.id).or_default().has += has;
            }
        }
        for holding in holdings.values_mut() {
            holding.wants = holding.has;
        }
        let outside = |(claim, wanted): &(&Claim, &Wanted)| claim.bundle.is_none() && wanted.waits();
        for (claim, wanted) in self.leases.claims().filter(outside) {
            let amount = claim.shape.resources.amount(resource).saturating_mul(wanted.pending().into());
            let holding = holdings.entry(claim.job).or_default();
            holding.wants = holding.wants.saturating_add(amount);
        }
        for job in self.demanding.iter().filter_map(|id| self.jobs.get(id)) {
            holdings.entry(job.id).or_default().wants += job.waits_for(resource);
        }
        if resource == CPUS {
            for &(_, _, id) in &self.wanting {
                let Some(job) = self.jobs.get(&id).filter(|job| !job.plan.is_program()) else { continue };
                holdings.entry(id).or_default().wants += u64::from(job.startable(u32::MAX)) * SLOT_MILLI;
            }
        }
        holdings
    }

    /// The leases of a job whose place is of use to one of the others, the last ones first.
    fn revocable(&self, job: JobId, resource: &str, others: &BTreeSet<JobId>) -> Vec<(LeaseId, u64)> {
        let hosts = self.hosts_of_use(others);
        let free = |lease: &&Lease| lease.is_granted() && lease.inside().is_none();
        let theirs = self.leases.iter().filter(|lease| lease.job == job && free(lease));
        let of_use = theirs.filter(|lease| lease.shape.resources.amount(resource) > 0 && hosts(lease.host));
        let mut leases: Vec<_> = of_use.map(|lease| (lease.id, lease.shape.resources.amount(resource))).collect();
        leases.reverse();
        leases
    }

    /// Whether a place on a worker helps one of these jobs: any does if it waits for slots and nothing else.
    fn hosts_of_use<'a>(&'a self, jobs: &'a BTreeSet<JobId>) -> impl Fn(WorkerId) -> bool + 'a {
        let theirs = || jobs.iter().filter_map(|job| self.jobs.get(job));
        let anywhere = theirs().any(|job| !job.plan.is_program() && !job.runnable.is_empty());
        let demanding = theirs().flat_map(|job| job.demanding.iter().filter_map(|id| job.stage(*id).needs.as_deref()));
        let mut pending: Vec<&Shape> = demanding.map(|needs| &needs.shape).collect();
        let claims = self
            .leases
            .claims()
            .filter(|(claim, wanted)| jobs.contains(&claim.job) && claim.bundle.is_none() && wanted.waits())
            .map(|(claim, _)| &*claim.shape);
        pending.extend(claims);
        move |host| {
            let fits = |worker: &super::worker::Worker| pending.iter().any(|shape| worker.could_ever_host(shape));
            anywhere || self.workers.get(host).is_some_and(fits)
        }
    }

    /// Notes what no worker could ever satisfy, and tells its owners when that has been so for a while.
    fn refuse_hopeless(&mut self) {
        if self.workers.ready() == 0 {
            return;
        }
        let pending: Vec<_> =
            self.leases.claims().filter(|(_, wanted)| wanted.pending() > 0).map(|(claim, _)| claim.clone()).collect();
        for claim in pending {
            let hopeless = self.why_not(&claim).is_some();
            let (now, grace_ms) = (self.now, self.config.unschedulable_grace_ms);
            let Some(wanted) = self.leases.claim_mut(&claim) else { continue };
            if hopeless != wanted.hopeless.is_some() {
                self.out.touched.insert(claim.job);
            }
            if !hopeless {
                wanted.hopeless = None;
                continue;
            }
            let since = *wanted.hopeless.get_or_insert(now);
            if now.ms_since(since) >= grace_ms && !wanted.refused {
                wanted.refused = true;
                self.refuse(&claim);
            }
        }
    }

    fn refuse(&mut self, claim: &Claim) {
        self.counters.leases_refused += 1;
        let reason = self.why_not(claim).unwrap_or_default();
        let Claim { job, shape, bundle, owner } = claim.clone();
        if let Some(epoch) = self.context().reach(owner) {
            let shape = (*shape).clone();
            self.out.actions.push(Action::RefuseLease { worker: owner, epoch, job, shape, bundle, reason });
        }
    }

    /// Why a claim can never be satisfied by the workers there are, if it cannot.
    fn why_not(&self, claim: &Claim) -> Option<String> {
        match claim.bundle {
            Some(bundle) => self.why_not_in_bundle(bundle, &claim.shape),
            None => {
                let somewhere = self.workers.iter().any(|worker| worker.could_ever_host(&claim.shape));
                (!somewhere).then(|| self.why_hopeless(&claim.shape))
            }
        }
    }

    /// What is missing for a shape, and what workers have.
    pub(crate) fn why_hopeless(&self, shape: &Shape) -> String {
        let ready = || self.workers.iter().filter(|worker| worker.could_ever_host(&Shape::default()));
        let most = |name: &str| ready().map(|worker| worker.info.resources.amount(name)).max().unwrap_or_default();
        for (name, wanted) in &shape.resources.milli {
            let most = most(name);
            if most < *wanted {
                return format!("it needs {} of `{name}`, and no worker has more than {}", Milli(*wanted), Milli(most));
            }
        }
        let memory = ready().map(|worker| worker.info.resources.memory_bytes).max().unwrap_or_default();
        if memory < shape.resources.memory_bytes {
            let wanted = shape.resources.memory_bytes;
            return format!("it needs {} of memory, and no worker has more than {}", Mib(wanted), Mib(memory));
        }
        for (key, value) in &shape.labels {
            let mut values: Vec<_> = ready().filter_map(|worker| worker.info.labels.get(key)).collect();
            values.sort_unstable();
            values.dedup();
            if !values.contains(&value) {
                let known: Vec<_> = values.into_iter().map(String::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return format!("it needs a worker with the label {key}={value}; values that workers have: {known}");
            }
        }
        format!("no worker has all of it at once: {shape}")
    }
}
