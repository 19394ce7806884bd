//! The end of actors: killed, lost, or never alive. Owners start those again that may be.

use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::{PeerBody, RemoteValue};
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, WorkerId};

use super::hosted::HostedEvent;
use super::owned::OwnedEvent;
use super::{HostedState, OwnedState};
use crate::action::Action;
use crate::context::Context;
use crate::executors::Fate;
use crate::job::Job;
use crate::objects::Stored;
use crate::timers::Timer;

/// Actors of one job that are gone and kept, so that it can be told why.
const KEPT_GONE: usize = 1_024;

impl Job {
    /// Someone wants an actor ended.
    pub(crate) fn kill(&mut self, cx: &mut Context<'_>, actor: ActorId, at_once: bool) {
        if actor.owner() != self.worker {
            return self.send_peer(cx, actor.owner(), PeerBody::Kill { actor, at_once });
        }
        let Some(owned) = self.owned_actors.get_mut(&actor) else { return self.kill_outside(cx, actor, at_once) };
        match owned.state.at() {
            None => {
                let failure = killed(&owned.spec.class);
                self.actor_is_gone(cx, actor, failure);
            }
            Some((host, _)) => {
                let _ = owned.state.apply(OwnedEvent::End);
                self.actor_moved(cx, actor);
                self.kill_at(cx, host, actor, at_once);
            }
        }
    }

    fn kill_at(&mut self, cx: &mut Context<'_>, host: WorkerId, actor: ActorId, at_once: bool) {
        if host == self.worker {
            self.end_hosted(cx, actor, at_once);
        } else {
            self.send_peer(cx, host, PeerBody::Kill { actor, at_once });
        }
    }

    /// An actor that lives here is to end. Its owner knows, or is told when its process is gone. One that ends in order goes on with
    /// that however often it is asked to.
    pub(crate) fn end_hosted(&mut self, cx: &mut Context<'_>, actor: ActorId, at_once: bool) {
        let Some(hosted) = self.hosted_actors.get_mut(&actor) else { return self.end_early_start(cx, actor) };
        if hosted.state == HostedState::Ending && !at_once {
            return;
        }
        let light = hosted.spec.options.light;
        let in_order = !at_once && matches!(hosted.state, HostedState::Constructing | HostedState::Ready);
        let _ = hosted.state.apply(HostedEvent::End);
        let Some(executor) = hosted.executor else {
            return self.hosted_is_gone(cx, actor, killed(""), true);
        };
        hosted.calls.iter().for_each(|call| self.stuck.remove(*call));
        if in_order {
            cx.send(executor, ToExecutor::EndActor(actor));
            cx.timer(cx.config.actor_grace_ms, self.id, Timer::ActorKill(actor));
        } else if light {
            self.kill_light(cx, executor, actor);
            self.hosted_is_gone(cx, actor, killed(""), true);
        } else {
            self.stop_executor(cx, executor, Fate::ActorEnded, true);
        }
    }

    /// An actor that was to end has had its time.
    pub(crate) fn actor_end_overdue(&mut self, cx: &mut Context<'_>, actor: ActorId) {
        self.killed_overdue(cx, actor);
        if self.hosted_actors.get(&actor).is_some_and(|hosted| hosted.state == HostedState::Ending) {
            self.end_hosted(cx, actor, true);
        }
    }

    /// The process of an actor is gone.
    pub(crate) fn actor_process_gone(
        &mut self,
        cx: &mut Context<'_>,
        actor: ActorId,
        executor: ExecutorId,
        fate: Option<Fate>,
        failure: Failure,
    ) {
        let Some(hosted) = self.hosted_actors.get(&actor).filter(|hosted| hosted.executor == Some(executor)) else {
            return;
        };
        let asked = fate == Some(Fate::ActorEnded) || hosted.state == HostedState::Ending;
        self.hosted_is_gone(cx, actor, failure, asked);
    }

    /// An actor does not live here any more: its owner is told, then its callers.
    pub(crate) fn hosted_is_gone(&mut self, cx: &mut Context<'_>, actor: ActorId, why: Failure, asked: bool) {
        let Some(mut hosted) = self.drop_hosted_actor(actor) else { return };
        self.unpin_lease(hosted.lease);
        let undone = self.end_saving(cx, actor, &mut hosted, asked);
        let why = Failure { task: hosted.spec.class.clone(), ..why };
        if hosted.owner == self.worker {
            self.actor_lost(cx, self.worker, actor, hosted.attempt, why.clone());
        } else {
            let lost = PeerBody::ActorLost { actor, attempt: hosted.attempt, why: why.clone() };
            self.send_fenced(cx, hosted.owner, lost);
        }
        let again = hosted.spec.options.retry_calls && !asked;
        self.calls_of_gone(cx, hosted, undone, &why, again);
    }

