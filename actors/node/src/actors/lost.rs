//! What happens to actors when another worker, a driver, or their place is lost.

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::{ActorId, ExecutorId, WorkerId};

use super::{HostedActor, OwnedActor, OwnedState, Place};
use crate::context::Context;
use crate::executors::Fate;
use crate::job::Job;
use crate::objects::objects_of;

impl Job {
    /// Forgets an actor that lives here, and lets its arguments go.
    pub(crate) fn drop_hosted_actor(&mut self, actor: ActorId) -> Option<HostedActor> {
        let hosted = self.hosted_actors.remove(&actor)?;
        self.stuck.remove(actor.creation());
        if hosted.owner != self.worker {
            objects_of(&hosted.args).for_each(|object| self.drop_guest(object));
        }
        Some(hosted)
    }

    /// Actors that a lost worker owned end here.
    pub(crate) fn hosted_actors_of_lost(&mut self, cx: &mut Context<'_>, lost: WorkerId) {
        let of_lost = self.hosted_actors.iter().filter(|(_, hosted)| hosted.owner == lost);
        let actors: Vec<ActorId> = of_lost.map(|(actor, _)| *actor).collect();
        for actor in actors {
            self.end_hosted(cx, actor, true);
        }
        self.checkpoints_to_lost(cx, lost);
        self.early_starts.retain(|_, starts| {
            starts.retain(|start| start.from() != lost);
            !starts.is_empty()
        });
        self.calls_from_lost(cx, lost);
    }

    /// Actors of this worker that lived on a lost one, and those that it owned.
    pub(crate) fn actors_of_lost(&mut self, cx: &mut Context<'_>, lost: WorkerId) {
        for owned in self.owned_actors.values_mut() {
            owned.watchers.remove(&lost);
        }
        let there = |state: &OwnedState| state.at().is_some_and(|(host, _)| host == lost);
        let actors: Vec<(ActorId, u32)> = self
            .owned_actors
            .iter()
            .filter(|(_, owned)| there(&owned.state))
            .map(|(actor, owned)| (*actor, owned.attempt))
            .collect();
        for (actor, attempt) in actors {
            let failure = Failure::new(FailureKind::WorkerLost, "", format!("{lost} was lost"));
            self.actor_lost(cx, lost, actor, attempt, failure);
        }
        let routes: Vec<ActorId> = self.routes.keys().copied().collect();
        for actor in routes {
            if actor.owner() == lost {
                let why = "the worker that owned the actor was lost";
                let failure = Failure::new(FailureKind::WorkerLost, "", why);
                self.actor_at(cx, actor, Err(failure), None, false, 0);
            } else if self.routes.get(&actor).is_some_and(|route| route.place == Place::At(lost)) {
                self.ask_place(cx, actor);
            }
        }
        self.calls_at_lost(cx, lost);
    }

    /// The actors that a driver has made end with it.
    pub(crate) fn end_top_actors(&mut self, cx: &mut Context<'_>) {
        let top = |owned: &OwnedActor| owned.spec.parent.is_none() && !matches!(owned.state, OwnedState::Gone(_));
        let actors: Vec<ActorId> =
            self.owned_actors.iter().filter(|(_, owned)| top(owned)).map(|(actor, _)| *actor).collect();
        for actor in actors {
            self.kill(cx, actor, true);
        }
    }

    /// A host sends an actor back: its lease was gone there, or is of no use, or the actor has failed. Whatever the coordinator still has of it is given back,
    /// and the actor waits for another one.
    pub(crate) fn start_came_back(
        &mut self,
        cx: &mut Context<'_>,
        from: WorkerId,
        actor: ActorId,
        failed: Option<Failure>,
    ) {
        let Some(owned) = self.owned_actors.get(&actor) else { return };
        let Some((host, lease)) = owned.state.at() else { return };
        if host != from {
            return;
        }
        let ended = matches!(owned.state, OwnedState::Ending { .. }).then(|| super::end::killed(&owned.spec.class));
        debug_assert!(
            ended.is_some() || matches!(owned.state, OwnedState::Starting { .. }),
            "only what has not started comes back"
        );
        self.release_elsewhere(cx, lease);
        match ended.or(failed) {
            Some(failure) => self.actor_is_gone(cx, actor, failure),
            None => self.actor_ready_or_wait(cx, actor),
        }
    }

    /// A process has ended an actor, as it was asked to. One that it shares with no other ends the process too.
    pub(crate) fn actor_ended(&mut self, cx: &mut Context<'_>, executor: ExecutorId, actor: ActorId) {
        self.killed_has_ended(executor, actor);
        if self.hosted_actors.get(&actor).is_none_or(|hosted| hosted.executor != Some(executor)) {
            return;
        }
        if self.light.contains_key(&executor) {
            self.light_leaves(cx, executor, actor);
            self.hosted_is_gone(cx, actor, super::end::killed(""), true);
        } else {
            self.stop_executor(cx, executor, Fate::ActorEnded, false);
        }
    }

    /// Whether an actor of this worker can still take calls, and which one of another job it is, if it is none of this.
    pub(crate) fn place_of(&self, cx: &Context<'_>, actor: ActorId) -> (Place, Option<ActorId>) {
        if let Some(owned) = self.owned_actors.get(&actor) {
            (place_of(owned), None)
        } else if let Some(proxy) = self.proxies.get(&actor) {
            proxy.place()
        } else if cx.public_job(actor).is_some() {
            (Place::At(self.worker), Some(actor))
        } else {
            let failure = Failure::new(FailureKind::ActorGone, "", "there is no such actor any more");
            (Place::Gone(failure.into()), None)
        }
    }
}

fn place_of(owned: &OwnedActor) -> Place {
    match &owned.state {
        OwnedState::Ready { .. } if owned.checkpoints.gives_up(owned.attempt) => Place::Unknown,
        OwnedState::Ready { host, .. } => Place::At(*host),
        OwnedState::Gone(failure) => Place::Gone(failure.clone()),
        OwnedState::Ending { .. } => Place::Gone(super::end::killed(&owned.spec.class).into()),
        OwnedState::Naming | OwnedState::Waiting { .. } | OwnedState::Queued | OwnedState::Starting { .. } => {
            Place::Unknown
        }
    }
}
