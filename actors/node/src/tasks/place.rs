//! Where tasks of this worker go: to places here first, then over the leases on other workers, to few at a time, so that none has many
//! while others have none.

use tandem_actor_protocol::call::Arg;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::PeerBody;
use tandem_actor_protocol::{ActorId, CallId, WorkerId};

use super::{MOST_REBUILDS, ShapeId, TaskEvent, TaskState};
use crate::context::Context;
use crate::job::Job;
use crate::objects::{Object, objects_of};

impl Job {
    /// Puts a queued task where it may be sent from, or sends it at once to where it should rather be.
    pub(crate) fn enqueue(&mut self, cx: &mut Context<'_>, call: CallId, first: bool) {
        let Some(task) = self.tasks.get(&call) else { return };
        let shape = task.shape;
        let queue = &mut self.queues[shape.0 as usize];
        queue.push(call, first);
        self.dirty.queue(shape);
        if queue.leases.is_empty() {
            return;
        }
        let wanted = self.better_lease(cx, call, shape);
        if let Some(lease) = wanted {
            // It is at one of the ends.
            let queue = &mut self.queues[shape.0 as usize];
            if first {
                queue.waiting.pop_front()
            } else {
                queue.waiting.pop_back()
            };
            queue.forget_one();
            self.send_task(cx, call, shape, lease);
        }
    }

    /// A lease on another worker that suits a task better than this one.
    fn better_lease(&self, cx: &Context<'_>, call: CallId, shape: ShapeId) -> Option<u64> {
        let task = self.tasks.get(&call)?;
        let queue = &self.queues[shape.0 as usize];
        let busy_here = self.groups_of(shape).any(|group| group.busy > 0) || self.places_of(shape) == 0;
        if task.options.as_deref().is_some_and(|options| options.spread) && busy_here {
            return queue.by_load.first().filter(|(sent, _)| *sent == 0).map(|(_, lease)| *lease);
        }
        let nearest = self.nearest_host(&task.args)?;
        let there = |lease: &&(u32, u64)| queue.leases.get(&lease.1).is_some_and(|entry| entry.host == nearest);
        // There are few leases per host; the least loaded ones come first.
        let found = queue.by_load.iter().take_while(|(sent, _)| *sent < cx.config.peer_depth).find(there);
        found.map(|(_, lease)| *lease)
    }

    /// The other worker that has most of the large arguments, if that is more than there is here.
    fn nearest_host(&self, args: &[Arg]) -> Option<WorkerId> {
        let mut hosts: Vec<(WorkerId, u64)> = Vec::new();
        for object in objects_of(args) {
            let Some(stored) = self.objects.get(&object).and_then(Object::stored) else { continue };
            let host = if stored.is_here() { Some(self.worker) } else { stored.remote() };
            let Some(host) = host else { continue };
            match hosts.iter_mut().find(|(known, _)| *known == host) {
                Some((_, bytes)) => *bytes += stored.bytes(),
                None => hosts.push((host, stored.bytes())),
            }
        }
        let (host, _) = hosts.into_iter().max_by_key(|(host, bytes)| (*bytes, *host == self.worker))?;
        (host != self.worker).then_some(host)
    }

    /// The next task of a queue, if its arguments still have values.
    pub(crate) fn next_task(&mut self, cx: &mut Context<'_>, shape: ShapeId) -> Option<CallId> {
        loop {
            let queue = &mut self.queues[shape.0 as usize];
            let call = queue.waiting.pop_front()?;
            let Some(task) = self.tasks.get(&call).filter(|task| task.state == TaskState::Queued) else { continue };
            queue.forget_one();
            if self.have_values(&task.args) {
                return Some(call);
            }
            self.ready_or_wait(cx, call, true);
        }
    }

    /// Sends what cannot be run here to other workers.
    pub(crate) fn send_tasks(&mut self, cx: &mut Context<'_>, shape: ShapeId) {
        let free_here = self.free_places_of(shape);
        let here = self.places_of(shape);
        loop {
            let queue = &self.queues[shape.0 as usize];
            let Some((load, lease)) = queue.by_load.first().copied() else { return };
            if queue.queued <= free_here {
                break;
            }
            let share = queue.queued / (here + queue.by_load.len());
            let depth = u32::try_from(share).unwrap_or(u32::MAX).clamp(1, cx.config.peer_depth);
            if load >= depth {
                return;
            }
            let Some(call) = self.next_task(cx, shape) else { break };
            self.send_task(cx, call, shape, lease);
        }
        self.even_out(cx, shape, free_here);
    }

