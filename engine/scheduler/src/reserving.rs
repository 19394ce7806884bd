//! Placement groups from the wish to the removal. Part of the [`Cluster`]; when bundles get their places is in `placing.rs`.
//!
//! A bundle is booked on its worker like a lease, and leases in it are booked on the bundle. When a bundle leaves its worker, what
//! is still leased of it there is booked on the worker itself until it is returned. So nothing is ever booked twice.
//!
//! The owner says all its groups again in each heartbeat and registration: one that it does not mention for a while is removed.

use std::collections::BTreeSet;

use tandem_proto::{Epoch, JobId, WorkerId};

use crate::action::{Action, Fact, GroupNews};
use crate::cluster::Cluster;
use crate::contact::Contact;
use crate::event::GroupReport;
use crate::groups::{BundleId, Group, GroupEvent, GroupPlan, GroupState, PlacementGroupId};
use crate::job::{Context, Job};
use crate::reason::GroupReason;
use crate::resources::Shape;
use crate::worker::Worker;

/// Groups that one job may have at once.
const MAX_GROUPS_PER_JOB: usize = 100_000;

impl Cluster {
    /// An owner wants a group.
    pub(crate) fn group_wanted(&mut self, worker: WorkerId, epoch: Epoch, plan: GroupPlan) {
        if self.heard(worker, epoch) {
            self.want_group(worker, plan);
        }
    }

    /// An owner needs a group no more.
    pub(crate) fn group_removed(&mut self, worker: WorkerId, epoch: Epoch, id: PlacementGroupId) {
        if self.heard(worker, epoch) && id.owner() == worker {
            self.context().remove_group(id);
        }
    }

    fn want_group(&mut self, owner: WorkerId, plan: GroupPlan) {
        let id = plan.group;
        let wanted = |job: &&Job| job.has_executors() && job.is_active() && !job.untold.contains(&owner);
        let live = self.jobs.get(&plan.job).filter(wanted).is_some();
        if !live || id.owner() != owner || plan.bundles.is_empty() || self.groups.get(id).is_some() {
            return;
        }
        let (job, now) = (plan.job, self.now);
        self.with_job(job, |job, _| job.members.insert(owner));
        let full = self.groups.count(job) >= MAX_GROUPS_PER_JOB;
        self.groups.insert(Group::new(plan, now));
        if full {
            let why = format!("the job has {MAX_GROUPS_PER_JOB} placement groups, which is as many as it may have");
            self.groups.advance(id, GroupEvent::GivenUp(why));
            return self.context().tell_group(id);
        }
        // It has not been tried with the workers as they are.
        self.groups.try_again();
    }

    /// A worker says which groups it owns, and whether it knows that they are settled.
    pub(crate) fn compare_groups(&mut self, id: WorkerId, reported: Vec<GroupReport>) {
        let (now, patience_ms) = (self.now, self.config.launch_repeat_ms);
        let mentioned: BTreeSet<_> = reported.iter().map(|report| report.plan.group).collect();
        for GroupReport { plan, settled } in reported {
            let group = plan.group;
            let Some(known) = self.groups.get(group) else {
                self.want_group(id, plan);
                continue;
            };
            let news = !settled && !matches!(known.state, GroupState::Pending { .. });
            if !news {
                self.groups.owner_saw(group, now);
            } else if now.ms_since(known.owner_seen) >= patience_ms {
                self.context().tell_group(group);
            }
        }
        let missing =
            |group: &&Group| !mentioned.contains(&group.plan.group) && now.ms_since(group.owner_seen) >= patience_ms;
        let missing: Vec<_> = self.groups.owned_by(id).filter(missing).map(|group| group.plan.group).collect();
        missing.into_iter().for_each(|group| self.context().remove_group(group));
    }

    /// A worker that registered is told how the groups stand that it owns.
    pub(crate) fn tell_groups(&mut self, id: WorkerId) {
        let owned: Vec<_> = self.groups.owned_by(id).map(|group| group.plan.group).collect();
        owned.into_iter().for_each(|group| self.context().tell_group(group));
    }

    /// Whether leases in a bundle can be wanted; a worker that wants them of a group that is gone is told.
    pub(crate) fn has_bundle(&mut self, worker: WorkerId, job: JobId, bundle: BundleId) -> bool {
        let there = |group: &Group| group.plan.job == job && !matches!(group.state, GroupState::Failed(_));
        if self.groups.get(bundle.group).is_some_and(there) {
            return true;
        }
        let owner = self.workers.get(bundle.group.owner());
        if owner.is_none_or(|owner| owner.contact == Contact::Attached) {
            self.context().tell_group_gone(worker, job, bundle.group);
            return false;
        }
        // Its owner may come back and still have it.
        true
    }

    /// The worker of a bundle, if a lease of this shape can be booked there now.
    pub(crate) fn room_in(&self, bundle: BundleId, shape: &Shape) -> Option<WorkerId> {
        let known = self.groups.bundle(bundle)?;
        let host =
            self.workers.get(known.host?).filter(|host| host.takes_work() && shape.accepts(&host.info.labels))?;
        known.has_room(&shape.resources).then_some(host.id)
    }

    /// A worker is lost or drains: its bundles are placed anew.
    pub(crate) fn leave_bundles(&mut self, id: WorkerId) {
        self.groups.hosted_by(id).into_iter().for_each(|bundle| self.lose_bundle(bundle));
    }

    /// A worker came back to a restarted coordinator, and does more than the journal knew: bundles must go elsewhere.
    pub(crate) fn fit_bundles(&mut self, id: WorkerId) {
        for bundle in self.groups.hosted_by(id).into_iter().rev() {
            if self.workers.get(id).is_some_and(Worker::is_overbooked) {
                self.lose_bundle(bundle);
            }
        }
    }

