//! Getting objects from other workers or from disk, once for all who wait.

use std::sync::Arc;

use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::peer::CopyEnd;
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, Location, ObjectId, SpaceLease, WorkerId, object_owner};
use tandem_arena::{Holder, Published};

use super::{ObjectEvent, SpaceWaiter};
use crate::action::{Action, SpillFile};
use crate::context::Context;
use crate::event::RestoreError;
use crate::job::Job;
use crate::outside::{FromOutside, unreadable};

/// An object on its way here. Its place is in the books of the arena, but nobody may read it.
#[derive(Debug)]
pub(crate) struct Fetch {
    from: Source,
    length: u64,
    /// Its name in the arena: a new one each time, as a process may still read the last copy.
    name: ObjectId,
    step: Step,
    waiters: Vec<FetchWaiter>,
    /// It is one of another job.
    outside: Option<FromOutside>,
}

/// How far a fetch is.
///
/// ```text
///   Room ─► Reading ─► over
///     └──► Turn ─► Copying ─► over
///            └─unreadable─┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It waits for room. From then on it has its place.
    Room,
    /// It waits until the owner of the object says from whom it may be copied.
    Turn,
    /// The shell reads it from where it was said to be.
    Reading,
    /// The shell reads it from this worker, as the owner said.
    Copying(WorkerId),
}

/// Where the bytes of an object come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Peer(WorkerId),
    /// The fetch is a user of the file.
    Disk(SpillFile),
}

impl Fetch {
    /// Whether the shell reads a file for it.
    pub(crate) fn reads_disk(&self) -> bool {
        self.step == Step::Reading && matches!(self.from, Source::Disk(_))
    }

    /// Whether it is copied from wherever its owner says.
    pub(crate) fn is_by_turns(&self) -> bool {
        matches!(self.step, Step::Turn | Step::Copying(_))
    }

    /// Whether the owner of the object has yet to say from whom it is copied.
    pub(crate) fn waits_for_turn(&self) -> bool {
        self.step == Step::Turn
    }
}

/// Who waits until the bytes of an object are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchWaiter {
    /// A process that watches it.
    Watch(ExecutorId),
    /// A task that is to run here.
    Task(CallId),
    /// A call of an actor that is here.
    Call(CallId),
    /// An actor that is to start here.
    Actor(ActorId),
    /// A statement.
    Sql(u64),
    /// It belongs to a checkpoint of an actor of this worker.
    Checkpoint(ActorId),
    /// This worker wants to have it, whoever has it now.
    Keep,
    /// A call of an actor of another job has it as an argument.
    Outward(CallId),
    /// It is a result of a call of another job.
    Outside(CallId),
    /// Someone who has its turn to have all that it needs brought back.
    Gather(u64),
}

impl Job {
    /// Gets an object that is known to be elsewhere, or on disk.
    pub(crate) fn fetch_for(&mut self, cx: &mut Context<'_>, object: ObjectId, waiter: FetchWaiter) {
        if let Some(fetch) = self.fetches.get_mut(&object) {
            fetch.waiters.push(waiter);
            return;
        }
        let stored = self.objects.get(&object).and_then(super::Object::stored);
        let source = |stored: &super::Stored| match stored.file() {
            Some(file) => Some(Source::Disk(file)),
            None => stored.remote().map(Source::Peer),
        };
        let Some((from, length)) = stored.and_then(|stored| Some((source(stored)?, stored.bytes()))) else { return };
        if let Source::Disk(file) = from {
            self.hold_file(file);
        }
        let name = cx.new_objects(1);
        let fetch = Fetch { from, length, name, step: Step::Room, waiters: vec![waiter], outside: None };
        self.fetches.insert(object, fetch);
        self.want_space(cx, length, SpaceWaiter::Fetch(object));
    }

    /// Gets a value of another job that a worker holds, for or as an object here.
    pub(crate) fn fetch_outside(
        &mut self,
        cx: &mut Context<'_>,
        object: ObjectId,
        from: WorkerId,
        length: u64,
        outside: FromOutside,
    ) {
        if from == self.worker && !cx.config.address.is_empty() {
            cx.act(Action::KnowPeer { worker: from, address: cx.config.address.clone() });
        }
        let name = cx.new_objects(1);
        let from = Source::Peer(from);
        let fetch = Fetch { from, length, name, step: Step::Room, waiters: Vec::new(), outside: Some(outside) };
        self.fetches.insert(object, fetch);
        self.want_space(cx, length, SpaceWaiter::Fetch(object));
    }

