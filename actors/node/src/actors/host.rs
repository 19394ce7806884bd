//! Starts actors here and tells their owners.

use tandem_actor_protocol::call::{ActorSpec, Arg};
use tandem_actor_protocol::executor::{Start, ToExecutor};
use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::peer::{PeerBody, RemoteValue};
use tandem_actor_protocol::value::Value;
use tandem_actor_protocol::{ActorId, ExecutorId, ObjectId, WorkerId};

use super::end::killed;
use super::hosted::HostedEvent;
use super::{HostedActor, HostedState};
use crate::action::ExecutorNeeds;
use crate::context::Context;
use crate::executors::{Executor, Fate, Purpose};
use crate::job::Job;
use crate::objects::{FetchWaiter, objects_of};
use crate::timers::Timer;

/// An actor that came before the grant of its lease.
#[derive(Debug)]
pub(crate) struct EarlyStart {
    from: WorkerId,
    actor: ActorSpec,
    attempt: u32,
    resolved: Vec<(ObjectId, RemoteValue)>,
    checkpoint: Option<(ObjectId, RemoteValue)>,
}

impl EarlyStart {
    pub(crate) fn from(&self) -> WorkerId {
        self.from
    }
}

impl Job {
    /// Another worker wants its actor to live here, on a lease that it has.
    #[allow(clippy::too_many_arguments, reason = "one per field of the message")]
    pub(crate) fn start_for_peer(
        &mut self,
        cx: &mut Context<'_>,
        from: WorkerId,
        lease: u64,
        mut actor: ActorSpec,
        attempt: u32,
        resolved: Vec<(ObjectId, RemoteValue)>,
        checkpoint: Option<(ObjectId, RemoteValue)>,
    ) {
        let id = actor.actor;
        if self.hosted_actors.contains_key(&id) {
            return;
        }
        let Some(group) = self.host_leases.get(&lease).map(|entry| entry.group) else {
            if self.ended_leases.contains(lease) {
                return self.send_peer(cx, from, PeerBody::GaveBack(vec![id.creation()]));
            }
            cx.timer(cx.config.unknown_lease_ms, self.id, Timer::UnknownLease(lease));
            let early = EarlyStart { from, actor, attempt, resolved, checkpoint };
            return self.early_starts.entry(lease).or_default().push(early);
        };
        let mut args = std::mem::take(&mut actor.args);
        let mut resolved = resolved;
        let has_checkpoint = checkpoint.is_some();
        if let Some((object, value)) = checkpoint {
            args.push(Arg::Object(object));
            resolved.push((object, value));
        }
        let args = self.guest_args(args, resolved);
        let mut hosted = HostedActor::new(from, lease, attempt, Box::new(actor), args);
        hosted.has_checkpoint = has_checkpoint;
        self.hosted_actors.insert(id, hosted);
        self.groups[group.0 as usize].starts.push_back(id);
        self.dirty.group(group);
    }

    pub(crate) fn early_starts_came(&mut self, cx: &mut Context<'_>, lease: u64) {
        for early in self.early_starts.remove(&lease).unwrap_or_default() {
            let EarlyStart { from, actor, attempt, resolved, checkpoint } = early;
            self.start_for_peer(cx, from, lease, actor, attempt, resolved, checkpoint);
        }
    }

    /// An actor is to end that still waits for the grant of its lease, if it is one of those.
    pub(crate) fn end_early_start(&mut self, cx: &mut Context<'_>, actor: ActorId) {
        let mut starts = self.early_starts.values_mut();
        let ended = starts.find_map(|starts| {
            let at = starts.iter().position(|early| early.actor.actor == actor)?;
            Some(starts.remove(at))
        });
        if let Some(EarlyStart { from, actor, attempt, .. }) = ended {
            let why = killed(&actor.class);
            self.send_fenced(cx, from, PeerBody::ActorLost { actor: actor.actor, attempt, why });
        }
    }

    pub(crate) fn early_starts_overdue(&mut self, cx: &mut Context<'_>, lease: u64) {
        for early in self.early_starts.remove(&lease).unwrap_or_default() {
            self.send_peer(cx, early.from, PeerBody::GaveBack(vec![early.actor.actor.creation()]));
        }
    }