    /// The owner of an actor hears that its process ended.
    pub(crate) fn actor_lost(
        &mut self,
        cx: &mut Context<'_>,
        from: WorkerId,
        actor: ActorId,
        attempt: u32,
        why: Failure,
    ) {
        let Some(owned) = self.owned_actors.get_mut(&actor) else { return };
        let Some((host, lease)) = owned.state.at() else { return };
        if host != from || owned.attempt != attempt {
            return;
        }
        if owned.state == (OwnedState::Ending { host, lease }) {
            let failure = killed(&owned.spec.class);
            return self.actor_is_gone(cx, actor, failure);
        }
        if owned.attempt >= owned.spec.options.max_restarts {
            let message = format!("the actor is gone: {}", why.message);
            let class = owned.spec.class.clone();
            let failure = Failure {
                attempts: attempt + 1,
                worker: why.worker.clone(),
                ..Failure::new(FailureKind::ActorGone, class, message)
            };
            return self.actor_is_gone(cx, actor, failure);
        }
        owned.attempt += 1;
        if host != self.worker {
            self.lease_of_actor_free(cx, lease);
        }
        self.actor_ready_or_wait(cx, actor);
        self.actor_moved(cx, actor);
    }

    /// The constructor of an actor of this worker has returned, or failed.
    pub(crate) fn actor_started(
        &mut self,
        cx: &mut Context<'_>,
        actor: ActorId,
        outcome: Result<Vec<Stored>, Failure>,
    ) {
        let Some(owned) = self.owned_actors.get_mut(&actor) else { return };
        match outcome {
            Ok(values) => {
                // It may be to end already.
                let _ = owned.state.apply(OwnedEvent::Started);
                for stored in values.into_iter().take(1) {
                    self.result(cx, actor.creation().object(0), stored);
                }
                self.actor_moved(cx, actor);
            }
            Err(failure) => self.actor_is_gone(cx, actor, failure),
        }
    }

    pub(crate) fn actor_started_elsewhere(
        &mut self,
        cx: &mut Context<'_>,
        from: WorkerId,
        call: CallId,
        attempt: u32,
        outcome: Result<Vec<RemoteValue>, Failure>,
    ) {
        let values = outcome.map(|values| values.into_iter().map(|value| self.stored_result(from, value)).collect());
        let actor = ActorId(call.0);
        let current = self
            .owned_actors
            .get(&actor)
            .is_some_and(|owned| owned.attempt == attempt && owned.state.at().is_some_and(|(host, _)| host == from));
        if current {
            self.actor_started(cx, actor, values);
        } else {
            self.drop_results(call, values);
        }
    }

    /// An actor of this worker will not live again.
    pub(crate) fn actor_is_gone(&mut self, cx: &mut Context<'_>, actor: ActorId, failure: Failure) {
        let Some(owned) = self.owned_actors.get_mut(&actor) else { return };
        let at = owned.state.at();
        let failure = std::sync::Arc::new(failure);
        if owned.state.apply(OwnedEvent::Gone(failure.clone())).is_err() {
            return;
        }
        let shape = owned.shape;
        let (args, checkpoints) = (std::mem::take(&mut owned.args), std::mem::take(&mut owned.checkpoints));
        let named = !owned.spec.options.name.is_empty();
        if self.owned_actors.get(&actor).is_some_and(|owned| self.needs_lease(owned)) {
            let queue = &mut self.queues[shape.0 as usize];
            queue.actors = queue.actors.saturating_sub(1);
        }
        self.dirty.queue(shape);
        self.drop_args(&args);
        self.drop_checkpoints(&checkpoints);
        if let Some((host, lease)) = at
            && host != self.worker
        {
            self.lease_of_actor_free(cx, lease);
        }
        self.break_object(actor.creation().object(0), failure);
        if named {
            cx.shared.public.remove(&actor);
            cx.act(Action::DropName { job: self.id, actor });
        }
        self.actor_moved(cx, actor);
        self.driver_actor_gone(cx, actor);
        self.forget_gone_actors(actor);
    }

    /// Those who call an actor may want to know why it is gone, but not for ever.
    fn forget_gone_actors(&mut self, newest: ActorId) {
        self.gone_actors.push_back(newest);
        if self.gone_actors.len() > KEPT_GONE
            && let Some(oldest) = self.gone_actors.pop_front()
        {
            self.owned_actors.remove(&oldest);
        }
    }
}

/// Why the calls of an actor that was ended fail.
pub(crate) fn killed(class: &str) -> Failure {
    Failure::new(FailureKind::ActorGone, class, ENDED)
}

/// What is said of an actor that was ended, and of no other.
pub(crate) const ENDED: &str = "the actor was ended";
