//! The calls that are stuck here, and what each waits for. Whether they wait for each other in a circle is found in `circles`.
//!
//! ```text
//!   stuck call ─waits for─▶ object ─made by─▶ call: stuck too
//!                                             call: behind a stuck one of its group, if the actor takes one of that at a time
//!                                             call: waits for arguments, or for the start of its actor
//! ```
//!
//! A process says that a call is stuck when nothing but the value of some object can wake it. It is so until one of these objects is
//! settled or the call ends. When all that a stuck call waits for, however far, is stuck too, no value will ever come: one call of the
//! circle gets a failure in place of each object that it waits for, and the others go on from that. What anything else could end, such
//! as a limit in time, is no circle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tandem_actor_protocol::call::{Arg, ConcurrencyGroup};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::{Awaited, Stalled};
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, ObjectId, WorkerId, object_owner};

use super::Job;
use super::circles::FIRST_PAUSE_MS;
use crate::actors::{CallState, HostedActor, OwnedState};
use crate::context::Context;
use crate::host::Phase;
use crate::objects::{ObjectState, Waiter, objects_of};
use crate::tasks::TaskState;

/// When so many things were found that wait, and that they wait for, the rest is left for another time: they go into one message.
const MOST_AT_ONCE: usize = 10_000;

/// The calls that are stuck here.
#[derive(Debug, Default)]
pub(crate) struct Stuck {
    calls: BTreeMap<CallId, Wait>,
    by_object: BTreeSet<(ExecutorId, ObjectId, CallId)>,
    /// The last one of each group of an actor: the only one, if that takes one call at a time.
    by_group: BTreeMap<InGroup, CallId>,
    /// How many waits there were.
    waits: u64,
}

/// The calls of an actor that are in one of its groups, or in none.
type InGroup = (ActorId, Option<Arc<ConcurrencyGroup>>);

/// What a stuck call waits for.
#[derive(Debug)]
struct Wait {
    /// No other wait of this worker in this job has it, so that a call with the same one has not gone on meanwhile.
    number: u64,
    /// The process that it runs in.
    executor: ExecutorId,
    objects: Vec<ObjectId>,
    /// Which calls it is one of, if it is that of an actor.
    group: Option<InGroup>,
}

impl Stuck {
    fn insert(&mut self, call: CallId, wait: Wait) {
        self.waits += 1;
        self.by_object.extend(wait.objects.iter().map(|object| (wait.executor, *object, call)));
        self.by_group.extend(wait.group.clone().map(|group| (group, call)));
        self.calls.insert(call, wait);
    }

    /// A call has ended, or goes on.
    pub(crate) fn remove(&mut self, call: CallId) {
        let Some(Wait { executor, objects, group, .. }) = self.calls.remove(&call) else { return };
        for object in objects {
            self.by_object.remove(&(executor, object, call));
        }
        if let Some(group) = group
            && self.by_group.get(&group) == Some(&call)
        {
            self.by_group.remove(&group);
        }
    }

    /// Whether this is the wait that a call is in.
    pub(super) fn is_in(&self, call: CallId, wait: u64) -> bool {
        self.calls.get(&call).is_some_and(|entry| entry.number == wait)
    }

    /// A process hears that an object is settled.
    pub(crate) fn settled(&mut self, executor: ExecutorId, object: ObjectId) {
        self.remove_between(executor, object, object);
    }

    /// A process is gone.
    pub(crate) fn gone(&mut self, executor: ExecutorId) {
        self.remove_between(executor, ObjectId(0), ObjectId(u128::MAX));
    }

    fn remove_between(&mut self, executor: ExecutorId, first: ObjectId, last: ObjectId) {
        let all = (executor, first, CallId(0))..=(executor, last, CallId(u128::MAX));
        let freed: Vec<_> = self.by_object.range(all).map(|(_, _, call)| *call).collect();
        freed.into_iter().for_each(|call| self.remove(call));
    }
}

