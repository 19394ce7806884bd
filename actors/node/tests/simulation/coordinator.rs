//! A coordinator that gives leases as long as there are slots, and takes some back at random. It reserves placement groups, and
//! gives leases in their bundles out of what these have.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tandem_actor_protocol::placement::{BundleId, PlacementGroup};
use tandem_actor_protocol::resources::{CPUS, Shape};
use tandem_actor_protocol::{JobId, PlacementGroupId, WorkerId};
use tandem_node::{Action, Event, GroupNews, LeaseGrant};

use crate::random::Random;

/// What is booked.
#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    pub(crate) slots_milli: BTreeMap<WorkerId, u64>,
    pub(crate) leases: BTreeMap<u64, Booked>,
    /// Workers that take nothing new.
    draining: BTreeSet<WorkerId>,
    demand: BTreeMap<(WorkerId, Shape, Option<BundleId>), u32>,
    pub(crate) groups: BTreeMap<PlacementGroupId, Vec<Bundle>>,
    next_lease: u64,
    /// What is on the way to each node, in order.
    pub(crate) outbox: BTreeMap<WorkerId, VecDeque<Event>>,
    pub(crate) driver_ended: Option<(u32, bool)>,
    /// The job has ended, and gets nothing more.
    pub(crate) over: bool,
}

#[derive(Debug)]
pub(crate) struct Booked {
    pub(crate) owner: WorkerId,
    pub(crate) host: WorkerId,
    pub(crate) shape: Shape,
    pub(crate) bundle: Option<BundleId>,
    /// The owner does not count it any more.
    pub(crate) ending: bool,
}

/// What a bundle has, and where.
#[derive(Debug)]
pub(crate) struct Bundle {
    milli: u64,
    host: Option<WorkerId>,
}

pub(crate) const JOB: JobId = JobId(7);

impl Coordinator {
    pub(crate) fn tell(&mut self, worker: WorkerId, event: Event) {
        if let Some(outbox) = self.outbox.get_mut(&worker) {
            outbox.push_back(event);
        }
    }

    /// Takes what a node says to it.
    pub(crate) fn hear(&mut self, from: WorkerId, action: Action) {
        match action {
            Action::Demand { shape, bundle, wanted, .. } => {
                self.demand.insert((from, shape, bundle), wanted);
            }
            Action::CreateGroup { group, .. } => {
                assert_eq!(group.group.owner(), from);
                let PlacementGroup { group, bundles, .. } = *group;
                let bundles = bundles.iter().map(|shape| Bundle { milli: cpus(shape), host: None }).collect();
                self.groups.insert(group, bundles);
            }
            Action::RemoveGroup { group, .. } => self.remove_group(group),
            Action::ReleaseLease { lease } => self.revoke(lease),
            Action::ReturnLease { lease } => {
                let booked = self.leases.remove(&lease).expect("a lease is returned once");
                assert_eq!(booked.host, from);
                if !booked.ending && booked.owner != from {
                    self.tell(booked.owner, Event::LeaseRevoked { lease });
                }
            }
            Action::DriverEnded { attempt, outcome, .. } => self.driver_ended = Some((attempt, outcome.is_ok())),
            Action::ClaimName { job, spec } => {
                self.tell(from, Event::NameClaimed { job, actor: spec.actor, outcome: Ok(()) });
            }
            _ => {}
        }
    }

    pub(crate) fn revoke(&mut self, lease: u64) {
        let Some(booked) = self.leases.get_mut(&lease) else { return };
        booked.ending = true;
        let (owner, host) = (booked.owner, booked.host);
        self.tell(host, Event::LeaseRevoked { lease });
        if owner != host {
            self.tell(owner, Event::LeaseRevoked { lease });
        }
    }