    /// With nothing left to send and someone idle, gets some back from the worker that has most.
    fn even_out(&mut self, cx: &mut Context<'_>, shape: ShapeId, free_here: usize) {
        let queue = &self.queues[shape.0 as usize];
        let idle = free_here > 0 || queue.by_load.first().is_some_and(|(load, _)| *load == 0);
        let Some((load, lease)) = queue.by_load.last().copied() else { return };
        if queue.queued > 0 || !idle || load < 2 {
            return;
        }
        let Some(host) = queue.leases.get(&lease).map(|entry| entry.host) else { return };
        if self.peers.recalling.insert(host) {
            self.send_peer(cx, host, PeerBody::Recall { count: load / 2 });
        }
    }

    fn send_task(&mut self, cx: &mut Context<'_>, call: CallId, shape: ShapeId, lease: u64) {
        let queue = &mut self.queues[shape.0 as usize];
        let Some(host) = queue.leases.get(&lease).map(|entry| entry.host) else { return };
        let Some(task) = self.tasks.get_mut(&call) else { return };
        if task.state.apply(TaskEvent::Place { host, lease }).is_err() {
            return;
        }
        queue.sent_to(lease);
        let (attempt, task) = (task.attempt, task.spec(call));
        let resolved = self.resolve_args(&task.args);
        let body = match self.streams.begin_attempt(call) {
            Some(wanted) => {
                let (wanted, until) = (wanted.items(), wanted.until());
                PeerBody::RunStream { lease, task, attempt, resolved, wanted, until }
            }
            None => PeerBody::Run { lease, task, attempt, resolved },
        };
        self.send_peer(cx, host, body);
    }

    /// The values of object arguments, for another worker.
    pub(crate) fn resolve_args(
        &self,
        args: &[Arg],
    ) -> Vec<(tandem_actor_protocol::ObjectId, tandem_actor_protocol::peer::RemoteValue)> {
        let value = |object| Some((object, self.objects.get(&object)?.stored()?.to_remote(self.worker)));
        objects_of(args).filter_map(value).collect()
    }

    /// A host gave back tasks that it has not begun. One of them may have failed.
    pub(crate) fn tasks_came_back(
        &mut self,
        cx: &mut Context<'_>,
        from: WorkerId,
        calls: &[CallId],
        failed: Option<&(CallId, Failure)>,
    ) {
        for call in calls.iter().rev() {
            let Some(task) = self.tasks.get(call) else { continue };
            let TaskState::Placed { host, lease, cancelled } = task.state else { continue };
            if host != from {
                continue;
            }
            self.queues[task.shape.0 as usize].back_from(lease, cx.now);
            self.dirty_shape(*call);
            if cancelled {
                self.finish_cancelled(cx, *call);
            } else if let Some((_, failure)) = failed.filter(|(failed, _)| failed == call) {
                self.finish_task(cx, *call, Err(failure.clone()));
            } else {
                self.ready_or_wait(cx, *call, true);
            }
        }
    }

    /// Something has not begun, since `reader` could not read an argument of it from where that was said to be. It fails if that goes on
    /// and on: then it is not because a worker was lost.
    pub(crate) fn cannot_read(&mut self, call: CallId, reader: WorkerId, from: WorkerId) -> Option<(CallId, Failure)> {
        let (tried, name) = if let Some(task) = self.tasks.get_mut(&call) {
            (&mut task.rebuilds, task.function.to_string())
        } else if let Some(entry) = self.calls.get_mut(&call) {
            (&mut entry.unread, entry.method.to_string())
        } else {
            let owned = self.owned_actors.get_mut(&ActorId(call.0))?;
            (&mut owned.unread, owned.spec.class.clone())
        };
        *tried = tried.saturating_add(1);
        let why = format!("{reader} cannot read an argument from {from}, and has tried {MOST_REBUILDS} times");
        (*tried > MOST_REBUILDS).then(|| (call, Failure::new(FailureKind::ObjectLost, name, why)))
    }
}
