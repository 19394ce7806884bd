//! The placement groups of virtual drivers: they come and go, and some of what a driver wants is to be in their bundles.

use tandem_proto::{JobId, WorkerId};
use tandem_scheduler::{BundleId, Event, GroupNews, GroupPlan, GroupReport, PlacementGroupId, Shape, Strategy};

use crate::node::random_shape;
use crate::worker::Link;
use crate::world::World;

/// Groups that one driver has at most.
const MOST_GROUPS: usize = 3;

impl World {
    /// The driver of a job runs here, and makes a placement group or removes one.
    pub(crate) fn make_or_drop_group(&mut self, id: WorkerId, job: JobId) {
        let Some(worker) = self.workers.get(&id) else { return };
        let runs = worker.running.keys().any(|attempt| attempt.task.job == job);
        if !runs || worker.paused_until > self.now || !self.rng.chance(40) {
            return;
        }
        let theirs = worker.node.groups.values().filter(|group| group.plan.job == job);
        let theirs: Vec<_> = theirs.map(|group| group.plan.group).collect();
        match self.rng.pick(&theirs) {
            Some(group) if theirs.len() >= MOST_GROUPS || self.rng.chance(40) => self.drop_group(id, group),
            _ => self.make_group(id, job),
        }
    }

    fn make_group(&mut self, id: WorkerId, job: JobId) {
        self.order += 1;
        let group = PlacementGroupId(u128::from(id.0) << 64 | u128::from(self.order));
        let strategies = [Strategy::Pack, Strategy::Spread, Strategy::StrictPack, Strategy::StrictSpread];
        let strategy = self.rng.pick(&strategies).unwrap_or(Strategy::Pack);
        let count = self.rng.range(1..4);
        let bundles: Vec<Shape> = (0..count).map(|_| random_shape(&mut self.rng)).collect();
        let plan = GroupPlan { group, job, name: String::new(), strategy, bundles };
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.node.groups.insert(group, GroupReport { plan: plan.clone(), settled: false });
        if let Link::Attached { stream, epoch } = worker.link {
            self.send_to_coordinator(id, stream, Event::GroupWanted { worker: id, epoch, plan });
        }
    }

    fn drop_group(&mut self, id: WorkerId, group: PlacementGroupId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.node.groups.remove(&group);
        worker.node.demand.retain(|(_, _, bundle), _| bundle.is_none_or(|bundle| bundle.group != group));
        if let Link::Attached { stream, epoch } = worker.link {
            self.send_to_coordinator(id, stream, Event::GroupRemoved { worker: id, epoch, group });
        }
    }

    /// A bundle of a driver's own group, now and then.
    pub(crate) fn random_bundle(&mut self, id: WorkerId, job: JobId) -> Option<BundleId> {
        let groups = &self.workers.get(&id)?.node.groups;
        let settled = groups.values().filter(|group| group.plan.job == job && group.settled);
        let settled: Vec<_> = settled.map(|group| (group.plan.group, group.plan.bundles.len() as u64)).collect();
        if !self.rng.chance(50) {
            return None;
        }
        let (group, bundles) = self.rng.pick(&settled)?;
        // One more than there are: nothing can ever be in that.
        Some(BundleId { group, index: self.rng.range(0..bundles + 1) as u32 })
    }

    /// What a worker does that is told of a placement group.
    pub(crate) fn group_changed(&mut self, id: WorkerId, group: PlacementGroupId, news: GroupNews) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let node = &mut worker.node;
        match news {
            GroupNews::Waits(_) => {}
            GroupNews::Reserved => {
                if let Some(known) = node.groups.get_mut(&group) {
                    known.settled = true;
                }
            }
            GroupNews::Failed(_) => {
                self.tally.failed_groups += 1;
                self.drop_group(id, group);
            }
            GroupNews::Gone => {
                node.demand.retain(|(_, _, bundle), _| bundle.is_none_or(|bundle| bundle.group != group));
            }
        }
    }
}