    /// A worker takes nothing new, and what runs there ends.
    pub(crate) fn drain(&mut self, worker: WorkerId) {
        self.draining.insert(worker);
        let hosted = self.leases.iter().filter(|(_, booked)| booked.host == worker && !booked.ending);
        for lease in hosted.map(|(lease, _)| *lease).collect::<Vec<_>>() {
            self.revoke(lease);
        }
    }

    /// Whether a worker hosts or owns any.
    pub(crate) fn has_leases(&self, worker: WorkerId) -> bool {
        self.leases.values().any(|booked| booked.host == worker || booked.owner == worker)
    }

    pub(crate) fn revoke_one(&mut self, random: &mut Random) {
        let open: Vec<u64> = self.leases.iter().filter(|(_, booked)| !booked.ending).map(|(lease, _)| *lease).collect();
        if !open.is_empty() {
            self.revoke(open[random.below(open.len() as u64) as usize]);
        }
    }

    /// Leases in it are booked on their hosts until they end there.
    fn remove_group(&mut self, group: PlacementGroupId) {
        self.groups.remove(&group).expect("a group is removed once");
        let of_group = |bundle: Option<BundleId>| bundle.is_some_and(|bundle| bundle.group == group);
        self.demand.retain(|(.., bundle), _| !of_group(*bundle));
        let inside: Vec<u64> =
            self.leases.iter().filter(|(_, booked)| of_group(booked.bundle)).map(|(lease, _)| *lease).collect();
        for lease in inside {
            self.revoke(lease);
        }
    }

    /// The bundle that a lease is a part of, as long as that is there.
    fn bundle_of(&self, booked: &Booked) -> Option<&Bundle> {
        let bundle = booked.bundle?;
        let bundle = self.groups.get(&bundle.group)?.get(bundle.index as usize)?;
        (bundle.host == Some(booked.host)).then_some(bundle)
    }

    fn free_milli(&self, worker: WorkerId) -> u64 {
        let here = |booked: &&Booked| booked.host == worker && self.bundle_of(booked).is_none();
        let used: u64 = self.leases.values().filter(here).map(|booked| cpus(&booked.shape)).sum();
        let bundles = self.groups.values().flatten().filter(|bundle| bundle.host == Some(worker));
        let reserved: u64 = bundles.map(|bundle| bundle.milli).sum();
        self.slots_milli[&worker].checked_sub(used + reserved).expect("nothing is booked twice")
    }

    fn takes(&self, worker: WorkerId, milli: u64) -> bool {
        !self.draining.contains(&worker) && self.free_milli(worker) >= milli
    }

    /// The worker of a bundle that has room for this.
    fn bundle_host(&self, bundle: BundleId, shape: &Shape) -> Option<WorkerId> {
        let there = self.groups.get(&bundle.group)?.get(bundle.index as usize)?;
        let inside = self.leases.values().filter(|booked| booked.bundle == Some(bundle));
        let used: u64 = inside.filter(|booked| Some(booked.host) == there.host).map(|booked| cpus(&booked.shape)).sum();
        let free = there.milli.checked_sub(used).expect("no bundle is booked twice");
        there.host.filter(|_| free >= cpus(shape))
    }

