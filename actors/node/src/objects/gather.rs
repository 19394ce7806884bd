//! Arguments that were here and went to disk before they were used. They are brought back for one user at a time, and stay until
//! it has all of them: so two that need more than there is room for do not drive out each other's for ever.

use std::collections::VecDeque;

use tandem_actor_protocol::call::Arg;
use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::{ActorId, ObjectId};
use tandem_arena::Holder;

use super::{FetchWaiter, Object, ObjectState, Stored};
use crate::context::Context;
use crate::job::Job;

/// Who waits for its turn. The first one has it.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    queue: VecDeque<Gather>,
    next: u64,
}

#[derive(Debug)]
struct Gather {
    id: u64,
    user: FetchWaiter,
    objects: Vec<ObjectId>,
    /// Objects that are on their way; none before its turn.
    missing: Option<usize>,
    /// Names of what is here.
    pins: Vec<ObjectId>,
}

/// The objects among arguments.
pub(crate) fn objects_of(args: &[Arg]) -> Vec<ObjectId> {
    let object = |arg: &Arg| match arg {
        Arg::Object(object) => Some(*object),
        Arg::Value(_) => None,
    };
    args.iter().filter_map(object).collect()
}

impl Job {
    /// Brings back what `user` needs. It is told as of one fetch.
    pub(crate) fn gather(&mut self, user: FetchWaiter, objects: Vec<ObjectId>) {
        self.gathering.next += 1;
        let id = self.gathering.next;
        self.gathering.queue.push_back(Gather { id, user, objects, missing: None, pins: Vec::new() });
    }

    /// Whether the first one has its turn and has not begun.
    pub(crate) fn wants_gather(&self) -> bool {
        self.gathering.queue.front().is_some_and(|first| first.missing.is_none())
    }

    pub(crate) fn begin_gather(&mut self, cx: &mut Context<'_>) {
        let Some(first) = self.gathering.queue.front_mut() else { return };
        let (id, objects) = (first.id, std::mem::take(&mut first.objects));
        first.missing = Some(objects.len() + 1);
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

    fn current(&mut self, id: u64) -> Option<&mut Gather> {
        self.gathering.queue.front_mut().filter(|first| first.id == id)
    }

    /// One object more is here. With the last one the user goes on, before anything else can take the room.
    pub(crate) fn gathered(&mut self, cx: &mut Context<'_>, id: u64, object: Option<ObjectId>) {
        if self.current(id).is_none() {
            return;
        }
        let name = object.and_then(|object| self.arena_name(object));
        let pinned = name.filter(|name| self.arena.pin(Holder::Worker, *name).is_ok());
        let Some(first) = self.current(id) else { return };
        first.pins.extend(pinned);
        let missing = first.missing.unwrap_or(1) - 1;
        first.missing = Some(missing);
        if missing == 0 {
            let user = first.user;
            self.gather_broke(id);
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
        let Some(user) = self.current(id).map(|first| first.user) else { return };
        self.gather_broke(id);
        match why {
            Some(failure) => self.fetch_refused(cx, object, user, failure),
            None => self.fetch_again(cx, object, self.worker, user),
        }
    }

    /// It has its turn no more.
    fn gather_broke(&mut self, id: u64) {
        if self.current(id).is_none() {
            return;
        }
        let Some(gather) = self.gathering.queue.pop_front() else { return };
        gather.pins.into_iter().for_each(|name| self.unpin(Holder::Worker, name));
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
