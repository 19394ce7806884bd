//! Calls that wait for each other in a circle: found when the last of them begins to wait, and named.
//!
//! ```text
//!   stuck call ─waits for─▶ object ─made by─▶ call: stuck too
//!                                             call: behind a stuck one, at an actor that takes one at a time
//!                                             call: waits for arguments
//! ```
//!
//! A process says that a call is stuck when nothing but the value of some object can wake it. It is so until one of these objects is
//! settled or the call ends. When all that a stuck call waits for, however far, is stuck here too, no value will ever come: the
//! call gets a failure in place of each. What anything else could end, such as a limit in time or another worker, is no circle.

use std::collections::{BTreeMap, BTreeSet};

use tandem_actor_protocol::call::Arg;
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, ObjectId};

use super::Job;
use crate::actors::{CallState, HostedActor};
use crate::context::Context;
use crate::host::Phase;
use crate::objects::{ObjectState, Waiter};
use crate::tasks::TaskState;

/// Calls that are looked at before a circle is given up for not found.
const MOST_CALLS: usize = 10_000;

/// The calls that are stuck here.
#[derive(Debug, Default)]
pub(crate) struct Stuck {
    calls: BTreeMap<CallId, Wait>,
    by_object: BTreeSet<(ExecutorId, ObjectId, CallId)>,
    /// The last one of each actor: the only one, if that takes one call at a time.
    by_actor: BTreeMap<ActorId, CallId>,
}

/// What a stuck call waits for.
#[derive(Debug)]
struct Wait {
    /// The process that it runs in.
    executor: ExecutorId,
    objects: Vec<ObjectId>,
    /// The actor that it is a call of.
    actor: Option<ActorId>,
}

impl Stuck {
    fn insert(&mut self, call: CallId, wait: Wait) {
        self.remove(call);
        self.by_object.extend(wait.objects.iter().map(|object| (wait.executor, *object, call)));
        self.by_actor.extend(wait.actor.map(|actor| (actor, call)));
        self.calls.insert(call, wait);
    }

    /// A call has ended, or goes on.
    pub(crate) fn remove(&mut self, call: CallId) {
        let Some(Wait { executor, objects, actor }) = self.calls.remove(&call) else { return };
        for object in objects {
            self.by_object.remove(&(executor, object, call));
        }
        if let Some(actor) = actor
            && self.by_actor.get(&actor) == Some(&call)
        {
            self.by_actor.remove(&actor);
        }
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
        let actor = self.hosted_calls.get(&call).map(|entry| entry.actor);
        let actor = actor.or_else(|| self.actor_of(call).map(|_| ActorId(call.0)));
        self.stuck.insert(call, Wait { executor, objects: objects.clone(), actor });
        let Some(circle) = self.circle_from(call) else { return };
        self.stuck.remove(call);
        let failure = Failure {
            worker: cx.config.worker_name.clone(),
            ..Failure::new(FailureKind::Deadlock, self.name_of(call), self.told(&circle))
        };
        for object in objects {
            if let Some(waiters) = self.waiters.get_mut(&object) {
                waiters.retain(|waiter| !matches!(waiter, Waiter::Watch { executor: of, .. } if *of == executor));
            }
            cx.send(executor, ToExecutor::Value { object, outcome: Err(failure.clone()) });
        }
    }

    /// The calls of a circle that `call` waits for, itself first if it is one of them; none if something may still come of it.
    fn circle_from(&self, call: CallId) -> Option<Vec<CallId>> {
        let mut seen = BTreeSet::from([call]);
        let mut open = vec![call];
        while let Some(call) = open.pop() {
            for next in self.waits_for(call)? {
                if seen.insert(next) {
                    open.push(next);
                }
            }
            if seen.len() > MOST_CALLS {
                return None;
            }
        }
        // Each waits for another, so that this comes back to one that it has seen.
        let mut path = vec![call];
        loop {
            let next = *self.waits_for(*path.last()?)?.first()?;
            if let Some(at) = path.iter().position(|seen| *seen == next) {
                return Some(path.split_off(at));
            }
            path.push(next);
        }
    }

    /// The calls that must end before this one goes on; none if it may go on without, or that is not known here.
    fn waits_for(&self, call: CallId) -> Option<Vec<CallId>> {
        if let Some(wait) = self.stuck.calls.get(&call) {
            // A process that is to end takes its calls along.
            self.executors.get(&wait.executor).filter(|process| process.fate.is_none())?;
            return wait.objects.iter().map(|object| self.maker(*object)).collect();
        }
        if let Some(task) = self.tasks.get(&call) {
            return matches!(task.state, TaskState::Waiting { .. }).then(|| self.makers(&task.args)).flatten();
        }
        let entry = self.calls.get(&call)?;
        match entry.state {
            CallState::Waiting { missing } if missing > 0 => self.makers(&entry.args),
            CallState::Sent { host, .. } if host == self.worker => self.call_before(entry.actor).map(|call| vec![call]),
            CallState::Waiting { .. } | CallState::Sent { .. } => None,
        }
    }

    /// The makers of those arguments that have no value yet.
    fn makers(&self, args: &[Arg]) -> Option<Vec<CallId>> {
        let pending = args.iter().filter_map(|arg| match arg {
            Arg::Object(object) if self.is_pending(*object) => Some(*object),
            _ => None,
        });
        let makers: Option<Vec<_>> = pending.map(|object| self.maker(object)).collect();
        makers.filter(|makers| !makers.is_empty())
    }

    /// The call of this worker that an object is made by, as long as it is not there.
    fn maker(&self, object: ObjectId) -> Option<CallId> {
        let record = self.objects.get(&object).filter(|record| record.state == ObjectState::Pending)?;
        let call = record.call(object).or_else(|| self.streams.stream_of(object))?;
        (call.owner() == self.worker).then_some(call)
    }

    /// The stuck call that an actor here is at, if it takes no other before that ends.
    fn call_before(&self, actor: ActorId) -> Option<CallId> {
        let alone = self.hosted_actors.get(&actor)?.spec.options.concurrency <= 1;
        self.stuck.by_actor.get(&actor).copied().filter(|_| alone)
    }

    /// The process that a call has been sent to.
    fn process_of(&self, call: CallId) -> Option<ExecutorId> {
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
        let method = self.calls.get(&call).map(|entry| entry.method.as_ref());
        let class = |actor| self.hosted_actors.get(&actor).map(|hosted: &HostedActor| &hosted.spec);
        let spec = class(self.calls.get(&call).map_or(ActorId(call.0), |entry| entry.actor));
        match (spec, method) {
            (Some(spec), Some(method)) if spec.options.name.is_empty() => format!("{}::{method}", spec.class),
            (Some(spec), Some(method)) => format!("{}::{method} of \"{}\"", spec.class, spec.options.name),
            (Some(spec), None) => format!("the start of {}", spec.class),
            (None, method) => method.map_or_else(|| call.to_string(), str::to_owned),
        }
    }

    fn told(&self, circle: &[CallId]) -> String {
        let names: Vec<_> = circle.iter().chain(circle.first()).map(|call| self.name_of(*call)).collect();
        format!("calls wait for each other in a circle: {}", names.join(" waits for "))
    }
}