    /// Gives bundles that are nowhere a place, and tells of groups that are whole by that.
    fn place_groups(&mut self, random: &mut Random) {
        let lost = |bundles: &[Bundle]| bundles.iter().position(|bundle| bundle.host.is_none());
        let groups: Vec<PlacementGroupId> =
            self.groups.iter().filter(|(_, bundles)| lost(bundles).is_some()).map(|(group, _)| *group).collect();
        'groups: for group in groups {
            while let Some(index) = lost(&self.groups[&group]) {
                let mut hosts: Vec<WorkerId> = self.slots_milli.keys().copied().collect();
                hosts.retain(|host| self.takes(*host, self.groups[&group][index].milli));
                if hosts.is_empty() {
                    // The leases of a group that was removed have not ended yet.
                    continue 'groups;
                }
                let host = hosts[random.below(hosts.len() as u64) as usize];
                self.groups.get_mut(&group).expect("it is there")[index].host = Some(host);
            }
            self.tell(group.owner(), Event::GroupChanged { job: JOB, group, news: GroupNews::Reserved });
        }
    }

    /// Gives what is wanted and free, where there is most room.
    pub(crate) fn grant(&mut self, random: &mut Random) {
        if self.over {
            return;
        }
        self.place_groups(random);
        let demands: Vec<_> = self.demand.iter().map(|(key, wanted)| (key.clone(), *wanted)).collect();
        for ((owner, shape, bundle), wanted) in demands {
            let has = |coordinator: &Self| {
                let of_owner = |booked: &&Booked| {
                    booked.owner == owner && booked.shape == shape && booked.bundle == bundle && !booked.ending
                };
                coordinator.leases.values().filter(of_owner).count()
            };
            while has(self) < wanted as usize {
                let host = match bundle {
                    Some(bundle) => self.bundle_host(bundle, &shape).filter(|host| !shape.here || *host == owner),
                    None => self.host_for(owner, &shape, random),
                };
                let Some(host) = host else { break };
                self.give(owner, host, shape.clone(), bundle);
            }
        }
    }

    fn host_for(&self, owner: WorkerId, shape: &Shape, random: &mut Random) -> Option<WorkerId> {
        if shape.here {
            return (self.free_milli(owner) >= cpus(shape)).then_some(owner);
        }
        let mut hosts: Vec<WorkerId> = self.slots_milli.keys().copied().collect();
        hosts.retain(|host| self.takes(*host, cpus(shape)));
        if hosts.is_empty() || (hosts.contains(&owner) && random.chance(2)) {
            return hosts.contains(&owner).then_some(owner);
        }
        Some(hosts[random.below(hosts.len() as u64) as usize])
    }

    fn give(&mut self, owner: WorkerId, host: WorkerId, shape: Shape, bundle: Option<BundleId>) {
        self.next_lease += 1;
        let lease = self.next_lease;
        self.leases.insert(lease, Booked { owner, host, shape: shape.clone(), bundle, ending: false });
        let grant = LeaseGrant {
            lease,
            job: JOB,
            owner,
            owner_address: address(owner),
            host,
            host_address: address(host),
            shape,
            bundle,
        };
        self.tell(host, Event::LeaseGranted(grant.clone()));
        if owner != host {
            self.tell(owner, Event::LeaseGranted(grant));
        }
    }

    /// A worker is gone: what was booked there is free, what it owned is taken back.
    pub(crate) fn lost(&mut self, worker: WorkerId) {
        self.slots_milli.remove(&worker);
        self.outbox.remove(&worker);
        self.demand.retain(|(owner, ..), _| *owner != worker);
        self.leases.retain(|_, booked| booked.host != worker);
        let owned: Vec<PlacementGroupId> =
            self.groups.keys().copied().filter(|group| group.owner() == worker).collect();
        for group in owned {
            self.remove_group(group);
        }
        let bundles = self.groups.values_mut().flatten().filter(|bundle| bundle.host == Some(worker));
        bundles.for_each(|bundle| bundle.host = None);
        let owned: Vec<u64> =
            self.leases.iter().filter(|(_, booked)| booked.owner == worker).map(|(lease, _)| *lease).collect();
        for lease in owned {
            self.revoke(lease);
        }
        for other in self.outbox.keys().copied().collect::<Vec<_>>() {
            self.tell(other, Event::PeerLost { worker });
        }
    }

    /// How many task leases are booked on a worker.
    pub(crate) fn task_leases(&self, worker: WorkerId) -> usize {
        self.leases.values().filter(|booked| booked.host == worker && cpus(&booked.shape) > 0).count()
    }
}

fn cpus(shape: &Shape) -> u64 {
    shape.milli.get(CPUS).copied().unwrap_or(0)
}

pub(crate) fn address(worker: WorkerId) -> String {
    format!("worker-{}:7000", worker.0)
}
