//! Where an actor is, as those who call it from here know it, and the calls that wait for it.
//!
//! Calls of one process go in the order in which it made them: one that waits for an argument holds back the later ones of that process
//! in the same group of the same actor.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::PeerBody;
use tandem_actor_protocol::{ActorId, CallId, WorkerId};

use super::Lane;
use crate::context::Context;
use crate::job::Job;

/// What callers here know of an actor.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) place: Place,
    /// It is this actor of another job, and its place is that of its owner.
    pub(crate) outside: Option<ActorId>,
    /// Which start of it that is.
    pub(crate) start: u32,
    /// Calls that were under way when it was lost are made again.
    pub(crate) retry_calls: bool,
    /// Calls that have not been sent.
    pub(crate) lanes: BTreeMap<Lane, VecDeque<CallId>>,
    /// How many these are.
    pub(crate) waiting: usize,
    /// Calls that were sent and have not ended.
    sent: BTreeMap<Lane, BTreeSet<CallId>>,
}

/// Where an actor is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Place {
    /// Its owner will say.
    Unknown,
    At(WorkerId),
    /// Gone for good, or about to.
    Gone(Arc<Failure>),
}

impl Route {
    fn new() -> Self {
        Self {
            place: Place::Unknown,
            outside: None,
            start: 0,
            retry_calls: false,
            lanes: BTreeMap::new(),
            waiting: 0,
            sent: BTreeMap::new(),
        }
    }

    /// Whether calls wait for it, or have not ended there.
    pub(crate) fn has_calls(&self) -> bool {
        self.waiting > 0 || !self.sent.is_empty()
    }

    /// Puts a call where it belongs in its lane: ids of one process grow.
    pub(crate) fn add(&mut self, lane: Lane, call: CallId) {
        let lane = self.lanes.entry(lane).or_default();
        let at = lane.iter().rposition(|before| *before < call).map_or(0, |at| at + 1);
        lane.insert(at, call);
        self.waiting += 1;
    }

    /// A call goes to where the actor is.
    pub(crate) fn sent(&mut self, lane: Lane, call: CallId) {
        self.take(&lane, call);
        self.sent.entry(lane).or_default().insert(call);
    }

    /// A call is not there any more.
    pub(crate) fn not_sent(&mut self, lane: &Lane, call: CallId) {
        let Some(calls) = self.sent.get_mut(lane) else { return };
        calls.remove(&call);
        if calls.is_empty() {
            self.sent.remove(lane);
        }
    }

    pub(crate) fn take(&mut self, lane: &Lane, call: CallId) {
        let Some(calls) = self.lanes.get_mut(lane) else { return };
        let Some(at) = calls.iter().position(|known| *known == call) else { return };
        calls.remove(at);
        self.waiting -= 1;
        if calls.is_empty() {
            self.lanes.remove(lane);
        }
    }
}

impl Job {
    /// What callers here know of an actor, after asking its owner if that is the first call.
    pub(crate) fn route_to(&mut self, cx: &mut Context<'_>, actor: ActorId) -> &mut Route {
        let mut first = false;
        self.routes.entry(actor).or_insert_with(|| {
            first = true;
            Route::new()
        });
        if first {
            self.ask_place(cx, actor);
        }
        self.routes.entry(actor).or_insert_with(Route::new)
    }

    /// Asks the owner of an actor where it is now, which may be this worker.
    pub(crate) fn ask_place(&mut self, cx: &mut Context<'_>, actor: ActorId) {
        let owner = actor.owner();
        let ((place, outside), (retry_calls, start)) = if owner == self.worker {
            (self.place_of(cx, actor), self.calls_go_on(actor))
        } else if cx.shared.lost.contains(&owner) {
            let why = "the worker that owned the actor was lost";
            ((Place::Gone(Failure::new(FailureKind::WorkerLost, "", why).into()), None), (false, 0))
        } else {
            self.send_peer(cx, owner, PeerBody::WatchActor(actor));
            let known = self.routes.get(&actor).map_or((false, 0), |route| (route.retry_calls, route.start));
            ((Place::Unknown, None), known)
        };
        self.set_place(cx, actor, place, outside, retry_calls, start);
    }