impl Job {
    /// A call waits for objects, and nothing but these can wake it.
    pub(crate) fn stuck(&mut self, cx: &mut Context<'_>, executor: ExecutorId, call: CallId, objects: Vec<ObjectId>) {
        if objects.is_empty() || self.process_of(call) != Some(executor) || self.has_limit(call) {
            return;
        }
        self.stuck.remove(call);
        // One that is there is on its way to the process, and wakes the call.
        if !objects.iter().all(|object| self.is_pending(*object)) {
            return;
        }
        let group = self.hosted_calls.get(&call).map(|entry| (entry.actor, entry.group.clone()));
        let number = self.stuck.waits;
        self.stuck.insert(call, Wait { number, executor, objects, group });
        self.search_circle(cx, call, number, FIRST_PAUSE_MS);
    }

    /// A stuck call is part of a circle: it gets a failure in place of each object that it waits for, unless it has gone on meanwhile.
    pub(super) fn end_wait(&mut self, cx: &mut Context<'_>, call: CallId, wait: u64, circle: &str) {
        let Some(entry) = self.stuck.calls.get(&call).filter(|entry| entry.number == wait) else { return };
        let (executor, objects) = (entry.executor, entry.objects.clone());
        self.stuck.remove(call);
        let why = format!("calls wait for each other in a circle: {circle}");
        let failure = Failure {
            worker: cx.config.worker_name.clone(),
            ..Failure::new(FailureKind::Deadlock, self.name_of(call), why)
        };
        for object in objects {
            if let Some(waiters) = self.waiters.get_mut(&object) {
                waiters.retain(|waiter| !matches!(waiter, Waiter::Watch { executor: of, .. } if *of == executor));
            }
            cx.send(executor, ToExecutor::Value { object, outcome: Err(failure.clone()) });
        }
    }

    /// What waits of these and of all that they wait for, as far as this worker knows that; none if some of it may come. What was asked
    /// for is first, so that there is some of that in any case.
    pub(super) fn stalled(&self, awaited: Vec<Awaited>) -> Option<Vec<Stalled>> {
        let mut seen: BTreeSet<Awaited> = awaited.iter().copied().collect();
        let mut open = VecDeque::from(awaited);
        let (mut stalled, mut count) = (Vec::new(), 0);
        while let Some(next) = open.pop_front().filter(|_| count < MOST_AT_ONCE) {
            let found = self.stalled_one(next)?;
            let here = found.waits_for.iter().filter(|next| next.worker() == self.worker);
            open.extend(here.filter(|next| seen.insert(**next)));
            count += 1 + found.waits_for.len();
            stalled.push(found);
        }
        Some(stalled)
    }

    fn stalled_one(&self, awaited: Awaited) -> Option<Stalled> {
        let (name, wait, waits_for) = match awaited {
            Awaited::Object(object) => (String::new(), None, vec![self.maker(object)?]),
            Awaited::Call { call, .. } => {
                let wait = self.stuck.calls.get(&call).map(|entry| entry.number);
                (self.name_of(call), wait, self.waits_for(call)?)
            }
        };
        Some(Stalled { awaited, name, wait, waits_for })
    }

    /// What must come before this call goes on; none if it may go on without, or that is not known here.
    fn waits_for(&self, call: CallId) -> Option<Vec<Awaited>> {
        if let Some(wait) = self.stuck.calls.get(&call) {
            // A process that is to end takes its calls along.
            self.executors.get(&wait.executor).filter(|process| process.fate.is_none())?;
            return wait.objects.iter().map(|object| self.awaited(*object)).collect();
        }
        if let Some(task) = self.tasks.get(&call) {
            return matches!(task.state, TaskState::Waiting { .. }).then(|| self.missing(&task.args)).flatten();
        }
        if let Some(entry) = self.hosted_calls.get(&call) {
            let before = self.start_before(entry.actor).or_else(|| self.call_before(entry.actor, entry.group.as_ref()));
            return before.map(|call| vec![Awaited::Call { call, at: self.worker }]);
        }
        let entry = self.calls.get(&call)?;
        match entry.state {
            CallState::Waiting { missing } if missing > 0 => self.missing(&entry.args),
            CallState::Waiting { .. } => self.awaited(entry.actor.creation().object(0)).map(|start| vec![start]),
            CallState::Sent { .. } => None,
        }
    }

    /// Those arguments that have no value yet.
    fn missing(&self, args: &[Arg]) -> Option<Vec<Awaited>> {
        let pending = objects_of(args).filter(|object| self.is_pending(*object));
        let missing: Option<Vec<_>> = pending.map(|object| self.awaited(object)).collect();
        missing.filter(|missing| !missing.is_empty())
    }

