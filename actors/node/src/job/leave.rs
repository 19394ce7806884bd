//! A worker that is to leave: what it keeps for others goes to those who own it, and it stays as long as anything would be lost
//! with it. Objects and actors that its own processes have made cannot go, since their ids name this worker.

use std::collections::BTreeMap;

use tandem_actor_protocol::peer::PeerBody;
use tandem_actor_protocol::{ObjectId, WorkerId, object_owner};

use super::{Job, Life};
use crate::actors::OwnedState;
use crate::context::Context;
use crate::objects::{FetchWaiter, ObjectEvent, ObjectState, Stored};
use crate::tasks::TaskState;

impl Job {
    /// Asks the owners of what is kept here to take it.
    pub(crate) fn hand_over(&mut self, cx: &mut Context<'_>) {
        let mut kept: BTreeMap<WorkerId, Vec<ObjectId>> = BTreeMap::new();
        let of_others = |object: ObjectId| object_owner(object) != self.worker;
        for (object, _) in self.objects.iter().filter(|(object, record)| record.kept && of_others(**object)) {
            kept.entry(object_owner(*object)).or_default().push(*object);
        }
        for (owner, mut objects) in kept {
            objects.sort_unstable();
            self.send_peer(cx, owner, PeerBody::Take(objects));
        }
    }

    /// A worker that is to leave keeps these for this one: gets what is not here, and lets the rest go there. It asks again for what
    /// could not be had this time.
    pub(crate) fn take_over(&mut self, cx: &mut Context<'_>, from: WorkerId, objects: Vec<ObjectId>) {
        for object in objects {
            let record = self.objects.get_mut(&object);
            let kept = record.filter(|record| record.stored().is_some_and(|stored| stored.keeper == Some(from)));
            if let Some(record) = kept {
                if !record.stored().is_some_and(Stored::is_here) {
                    if !self.fetches.contains_key(&object) {
                        self.fetch_for(cx, object, FetchWaiter::Keep);
                    }
                    continue;
                }
                if record.stored().is_some_and(|stored| stored.remote() == Some(from)) {
                    let _ = record.state.apply(ObjectEvent::Lost);
                }
                if let ObjectState::Ready(stored) = &mut record.state {
                    stored.keeper = None;
                }
            }
            self.peers.dropping.entry(from).or_default().push(object);
        }
    }

    /// Whether something would be lost with this worker.
    pub(crate) fn is_needed(&self) -> bool {
        if self.life == Life::Ending {
            return false;
        }
        let hosts = self.driver.is_some() || !self.hosted.is_empty() || !self.hosted_actors.is_empty();
        let lives = |state: &OwnedState| !matches!(state, OwnedState::Gone(_));
        let owns = !self.calls.is_empty()
            || !self.placement_groups.is_empty()
            || self.tasks.values().any(|task| task.state != TaskState::Finished)
            || self.owned_actors.values().any(|owned| lives(&owned.state));
        let keeps = || self.objects.values().any(|record| record.kept || !record.borrowers.is_empty());
        let saves = !self.checkpoints_coming.is_empty() || !self.checkpoints_sent.is_empty();
        hosts || owns || saves || self.peers.fence.holds_back() || keeps()
    }
}