    fn lose_bundle(&mut self, bundle: BundleId) {
        self.context().take_bundle(bundle);
        self.groups.advance(bundle.group, GroupEvent::Lost);
        self.groups.explain(bundle.group, GroupReason::WorkerLost);
        self.groups.try_again();
    }

    /// A worker is lost, with the groups that it owned.
    pub(crate) fn remove_groups_of_worker(&mut self, id: WorkerId) {
        let owned: Vec<_> = self.groups.owned_by(id).map(|group| group.plan.group).collect();
        owned.into_iter().for_each(|group| self.context().remove_group(group));
    }

    /// Takes a group from the journal, unless what removed it came too late to be journaled.
    pub(crate) fn restore_group(&mut self, plan: GroupPlan, hosts: Vec<WorkerId>) {
        let id = plan.group;
        let lives = self.jobs.get(&plan.job).is_some_and(Job::has_executors);
        if !lives || self.workers.get(id.owner()).is_none() || hosts.len() != plan.bundles.len() {
            return self.record(Fact::GroupRemoved { group: id });
        }
        let now = self.now;
        self.groups.insert(Group::new(plan, now));
        self.groups.advance(id, GroupEvent::Placed);
        for (index, host) in (0..).zip(hosts) {
            if self.workers.get(host).is_some() {
                self.context().put_bundle(BundleId { group: id, index }, host);
            } else {
                self.groups.advance(id, GroupEvent::Lost);
            }
        }
    }
}

impl Job {
    /// The groups of the job end with its executors.
    pub(crate) fn end_groups(&self, cx: &mut Context<'_>) {
        for group in cx.groups.of_job(self.id) {
            cx.remove_group(group);
        }
    }
}

impl Context<'_> {
    /// Books a bundle on a worker.
    pub(crate) fn put_bundle(&mut self, id: BundleId, host: WorkerId) {
        let Some(group) = self.groups.get(id.group) else { return };
        let (job, resources) = (group.plan.job, group.bundles[id.index as usize].shape.resources.clone());
        self.groups.put(id, Some(host));
        self.workers.reserve(host, &resources);
        self.leases.charge(job, &resources);
        self.out.touched.insert(job);
    }

    /// Frees the place of a bundle. What is still leased of it is taken back, and booked on the worker until then.
    fn take_bundle(&mut self, id: BundleId) {
        let Some(group) = self.groups.get(id.group) else { return };
        let (job, bundle) = (group.plan.job, &group.bundles[id.index as usize]);
        let Some(host) = bundle.host else { return };
        let resources = bundle.shape.resources.clone();
        self.workers.unreserve(host, &resources);
        self.leases.discharge(job, &resources);
        self.out.touched.insert(job);
        let inside = self.leases.hosted_by(host).filter(|lease| lease.is_in(id));
        let inside: Vec<_> = inside.map(|lease| (lease.id, lease.shape.clone())).collect();
        for (lease, shape) in inside {
            self.groups.unbook(id, &shape.resources);
            self.workers.reserve(host, &shape.resources);
            self.leases.detach(lease);
            self.revoke_lease(lease);
        }
        self.groups.put(id, None);
    }

    /// A group is not wanted any more, and nothing that was leased in it.
    fn remove_group(&mut self, id: PlacementGroupId) {
        let Some(group) = self.groups.get(id) else { return };
        let (job, count) = (group.plan.job, group.bundles.len() as u32);
        let recorded = !matches!(group.state, GroupState::Pending { .. } | GroupState::Failed(_));
        let mut owners: BTreeSet<WorkerId> = BTreeSet::new();
        for index in 0..count {
            let bundle = BundleId { group: id, index };
            let host = self.groups.bundle(bundle).and_then(|bundle| bundle.host);
            let leases = host.into_iter().flat_map(|host| self.leases.hosted_by(host));
            owners.extend(leases.filter(|lease| lease.is_in(bundle)).map(|lease| lease.owner));
            self.take_bundle(bundle);
        }
        self.groups.remove(id);
        let of_group = |bundle: Option<BundleId>| bundle.is_some_and(|bundle| bundle.group == id);
        let claims = self.leases.claims_of(job).filter(|(claim, _)| of_group(claim.bundle));
        let wanting: Vec<WorkerId> = claims.map(|(claim, _)| claim.owner).collect();
        if !wanting.is_empty() {
            self.leases.drop_claims(|claim| of_group(claim.bundle));
            owners.extend(wanting);
        }
        for owner in owners {
            self.tell_group_gone(owner, job, id);
        }
        self.out.touched.insert(job);
        self.counters.groups_removed += 1;
        if recorded {
            self.out.actions.push(Action::Record(Fact::GroupRemoved { group: id }));
        }
    }

    /// Tells the owner of a group how that stands.
    pub(crate) fn tell_group(&mut self, id: PlacementGroupId) {
        let (now, owner) = (self.now, id.owner());
        let Some(epoch) = self.reach(owner) else { return };
        let Some(group) = self.groups.get(id) else { return };
        let news = match &group.state {
            GroupState::Pending { .. } => GroupNews::Waits(group.why_waits().to_string()),
            GroupState::Reserved | GroupState::Broken => GroupNews::Reserved,
            GroupState::Failed(why) => GroupNews::Failed(why.clone()),
        };
        let job = group.plan.job;
        self.groups.owner_saw(id, now);
        self.out.actions.push(Action::GroupChanged { worker: owner, epoch, job, group: id, news });
    }

    fn tell_group_gone(&mut self, worker: WorkerId, job: JobId, group: PlacementGroupId) {
        if let Some(epoch) = self.reach(worker) {
            self.out.actions.push(Action::GroupChanged { worker, epoch, job, group, news: GroupNews::Gone });
        }
    }
}