    /// The owner of an actor says where it is.
    pub(crate) fn actor_at(
        &mut self,
        cx: &mut Context<'_>,
        actor: ActorId,
        place: Result<Option<WorkerId>, Failure>,
        outside: Option<ActorId>,
        retry_calls: bool,
        start: u32,
    ) {
        let place = match place {
            Ok(Some(host)) if cx.shared.lost.contains(&host) => Place::Unknown,
            Ok(Some(host)) => Place::At(host),
            Ok(None) => Place::Unknown,
            Err(failure) => Place::Gone(failure.into()),
        };
        self.set_place(cx, actor, place, outside, retry_calls, start);
        self.forget_route(actor);
    }

    /// Forgets what is known of an actor that is gone, when all its calls have ended: who calls it later asks again.
    pub(crate) fn forget_route(&mut self, actor: ActorId) {
        let over = |route: &Route| matches!(route.place, Place::Gone(_)) && !route.has_calls();
        if self.routes.get(&actor).is_some_and(over) {
            self.routes.remove(&actor);
        }
        self.forget_proxy(actor);
    }

    fn set_place(
        &mut self,
        cx: &mut Context<'_>,
        actor: ActorId,
        place: Place,
        outside: Option<ActorId>,
        retry_calls: bool,
        start: u32,
    ) {
        let Some(route) = self.routes.get_mut(&actor) else { return };
        if matches!(route.place, Place::Gone(_)) {
            return;
        }
        route.place = place.clone();
        route.outside = outside;
        route.retry_calls = retry_calls;
        route.start = start;
        match place {
            Place::Unknown => {}
            Place::At(_) => self.advance_route(cx, actor),
            Place::Gone(failure) => {
                let lanes = std::mem::take(&mut route.lanes);
                route.waiting = 0;
                for call in lanes.into_values().flatten() {
                    self.call_failed(cx, call, &failure);
                }
            }
        }
    }

    fn advance_route(&mut self, cx: &mut Context<'_>, actor: ActorId) {
        let Some(route) = self.routes.get(&actor) else { return };
        for lane in route.lanes.keys().cloned().collect::<Vec<_>>() {
            self.advance_lane(cx, actor, &lane);
        }
    }

    /// Another worker wants to know where an actor of this one is.
    pub(crate) fn watch_actor(&mut self, cx: &mut Context<'_>, from: WorkerId, actor: ActorId) {
        if let Some(owned) = self.owned_actors.get_mut(&actor) {
            owned.watchers.insert(from);
        } else if let Some(proxy) = self.proxies.get_mut(&actor) {
            proxy.watchers.insert(from);
        }
        self.tell_place(cx, from, actor);
    }

    fn tell_place(&mut self, cx: &mut Context<'_>, to: WorkerId, actor: ActorId) {
        let (place, outside) = self.place_of(cx, actor);
        let place = match place {
            Place::Unknown => Ok(None),
            Place::At(host) => Ok(Some(host)),
            Place::Gone(failure) => Err(Failure::clone(&failure)),
        };
        let (retry_calls, start) = self.calls_go_on(actor);
        // Behind what it is told of calls that a checkpoint covers, or does not.
        self.send_fenced(cx, to, PeerBody::ActorAt { actor, place, retry_calls, outside, start });
    }

    /// Whether calls that were under way are made again when an actor of this worker is lost, and which start of it there is.
    fn calls_go_on(&self, actor: ActorId) -> (bool, u32) {
        self.owned_actors.get(&actor).map_or((false, 0), |owned| (owned.spec.options.retry_calls, owned.attempt))
    }

    /// Whether calls of a lane are under way where the actor was before: later ones of that lane must not overtake them.
    pub(crate) fn is_behind(&self, route: &Route, lane: &Lane) -> bool {
        let oldest = route.sent.get(lane).and_then(BTreeSet::first).and_then(|call| self.calls.get(call));
        oldest.is_some_and(|entry| entry.state.is_of_start_before(route.start))
    }

    /// An actor of this worker is elsewhere now, or nowhere: those who call it are told.
    pub(crate) fn actor_moved(&mut self, cx: &mut Context<'_>, actor: ActorId) {
        let owned = self.owned_actors.get(&actor).map(|owned| &owned.watchers);
        let watchers = owned.or_else(|| self.proxies.get(&actor).map(|proxy| &proxy.watchers));
        for watcher in watchers.into_iter().flatten().copied().collect::<Vec<_>>() {
            self.tell_place(cx, watcher, actor);
        }
        if self.routes.contains_key(&actor) {
            self.ask_place(cx, actor);
            self.forget_route(actor);
        }
    }
}
