//! Leases from the wish to the return. Part of the [`Cluster`]; who gets how many is decided in `sharing.rs`.
//!
//! What a worker says of leases is taken at its word: one that its host or owner does not mention for a while is granted again,
//! or gone if it was revoked; one that is mentioned and not known is revoked. So no single message must arrive.

use std::collections::BTreeSet;
use std::sync::Arc;

use tandem_proto::{Epoch, JobId, LeaseId, WorkerId};

use crate::action::Action;
use crate::cluster::Cluster;
use crate::contact::Contact;
use crate::event::{LeaseDemand, LeaseGrant, LeaseReport};
use crate::job::{Context, Job};
use crate::leases::{Booked, Claim, Lease, LeaseState};

impl Cluster {
    /// An owner says what it wants.
    pub(crate) fn lease_demand(&mut self, worker: WorkerId, epoch: Epoch, demand: LeaseDemand) {
        if self.heard(worker, epoch) {
            self.want(worker, demand);
        }
    }

    /// An owner needs a lease no more.
    pub(crate) fn lease_released(&mut self, worker: WorkerId, epoch: Epoch, id: LeaseId) {
        let owned = self.leases.get(id).is_some_and(|lease| lease.owner == worker);
        if self.heard(worker, epoch) && owned {
            self.context().revoke_lease(id);
        }
    }

    /// Nothing runs on a lease any more.
    pub(crate) fn lease_returned(&mut self, worker: WorkerId, epoch: Epoch, id: LeaseId) {
        let hosted = self.leases.get(id).is_some_and(|lease| lease.host == worker);
        if self.heard(worker, epoch) && hosted {
            self.context().end_lease(id);
        }
    }

    fn want(&mut self, owner: WorkerId, demand: LeaseDemand) {
        let LeaseDemand { job: id, shape, bundle, wanted } = demand;
        let live = self.jobs.get_mut(&id).filter(|job| job.plan.executors && job.is_active());
        let Some(job) = live else { return };
        job.members.insert(owner);
        if bundle.is_some_and(|bundle| wanted > 0 && !self.has_bundle(owner, id, bundle)) {
            return;
        }
        let claim = Claim { job: id, shape: Arc::new(shape), bundle, owner };
        if self.leases.want(claim, wanted) {
            self.out.touched.insert(id);
        }
    }

    /// A heartbeat says which leases a worker knows and wants.
    pub(crate) fn compare_lease_report(&mut self, id: WorkerId, report: LeaseReport) {
        let LeaseReport { hosted, owned, demand, jobs, groups, may_leave } = report;
        if let Some(worker) = self.workers.get_mut(id) {
            worker.may_leave = may_leave;
        }
        self.end_strangers(id, jobs);
        self.compare_groups(id, groups);
        self.compare_hosted(id, &hosted.into_iter().collect());
        self.compare_owned(id, &owned.into_iter().collect());
        let wanted: BTreeSet<_> = demand.iter().map(|demand| (demand.job, &demand.shape, demand.bundle)).collect();
        let dropped = |claim: &Claim| claim.owner == id && !wanted.contains(&(claim.job, &*claim.shape, claim.bundle));
        let jobs = self.leases.drop_claims(dropped);
        self.out.touched.extend(jobs);
        for demand in demand {
            self.want(id, demand);
        }
    }

    fn compare_hosted(&mut self, id: WorkerId, mentioned: &BTreeSet<LeaseId>) {
        let (now, patience_ms) = (self.now, self.config.launch_repeat_ms);
        let mut cx = self.context();
        for lease in mentioned {
            match cx.leases.get(*lease).filter(|lease| lease.host == id) {
                None => cx.tell_revoked(id, *lease),
                Some(known) => {
                    let overdue = now.ms_since(known.host_seen) >= patience_ms;
                    match known.state {
                        LeaseState::Granted => cx.leases.host_saw(*lease, now),
                        LeaseState::Revoked { .. } if overdue => {
                            cx.leases.host_saw(*lease, now);
                            cx.tell_revoked(id, *lease);
                        }
                        LeaseState::Revoked { .. } => {}
                    }
                }
            }
        }
        let missing = |lease: &&Lease| !mentioned.contains(&lease.id) && now.ms_since(lease.host_seen) >= patience_ms;
        let missing: Vec<_> = cx.leases.hosted_by(id).filter(missing).map(|lease| (lease.id, lease.state)).collect();
        for (lease, state) in missing {
            match state {
                LeaseState::Granted => {
                    cx.leases.host_saw(lease, now);
                    cx.tell_granted(id, lease);
                }
                LeaseState::Revoked { .. } => cx.end_lease(lease),
            }
        }
    }

