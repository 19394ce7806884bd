//! Actors that outlive the job that made them: each is a job of its own, which is that actor and nothing else. Here are both ends:
//! what stands for it in the job that made it, and the driver that is an actor.

use std::collections::BTreeSet;
use std::sync::Arc;

use tandem_actor_protocol::call::{ActorSpec, Arg};
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::value::Body;
use tandem_actor_protocol::{ActorId, WorkerId};

use crate::action::Action;
use crate::actors::{Place, Route};
use crate::context::Context;
use crate::event::Found;
use crate::job::Job;
use crate::objects::{NO_INDEX, Object, ObjectState, Stored};

/// An actor of another job, by the id that the job which made it knows it by.
#[derive(Debug)]
pub(crate) struct Proxy {
    class: String,
    state: ProxyState,
    /// Other workers that want to know where it is.
    pub(crate) watchers: BTreeSet<WorkerId>,
}

#[derive(Debug, Clone)]
enum ProxyState {
    /// Its job is being started.
    Starting,
    /// It is this one.
    There(ActorId),
    Gone(Arc<Failure>),
}

impl Proxy {
    /// Where its calls go, and what it is called there.
    pub(crate) fn place(&self) -> (Place, Option<ActorId>) {
        match &self.state {
            ProxyState::Starting => (Place::Unknown, None),
            ProxyState::There(actor) => (Place::At(actor.owner()), Some(*actor)),
            ProxyState::Gone(failure) => (Place::Gone(failure.clone()), None),
        }
    }
}

impl Job {
    /// Starts an actor as a job of its own.
    pub(crate) fn detach(&mut self, cx: &mut Context<'_>, spec: ActorSpec, args: &[Arg]) {
        let actor = spec.actor;
        let passes = |arg: &Arg| match arg {
            Arg::Value(value) => matches!(value.body, Body::Inline { .. }) && value.refs.is_empty(),
            Arg::Object(_) => false,
        };
        let why = if spec.options.name.is_empty() || spec.options.namespace.is_empty() {
            Some("a detached actor needs a name and a namespace, or nobody could find it")
        } else if !args.iter().all(passes) {
            Some("the arguments of a detached actor must be values of up to 64 KiB that name no objects")
        } else {
            None
        };
        let class = spec.class.clone();
        self.proxies
            .insert(actor, Proxy { class: class.clone(), state: ProxyState::Starting, watchers: BTreeSet::new() });
        match why {
            Some(why) => self.proxy_is(cx, actor, Err(Failure::new(FailureKind::Mismatch, class, why))),
            None => {
                let spec = ActorSpec { args: args.to_vec(), ..spec };
                cx.act(Action::Detach { job: self.id, spec: Box::new(spec) });
            }
        }
    }

    /// The job of a detached actor has started, or has not.
    pub(crate) fn detached(&mut self, cx: &mut Context<'_>, actor: ActorId, outcome: Result<Found, String>) {
        let Some(proxy) = self.proxies.get(&actor) else { return };
        let outcome = match outcome {
            Ok(found) => {
                self.know_peer(cx, found.actor.owner(), found.owner_address);
                Ok(found.actor)
            }
            Err(why) => Err(Failure::new(FailureKind::ActorGone, proxy.class.clone(), why)),
        };
        self.proxy_is(cx, actor, outcome);
    }

    fn proxy_is(&mut self, cx: &mut Context<'_>, actor: ActorId, outcome: Result<ActorId, Failure>) {
        let Some(proxy) = self.proxies.get_mut(&actor) else { return };
        let created = actor.creation().object(0);
        match outcome {
            Ok(there) => {
                proxy.state = ProxyState::There(there);
                self.result(cx, created, Stored::unit());
            }
            Err(failure) => {
                let failure = Arc::new(failure);
                proxy.state = ProxyState::Gone(failure.clone());
                self.break_object(created, failure);
            }
        }
        self.actor_moved(cx, actor);
        self.forget_proxy(actor);
    }

    /// Forgets a detached actor that nobody here has a handle of any more, and no call under way. By its name it is found again.
    pub(crate) fn forget_proxy(&mut self, actor: ActorId) {
        let is_known = |proxy: &Proxy| !matches!(proxy.state, ProxyState::Starting);
        let is_held = self.objects.contains_key(&actor.creation().object(0));
        let is_called = self.routes.get(&actor).is_some_and(Route::has_calls);
        if !is_held && !is_called && self.proxies.get(&actor).is_some_and(is_known) {
            self.proxies.remove(&actor);
            self.routes.remove(&actor);
        }
    }

    /// A worker is lost, with the detached actors that it owned. Their jobs make them anew, and by their names they are found again.
    pub(crate) fn proxies_of_lost(&mut self, cx: &mut Context<'_>, lost: WorkerId) {
        let there = |proxy: &Proxy| matches!(proxy.state, ProxyState::There(actor) if actor.owner() == lost);
        let gone: Vec<ActorId> =
            self.proxies.iter().filter(|(_, proxy)| there(proxy)).map(|(actor, _)| *actor).collect();
        for actor in gone {
            let failure = Failure::new(FailureKind::WorkerLost, "", "the worker that owned the actor was lost");
            self.proxy_is(cx, actor, Err(failure));
        }
    }

    /// Someone wants an actor ended that is none of this job's.
    pub(crate) fn kill_outside(&mut self, cx: &mut Context<'_>, actor: ActorId, at_once: bool) {
        match self.proxies.get(&actor).map(Proxy::place) {
            Some((_, Some(there))) => self.kill(cx, there, at_once),
            Some(_) => {}
            None => super::kill(cx, actor, at_once),
        }
    }

    /// The id of an actor that is to be the driver of this job.
    pub(crate) fn new_driver_actor(&mut self, cx: &mut Context<'_>) -> ActorId {
        let actor = ActorId(cx.new_call(1).0);
        let created = actor.creation().object(0);
        self.objects.insert(created, Object::new(ObjectState::Pending, NO_INDEX));
        self.hold_use(cx, created);
        actor
    }

    /// Makes it.
    pub(crate) fn start_driver_actor(&mut self, cx: &mut Context<'_>, actor: ActorId, mut spec: ActorSpec) {
        let args = std::mem::take(&mut spec.args);
        (spec.actor, spec.parent, spec.options.detached) = (actor, None, false);
        self.own_actor(cx, spec, args.into(), None);
    }
}
