//! What the coordinator is told about how many leases are wanted: more at once while that is few, else from time to time.

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::placement::BundleId;
use tandem_actor_protocol::resources::Shape;

use super::{ShapeId, TaskState};
use crate::action::Action;
use crate::actors::OwnedState;
use crate::context::Context;
use crate::host::GroupId;
use crate::job::Job;
use crate::timers::Timer;

/// Up to so many, each lease more is asked for at once.
const PROMPT_LEASES: u32 = 16;
/// More is asked for at once if it is so much more: a quarter.
const PROMPT_PART: u32 = 4;
/// Else after this.
const GATHER_MS: u64 = 5;

impl Job {
    /// Leases that the tasks and actors of a shape could use now.
    fn wanted(&self, cx: &Context<'_>, shape: ShapeId) -> u32 {
        let queue = &self.queues[shape.0 as usize];
        let tasks = u32::try_from(queue.queued + queue.sent + queue.here).unwrap_or(u32::MAX);
        let actors = u32::try_from(queue.actors).unwrap_or(u32::MAX);
        tasks.min(cx.config.max_leases).saturating_add(actors)
    }

    /// Looks whether the coordinator must be told.
    pub(crate) fn note_demand(&mut self, cx: &mut Context<'_>, shape: ShapeId) {
        let wanted = self.wanted(cx, shape);
        let (id, lease_idle_ms) = (self.id, cx.config.lease_idle_ms);
        let queue = &mut self.queues[shape.0 as usize];
        let told = queue.demanded;
        if wanted > told && (wanted <= PROMPT_LEASES || wanted - told > told / PROMPT_PART) {
            self.tell_demand(cx, shape);
        } else if wanted != told && !queue.demand_timer {
            queue.demand_timer = true;
            let after_ms = if wanted > told { GATHER_MS } else { lease_idle_ms };
            cx.timer(after_ms, id, Timer::Demand(shape));
        }
    }

    pub(crate) fn demand_overdue(&mut self, cx: &mut Context<'_>, shape: ShapeId) {
        self.queues[shape.0 as usize].demand_timer = false;
        self.tell_demand(cx, shape);
        self.dirty.queue(shape);
    }

    /// Tells the coordinator what is wanted, if that is not what it knows.
    pub(crate) fn tell_demand(&mut self, cx: &mut Context<'_>, shape: ShapeId) {
        let wanted = self.wanted(cx, shape);
        let queue = &mut self.queues[shape.0 as usize];
        if queue.demanded != wanted {
            queue.demanded = wanted;
            cx.act(Action::Demand { job: self.id, shape: queue.shape.clone(), bundle: queue.bundle, wanted });
        }
    }

    /// No worker has what a shape needs: what waits for a lease of it fails, unless there is one meanwhile.
    pub(crate) fn lease_refused(
        &mut self,
        cx: &mut Context<'_>,
        shape: &Shape,
        bundle: Option<BundleId>,
        reason: &str,
    ) {
        let Some(id) = self.shapes.find(shape, bundle) else { return };
        let queue = &self.queues[id.0 as usize];
        if !queue.leases.is_empty() || self.places_of(id) > 0 {
            return;
        }
        let queue = &mut self.queues[id.0 as usize];
        let (tasks, actors) = (std::mem::take(&mut queue.waiting), std::mem::take(&mut queue.starts));
        for call in tasks {
            let Some(task) = self.tasks.get(&call).filter(|task| task.state == TaskState::Queued) else { continue };
            let failure = Failure { attempts: task.failures, ..unschedulable(task.name(), reason) };
            self.finish_task(cx, call, Err(failure));
        }
        for actor in actors {
            let Some(owned) = self.owned_actors.get(&actor).filter(|owned| owned.state == OwnedState::Queued) else {
                continue;
            };
            let failure = unschedulable(&owned.spec.class, reason);
            self.actor_is_gone(cx, actor, failure);
        }
    }

    /// Tells the coordinator everything again.
    pub(crate) fn tell_all_demand(&mut self, cx: &mut Context<'_>) {
        for index in 0..self.queues.len() {
            let shape = ShapeId(u32::try_from(index).unwrap_or(u32::MAX));
            let wanted = self.wanted(cx, shape);
            let queue = &mut self.queues[index];
            queue.demanded = wanted;
            if wanted > 0 {
                cx.act(Action::Demand { job: self.id, shape: queue.shape.clone(), bundle: queue.bundle, wanted });
            }
        }
        for index in 0..self.groups.len() {
            self.groups[index].asked_back = 0;
            self.ask_back(cx, GroupId::at(index));
        }
    }
}

fn unschedulable(name: &str, reason: &str) -> Failure {
    Failure::new(FailureKind::Unschedulable, name, format!("no worker can run it: {reason}"))
}
