//! The actors of a job that this worker owns or hosts.

use tandem_actor_protocol::ActorId;

use crate::actors::{HostedActor, HostedState, OwnedActor, OwnedState};
use crate::job::Job;
use crate::views::{ActorStateView, ActorView};

impl Job {
    /// How many views there are.
    pub(crate) fn actor_count(&self) -> usize {
        self.owned_actors.len() + self.guest_actors().count()
    }

    /// Actors here that other workers own.
    fn guest_actors(&self) -> impl Iterator<Item = (&ActorId, &HostedActor)> {
        self.hosted_actors.iter().filter(|(_, hosted)| hosted.owner != self.worker)
    }

    pub(crate) fn actor_views(&self) -> impl Iterator<Item = ActorView> {
        let guests = self.guest_actors().map(|(actor, hosted)| ActorView {
            job: self.id,
            actor: *actor,
            class: hosted.spec.class.clone(),
            name: hosted.spec.options.name.clone(),
            state: match hosted.state {
                HostedState::Placing | HostedState::Fetching { .. } => ActorStateView::Pending,
                HostedState::Launching | HostedState::Constructing => ActorStateView::Starting,
                HostedState::Ready => ActorStateView::Ready,
                HostedState::Ending => ActorStateView::Ending,
            },
            reason: match hosted.state {
                HostedState::Placing => "its lease is still in use".to_owned(),
                HostedState::Fetching { missing } => format!("{missing} arguments are on their way to this worker"),
                _ => String::new(),
            },
            starts: hosted.attempt + 1,
            host: Some(self.worker),
            executor: hosted.executor,
            pid: self.pid(hosted.executor),
            calls: hosted.calls.len(),
        });
        self.owned_actors.iter().map(|(actor, owned)| self.owned_view(*actor, owned)).chain(guests)
    }

    fn owned_view(&self, actor: ActorId, owned: &OwnedActor) -> ActorView {
        let hosted = self.hosted_actors.get(&actor);
        let executor = hosted.and_then(|hosted| hosted.executor);
        let (state, reason) = match &owned.state {
            OwnedState::Naming => (ActorStateView::Pending, "waits for its name".to_owned()),
            OwnedState::Waiting { .. } => (ActorStateView::Pending, self.why_args(&owned.args)),
            OwnedState::Queued => (ActorStateView::Pending, "waits for a lease of its own".to_owned()),
            OwnedState::Starting { .. } => {
                (ActorStateView::Starting, "its process starts or its constructor runs".to_owned())
            }
            OwnedState::Ready { .. } => (ActorStateView::Ready, String::new()),
            OwnedState::Ending { .. } => (ActorStateView::Ending, "was asked to end".to_owned()),
            OwnedState::Gone(failure) => (ActorStateView::Gone, failure.message.clone()),
        };
        let begun = matches!(state, ActorStateView::Starting | ActorStateView::Ready | ActorStateView::Ending);
        ActorView {
            job: self.id,
            actor,
            class: owned.spec.class.clone(),
            name: owned.spec.options.name.clone(),
            state,
            reason,
            starts: owned.attempt + u32::from(begun),
            host: owned.state.at().map(|(host, _)| host),
            executor,
            pid: self.pid(executor),
            calls: hosted.map_or(0, |hosted| hosted.calls.len()),
        }
    }
}