    /// There is room for an object that is to come here, or none.
    pub(crate) fn fetch_into(&mut self, cx: &mut Context<'_>, object: ObjectId, outcome: Result<SpaceLease, Failure>) {
        let Some(fetch) = self.fetches.get(&object) else { return };
        let lease = match outcome {
            Ok(lease) => lease,
            Err(failure) => return self.fetch_failed(cx, object, failure),
        };
        let location = Location { extent: lease.extent, offset: lease.offset, length: fetch.length };
        let (from, name) = (fetch.from, fetch.name);
        let theirs = fetch.outside.map(|outside| (outside.job, outside.object));
        let by_turns = theirs.is_none() && self.takes_turns(cx, object, fetch.length);
        // In the books at once, so that the rest of the lease is free for others.
        let published = self.arena.publish(Holder::Worker, Published { object: name, location });
        let _ = self.arena.give_back(Holder::Worker, lease);
        if let Err(error) = published {
            let why = tandem_actor_protocol::failure::FailureKind::StoreFull;
            return self.fetch_failed(cx, object, Failure::new(why, "", error.to_string()));
        }
        match from {
            Source::Peer(at) if by_turns => {
                self.fetch_is_at(object, Step::Turn);
                self.want_copy(cx, object, at);
            }
            Source::Peer(from) => {
                self.fetch_is_at(object, Step::Reading);
                cx.act(Action::Fetch { job: self.id, object, theirs, from, into: location });
            }
            Source::Disk(file) => {
                self.fetch_is_at(object, Step::Reading);
                cx.act(Action::Restore { job: self.id, object, file, into: location });
            }
        }
    }

    fn fetch_is_at(&mut self, object: ObjectId, step: Step) {
        if let Some(fetch) = self.fetches.get_mut(&object) {
            fetch.step = step;
        }
    }

    /// The owner of an object has said from whom it may be copied; none: it knows of nobody who has it.
    pub(crate) fn turn_came(&mut self, cx: &mut Context<'_>, object: ObjectId, from: Option<WorkerId>) {
        let waiting = self.fetches.get(&object).filter(|fetch| fetch.waits_for_turn());
        let Some(into) = waiting.and_then(|fetch| self.arena.location(fetch.name)) else {
            // The fetch was given up.
            return from.into_iter().for_each(|from| self.end_copy(cx, object, from, CopyEnd::Unwanted));
        };
        let wanted = self.objects.contains_key(&object);
        match from {
            Some(from) if wanted => {
                self.fetch_is_at(object, Step::Copying(from));
                cx.act(Action::Fetch { job: self.id, object, theirs: None, from, into });
            }
            Some(from) => {
                self.end_copy(cx, object, from, CopyEnd::Unwanted);
                self.fetch_over(cx, object, Err("nobody holds it any more".to_owned()));
            }
            None => self.fetch_over(cx, object, Err("it is with nobody who can be asked".to_owned())),
        }
    }

    /// The shell has read the bytes of an object from another worker, or could not.
    pub(crate) fn fetched(&mut self, cx: &mut Context<'_>, object: ObjectId, outcome: Result<(), String>) {
        let Some(fetch) = self.fetches.get(&object) else { return };
        if !self.is_running() {
            self.fetches.remove(&object);
            return;
        }
        match (fetch.step, outcome) {
            (Step::Reading, outcome) => self.fetch_over(cx, object, outcome),
            (Step::Copying(from), Ok(())) => {
                self.fetch_over(cx, object, Ok(()));
                let end = if self.arena_name(object).is_some() { CopyEnd::Here } else { CopyEnd::Unwanted };
                self.end_copy(cx, object, from, end);
            }
            (Step::Copying(_), Err(why)) if cx.shared.lost.contains(&object_owner(object)) => {
                self.fetch_over(cx, object, Err(why));
            }
            (Step::Copying(from), Err(_)) => {
                self.fetch_is_at(object, Step::Turn);
                self.end_copy(cx, object, from, CopyEnd::Unreadable);
            }
            // It was for a fetch that was given up.
            (Step::Room | Step::Turn, _) => {}
        }
    }

