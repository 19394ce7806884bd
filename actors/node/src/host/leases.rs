//! The leases on this worker, from their grant until they are given back.

use std::collections::VecDeque;

use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::{ActorId, CallId, WorkerId};

use super::gpus::GpuShare;
use super::{Group, GroupId, Phase, Source};
use crate::action::Action;
use crate::context::Context;
use crate::event::LeaseGrant;
use crate::job::Job;
use crate::timers::Timer;

/// A lease on this worker.
#[derive(Debug)]
pub(crate) struct HostLease {
    pub(crate) owner: WorkerId,
    pub(crate) group: GroupId,
    gpus: GpuShare,
    pub(crate) state: LeaseState,
}

/// What a lease on this worker is used for.
///
/// ```text
///   Place ─► Actor ─► Place        Place ─revoked─► Leaving ─free─► given back
///     └─released─► Released ─revoked─► given back      Actor ─revoked─► ActorLeaving ─gone─► Leaving
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseState {
    /// A place for tasks.
    Place,
    /// Of an actor.
    Actor(ActorId),
    /// Of an actor, and to be given back afterwards.
    ActorLeaving(ActorId),
    /// This worker has told the coordinator that it needs it no more.
    Released,
    /// To be given back as soon as its place is free.
    Leaving,
}

/// Leases that are not here any more, so that what comes for them late is sent back at once.
#[derive(Debug, Default)]
pub(crate) struct EndedLeases {
    ended: VecDeque<u64>,
}

impl EndedLeases {
    const MOST: usize = 1024;

    fn add(&mut self, lease: u64) {
        if self.ended.len() == Self::MOST {
            self.ended.pop_front();
        }
        self.ended.push_back(lease);
    }

    pub(crate) fn contains(&self, lease: u64) -> bool {
        self.ended.contains(&lease)
    }
}

impl Job {
    /// A lease on this worker is there.
    pub(crate) fn lease_here(&mut self, cx: &mut Context<'_>, grant: &LeaseGrant) {
        let known = self.host_leases.contains_key(&grant.lease) || cx.shared.gpus.is_waiting(grant.lease);
        if known || self.ended_leases.contains(grant.lease) {
            return;
        }
        if let Some(gpus) = cx.shared.gpus.take_for(grant) {
            self.lease_begins(cx, grant, gpus);
        }
    }

    /// A lease on this worker has the GPUs that it needs.
    pub(crate) fn lease_begins(&mut self, cx: &mut Context<'_>, grant: &LeaseGrant, gpus: GpuShare) {
        let group = self.group_for(grant, gpus.indices.clone());
        let lease = HostLease { owner: grant.owner, group, gpus, state: LeaseState::Place };
        self.host_leases.insert(grant.lease, lease);
        cx.shared.leases.insert(grant.lease, self.id);
        self.count_place(grant.lease, 1);
        self.unknown_lease_came(cx, grant.lease);
    }

    /// The places of a shape with these GPUs.
    fn group_for(&mut self, grant: &LeaseGrant, gpus: Vec<u32>) -> GroupId {
        let shape = Shape { here: false, ..grant.shape.clone() };
        let id = self.shape_id(&shape, grant.bundle);
        let mut of_shape = self.shape_groups.get(&id).into_iter().flatten();
        if let Some(known) = of_shape.find(|group| self.groups[group.0 as usize].gpus == gpus) {
            return *known;
        }
        let class = self.class_for(grant.shape.memory_bytes, &gpus);
        self.add_group(Group::new(Some(id), gpus, class))
    }

    pub(crate) fn add_group(&mut self, group: Group) -> GroupId {
        let vacant = self.vacant_groups.pop();
        let id = vacant.unwrap_or(GroupId::at(self.groups.len()));
        self.classes[group.class.0 as usize].groups.push(id);
        if let Some(shape) = group.shape {
            self.shape_groups.entry(shape).or_default().push(id);
        }
        match vacant {
            Some(id) => self.groups[id.0 as usize] = group,
            None => self.groups.push(group),
        }
        id
    }

    fn count_place(&mut self, lease: u64, by: i32) {
        let Some(entry) = self.host_leases.get(&lease) else { return };
        let group = &mut self.groups[entry.group.0 as usize];
        let places = if entry.owner == self.worker { &mut group.own } else { &mut group.foreign };
        *places = places.saturating_add_signed(by);
        self.dirty.group(entry.group);
    }

    /// The coordinator wants a lease on this worker back.
    pub(crate) fn lease_here_revoked(&mut self, cx: &mut Context<'_>, lease: u64) {
        for lease in cx.shared.gpus.forget(self.id, Some(lease)) {
            self.ended_leases.add(lease);
            cx.act(Action::ReturnLease { lease });
            self.unknown_lease_overdue(cx, lease);
        }
        let Some(entry) = self.host_leases.get_mut(&lease) else { return };
        let (group, owner) = (entry.group, entry.owner);
        match entry.state {
            LeaseState::Place => {
                entry.state = LeaseState::Leaving;
                self.count_place(lease, -1);
                self.groups[group.0 as usize].revoked.push_back(lease);
                self.give_back_unplaced(cx, group, owner);
                self.recall_over(cx, group);
            }
            LeaseState::Actor(actor) => entry.state = LeaseState::ActorLeaving(actor),
            LeaseState::Released => self.return_lease(cx, lease),
            LeaseState::ActorLeaving(_) | LeaseState::Leaving => {}
        }
        self.dirty.group(group);
    }

