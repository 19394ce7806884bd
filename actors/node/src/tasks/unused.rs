//! Placement groups come and go, and what has a shape in one of their bundles goes with it: then its number, its queue and its groups
//! of places are free for other shapes.

use super::{Queue, ShapeId};
use crate::job::Job;

impl Job {
    /// Forgets a shape in a bundle, if nothing has it any more.
    pub(crate) fn forget_unused(&mut self, shape: ShapeId) {
        let queue = &self.queues[shape.0 as usize];
        let Some(bundle) = queue.bundle.filter(|_| queue.is_unused()) else { return };
        let groups = self.shape_groups.get(&shape).map_or(&[][..], Vec::as_slice);
        let is_leased = |id| self.host_leases.values().any(|lease| lease.group == id);
        if !groups.iter().all(|id| self.groups[id.0 as usize].is_unused() && !is_leased(*id)) {
            return;
        }
        for id in self.shape_groups.remove(&shape).unwrap_or_default() {
            let class = self.groups[id.0 as usize].class;
            self.classes[class.0 as usize].groups.retain(|group| *group != id);
            self.vacant_groups.push(id);
        }
        // What still looks at it finds nothing to do.
        let queue = std::mem::replace(&mut self.queues[shape.0 as usize], Queue::vacant());
        self.shapes.forget(&queue.shape, bundle);
    }
}