    fn compare_owned(&mut self, id: WorkerId, mentioned: &BTreeSet<LeaseId>) {
        let (now, patience_ms) = (self.now, self.config.launch_repeat_ms);
        let mut cx = self.context();
        for lease in mentioned {
            match cx.leases.get(*lease).filter(|lease| lease.owner == id) {
                None => cx.tell_revoked(id, *lease),
                Some(known) => {
                    let overdue = now.ms_since(known.owner_seen) >= patience_ms;
                    let revoked = !known.is_granted();
                    if !revoked || overdue {
                        cx.leases.owner_saw(*lease, now);
                    }
                    if revoked && overdue {
                        cx.tell_revoked(id, *lease);
                    }
                }
            }
        }
        let missing = |lease: &&Lease| {
            let overdue = now.ms_since(lease.owner_seen) >= patience_ms;
            lease.is_granted() && overdue && !mentioned.contains(&lease.id)
        };
        let missing: Vec<_> = cx.leases.owned_by(id).filter(missing).map(|lease| lease.id).collect();
        for lease in missing {
            cx.leases.owner_saw(lease, now);
            cx.tell_granted(id, lease);
        }
    }

    /// A worker that registered says which leases it hosts and owns. Those of the jobs in `gone` it was told to end.
    pub(crate) fn compare_leases(&mut self, id: WorkerId, claimed: Vec<LeaseGrant>, gone: &BTreeSet<JobId>) {
        let mentioned: BTreeSet<_> = claimed.iter().map(|grant| grant.lease).collect();
        for grant in claimed {
            if self.leases.get(grant.lease).is_none() {
                self.adopt_lease(id, grant, gone);
            }
        }
        let now = self.now;
        let mut cx = self.context();
        let known: Vec<_> = cx.leases.hosted_by(id).chain(cx.leases.owned_by(id)).cloned().collect();
        for Lease { id: lease, host, state, .. } in known {
            match (state, mentioned.contains(&lease)) {
                (LeaseState::Granted, true) => {}
                (LeaseState::Granted, false) => cx.tell_granted(id, lease),
                (LeaseState::Revoked { .. }, true) => cx.tell_revoked(id, lease),
                (LeaseState::Revoked { .. }, false) if host == id => cx.end_lease(lease),
                (LeaseState::Revoked { .. }, false) => {}
            }
            cx.leases.host_saw(lease, now);
            cx.leases.owner_saw(lease, now);
        }
        self.fit_bundles(id);
    }

    /// A worker has a lease that an earlier coordinator gave. What its host may still run on it keeps its place.
    fn adopt_lease(&mut self, id: WorkerId, grant: LeaseGrant, gone: &BTreeSet<JobId>) {
        let LeaseGrant { lease, job, owner, host, shape, bundle } = grant;
        let expected =
            |id| self.workers.get(id).is_some_and(|worker| matches!(worker.contact, Contact::Expected { .. }));
        if host != id && !(owner == id && expected(host)) {
            return self.context().tell_revoked(id, lease);
        }
        let live = self.jobs.get(&job).is_some_and(Job::has_executors);
        let wanted = live && !gone.contains(&job) && self.workers.get(owner).is_some();
        let (now, shape) = (self.now, Arc::new(shape));
        // The journal may not know where a bundle went last.
        let inside = bundle.filter(|bundle| {
            let known = self.groups.bundle(*bundle).filter(|bundle| bundle.host == Some(host));
            known.is_some_and(|bundle| bundle.has_room(&shape.resources))
        });
        let booked = if inside.is_some() { Booked::Bundle } else { Booked::Worker };
        let wanted = wanted && inside == bundle;
        let state = LeaseState::Granted;
        let (host_seen, owner_seen) = (now, now);
        self.book_lease(Lease { id: lease, job, owner, host, shape, bundle, booked, state, host_seen, owner_seen });
        if wanted {
            self.with_job(job, |job, _| job.members.extend([owner, host]));
        } else {
            self.context().revoke_lease(lease);
        }
        self.out.touched.insert(job);
    }

    /// A worker drains: what runs on the leases it hosts goes on elsewhere.
    pub(crate) fn revoke_hosted(&mut self, id: WorkerId) {
        let hosted: Vec<_> = self.leases.hosted_by(id).map(|lease| lease.id).collect();
        for lease in hosted {
            self.context().revoke_lease(lease);
        }
    }

    /// A worker is lost, with the leases it hosted. Those it owned end at their hosts.
    pub(crate) fn lose_leases(&mut self, id: WorkerId) {
        let hosted: Vec<_> = self.leases.hosted_by(id).map(|lease| lease.id).collect();
        for lease in hosted {
            self.context().end_lease(lease);
        }
        self.revoke_owned(id);
        let jobs = self.leases.drop_claims(|claim| claim.owner == id);
        self.out.touched.extend(jobs);
    }