    /// The bytes are here, or cannot be had from where the object was said to be.
    fn fetch_over(&mut self, cx: &mut Context<'_>, object: ObjectId, outcome: Result<(), String>) {
        let Some(fetch) = self.fetches.remove(&object) else { return };
        if let Some(outside) = fetch.outside {
            if outcome.is_err() {
                self.unpin(Holder::Worker, fetch.name);
            }
            let outcome = outcome.map(|()| (fetch.name, fetch.length)).map_err(unreadable);
            return self.fetched_outside(cx, object, outside, outcome);
        }
        let on_disk = self.objects.get(&object).and_then(super::Object::stored).and_then(super::Stored::file);
        let wanted = self.objects.get_mut(&object);
        let taken =
            wanted.is_some_and(|record| outcome.is_ok() && record.state.apply(ObjectEvent::Copied(fetch.name)).is_ok());
        if taken {
            self.spill.named(fetch.name, object);
            if let Some(file) = on_disk {
                self.let_go_file(cx, file);
            }
            if let Source::Peer(at) = fetch.from
                && cx.shared.lost.contains(&at)
            {
                self.lost_at(cx, object, at, None);
            }
        } else {
            self.unpin(Holder::Worker, fetch.name);
        }
        let from = match fetch.from {
            Source::Peer(from) => from,
            Source::Disk(file) => {
                if let Err(why) = &outcome {
                    self.lost_on_disk(cx, object, file, why);
                }
                self.let_go_file(cx, file);
                self.worker
            }
        };
        let stored = self.objects.get(&object).and_then(super::Object::stored);
        if stored.is_some_and(super::Stored::is_at_hand) {
            fetch.waiters.into_iter().for_each(|waiter| self.fetch_ended(cx, object, waiter));
        } else {
            self.unreadable(cx, object, from, fetch.waiters);
        }
    }

    /// The bytes were read from disk, or could not be.
    pub(crate) fn restored(&mut self, cx: &mut Context<'_>, object: ObjectId, outcome: Result<(), RestoreError>) {
        if !self.fetches.get(&object).is_some_and(Fetch::reads_disk) {
            return;
        }
        if !self.is_running() {
            self.fetches.remove(&object);
            return;
        }
        match outcome {
            Ok(()) => self.fetch_over(cx, object, Ok(())),
            Err(RestoreError::Damaged(why)) => self.fetch_over(cx, object, Err(why)),
            Err(RestoreError::NoMemory(why)) => {
                let kind = tandem_actor_protocol::failure::FailureKind::StoreFull;
                self.fetch_failed(cx, object, Failure::new(kind, "", format!("no memory for shared objects: {why}")));
            }
        }
    }

    /// An object that is wanted here could not be read from where it was said to be.
    fn unreadable(&mut self, cx: &mut Context<'_>, object: ObjectId, from: WorkerId, waiters: Vec<FetchWaiter>) {
        let Some(record) = self.objects.get(&object) else {
            // Whoever waited for it is gone as well, but for the turn to have things brought back.
            let turns = waiters.into_iter().filter(|waiter| matches!(waiter, FetchWaiter::Gather(_)));
            return turns.for_each(|waiter| self.fetch_again(cx, object, from, waiter));
        };
        let elsewhere = record.stored().and_then(super::Stored::remote);
        if from != self.worker && elsewhere.is_none_or(|now| now == from) {
            let reader = (!cx.shared.lost.contains(&from)).then_some(self.worker);
            self.lost_at(cx, object, from, reader);
        }
        for waiter in waiters {
            self.fetch_again(cx, object, from, waiter);
        }
    }

    /// Waits until there is another copy, if this worker will hear of one.
    pub(crate) fn fetch_again(&mut self, cx: &mut Context<'_>, object: ObjectId, from: WorkerId, waiter: FetchWaiter) {
        match waiter {
            FetchWaiter::Watch(executor) => self.give_value(cx, executor, object),
            FetchWaiter::Task(call) => self.task_argument_unreadable(cx, call, object, from),
            FetchWaiter::Call(call) => self.hosted_call_unreadable(cx, call, object, from),
            FetchWaiter::Actor(actor) => self.hosted_actor_unreadable(cx, actor, object, from),
            FetchWaiter::Sql(ticket) => self.table_again(cx, ticket, object),
            FetchWaiter::Checkpoint(actor) => {
                let why = format!("it could not be read from {from}");
                let failure = Failure::new(tandem_actor_protocol::failure::FailureKind::ObjectLost, "", why);
                self.checkpoint_came(cx, actor, object, Err(failure));
            }
            FetchWaiter::Keep => {}
            FetchWaiter::Outward(call) => self.call_argument_settled(cx, call, None),
            FetchWaiter::Outside(call) => self.bring_result(cx, call, object),
            FetchWaiter::Gather(id) => self.gather_failed(cx, id, object, None),
        }
    }

