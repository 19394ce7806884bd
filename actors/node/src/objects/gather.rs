//! Arguments that are on disk. They are brought back for one user at a time, and stay until it has all of them: so two that need
//! more than there is room for do not drive out each other's for ever. A task has its turn when there is a place for it.

use std::collections::VecDeque;

use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::{ActorId, ObjectId};
use tandem_arena::Holder;

use super::{FetchWaiter, Object, ObjectState, Stored};
use crate::context::Context;
use crate::host::GroupId;
use crate::job::Job;

/// Who waits for its turn, and who has it.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    queue: VecDeque<(FetchWaiter, Vec<ObjectId>)>,
    turn: Option<Gather>,
    next: u64,
}

#[derive(Debug)]
struct Gather {
    id: u64,
    user: FetchWaiter,
    /// Objects that are on their way.
    missing: usize,
    /// Names of what is here.
    pins: Vec<ObjectId>,
}

impl Job {
    /// Brings back what `user` needs. It is told as of one fetch.
    pub(crate) fn gather(&mut self, user: FetchWaiter, objects: Vec<ObjectId>) {
        self.gathering.queue.push_back((user, objects));
    }

    /// The next one that may have its turn, if nobody has.
    fn next_gather(&self) -> Option<usize> {
        let Gathering { queue, turn, .. } = &self.gathering;
        if turn.is_some() {
            return None;
        }
        queue.iter().position(|(user, _)| self.could_go_on(*user))
    }

    /// Whether someone could use what is brought back at once.
    fn could_go_on(&self, user: FetchWaiter) -> bool {
        let FetchWaiter::Task(call) = user else { return true };
        self.hosted.get(&call).is_none_or(|hosted| {
            let group = &self.groups[hosted.group.0 as usize];
            group.places() == 0 || group.free() as usize > group.inbox.len()
        })
    }

    /// Tasks of a group whose arguments are to be brought back.
    pub(crate) fn gathers_of(&self, group: GroupId) -> usize {
        let waiting = self.gathering.queue.iter().map(|(user, _)| *user);
        let all = waiting.chain(self.gathering.turn.as_ref().map(|turn| turn.user));
        let hosted = all.filter_map(|user| match user {
            FetchWaiter::Task(call) => self.hosted.get(&call),
            _ => None,
        });
        hosted.filter(|hosted| hosted.group == group).count()
    }

    pub(crate) fn wants_gather(&self) -> bool {
        self.next_gather().is_some()
    }

    pub(crate) fn begin_gather(&mut self, cx: &mut Context<'_>) {
        let next = self.next_gather().and_then(|at| self.gathering.queue.remove(at));
        let Some((user, objects)) = next else { return };
        if matches!(user, FetchWaiter::Task(call) if !self.hosted.contains_key(&call)) {
            return;
        }
        self.gathering.next += 1;
        let id = self.gathering.next;
        self.gathering.turn = Some(Gather { id, user, missing: objects.len() + 1, pins: Vec::new() });
        for object in objects {
            match self.objects.get(&object).map(|record| &record.state) {
                Some(ObjectState::Ready(stored)) if !stored.is_at_hand() => {
                    self.fetch_for(cx, object, FetchWaiter::Gather(id));
                }
                Some(ObjectState::Ready(_)) => self.gathered(cx, id, Some(object)),
                Some(ObjectState::Pending | ObjectState::Failed(_)) | None => {
                    return self.gather_failed(cx, id, object, None);
                }
            }
        }
        self.gathered(cx, id, None);
    }

    fn turn_of(&mut self, id: u64) -> Option<&mut Gather> {
        self.gathering.turn.as_mut().filter(|turn| turn.id == id)
    }

    /// One object more is here. With the last one the user goes on, before anything else can take the room.
    pub(crate) fn gathered(&mut self, cx: &mut Context<'_>, id: u64, object: Option<ObjectId>) {
        if self.turn_of(id).is_none() {
            return;
        }
        let name = object.and_then(|object| self.arena_name(object));
        let pinned = name.filter(|name| self.arena.pin(Holder::Worker, *name).is_ok());
        let Some(turn) = self.turn_of(id) else { return };
        turn.pins.extend(pinned);
        turn.missing -= 1;
        if turn.missing == 0 {
            let user = turn.user;
            self.end_turn(id);
            match user {
                FetchWaiter::Actor(actor) => self.actor_gathered(cx, actor),
                // It is looked at as a whole.
                FetchWaiter::Sql(statement) => self.run_sql(cx, statement),
                user => self.fetch_ended(cx, ObjectId(0), user),
            }
        }
    }

    /// One object cannot be had, or not now.
    pub(crate) fn gather_failed(&mut self, cx: &mut Context<'_>, id: u64, object: ObjectId, why: Option<Failure>) {
        let Some(user) = self.turn_of(id).map(|turn| turn.user) else { return };
        self.end_turn(id);
        match why {
            Some(failure) => self.fetch_refused(cx, object, user, failure),
            None => self.fetch_again(cx, object, self.worker, user),
        }
    }

    /// Nobody has a turn now.
    fn end_turn(&mut self, id: u64) {
        if let Some(turn) = self.gathering.turn.take_if(|turn| turn.id == id) {
            turn.pins.into_iter().for_each(|name| self.unpin(Holder::Worker, name));
        }
    }

    /// The arguments of an actor that has its process are here again.
    fn actor_gathered(&mut self, cx: &mut Context<'_>, actor: ActorId) {
        let executor = self.hosted_actors.get(&actor).and_then(|hosted| hosted.executor);
        if let Some(executor) = executor {
            self.construct(cx, executor, actor);
        }
    }

    /// The objects among these that are on disk or elsewhere.
    pub(crate) fn away(&self, objects: &[ObjectId]) -> bool {
        let stored = |object: &ObjectId| self.objects.get(object).and_then(Object::stored);
        objects.iter().filter_map(stored).any(|stored: &Stored| !stored.is_at_hand())
    }
}