    fn revoke_owned(&mut self, id: WorkerId) {
        let owned: Vec<_> = self.leases.owned_by(id).map(|lease| lease.id).collect();
        for lease in owned {
            self.context().revoke_lease(lease);
        }
    }

    /// Gives one lease to a claim, if there is room for it anywhere.
    pub(crate) fn grant(&mut self, claim: &Claim) -> bool {
        let in_place = |host: &WorkerId| !claim.shape.here || *host == claim.owner;
        let (host, booked) = match claim.bundle {
            Some(bundle) => (self.room_in(bundle, &claim.shape).filter(in_place), Booked::Bundle),
            None => (self.workers.host_for(&claim.shape, claim.owner), Booked::Worker),
        };
        let Some(host) = host else { return false };
        self.served += 1;
        let (now, served, id) = (self.now, self.served, self.leases.next_id());
        let Claim { job, shape, bundle, owner } = claim.clone();
        if let Some(wanted) = self.leases.claim_mut(claim) {
            (wanted.served, wanted.hopeless, wanted.refused) = (served, None, false);
        }
        let state = LeaseState::Granted;
        let (host_seen, owner_seen) = (now, now);
        self.book_lease(Lease { id, job, owner, host, shape, bundle, booked, state, host_seen, owner_seen });
        self.counters.leases_granted += 1;
        self.with_job(job, |job, _| {
            job.served = served;
            job.members.extend([owner, host]);
        });
        self.index_job(job);
        let mut cx = self.context();
        cx.tell_granted(host, id);
        if owner != host {
            cx.tell_granted(owner, id);
        }
        true
    }

    fn book_lease(&mut self, lease: Lease) {
        match lease.inside() {
            Some(bundle) => self.groups.book(bundle, &lease.shape.resources),
            None => self.workers.reserve(lease.host, &lease.shape.resources),
        }
        self.workers.host_more(lease.host);
        self.leases.insert(lease);
    }
}

impl Job {
    /// The job's leases end with its executors: each is free when its host says so.
    pub(crate) fn end_leases(&self, cx: &mut Context<'_>) {
        let mine: Vec<_> = cx.leases.iter().filter(|lease| lease.job == self.id).map(|lease| lease.id).collect();
        for lease in mine {
            cx.leases.revoke(lease, cx.now);
        }
        cx.leases.drop_claims(|claim| claim.job == self.id);
        cx.out.touched.insert(self.id);
    }
}

impl Context<'_> {
    /// Tells host and owner that no more is to be started on a lease.
    pub(crate) fn revoke_lease(&mut self, id: LeaseId) {
        if !self.leases.revoke(id, self.now) {
            return;
        }
        let Some(Lease { job, owner, host, .. }) = self.leases.get(id).cloned() else { return };
        self.counters.leases_revoked += 1;
        self.out.touched.insert(job);
        self.tell_revoked(host, id);
        if owner != host {
            self.tell_revoked(owner, id);
        }
    }

    /// Frees the place of a lease. An owner that could still use it is told.
    pub(crate) fn end_lease(&mut self, id: LeaseId) {
        let Some(lease) = self.leases.remove(id) else { return };
        match lease.inside() {
            Some(bundle) => self.groups.unbook(bundle, &lease.shape.resources),
            None => self.workers.unreserve(lease.host, &lease.shape.resources),
        }
        self.workers.host_fewer(lease.host);
        self.out.touched.insert(lease.job);
        if lease.is_granted() {
            self.counters.leases_revoked += 1;
            self.tell_revoked(lease.owner, id);
        }
    }

    fn tell_granted(&mut self, worker: WorkerId, id: LeaseId) {
        let Some(Lease { job, owner, host, shape, bundle, .. }) = self.leases.get(id).cloned() else { return };
        let Some(epoch) = self.reach(worker) else { return };
        let address = |id| self.workers.get(id).map(|worker| worker.info.data_address.clone()).unwrap_or_default();
        let (owner_address, host_address) = (address(owner), address(host));
        let grant = LeaseGrant { lease: id, job, owner, host, shape: (*shape).clone(), bundle };
        self.out.actions.push(Action::GrantLease { worker, epoch, grant, owner_address, host_address });
    }

    fn tell_revoked(&mut self, worker: WorkerId, lease: LeaseId) {
        if let Some(epoch) = self.reach(worker) {
            self.out.actions.push(Action::RevokeLease { worker, epoch, lease });
        }
    }

    /// The epoch of a worker's stream, if it has one.
    pub(crate) fn reach(&self, id: WorkerId) -> Option<Epoch> {
        self.workers.get(id).filter(|worker| worker.contact.has_stream()).map(|worker| worker.epoch)
    }
}