    /// There is no room for it: what needs it fails.
    fn fetch_failed(&mut self, cx: &mut Context<'_>, object: ObjectId, failure: Failure) {
        let Some(fetch) = self.fetches.remove(&object) else { return };
        if let Some(outside) = fetch.outside {
            return self.fetched_outside(cx, object, outside, Err(failure));
        }
        if let Source::Disk(file) = fetch.from {
            if fetch.step != Step::Room {
                self.unpin(Holder::Worker, fetch.name);
            }
            self.let_go_file(cx, file);
        }
        if let Step::Copying(from) = fetch.step {
            self.end_copy(cx, object, from, CopyEnd::Unwanted);
        }
        for waiter in fetch.waiters {
            self.fetch_refused(cx, object, waiter, failure.clone());
        }
        if let Source::Peer(at) = fetch.from
            && cx.shared.lost.contains(&at)
        {
            self.lost_at(cx, object, at, None);
        }
    }

    /// There is no room for something that is needed.
    pub(crate) fn fetch_refused(
        &mut self,
        cx: &mut Context<'_>,
        object: ObjectId,
        waiter: FetchWaiter,
        failure: Failure,
    ) {
        match waiter {
            FetchWaiter::Watch(executor) => cx.send(executor, ToExecutor::Value { object, outcome: Err(failure) }),
            FetchWaiter::Task(call) => self.hosted_task_failed(cx, call, failure),
            FetchWaiter::Call(call) => self.hosted_call_failed(cx, call, failure),
            FetchWaiter::Actor(actor) => self.hosted_actor_failed(cx, actor, failure),
            FetchWaiter::Sql(ticket) => self.sql_failed(cx, ticket, failure),
            FetchWaiter::Checkpoint(actor) => self.checkpoint_came(cx, actor, object, Err(failure)),
            FetchWaiter::Keep => {}
            FetchWaiter::Outward(call) => self.call_failed(cx, call, &failure),
            FetchWaiter::Outside(call) => self.end_call_from_outside(cx, call, Err(failure)),
            FetchWaiter::Gather(id) => self.gather_failed(cx, id, object, Some(failure)),
        }
    }

    pub(crate) fn fetch_ended(&mut self, cx: &mut Context<'_>, object: ObjectId, waiter: FetchWaiter) {
        match waiter {
            FetchWaiter::Watch(executor) if self.executors.contains_key(&executor) => {
                self.give_value(cx, executor, object);
            }
            FetchWaiter::Watch(_) | FetchWaiter::Keep => {}
            FetchWaiter::Checkpoint(actor) => self.checkpoint_came(cx, actor, object, Ok(())),
            FetchWaiter::Task(call) => self.task_argument_here(cx, call),
            FetchWaiter::Call(call) => self.hosted_call_argument_here(cx, call),
            FetchWaiter::Actor(actor) => self.hosted_actor_argument_here(cx, actor),
            FetchWaiter::Sql(ticket) => self.table_here(cx, ticket),
            FetchWaiter::Outward(call) => self.call_argument_settled(cx, call, None),
            FetchWaiter::Outside(call) => self.outside_settled(cx, call),
            FetchWaiter::Gather(id) => self.gathered(cx, id, Some(object)),
        }
    }

    /// The memory of an extent could not be had: what was to be there is lost.
    pub(crate) fn extent_failed(&mut self, cx: &mut Context<'_>, extent: tandem_actor_protocol::ExtentId, why: &str) {
        let here = |name| self.arena.location(name).is_some_and(|location| location.extent == extent);
        let mut lost = Vec::new();
        for (object, record) in &self.objects {
            if record.stored().and_then(super::Stored::name).is_some_and(here) {
                lost.push(*object);
            }
        }
        // What comes from disk is told by the shell.
        let coming = self.fetches.iter().filter(|(_, fetch)| here(fetch.name) && !fetch.reads_disk());
        let mut coming: Vec<ObjectId> = coming.map(|(object, _)| *object).collect();
        lost.sort_unstable();
        coming.sort_unstable();
        self.arena.extent_failed(extent);
        self.extents.remove(&extent);
        let failure = Failure::new(
            tandem_actor_protocol::failure::FailureKind::StoreFull,
            "",
            format!("no memory for shared objects: {why}"),
        );
        for object in coming {
            self.fetch_failed(cx, object, failure.clone());
        }
        for object in lost {
            let Some(record) = self.objects.get_mut(&object) else { continue };
            let refs = record.stored().map_or(Box::default(), |stored| stored.refs.clone());
            let held = std::mem::take(&mut record.holds_refs);
            if let Some(name) = record.stored().and_then(super::Stored::name) {
                self.spill.unnamed(name, object);
            }
            let _ = record.state.apply(ObjectEvent::Gone(Arc::new(failure.clone())));
            if held {
                refs.iter().for_each(|inner| self.drop_use(*inner));
            }
        }
    }
}
