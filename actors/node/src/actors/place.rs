//! Where actors of this worker are started: on a lease of their own, here or elsewhere.

use tandem_actor_protocol::call::Arg;
use tandem_actor_protocol::peer::PeerBody;
use tandem_actor_protocol::{ActorId, WorkerId};

use super::owned::OwnedEvent;
use super::{HostedActor, HostedState, OwnedState};
use crate::context::Context;
use crate::host::{GroupId, LeaseState};
use crate::job::Job;
use crate::tasks::ShapeId;

impl Job {
    /// Gives places of a group to actors: those that others want here first.
    pub(crate) fn start_actors(&mut self, cx: &mut Context<'_>, id: GroupId) {
        loop {
            let group = &mut self.groups[id.0 as usize];
            if group.busy >= group.places() {
                return;
            }
            let Some(actor) = group.starts.pop_front() else { break };
            self.pin_hosted(cx, actor);
        }
        let Some(shape) = self.groups[id.0 as usize].shape else { return };
        // There may be many leases, and this is looked at for every task.
        while self.groups[id.0 as usize].busy < self.groups[id.0 as usize].places()
            && !self.queues[shape.0 as usize].starts.is_empty()
        {
            let free = self
                .host_leases
                .iter()
                .find(|(_, lease)| lease.group == id && lease.owner == self.worker && lease.state == LeaseState::Place);
            let Some(lease) = free.map(|(lease, _)| *lease) else { return };
            let Some(actor) = self.next_start(cx, shape) else { return };
            if self.pin_lease(lease, actor) {
                self.start_here(cx, actor, lease);
            }
        }
    }

    /// Starts actors on idle leases of other workers.
    pub(crate) fn start_actors_elsewhere(&mut self, cx: &mut Context<'_>, shape: ShapeId) {
        loop {
            let queue = &self.queues[shape.0 as usize];
            let Some((0, lease)) = queue.by_load.first().copied() else { return };
            let Some(host) = queue.leases.get(&lease).map(|entry| entry.host) else { return };
            let Some(actor) = self.next_start(cx, shape) else { return };
            self.queues[shape.0 as usize].give_to_actor(lease, actor);
            self.start_elsewhere(cx, actor, host, lease);
        }
    }

    /// The next actor that waits for a lease, if its arguments still have values.
    fn next_start(&mut self, cx: &mut Context<'_>, shape: ShapeId) -> Option<ActorId> {
        loop {
            let actor = self.queues[shape.0 as usize].starts.pop_front()?;
            let Some(owned) = self.owned_actors.get(&actor).filter(|owned| owned.state == OwnedState::Queued) else {
                continue;
            };
            if self.have_values(&owned.args) {
                return Some(actor);
            }
            self.actor_ready_or_wait(cx, actor);
        }
    }

    /// Starts an actor of this worker here. Lease zero is none.
    pub(crate) fn start_here(&mut self, cx: &mut Context<'_>, actor: ActorId, lease: u64) {
        let Some(owned) = self.owned_actors.get_mut(&actor) else { return };
        if owned.state.apply(OwnedEvent::Place { host: self.worker, lease }).is_err() {
            return;
        }
        let (attempt, spec, mut args) = (owned.attempt, owned.spec.clone(), owned.args.to_vec());
        let checkpoint = self.owned_actors.get(&actor).and_then(|owned| self.checkpoint_of(&owned.checkpoints));
        args.extend(checkpoint.map(Arg::Object));
        let mut hosted = HostedActor::new(self.worker, lease, attempt, spec, args.into());
        hosted.has_checkpoint = checkpoint.is_some();
        hosted.state = HostedState::Fetching { missing: 0 };
        self.hosted_actors.insert(actor, hosted);
        self.get_actor_args(cx, actor);
    }

    fn start_elsewhere(&mut self, cx: &mut Context<'_>, actor: ActorId, host: WorkerId, lease: u64) {
        let Some(owned) = self.owned_actors.get_mut(&actor) else { return };
        if owned.state.apply(OwnedEvent::Place { host, lease }).is_err() {
            return;
        }
        let attempt = owned.attempt;
        let mut spec = owned.spec.clone();
        spec.args = owned.args.to_vec();
        let resolved = self.resolve_args(&spec.args);
        let saved = self.owned_actors.get(&actor).and_then(|owned| self.checkpoint_of(&owned.checkpoints));
        let checkpoint = saved.and_then(|object| {
            let stored = self.objects.get(&object)?.stored()?;
            Some((object, stored.to_remote(self.worker)))
        });
        self.send_peer(cx, host, PeerBody::Start { lease, actor: spec, attempt, resolved, checkpoint });
    }
}
