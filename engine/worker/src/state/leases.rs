//! What a worker and its coordinator must agree on about the fine tasks of jobs: leases, demand, and which jobs have anything here.
//! Invariant: a lease that is hosted here is kept until the node has returned it, one that is owned until it is released or
//! revoked. All of it is in each registration and heartbeat, so that no single message matters.

use std::collections::{BTreeMap, BTreeSet};

use tandem_actor_protocol::PlacementGroupId;
use tandem_actor_protocol::placement::{BundleId, PlacementGroup};
use tandem_actor_protocol::resources::Shape;
use tandem_node::{Event as NodeEvent, GroupNews, LeaseGrant};
use tandem_proto::{JobId, WorkerId, v1};

/// What leases are wanted for.
type Wish = (Shape, Option<BundleId>);

/// See the module's header.
#[derive(Debug)]
pub(super) struct Leases {
    worker: WorkerId,
    hosted: BTreeMap<u64, v1::Lease>,
    owned: BTreeMap<u64, v1::Lease>,
    demand: BTreeMap<JobId, BTreeMap<Wish, u32>>,
    /// Placement groups that the node wants, as the coordinator is told of them.
    groups: BTreeMap<PlacementGroupId, v1::PlacementGroup>,
    jobs: BTreeSet<JobId>,
}

impl Leases {
    pub(super) fn new(worker: WorkerId) -> Self {
        Self {
            worker,
            hosted: BTreeMap::new(),
            owned: BTreeMap::new(),
            demand: BTreeMap::new(),
            groups: BTreeMap::new(),
            jobs: BTreeSet::new(),
        }
    }

    /// Whether nothing is hosted.
    pub(super) fn hosts_none(&self) -> bool {
        self.hosted.is_empty()
    }

    /// Whether any job has something here.
    pub(super) fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// A job has something here from now on.
    pub(super) fn begin(&mut self, job: JobId) {
        self.jobs.insert(job);
    }

    /// Nothing of a job is left here.
    pub(super) fn forget(&mut self, job: JobId) {
        self.jobs.remove(&job);
        self.demand.remove(&job);
        self.owned.retain(|_, lease| lease.job != job.0);
        self.end_groups(job);
    }

    /// The placement groups of a job have ended.
    pub(super) fn end_groups(&mut self, job: JobId) {
        self.groups.retain(|_, group| group.job != job.0);
    }

    /// The node wants a placement group.
    pub(super) fn want_group(&mut self, job: JobId, group: PlacementGroup) -> v1::PlacementGroup {
        let id = group.group;
        let wanted = v1::PlacementGroup { job: job.0, ..group.into() };
        self.groups.insert(id, wanted.clone());
        wanted
    }

    /// The node needs a placement group no more.
    pub(super) fn remove_group(&mut self, group: PlacementGroupId) -> v1::GroupEnded {
        self.groups.remove(&group);
        v1::GroupEnded { group: group.0.to_be_bytes().to_vec() }
    }

    /// The coordinator says how a placement group stands. None if it says nothing that this version knows.
    pub(super) fn group_changed(&mut self, changed: v1::GroupChanged) -> Option<NodeEvent> {
        let news = match changed.news() {
            v1::GroupNews::Waits => GroupNews::Waits(changed.reason),
            v1::GroupNews::Reserved => GroupNews::Reserved,
            v1::GroupNews::Failed => GroupNews::Failed(changed.reason),
            v1::GroupNews::Gone => GroupNews::Gone,
            v1::GroupNews::Unspecified => return None,
        };
        let group = PlacementGroupId(u128::from_be_bytes(changed.group.as_slice().try_into().ok()?));
        if let Some(known) = self.groups.get_mut(&group) {
            known.settled |= matches!(news, GroupNews::Reserved | GroupNews::Failed(_));
        }
        Some(NodeEvent::GroupChanged { job: JobId(changed.job), group, news })
    }

    /// The coordinator gives a lease, maybe again.
    pub(super) fn grant(&mut self, lease: v1::Lease) -> Option<LeaseGrant> {
        let (owner, host) = (lease.owner.clone()?, lease.host.clone()?);
        let grant = LeaseGrant {
            lease: lease.lease,
            job: JobId(lease.job),
            owner: WorkerId(owner.worker),
            owner_address: owner.data_address,
            host: WorkerId(host.worker),
            host_address: host.data_address,
            shape: lease.shape.clone().unwrap_or_default().into(),
            bundle: lease.bundle.clone().map(TryInto::try_into).transpose().ok()?,
        };
        self.begin(grant.job);
        if grant.host == self.worker {
            self.hosted.insert(grant.lease, lease.clone());
        }
        if grant.owner == self.worker {
            self.owned.insert(grant.lease, lease);
        }
        Some(grant)
    }

    /// The coordinator takes a lease back.
    pub(super) fn revoke(&mut self, lease: u64) {
        self.owned.remove(&lease);
    }

    /// The node needs a lease no more.
    pub(super) fn release(&mut self, lease: u64) {
        self.owned.remove(&lease);
    }

    /// The node runs nothing on a revoked lease any more.
    pub(super) fn return_lease(&mut self, lease: u64) {
        self.hosted.remove(&lease);
    }

    /// The node wants other leases.
    pub(super) fn demand(
        &mut self,
        job: JobId,
        shape: Shape,
        bundle: Option<BundleId>,
        wanted: u32,
    ) -> v1::LeaseDemand {
        let wish = (shape, bundle);
        let demand = demand(job, &wish, wanted);
        let of_job = self.demand.entry(job).or_default();
        if wanted == 0 {
            of_job.remove(&wish);
        } else {
            of_job.insert(wish, wanted);
        }
        if of_job.is_empty() {
            self.demand.remove(&job);
        }
        demand
    }

