//! Takes actors that processes make, and has them wait for their name, their arguments, and a lease.

use tandem_actor_protocol::call::{ActorSpec, Arg};
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::placement::BundleId;
use tandem_actor_protocol::{ActorId, ExecutorId};

use super::owned::OwnedEvent;
use super::{Checkpoints, OwnedActor, OwnedState};
use crate::action::Action;
use crate::context::Context;
use crate::event::NameRefusal;
use crate::job::{Job, Life};
use crate::objects::{Refused, Waiter, await_args};
use crate::tasks::dependency;

impl Job {
    /// A process makes an actor, which may live in a bundle.
    pub(crate) fn spawn(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        mut spec: ActorSpec,
        bundle: Option<BundleId>,
    ) {
        let (actor, creation) = (spec.actor, spec.actor.creation());
        if self.owned_actors.contains_key(&actor) || !self.may_make(executor, creation, 1) {
            return self.broke_protocol(cx, executor, &format!("{actor} is not its to make"));
        }
        self.make_results(cx, executor, creation, 1);
        if let Some(why) = spec.options.shape.refuse() {
            let failure = Failure::new(FailureKind::Unschedulable, spec.class, why);
            return self.break_object(creation.object(0), failure.into());
        }
        let args = match self.take_args(cx, executor, std::mem::take(&mut spec.args)) {
            Ok(args) => args,
            Err(Refused::Broken(why)) => return self.broke_protocol(cx, executor, &why),
            Err(Refused::Full(why)) => {
                let failure = Failure::new(FailureKind::StoreFull, spec.class, why);
                return self.break_object(creation.object(0), failure.into());
            }
        };
        if spec.options.detached {
            return self.detach(cx, spec, &args);
        }
        self.own_actor(cx, spec, args, bundle);
    }

    /// An actor is this worker's from now on.
    pub(crate) fn own_actor(
        &mut self,
        cx: &mut Context<'_>,
        spec: ActorSpec,
        args: Box<[Arg]>,
        bundle: Option<BundleId>,
    ) {
        let actor = spec.actor;
        let shape = self.shape_id(&spec.options.leased(), bundle);
        let named = !spec.options.name.is_empty();
        if named {
            if !spec.options.namespace.is_empty() {
                cx.shared.public.insert(actor, self.id);
            }
            cx.act(Action::ClaimName { job: self.id, spec: Box::new(spec.clone()) });
        }
        let owned = OwnedActor {
            spec: Box::new(spec),
            args,
            shape,
            state: OwnedState::Naming,
            attempt: 0,
            unread: 0,
            checkpoints: Checkpoints::default(),
            watchers: Default::default(),
        };
        self.queues[shape.0 as usize].actors += usize::from(self.needs_lease(&owned));
        self.owned_actors.insert(actor, owned);
        if !named {
            self.actor_ready_or_wait(cx, actor);
        }
    }

    /// The coordinator says whether an actor has its name. One that is gone by now has no use for it.
    pub(crate) fn name_claimed(&mut self, cx: &mut Context<'_>, actor: ActorId, outcome: Result<(), NameRefusal>) {
        let owned = self.owned_actors.get(&actor).filter(|_| self.life == Life::Running);
        let Some(owned) = owned.filter(|owned| !matches!(owned.state, OwnedState::Gone(_))) else {
            return cx.act(Action::DropName { job: self.id, actor });
        };
        if owned.state != OwnedState::Naming {
            return;
        }
        let (name, class) = (&owned.spec.options.name, owned.spec.class.clone());
        let failure = match outcome {
            Ok(()) => return self.actor_ready_or_wait(cx, actor),
            Err(NameRefusal::Taken(other)) => {
                Failure::new(FailureKind::NameTaken, class, format!("the name {name} is that of {other}"))
            }
            Err(NameRefusal::Refused(why)) => {
                Failure::new(FailureKind::Mismatch, class, format!("the actor has no name: {why}"))
            }
        };
        self.actor_is_gone(cx, actor, failure);
    }

    /// Queues an actor for a lease, or has it wait for its arguments, or fails it if one of them has failed.
    pub(crate) fn actor_ready_or_wait(&mut self, cx: &mut Context<'_>, actor: ActorId) {
        let Some(owned) = self.owned_actors.get_mut(&actor) else { return };
        let waiter = Waiter::Actor(actor);
        let (args, failed) = await_args(&self.objects, &mut self.waiters, &owned.args, waiter);
        // It goes on from the last checkpoint, which may not be here yet.
        let missing = args + u32::from(self.checkpoints_coming.contains_key(&actor));
        if owned.state.apply(OwnedEvent::Wait { missing }).is_err() {
            return;
        }
        let class = owned.spec.class.clone();
        match failed {
            Some(failure) => self.actor_is_gone(cx, actor, dependency(&class, &failure)),
            None if missing == 0 => self.queue_actor(cx, actor),
            None => {}
        }
    }

    /// An argument of an actor's constructor has a value now, or never will, or the checkpoint is here that it goes on from.
    pub(crate) fn actor_argument_settled(&mut self, cx: &mut Context<'_>, actor: ActorId, failed: Option<&Failure>) {
        let Some(owned) = self.owned_actors.get_mut(&actor) else { return };
        if !matches!(owned.state, OwnedState::Waiting { .. }) {
            return;
        }
        if let Some(failure) = failed {
            let failure = dependency(&owned.spec.class, failure);
            return self.actor_is_gone(cx, actor, failure);
        }
        let _ = owned.state.apply(OwnedEvent::ArgumentThere);
        if owned.state == OwnedState::Queued {
            self.queue_actor(cx, actor);
        }
    }

    /// Whether an actor has or wants a lease. A light one that takes nothing does not, unless it is to be where a bundle is.
    pub(crate) fn needs_lease(&self, owned: &OwnedActor) -> bool {
        let options = &owned.spec.options;
        let bundle = self.queues[owned.shape.0 as usize].bundle;
        !options.light || !options.shape.milli.is_empty() || bundle.is_some()
    }

    fn queue_actor(&mut self, cx: &mut Context<'_>, actor: ActorId) {
        let Some(owned) = self.owned_actors.get(&actor) else { return };
        let shape = owned.shape;
        if !self.needs_lease(owned) {
            return self.start_here(cx, actor, 0);
        }
        self.queues[shape.0 as usize].starts.push_back(actor);
        self.dirty.queue(shape);
    }
}