    /// There is a place for an actor of another worker.
    pub(crate) fn pin_hosted(&mut self, cx: &mut Context<'_>, actor: ActorId) {
        let Some(hosted) = self.hosted_actors.get(&actor) else { return };
        let (lease, owner) = (hosted.lease, hosted.owner);
        if self.pin_lease(lease, actor) {
            self.get_actor_args(cx, actor);
        } else {
            // It was revoked meanwhile.
            self.drop_hosted_actor(actor);
            self.send_peer(cx, owner, PeerBody::GaveBack(vec![actor.creation()]));
        }
    }

    /// Gets the arguments of an actor that has its place.
    pub(crate) fn get_actor_args(&mut self, cx: &mut Context<'_>, actor: ActorId) {
        let Some(hosted) = self.hosted_actors.get(&actor) else { return };
        let elsewhere = self.args_elsewhere(&hosted.args);
        let missing = u32::try_from(elsewhere.len()).unwrap_or(u32::MAX);
        if let Some(hosted) = self.hosted_actors.get_mut(&actor) {
            let _ = hosted.state.apply(HostedEvent::Place { missing });
        }
        if elsewhere.is_empty() {
            return self.launch_actor(cx, actor);
        }
        for object in elsewhere {
            self.fetch_for(cx, object, FetchWaiter::Actor(actor));
        }
    }

    /// One argument more of an actor is here.
    pub(crate) fn hosted_actor_argument_here(&mut self, cx: &mut Context<'_>, actor: ActorId) {
        let Some(hosted) = self.hosted_actors.get_mut(&actor) else { return };
        if hosted.state.apply(HostedEvent::ArgumentHere).is_ok() && hosted.state == HostedState::Launching {
            self.launch_actor(cx, actor);
        }
    }

    /// An argument could not be read from where it was said to be.
    pub(crate) fn hosted_actor_unreadable(
        &mut self,
        cx: &mut Context<'_>,
        actor: ActorId,
        object: ObjectId,
        from: WorkerId,
    ) {
        let Some(hosted) = self.hosted_actors.get(&actor) else { return };
        let (owner, lease) = (hosted.owner, hosted.lease);
        match hosted.executor {
            Some(executor) if hosted.spec.options.light => self.light_leaves(cx, executor, actor),
            Some(executor) => self.stop_executor(cx, executor, Fate::ActorEnded, true),
            None => {}
        }
        self.drop_hosted_actor(actor);
        self.unpin_lease(lease);
        let creation = actor.creation();
        if owner != self.worker {
            return self.send_peer(cx, owner, PeerBody::CannotRead { object, worker: from, calls: vec![creation] });
        }
        match self.cannot_read(creation, self.worker, from) {
            Some((_, failure)) => self.actor_is_gone(cx, actor, failure),
            None => self.actor_ready_or_wait(cx, actor),
        }
    }

    fn launch_actor(&mut self, cx: &mut Context<'_>, actor: ActorId) {
        let Some(hosted) = self.hosted_actors.get(&actor) else { return };
        let options = &hosted.spec.options;
        let gpus = self
            .host_leases
            .get(&hosted.lease)
            .map_or(Vec::new(), |lease| self.groups[lease.group.0 as usize].gpus.clone());
        let mut needs = ExecutorNeeds {
            environment: options.environment.clone(),
            memory_bytes: options.shape.memory_bytes,
            gpus,
            purpose: hosted.spec.class.clone(),
        };
        let executor = if options.light {
            needs.purpose = "light actors".to_owned();
            self.light_process(cx, actor, needs)
        } else {
            self.start_executor(cx, Purpose::Actor(actor), needs)
        };
        if let Some(hosted) = self.hosted_actors.get_mut(&actor) {
            hosted.executor = Some(executor);
        }
        if self.executors.get(&executor).is_some_and(|process| process.process.is_some()) {
            self.construct(cx, executor, actor);
        }
    }