    /// Adds what a registration says.
    pub(super) fn register(&self, register: &mut v1::Register) {
        let owned_elsewhere = self.owned.iter().filter(|(lease, _)| !self.hosted.contains_key(lease));
        register.leases = self.hosted.iter().chain(owned_elsewhere).map(|(_, lease)| lease.clone()).collect();
        register.jobs = self.jobs.iter().map(|job| job.0).collect();
        register.groups = self.groups.values().cloned().collect();
    }

    /// Adds what a heartbeat says.
    pub(super) fn beat(&self, heartbeat: &mut v1::Heartbeat) {
        heartbeat.hosted_leases = self.hosted.keys().copied().collect();
        heartbeat.owned_leases = self.owned.keys().copied().collect();
        heartbeat.demand = self.all_demand();
        heartbeat.jobs = self.jobs.iter().map(|job| job.0).collect();
        heartbeat.groups = self.groups.values().cloned().collect();
    }

    fn all_demand(&self) -> Vec<v1::LeaseDemand> {
        let wishes = self.demand.iter().flat_map(|(job, wishes)| wishes.iter().map(|entry| (*job, entry)));
        wishes.map(|(job, (wish, wanted))| demand(job, wish, *wanted)).collect()
    }
}

fn demand(job: JobId, (shape, bundle): &Wish, wanted: u32) -> v1::LeaseDemand {
    v1::LeaseDemand { job: job.0, shape: Some(shape.clone().into()), wanted, bundle: bundle.map(Into::into) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: WorkerId = WorkerId(1);
    const JOB: JobId = JobId(7);

    fn lease(lease: u64, owner: u64, host: u64) -> v1::Lease {
        let address = |worker| Some(v1::WorkerAddress { worker, data_address: format!("worker-{worker}:1") });
        v1::Lease { lease, job: JOB.0, owner: address(owner), host: address(host), ..v1::Lease::default() }
    }

    fn said(leases: &Leases) -> (Vec<u64>, Vec<u64>, Vec<u32>) {
        let mut heartbeat = v1::Heartbeat::default();
        leases.beat(&mut heartbeat);
        let demand = heartbeat.demand.iter().map(|demand| demand.wanted).collect();
        (heartbeat.hosted_leases, heartbeat.owned_leases, demand)
    }

    #[test]
    fn leases_are_kept_until_they_are_given_back() {
        let mut leases = Leases::new(HERE);
        for granted in [lease(1, 1, 1), lease(2, 1, 9), lease(3, 9, 1), lease(3, 9, 1)] {
            assert!(leases.grant(granted).is_some());
        }
        assert_eq!(leases.grant(v1::Lease { owner: None, ..lease(4, 1, 1) }), None);
        assert_eq!(said(&leases), (vec![1, 3], vec![1, 2], vec![]));
        let mut register = v1::Register::default();
        leases.register(&mut register);
        assert_eq!(register.leases.iter().map(|lease| lease.lease).collect::<Vec<_>>(), [1, 3, 2]);
        assert_eq!(register.jobs, [JOB.0]);
        leases.revoke(1);
        leases.release(2);
        assert_eq!(said(&leases), (vec![1, 3], vec![], vec![]));
        leases.return_lease(1);
        leases.return_lease(3);
        assert!(leases.hosts_none());
    }

    #[test]
    fn demand_is_replaced_and_forgotten_with_its_job() {
        let mut leases = Leases::new(HERE);
        leases.demand(JOB, Shape::one_cpu(), None, 3);
        leases.demand(JOB, Shape::nothing(), None, 1);
        leases.demand(JOB, Shape::one_cpu(), None, 5);
        assert_eq!(said(&leases).2, [1, 5]);
        assert_eq!(leases.demand(JOB, Shape::nothing(), None, 0).wanted, 0);
        assert_eq!(said(&leases).2, [5]);
        leases.forget(JOB);
        assert_eq!(said(&leases).2, [0; 0]);
    }

    #[test]
    fn groups_are_said_again_until_they_are_removed_or_end_with_their_job() {
        let group = |number| PlacementGroupId(u128::from(HERE.0) << 64 | number);
        let wanted = |number| PlacementGroup {
            group: group(number),
            name: String::new(),
            strategy: tandem_actor_protocol::placement::Strategy::Spread,
            bundles: vec![Shape::one_cpu()],
            timeout_ms: 0,
        };
        let said = |leases: &Leases| {
            let (mut heartbeat, mut register) = (v1::Heartbeat::default(), v1::Register::default());
            leases.beat(&mut heartbeat);
            leases.register(&mut register);
            assert_eq!(heartbeat.groups, register.groups);
            heartbeat.groups.iter().map(|group| group.settled).collect::<Vec<_>>()
        };
        let mut leases = Leases::new(HERE);
        for number in 1..=3 {
            assert_eq!(leases.want_group(JOB, wanted(number)).job, JOB.0);
        }
        let id = group(2).0.to_be_bytes().to_vec();
        let changed = |news: v1::GroupNews| v1::GroupChanged {
            job: JOB.0,
            group: id.clone(),
            news: news.into(),
            ..v1::GroupChanged::default()
        };
        let event = NodeEvent::GroupChanged { job: JOB, group: group(2), news: GroupNews::Reserved };
        assert_eq!(leases.group_changed(changed(v1::GroupNews::Reserved)), Some(event));
        assert_eq!(leases.group_changed(changed(v1::GroupNews::Unspecified)), None);
        assert_eq!(said(&leases), [false, true, false]);
        leases.remove_group(group(2));
        assert_eq!(said(&leases), [false, false]);
        leases.end_groups(JOB);
        assert_eq!(said(&leases), [false; 0]);
    }
}
