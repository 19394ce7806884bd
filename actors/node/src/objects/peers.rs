//! What workers tell each other about objects: who holds them, what their values are.

use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::peer::{PeerBody, RemoteValue};
use tandem_actor_protocol::{ObjectId, WorkerId};

use super::{ObjectState, Stored};
use crate::context::Context;
use crate::job::Job;

impl Job {
    /// Another worker holds these from now on, and wants to know their values.
    pub(crate) fn lend(&mut self, cx: &mut Context<'_>, to: WorkerId, objects: Vec<ObjectId>) {
        let (here, mut known) = (self.worker, Vec::new());
        for object in &objects {
            // It holds what it did not know as long as the other worker does.
            let record = self.object_entry(cx, *object);
            record.borrowers.add(to);
            match &record.state {
                ObjectState::Pending => {}
                ObjectState::Ready(stored) => known.push((*object, Ok(stored.to_remote(here)))),
                ObjectState::Failed(failure) => known.push((*object, Err(Failure::clone(failure)))),
            }
        }
        self.send_peer(cx, to, PeerBody::Lent(objects));
        for (object, outcome) in known {
            self.send_peer(cx, to, PeerBody::Resolved { object, outcome });
        }
    }

    /// Another worker holds these no more.
    pub(crate) fn returned(&mut self, from: WorkerId, objects: Vec<ObjectId>) {
        for object in objects {
            let Some(record) = self.objects.get_mut(&object) else { continue };
            record.borrowers.remove(from);
            self.let_go(object);
        }
    }

    /// The owner says what became of a borrowed object.
    pub(crate) fn resolved(&mut self, object: ObjectId, outcome: Result<RemoteValue, Failure>) {
        match outcome {
            Ok(value) => {
                self.know_object(object, Stored::from_remote(value));
            }
            Err(failure) => self.break_object(object, failure.into()),
        }
    }

    /// Tells those who borrowed an object what became of it.
    pub(crate) fn resolve_for_borrowers(&mut self, cx: &mut Context<'_>, object: ObjectId) {
        let Some(record) = self.objects.get(&object) else { return };
        if record.borrowers.is_empty() {
            return;
        }
        let outcome = match &record.state {
            ObjectState::Pending => return,
            ObjectState::Ready(stored) => Ok(stored.to_remote(self.worker)),
            ObjectState::Failed(failure) => Err(Failure::clone(failure)),
        };
        let workers: Vec<WorkerId> = record.borrowers.workers().collect();
        for worker in workers {
            self.send_peer(cx, worker, PeerBody::Resolved { object, outcome: outcome.clone() });
        }
    }

    /// Another worker could not read an object where this one said it was.
    pub(crate) fn unreadable_elsewhere(
        &mut self,
        cx: &mut Context<'_>,
        by: WorkerId,
        object: ObjectId,
        worker: WorkerId,
    ) {
        self.lost_at(cx, object, worker, Some(by));
        let Some(record) = self.objects.get(&object) else { return };
        let borrows = record.borrowers.has(by);
        if borrows && record.state != ObjectState::Pending {
            let outcome = match &record.state {
                ObjectState::Ready(stored) => Ok(stored.to_remote(self.worker)),
                ObjectState::Failed(failure) => Err(Failure::clone(failure)),
                ObjectState::Pending => return,
            };
            self.send_peer(cx, by, PeerBody::Resolved { object, outcome });
        }
    }
}