    /// The process of an actor has said hello.
    pub(crate) fn actor_process_ready(&mut self, cx: &mut Context<'_>, executor: ExecutorId, actor: ActorId) {
        if self.hosted_actors.get(&actor).is_some_and(|hosted| hosted.executor == Some(executor)) {
            self.construct(cx, executor, actor);
        } else {
            self.stop_executor(cx, executor, Fate::ActorEnded, true);
        }
    }

    /// Runs the constructor of an actor in its process.
    pub(crate) fn construct(&mut self, cx: &mut Context<'_>, executor: ExecutorId, actor: ActorId) {
        let Some(hosted) = self.hosted_actors.get(&actor) else { return };
        let objects: Vec<ObjectId> = objects_of(&hosted.args).collect();
        if hosted.state == HostedState::Launching && self.away(&objects) {
            return self.gather(FetchWaiter::Actor(actor), objects);
        }
        let Some(hosted) = self.hosted_actors.get_mut(&actor) else { return };
        if hosted.state.apply(HostedEvent::Launched).is_err() {
            return;
        }
        let (attempt, class) = (hosted.attempt, hosted.spec.class.clone());
        let (concurrency, has_checkpoint) = (hosted.spec.options.concurrency.max(1), hosted.has_checkpoint);
        let (retried, args) = (hosted.is_retried(), hosted.args.to_vec());
        let Some(mut args) = self.values_for(cx, executor, args) else {
            let kind = tandem_actor_protocol::failure::FailureKind::ObjectLost;
            let failure = Failure::new(kind, class, "an argument is gone from shared memory");
            return self.hosted_actor_failed(cx, actor, failure);
        };
        let checkpoint = if has_checkpoint { args.pop() } else { None };
        let start = Start { actor, attempt, class, args, checkpoint, concurrency };
        let held = retried && self.executors.get(&executor).is_some_and(Executor::knows_held_results);
        cx.send(executor, if held { ToExecutor::StartHeld(start) } else { ToExecutor::Start(start) });
    }

    /// The constructor of an actor here has returned, or failed.
    pub(crate) fn constructed(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        actor: ActorId,
        outcome: Result<Vec<Value>, Failure>,
    ) {
        let Some(hosted) = self.hosted_actors.get_mut(&actor) else { return };
        let ending = hosted.state == HostedState::Ending;
        if !ending && hosted.state.apply(HostedEvent::Started).is_err() {
            return;
        }
        self.stuck.remove(actor.creation());
        let (owner, attempt) = (hosted.owner, hosted.attempt);
        let class = hosted.spec.class.clone();
        let named = |failure: Failure| Failure { task: class.clone(), attempts: attempt + 1, ..failure };
        let outcome = self.checked(cx, 1, outcome).map_err(named);
        let failed = outcome.is_err();
        let writer = tandem_arena::Holder::Executor(executor);
        let call = actor.creation();
        if failed {
            // It never lived: its owner is told why by the end of its creation, not by its loss.
            self.end_hosted(cx, actor, true);
        }
        if owner == self.worker {
            let outcome = outcome.and_then(|values| self.take_results(cx, call, values, writer));
            self.actor_started(cx, actor, outcome);
        } else {
            let outcome = outcome.and_then(|values| self.keep_results(cx, owner, call, values, writer));
            self.send_fenced(cx, owner, PeerBody::Done { call, attempt, outcome });
        }
        if !failed {
            self.advance_all_lanes(cx, actor);
        }
    }

    /// An actor that was to live here cannot.
    pub(crate) fn hosted_actor_failed(&mut self, cx: &mut Context<'_>, actor: ActorId, failure: Failure) {
        let Some(hosted) = self.hosted_actors.get(&actor) else { return };
        let (owner, attempt) = (hosted.owner, hosted.attempt);
        let failure = Failure { task: hosted.spec.class.clone(), worker: cx.config.worker_name.clone(), ..failure };
        self.end_hosted(cx, actor, true);
        if owner == self.worker {
            self.actor_started(cx, actor, Err(failure));
        } else {
            let call = actor.creation();
            self.send_fenced(cx, owner, PeerBody::Done { call, attempt, outcome: Err(failure) });
        }
    }
}
