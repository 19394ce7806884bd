//! The leases that this worker has on others, from their grant to their end.

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::{CallId, WorkerId};

use super::queue::LeaseUse;
use super::{ShapeId, TaskState};
use crate::action::Action;
use crate::context::Context;
use crate::event::LeaseGrant;
use crate::job::Job;
use crate::timers::Timer;

impl Job {
    /// This worker has a lease on another from now on.
    pub(crate) fn lease_elsewhere(&mut self, cx: &mut Context<'_>, grant: &LeaseGrant) {
        if cx.shared.lost.contains(&grant.host) || self.owned_leases.contains_key(&grant.lease) {
            return;
        }
        let shape = self.shape_id(&grant.shape, grant.bundle);
        self.owned_leases.insert(grant.lease, shape);
        self.queues[shape.0 as usize].add_lease(grant.lease, grant.host, cx.now);
        self.dirty.queue(shape);
    }

    /// The coordinator wants a lease on another worker back, and tells that one too.
    pub(crate) fn lease_elsewhere_revoked(&mut self, lease: u64) {
        let Some(shape) = self.owned_leases.get(&lease).copied() else { return };
        if !self.queues[shape.0 as usize].revoke(lease) {
            self.owned_leases.remove(&lease);
        }
        self.dirty.queue(shape);
    }

    /// The host of a lease has no place for it. Whatever the coordinator still has of it is given back, and until it says so nothing more
    /// is sent there, only to come back.
    pub(crate) fn no_place(&mut self, cx: &mut Context<'_>, lease: u64) {
        if self.owned_leases.contains_key(&lease) {
            self.lease_elsewhere_revoked(lease);
            cx.act(Action::ReleaseLease { lease });
        }
    }

    /// Starts to watch leases that have nothing to do.
    pub(crate) fn watch_idle_leases(&mut self, cx: &mut Context<'_>, shape: ShapeId) {
        let (id, idle_ms) = (self.id, cx.config.lease_idle_ms);
        let queue = &mut self.queues[shape.0 as usize];
        for (load, lease) in &queue.by_load {
            if *load > 0 {
                break;
            }
            if let Some(entry) = queue.leases.get_mut(lease).filter(|entry| !entry.timer) {
                entry.timer = true;
                cx.shared.timers.set(entry.idle_since.after(idle_ms), id, Timer::LeaseIdle(*lease));
            }
        }
    }

    /// A lease on another worker may have been idle for long enough.
    pub(crate) fn lease_idle(&mut self, cx: &mut Context<'_>, lease: u64) {
        let Some(shape) = self.owned_leases.get(&lease).copied() else { return };
        let queue = &mut self.queues[shape.0 as usize];
        let Some(entry) = queue.leases.get_mut(&lease) else { return };
        entry.timer = false;
        if entry.use_ != LeaseUse::Tasks || entry.sent > 0 {
            return;
        }
        if entry.idle_since.after(cx.config.lease_idle_ms) > cx.now {
            return self.dirty.queue(shape);
        }
        self.release_elsewhere(cx, lease);
    }

    /// Gives a lease on another worker back.
    pub(crate) fn release_elsewhere(&mut self, cx: &mut Context<'_>, lease: u64) {
        let Some(shape) = self.owned_leases.remove(&lease) else { return };
        let queue = &mut self.queues[shape.0 as usize];
        if let Some(entry) = queue.leases.remove(&lease) {
            queue.by_load.remove(&(entry.sent, lease));
        }
        // Else the coordinator would give it again at once.
        self.tell_demand(cx, shape);
        cx.act(Action::ReleaseLease { lease });
    }

    /// An actor needs its lease on another worker no more: tasks may, unless the coordinator wants it back.
    pub(crate) fn lease_of_actor_free(&mut self, cx: &mut Context<'_>, lease: u64) {
        let Some(shape) = self.owned_leases.get(&lease).copied() else { return };
        if !self.queues[shape.0 as usize].take_from_actor(lease, cx.now) {
            self.owned_leases.remove(&lease);
        }
        self.dirty.queue(shape);
    }

    /// Another worker is lost: its leases are gone, and what was there is run elsewhere.
    pub(crate) fn tasks_of_lost(&mut self, cx: &mut Context<'_>, worker: WorkerId) {
        for index in 0..self.queues.len() {
            for lease in self.queues[index].lose(worker) {
                self.owned_leases.remove(&lease);
            }
            self.dirty.queue(ShapeId(u32::try_from(index).unwrap_or(u32::MAX)));
        }
        let placed = |state| matches!(state, TaskState::Placed { host, .. } if host == worker);
        let mut calls: Vec<CallId> =
            self.tasks.iter().filter(|(_, task)| placed(task.state)).map(|(call, _)| *call).collect();
        calls.sort_unstable();
        for call in calls.into_iter().rev() {
            let Some(task) = self.tasks.get(&call) else { continue };
            let why = format!("{worker} was lost");
            let failure = Failure::new(FailureKind::WorkerLost, task.name(), why);
            self.attempt_ended(cx, call, Err(failure));
        }
    }

    /// Another worker says how a task of this one ended there.
    pub(crate) fn task_done_elsewhere(
        &mut self,
        cx: &mut Context<'_>,
        from: WorkerId,
        call: CallId,
        attempt: u32,
        outcome: Result<Vec<tandem_actor_protocol::peer::RemoteValue>, Failure>,
    ) {
        let values = outcome.map(|values| values.into_iter().map(|value| self.stored_result(from, value)).collect());
        let placed = self.tasks.get(&call).and_then(|task| match task.state {
            TaskState::Placed { host, lease, .. } if host == from && task.attempt == attempt => {
                Some((task.shape, lease, task.returns))
            }
            _ => None,
        });
        let Some((shape, lease, returns)) = placed else { return self.drop_results(call, values) };
        self.queues[shape.0 as usize].back_from(lease, cx.now);
        self.peers.recalling.remove(&from);
        self.dirty.queue(shape);
        let values = values.and_then(|values: Vec<_>| {
            if values.len() == returns as usize {
                return Ok(values);
            }
            let why = format!("it returned {} values in place of {returns}", values.len());
            Err(Failure::new(FailureKind::Mismatch, "", why))
        });
        self.attempt_ended(cx, call, values);
    }

    /// Nobody wants these results: whoever keeps something of them may drop it.
    pub(crate) fn drop_results(&mut self, call: CallId, values: Result<Vec<crate::objects::Stored>, Failure>) {
        for (index, stored) in (0..).zip(values.unwrap_or_default()) {
            if let Some(keeper) = stored.keeper {
                self.peers.dropping.entry(keeper).or_default().push(call.object(index));
            }
        }
    }
}
