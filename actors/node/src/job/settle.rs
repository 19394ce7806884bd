//! Does what follows from an event, until nothing follows any more.

use std::collections::BTreeSet;

use super::{Job, Life};
use crate::context::Context;
use crate::executors::ClassId;
use crate::host::GroupId;
use crate::tasks::ShapeId;

/// What has to be looked at again.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    groups: BTreeSet<GroupId>,
    classes: BTreeSet<ClassId>,
    queues: BTreeSet<ShapeId>,
    /// Queues whose demand may be another.
    demands: BTreeSet<ShapeId>,
}

impl Dirty {
    pub(crate) fn group(&mut self, group: GroupId) {
        self.groups.insert(group);
    }

    pub(crate) fn class(&mut self, class: ClassId) {
        self.classes.insert(class);
    }

    pub(crate) fn queue(&mut self, queue: ShapeId) {
        self.queues.insert(queue);
    }
}

impl Job {
    /// The queue of a task is to be looked at again.
    pub(crate) fn dirty_shape(&mut self, call: tandem_actor_protocol::CallId) {
        if let Some(task) = self.tasks.get(&call) {
            self.dirty.queue(task.shape);
        }
    }

    pub(crate) fn settle(&mut self, cx: &mut Context<'_>) {
        if self.life == Life::Ending {
            return;
        }
        loop {
            if !self.freeing.is_empty() {
                self.free_unheld(cx);
            } else if let Some(object) = self.settled.pop_front() {
                self.wake(cx, object);
            } else if self.wants_space() {
                self.serve_space(cx);
            } else if self.wants_gather() {
                self.begin_gather(cx);
            } else if let Some(queue) = self.dirty.queues.pop_first() {
                self.queue_changed(queue);
            } else if let Some(group) = self.dirty.groups.pop_first() {
                self.dispatch(cx, group);
                if let Some(shape) = self.groups[group.0 as usize].shape {
                    self.forget_unused(shape);
                }
            } else if let Some(class) = self.dirty.classes.pop_first() {
                self.fill_class(cx, class);
            } else if let Some(queue) = self.dirty.demands.pop_first() {
                // Only now, so that this worker's own places were tried first.
                self.start_actors_elsewhere(cx, queue);
                self.send_tasks(cx, queue);
                self.watch_idle_leases(cx, queue);
                self.note_demand(cx, queue);
                self.forget_unused(queue);
            } else {
                break;
            }
        }
        self.flush_objects(cx);
        self.flush_peers(cx);
    }

    /// Whoever may take from a queue is looked at.
    fn queue_changed(&mut self, queue: ShapeId) {
        if let Some(groups) = self.shape_groups.get(&queue) {
            self.dirty.groups.extend(groups.iter().copied());
        }
        self.dirty.demands.insert(queue);
    }
}