    /// Nothing runs on it any more.
    pub(crate) fn return_lease(&mut self, cx: &mut Context<'_>, lease: u64) {
        let Some(entry) = self.host_leases.remove(&lease) else { return };
        cx.shared.leases.remove(&lease);
        cx.shared.gpus.give_back(&entry.gpus);
        self.ended_leases.add(lease);
        cx.act(Action::ReturnLease { lease });
    }

    /// A place becomes that of an actor.
    pub(crate) fn pin_lease(&mut self, lease: u64, actor: ActorId) -> bool {
        let Some(entry) = self.host_leases.get_mut(&lease) else { return false };
        if entry.state != LeaseState::Place {
            return false;
        }
        entry.state = LeaseState::Actor(actor);
        self.count_place(lease, -1);
        true
    }

    /// An actor is gone from its lease.
    pub(crate) fn unpin_lease(&mut self, lease: u64) {
        let Some(entry) = self.host_leases.get_mut(&lease) else { return };
        let group = entry.group;
        match entry.state {
            LeaseState::Actor(_) => {
                entry.state = LeaseState::Place;
                self.count_place(lease, 1);
            }
            LeaseState::ActorLeaving(_) => {
                entry.state = LeaseState::Leaving;
                self.groups[group.0 as usize].revoked.push_back(lease);
            }
            LeaseState::Place | LeaseState::Released | LeaseState::Leaving => {}
        }
        self.dirty.group(group);
    }

    /// Watches whether places of this worker's own are free for long.
    pub(crate) fn watch_spare(&mut self, cx: &mut Context<'_>, id: GroupId) {
        let (job, idle_ms) = (self.id, cx.config.lease_idle_ms);
        let group = &mut self.groups[id.0 as usize];
        let free = group.places().saturating_sub(group.busy.max(u32::from(group.keeps_place())));
        group.spare = group.spare.min(free);
        if (group.own > 0 || group.blocked > 0) && free > 0 && !group.spare_timer {
            group.spare_timer = true;
            group.spare = free;
            cx.timer(idle_ms, job, Timer::SpareLeases(id));
        }
    }

    /// Gives back leases whose places were free all the time. Those of other workers only if tasks wait that were sent for them: the
    /// workers take these for busy.
    pub(crate) fn release_spare(&mut self, cx: &mut Context<'_>, id: GroupId) {
        let group = &mut self.groups[id.0 as usize];
        group.spare_timer = false;
        let spare = group.spare.min(group.own);
        let foreign = (group.spare - spare).min(group.foreign).min(group.blocked);
        let Some(shape) = group.shape else { return };
        self.give_up_foreign(cx, id, foreign);
        let own =
            |lease: &HostLease| lease.group == id && lease.owner == self.worker && lease.state == LeaseState::Place;
        let mut leases: Vec<u64> = self.host_leases.iter().filter(|(_, lease)| own(lease)).map(|(id, _)| *id).collect();
        // The newest first: what was there before may be less scattered.
        leases.reverse();
        leases.truncate(spare as usize);
        if !leases.is_empty() {
            self.tell_demand(cx, shape);
        }
        for lease in leases {
            self.count_place(lease, -1);
            if let Some(entry) = self.host_leases.get_mut(&lease) {
                entry.state = LeaseState::Released;
            }
            cx.act(Action::ReleaseLease { lease });
        }
        self.dirty.group(id);
    }

    /// Gives back leases of other workers, which are told by the coordinator.
    fn give_up_foreign(&mut self, cx: &mut Context<'_>, id: GroupId, count: u32) {
        let foreign =
            |lease: &HostLease| lease.group == id && lease.owner != self.worker && lease.state == LeaseState::Place;
        let leases = self.host_leases.iter().filter(|(_, lease)| foreign(lease)).map(|(id, lease)| (*id, lease.owner));
        for (lease, owner) in leases.take(count as usize).collect::<Vec<_>>() {
            self.count_place(lease, -1);
            self.return_lease(cx, lease);
            self.give_back_unplaced(cx, id, owner);
        }
    }

    /// Asks for places on which tasks can go on that have none.
    pub(crate) fn ask_back(&mut self, cx: &mut Context<'_>, id: GroupId) {
        let group = &mut self.groups[id.0 as usize];
        let wanted = group.wants_back();
        if let Some(shape) = group.shape.filter(|_| group.asked_back != wanted) {
            group.asked_back = wanted;
            let queue = &self.queues[shape.0 as usize];
            let shape = Shape { here: true, ..queue.shape.clone() };
            cx.act(Action::Demand { job: self.id, shape, bundle: queue.bundle, wanted });
        }
    }

    /// Tasks of an owner that has no place here any more, and that have not begun, go back to it.
    fn give_back_unplaced(&mut self, cx: &mut Context<'_>, group: GroupId, owner: WorkerId) {
        if owner == self.worker || self.has_place(group, owner) {
            return;
        }
        let of_owner = |call: &CallId| {
            self.hosted
                .get(call)
                .is_some_and(|hosted| matches!(hosted.source, Source::Peer { worker, .. } if worker == owner))
        };
        let back: Vec<CallId> = self.groups[group.0 as usize].inbox.iter().copied().filter(of_owner).collect();
        self.groups[group.0 as usize].inbox.retain(|call| !back.contains(call));
        self.send_back(cx, owner, back);
    }

    /// Whether an owner has a lease here on which something may be started.
    pub(crate) fn has_place(&self, group: GroupId, owner: WorkerId) -> bool {
        self.host_leases
            .values()
            .any(|lease| lease.group == group && lease.owner == owner && lease.state == LeaseState::Place)
    }

    pub(crate) fn phase_of(&self, call: CallId) -> Option<Phase> {
        self.hosted.get(&call).map(|hosted| hosted.phase)
    }
}
