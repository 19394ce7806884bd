//! A coordinator that gives leases as long as there are slots, and takes some back at random.

use std::collections::{BTreeMap, VecDeque};

use tandem_actor_protocol::resources::{CPUS, Shape};
use tandem_actor_protocol::{JobId, WorkerId};
use tandem_node::{Action, Event, LeaseGrant};

use crate::random::Random;

/// What is booked.
#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    pub(crate) slots_milli: BTreeMap<WorkerId, u64>,
    pub(crate) leases: BTreeMap<u64, Booked>,
    demand: BTreeMap<(WorkerId, Shape), u32>,
    next_lease: u64,
    /// What is on the way to each node, in order.
    pub(crate) outbox: BTreeMap<WorkerId, VecDeque<Event>>,
    pub(crate) driver_ended: Option<(u32, bool)>,
}

#[derive(Debug)]
pub(crate) struct Booked {
    pub(crate) owner: WorkerId,
    pub(crate) host: WorkerId,
    pub(crate) shape: Shape,
    /// The owner does not count it any more.
    pub(crate) ending: bool,
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
            Action::Demand { shape, wanted, .. } => {
                self.demand.insert((from, shape), wanted);
            }
            Action::ReleaseLease { lease } => self.revoke(lease),
            Action::ReturnLease { lease } => {
                let booked = self.leases.remove(&lease).expect("a lease is returned once");
                assert_eq!(booked.host, from);
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

    pub(crate) fn revoke_one(&mut self, random: &mut Random) {
        let open: Vec<u64> = self.leases.iter().filter(|(_, booked)| !booked.ending).map(|(lease, _)| *lease).collect();
        if !open.is_empty() {
            self.revoke(open[random.below(open.len() as u64) as usize]);
        }
    }

    fn free_milli(&self, worker: WorkerId) -> u64 {
        let used: u64 =
            self.leases.values().filter(|booked| booked.host == worker).map(|booked| cpus(&booked.shape)).sum();
        self.slots_milli[&worker].checked_sub(used).expect("nothing is booked twice")
    }

    /// Gives what is wanted and free, where there is most room.
    pub(crate) fn grant(&mut self, random: &mut Random) {
        let demands: Vec<((WorkerId, Shape), u32)> =
            self.demand.iter().map(|(key, wanted)| (key.clone(), *wanted)).collect();
        for ((owner, shape), wanted) in demands {
            let has = |coordinator: &Self| {
                let of_owner = |booked: &&Booked| booked.owner == owner && booked.shape == shape && !booked.ending;
                coordinator.leases.values().filter(of_owner).count()
            };
            while has(self) < wanted as usize {
                let mut hosts: Vec<WorkerId> = self.slots_milli.keys().copied().collect();
                hosts.retain(|host| self.free_milli(*host) >= cpus(&shape));
                if hosts.is_empty() {
                    break;
                }
                let host = if hosts.contains(&owner) && random.chance(2) {
                    owner
                } else {
                    hosts[random.below(hosts.len() as u64) as usize]
                };
                self.give(owner, host, shape.clone());
            }
        }
    }

    fn give(&mut self, owner: WorkerId, host: WorkerId, shape: Shape) {
        self.next_lease += 1;
        let lease = self.next_lease;
        self.leases.insert(lease, Booked { owner, host, shape: shape.clone(), ending: false });
        let grant = LeaseGrant {
            lease,
            job: JOB,
            owner,
            owner_address: address(owner),
            host,
            host_address: address(host),
            shape,
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
        self.demand.retain(|(owner, _), _| *owner != worker);
        self.leases.retain(|_, booked| booked.host != worker);
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
