//! The calls of actors that processes here have made, and those that others have made of actors here.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tandem_actor_protocol::{ActorId, CallId};

use crate::actors::{Call, CallState, HostedCall, Place};
use crate::job::Job;
use crate::views::{TaskStateView, TaskView};

/// How many calls each actor here has been given.
type Given = FxHashMap<ActorId, usize>;

impl Job {
    pub(crate) fn call_views(&self) -> impl Iterator<Item = TaskView> {
        let given = self.given_calls();
        let guests: Vec<_> =
            self.guest_calls().map(|(call, hosted)| self.guest_call_view(*call, hosted, &given)).collect();
        self.calls.iter().map(move |(call, entry)| self.call_view(*call, entry, &given)).chain(guests)
    }

    /// One call, as often as it is known here.
    pub(super) fn call_views_of(&self, call: CallId) -> impl Iterator<Item = TaskView> {
        let given = self.given_calls();
        let own = self.calls.get(&call).map(|entry| self.call_view(call, entry, &given));
        let guest = self.hosted_calls.get(&call).filter(|hosted| hosted.from != Some(self.worker));
        let guest = guest.map(|hosted| self.guest_call_view(call, hosted, &given));
        own.into_iter().chain(guest)
    }

    /// Calls that processes of other workers have made.
    pub(super) fn guest_calls(&self) -> impl Iterator<Item = (&CallId, &HostedCall)> {
        self.hosted_calls.iter().filter(|(_, hosted)| hosted.from != Some(self.worker))
    }

    pub(super) fn given_calls(&self) -> Given {
        let mut given = Given::default();
        for hosted in self.hosted_calls.values().filter(|hosted| hosted.sent.is_some()) {
            *given.entry(hosted.actor).or_default() += 1;
        }
        given
    }

    /// A process does not say which of its calls it works on; with one it is clear.
    pub(super) fn hosted_call_state(&self, hosted: &HostedCall, given: &Given) -> TaskStateView {
        match hosted.sent {
            None => TaskStateView::Pending,
            Some(_) if given.get(&hosted.actor) == Some(&1) => TaskStateView::Running,
            Some(_) => TaskStateView::Sent,
        }
    }

    fn call_view(&self, call: CallId, entry: &Call, given: &Given) -> TaskView {
        let hosted = self.hosted_calls.get(&call);
        let (state, host) = match (entry.state, hosted) {
            (CallState::Waiting { .. }, _) => (TaskStateView::Pending, None),
            (CallState::Sent { host, .. }, Some(hosted)) => (self.hosted_call_state(hosted, given), Some(host)),
            (CallState::Sent { host, .. }, None) => (TaskStateView::Sent, Some(host)),
        };
        let reason = match (entry.state, hosted) {
            (CallState::Sent { .. }, Some(hosted)) => self.why_not_sent(hosted),
            (CallState::Sent { .. }, None) if self.hosted_actors.contains_key(&entry.actor) => {
                "waits for the checkpoint of its actor that covers it".to_owned()
            }
            (CallState::Sent { .. }, None) => String::new(),
            (CallState::Waiting { missing: 0 }, _) => match self.routes.get(&entry.actor).map(|route| &route.place) {
                Some(Place::At(_)) => "waits for earlier calls of the same process".to_owned(),
                _ => "waits until the actor is ready".to_owned(),
            },
            (CallState::Waiting { .. }, _) => self.why_args(&entry.args),
        };
        let executor = hosted.and_then(|hosted| self.hosted_actors.get(&hosted.actor)?.executor);
        TaskView {
            job: self.id,
            call,
            actor: Some(entry.actor),
            function: Arc::clone(&entry.method),
            name: entry.method.to_string(),
            state,
            reason,
            attempt: entry.attempt,
            began: hosted.filter(|_| state == TaskStateView::Running).and_then(|hosted| hosted.sent),
            host,
            executor,
            pid: self.pid(executor),
            parent: entry.parent,
        }
    }

    fn guest_call_view(&self, call: CallId, hosted: &HostedCall, given: &Given) -> TaskView {
        let state = self.hosted_call_state(hosted, given);
        let executor = self.hosted_actors.get(&hosted.actor).and_then(|actor| actor.executor);
        TaskView {
            job: self.id,
            call,
            actor: Some(hosted.actor),
            function: Arc::clone(&hosted.method),
            name: hosted.method.to_string(),
            state,
            reason: self.why_not_sent(hosted),
            attempt: hosted.attempt,
            began: hosted.sent.filter(|_| state == TaskStateView::Running),
            host: Some(self.worker),
            executor,
            pid: self.pid(executor),
            parent: None,
        }
    }

    fn why_not_sent(&self, hosted: &HostedCall) -> String {
        match hosted.sent {
            Some(_) => String::new(),
            None => "waits for arguments or for earlier calls of the same process".to_owned(),
        }
    }
}
