//! What the nodes of other workers say.

use std::sync::Arc;

use tandem_actor_protocol::WorkerId;
use tandem_actor_protocol::peer::PeerBody;

use super::{Job, Life};
use crate::actors::SentCall;
use crate::context::Context;
use crate::host::PeerRun;
use crate::tasks::Wanted;

impl Job {
    pub(crate) fn peer_said(&mut self, cx: &mut Context<'_>, from: WorkerId, body: PeerBody) {
        if self.life == Life::Ending {
            return;
        }
        match body {
            PeerBody::Run { lease, task, attempt, resolved } => {
                self.run_for_peer(cx, lease, PeerRun { worker: from, task, attempt, resolved, wanted: None });
            }
            PeerBody::RunStream { lease, task, attempt, resolved, wanted, until } => {
                let wanted = Some(Box::new(Wanted::new(wanted, until)));
                self.run_for_peer(cx, lease, PeerRun { worker: from, task, attempt, resolved, wanted });
            }
            PeerBody::WantItems { call, items } => self.want_items_of_guest(cx, from, call, items),
            PeerBody::Yielded { item, outcome } => self.item_came_from(cx, from, item, outcome),
            PeerBody::Recall { count } => self.recalled(cx, from, count),
            PeerBody::GaveBack(calls) => {
                self.peers.recalling.remove(&from);
                self.tasks_came_back(cx, from, &calls, None);
                self.calls_came_back(cx, from, &calls, None);
            }
            PeerBody::NoPlace { lease, calls } => {
                self.no_place(cx, lease);
                self.tasks_came_back(cx, from, &calls, None);
            }
            PeerBody::CannotRead { object, worker, calls } => {
                // It is not to be sent there again as it was.
                self.unreadable_elsewhere(cx, from, object, worker);
                let failed = calls.first().and_then(|call| self.cannot_read(*call, from, worker));
                self.tasks_came_back(cx, from, &calls, failed.as_ref());
                self.calls_came_back(cx, from, &calls, failed.as_ref());
            }
            PeerBody::Done { call, attempt, outcome } => {
                if self.calls.contains_key(&call) {
                    self.call_done_elsewhere(cx, from, call, attempt, outcome);
                } else if self.owned_actors.contains_key(&tandem_actor_protocol::ActorId(call.0)) {
                    self.actor_started_elsewhere(cx, from, call, attempt, outcome);
                } else {
                    self.task_done_elsewhere(cx, from, call, attempt, outcome);
                }
            }
            PeerBody::Cancel { call, force } if call.owner() == from => self.cancel_for_owner(cx, from, call, force),
            PeerBody::Cancel { call, force } => self.cancel(cx, call, force),
            PeerBody::Start { lease, actor, attempt, resolved, checkpoint } => {
                self.start_for_peer(cx, from, lease, *actor, attempt, resolved, checkpoint);
            }
            PeerBody::Call { call, attempt, resolved, start, group, items } => {
                let (group, wanted) = (group.map(Arc::new), items.map(|items| Box::new(items.into_iter().collect())));
                self.call_from_peer(cx, SentCall { from, call, attempt, start, group, wanted }, resolved);
            }
            PeerBody::WatchActor(actor) => self.watch_actor(cx, from, actor),
            PeerBody::ActorAt { actor, place, retry_calls, outside, start } => {
                self.actor_at(cx, actor, place, outside, retry_calls, start);
            }
            PeerBody::ActorLost { actor, attempt, why } => self.actor_lost(cx, from, actor, attempt, why),
            PeerBody::Kill { actor, at_once } if actor.owner() == from && from != self.worker => {
                self.end_hosted(cx, actor, at_once);
            }
            PeerBody::Kill { actor, at_once } => self.kill(cx, actor, at_once),
            PeerBody::Checkpoint { actor, attempt, state, replies } => {
                self.checkpoint_from_peer(cx, from, actor, attempt, state, replies);
            }
            PeerBody::Kept { actor, attempt, outcome } => self.checkpoint_kept(cx, actor, attempt, outcome),
            PeerBody::Covered { call, yielded, outcome } => {
                self.call_covered_elsewhere(cx, from, call, yielded, outcome);
            }
            PeerBody::Uncovered { host, calls } => self.calls_uncovered(cx, host, &calls),
            PeerBody::Borrow(objects) => self.lend(cx, from, objects),
            PeerBody::Resolved { object, outcome } => self.resolved(object, outcome),
            PeerBody::Lent(_) => self.peers.fence.lent(from),
            PeerBody::Return(objects) => self.returned(from, objects),
            PeerBody::Drop(objects) => self.drop_kept(objects),
            PeerBody::Take(objects) => self.take_over(cx, from, objects),
            PeerBody::CallOutside(call) => self.call_from_outside(cx, *call),
            PeerBody::DoneOutside { call, outcome } => self.done_outside(cx, from, call, outcome),
            PeerBody::DropOutside { job, objects } => self.drop_outside(from, job, &objects),
            PeerBody::Unreadable { object, worker } => self.unreadable_elsewhere(cx, from, object, worker),
            PeerBody::WantCopy { object, at } => self.copy_wanted(cx, from, object, at),
            PeerBody::CopyFrom { object, from } => self.turn_came(cx, object, from),
            PeerBody::CopyEnded { object, from: source, end } => self.copy_ended(cx, from, object, source, end),
            PeerBody::Know(workers) => {
                workers.into_iter().for_each(|(worker, address)| self.know_peer(cx, worker, address));
            }
            PeerBody::AskStalled { search, awaited } => self.tell_stalled(cx, from, search, awaited),
            PeerBody::Stalled { search, found } => self.heard_stalled(cx, from, search, found),
            PeerBody::Deadlocked { call, wait, circle } => self.end_wait(cx, call, wait, &circle),
            PeerBody::RemoveGroup(group) if group.owner() == self.worker => self.remove_group(cx, group),
            // Of a worker that had this id before.
            PeerBody::RemoveGroup(_) => {}
        }
    }

    /// The node of another worker is lost with all it had.
    pub(crate) fn peer_lost(&mut self, cx: &mut Context<'_>, lost: WorkerId) {
        if self.life == Life::Ending {
            return;
        }
        self.peers.lost(lost);
        self.searches.lost(lost);
        self.hosted_of_lost(cx, lost);
        self.hosted_actors_of_lost(cx, lost);
        self.objects_of_lost(cx, lost);
        self.turns_of_lost(cx, lost);
        self.tasks_of_lost(cx, lost);
        self.checkpoints_of_lost(cx, lost);
        self.actors_of_lost(cx, lost);
        self.callers_lost(lost);
        self.proxies_of_lost(cx, lost);
    }
}