    /// An object that is waited for, as what makes it if that is known here; none if it is there, or nothing makes it.
    fn awaited(&self, object: ObjectId) -> Option<Awaited> {
        if object_owner(object) == self.worker { self.maker(object) } else { Some(Awaited::Object(object)) }
    }

    /// The call that an object of this worker is made by, as long as it is not there.
    fn maker(&self, object: ObjectId) -> Option<Awaited> {
        let record = self.objects.get(&object).filter(|record| record.state == ObjectState::Pending)?;
        let call = record.call(object).or_else(|| self.streams.stream_of(object))?;
        Some(Awaited::Call { call, at: self.place_of_call(call)? })
    }

    /// Where a call of this worker, or the start of an actor, waits if it does; none if it may begin, or is to end.
    fn place_of_call(&self, call: CallId) -> Option<WorkerId> {
        if let Some(task) = self.tasks.get(&call) {
            return match task.state {
                TaskState::Waiting { .. } => Some(self.worker),
                TaskState::Placed { host, cancelled: false, .. } => Some(host),
                TaskState::Queued | TaskState::Placed { .. } | TaskState::Finished => None,
            };
        }
        if let Some(entry) = self.calls.get(&call) {
            return match entry.state {
                CallState::Waiting { .. } => Some(self.worker),
                CallState::Sent { host, .. } => Some(host),
            };
        }
        match self.owned_actors.get(&ActorId(call.0))?.state {
            OwnedState::Starting { host, .. } => Some(host),
            _ => None,
        }
    }

    /// The stuck start of an actor here: it takes no call before that ends.
    fn start_before(&self, actor: ActorId) -> Option<CallId> {
        Some(actor.creation()).filter(|start| self.stuck.calls.contains_key(start))
    }

    /// The stuck call that an actor here is at, if it takes no other of its group before that ends.
    fn call_before(&self, actor: ActorId, group: Option<&Arc<ConcurrencyGroup>>) -> Option<CallId> {
        let alone = self.hosted_actors.get(&actor)?.concurrency_of(group) == 1;
        self.stuck.by_group.get(&(actor, group.cloned())).copied().filter(|_| alone)
    }

    /// The process that a call has been sent to.
    pub(crate) fn process_of(&self, call: CallId) -> Option<ExecutorId> {
        if let Some(hosted) = self.hosted.get(&call) {
            return match hosted.phase {
                Phase::Sent(executor) => Some(executor),
                Phase::Fetching { .. } | Phase::Inbox => None,
            };
        }
        self.actor_of(call).and_then(|hosted| hosted.executor)
    }

    /// The actor here that this is a call of, or the start.
    fn actor_of(&self, call: CallId) -> Option<&HostedActor> {
        let actor = self.hosted_calls.get(&call).filter(|entry| entry.sent.is_some()).map(|entry| entry.actor);
        self.hosted_actors.get(&actor.unwrap_or(ActorId(call.0)))
    }

    fn has_limit(&self, call: CallId) -> bool {
        self.options_of(call).is_some_and(|options| options.timeout_ms > 0)
    }

    /// What a call is to people.
    fn name_of(&self, call: CallId) -> String {
        if let Some(task) = self.tasks.get(&call) {
            return task.name().to_owned();
        }
        if let Some(guest) = self.hosted.get(&call).and_then(|hosted| hosted.guest.as_deref()) {
            return guest.name().to_owned();
        }
        let hosted = self.hosted_calls.get(&call).map(|entry| (entry.actor, entry.method.as_ref()));
        let known = hosted.or_else(|| self.calls.get(&call).map(|entry| (entry.actor, entry.method.as_ref())));
        let (actor, method) = known.map_or((ActorId(call.0), None), |(actor, method)| (actor, Some(method)));
        let here = self.hosted_actors.get(&actor).map(|hosted: &HostedActor| &hosted.spec);
        match (here.or_else(|| self.owned_actors.get(&actor).map(|owned| &owned.spec)), method) {
            (Some(spec), Some(method)) if spec.options.name.is_empty() => format!("{}::{method}", spec.class),
            (Some(spec), Some(method)) => format!("{}::{method} of \"{}\"", spec.class, spec.options.name),
            (Some(spec), None) => format!("the start of {}", spec.class),
            (None, method) => method.map_or_else(|| call.to_string(), str::to_owned),
        }
    }
}
