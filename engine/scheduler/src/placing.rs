//! When the bundles of placement groups get their places, and what is said of groups that wait for them. Part of the [`Cluster`];
//! which workers they go to is decided in `packing.rs`.
//!
//! All groups that wait are tried again whenever anything of the workers has changed, the first ones first; one that does not fit keeps
//! nobody waiting behind it. What the workers there are could never hold is given up after a while, as leases are.

use std::collections::BTreeMap;

use tandem_proto::WorkerId;
use tandem_proto::resources::GPUS;

use crate::action::Fact;
use crate::cluster::Cluster;
use crate::gpus::GpuShares;
use crate::groups::{BundleId, Group, GroupEvent, GroupState, PlacementGroupId, Strategy};
use crate::packing::{Problem, Room, pack};
use crate::reason::GroupReason;
use crate::resources::{Resources, Shape};
use crate::timers::Timer;
use crate::worker::Worker;

/// Groups that are tried in vain for one event; the others have their turn with the next.
const MOST_TRIED: usize = 16;

impl Cluster {
    /// Gives bundles their places, as far as there is room for all of a group.
    pub(crate) fn place_groups(&mut self) {
        if !self.groups.any_untried(self.workers.version()) {
            return;
        }
        let expected = self.workers.any_expected();
        let mut in_vain = 0;
        for (number, id) in self.groups.untried() {
            if in_vain == MOST_TRIED {
                self.timers.arm(Timer::Sharing, self.now.after_ms(self.config.sharing_interval_ms));
                return self.groups.try_later(number);
            }
            let Some(group) = self.groups.get(id) else { continue };
            let may = self.jobs.get(&group.plan.job).is_some_and(|job| job.may_lease(expected));
            if may && !self.place_group(id) {
                in_vain += 1;
            }
        }
        self.groups.all_tried(self.workers.version());
    }

    fn place_group(&mut self, id: PlacementGroupId) -> bool {
        let Some(group) = self.groups.get(id) else { return false };
        let unplaced: Vec<usize> = group.unplaced().collect();
        let mut sum = Resources::default();
        unplaced.iter().for_each(|index| sum.add(&group.bundles[*index].shape.resources));
        let hosts = self.workers.may_have_room(&sum).then(|| self.free_hosts_for(group, &unplaced)).flatten();
        let Some(hosts) = hosts else {
            self.note_waiting(id);
            return false;
        };
        for (index, host) in unplaced.into_iter().zip(hosts) {
            self.context().put_bundle(BundleId { group: id, index: index as u32 }, host);
        }
        self.groups.advance(id, GroupEvent::Placed);
        self.counters.groups_reserved += 1;
        let Some(group) = self.groups.get(id) else { return true };
        let hosts: Vec<WorkerId> = group.reserved().map(|(host, _)| host).collect();
        let plan = group.plan.clone();
        let job = plan.job;
        self.with_job(job, |job, cx| job.record(cx, Fact::GroupReserved { plan, hosts }));
        self.index_job(job);
        self.context().tell_group(id);
        true
    }

    fn free_hosts_for(&self, group: &Group, bundles: &[usize]) -> Option<Vec<WorkerId>> {
        self.hosts_for(group, bundles, Worker::takes_work, |worker| (worker.room(), worker.shares_booked()))
    }

    /// Workers for these bundles of a group, all or none.
    fn hosts_for(
        &self,
        group: &Group,
        bundles: &[usize],
        usable: impl Fn(&Worker) -> bool,
        room: impl Fn(&Worker) -> (Resources, GpuShares),
    ) -> Option<Vec<WorkerId>> {
        let mut counts: BTreeMap<WorkerId, u32> = BTreeMap::new();
        for (index, bundle) in group.bundles.iter().enumerate() {
            if let Some(host) = bundle.host.filter(|_| !bundles.contains(&index)) {
                *counts.entry(host).or_default() += 1;
            }
        }
        let shapes: Vec<&Shape> = bundles.iter().map(|index| &group.bundles[*index].shape).collect();
        let owner = group.plan.group.owner();
        let room = |worker: &Worker| {
            let (free, gpus) = room(worker);
            Room {
                worker: worker.id,
                free,
                gpus_milli: worker.info.resources.amount(GPUS),
                gpus,
                accepts: shapes.iter().map(|shape| shape.accepts(&worker.info.labels)).collect(),
                bundles: counts.get(&worker.id).copied().unwrap_or_default(),
            }
        };
        let mut rooms: Vec<_> = self.workers.iter().filter(|worker| usable(worker)).map(room).collect();
        rooms.sort_by_key(|room| room.worker != owner);
        pack(Problem { strategy: group.plan.strategy, bundles: shapes, rooms })
    }

    /// Notes why a group has no places, and tells its owner when that is new.
    fn note_waiting(&mut self, id: PlacementGroupId) {
        let Some(group) = self.groups.get(id) else { return };
        let reason = match &group.state {
            _ if self.workers.ready() == 0 => GroupReason::NoWorkers,
            // It was found to be hopeless, and why.
            GroupState::Pending { hopeless: Some(_) } => return,
            GroupState::Broken => GroupReason::WorkerLost,
            _ => GroupReason::NoRoom,
        };
        if self.groups.explain(id, reason) {
            self.context().tell_group(id);
        }
    }

    /// Fails groups that no workers could hold for a while.
    pub(crate) fn give_up_groups(&mut self) {
        if self.workers.ready() == 0 {
            return;
        }
        for id in self.groups.waiting().collect::<Vec<_>>() {
            let Some(group) = self.groups.get(id) else { continue };
            let GroupState::Pending { hopeless } = group.state else { continue };
            let all: Vec<usize> = (0..group.bundles.len()).collect();
            let all_of = |worker: &Worker| (worker.info.resources.clone(), GpuShares::default());
            let fits =
                self.hosts_for(group, &all, |worker| worker.could_ever_host(&Shape::default()), all_of).is_some();
            let since = (!fits).then(|| hopeless.unwrap_or(self.now));
            if since == hopeless && since.is_none() {
                continue;
            }
            self.groups.advance(id, GroupEvent::Looked { hopeless: since });
            let Some(since) = since else {
                self.note_waiting(id);
                continue;
            };
            let Some(why) = self.groups.get(id).map(|group| self.why_group_hopeless(group)) else { continue };
            let news = self.groups.explain(id, GroupReason::Unsatisfiable(why.clone()));
            let given_up = self.now.ms_since(since) >= self.config.unschedulable_grace_ms;
            if given_up {
                self.counters.groups_failed += 1;
                self.groups.advance(id, GroupEvent::GivenUp(why));
            }
            if news || given_up {
                self.context().tell_group(id);
            }
        }
    }

    /// What workers lack for a group.
    fn why_group_hopeless(&self, group: &Group) -> String {
        let nobody = |shape: &&Shape| !self.workers.iter().any(|worker| worker.could_ever_host(shape));
        if let Some((index, shape)) = group.plan.bundles.iter().enumerate().find(|(_, shape)| nobody(shape)) {
            return format!("bundle {index}: {}", self.why_hopeless(shape));
        }
        let mut sum = Shape::default();
        group.plan.bundles.iter().for_each(|shape| sum.resources.add(&shape.resources));
        let (count, workers) = (group.bundles.len(), self.workers.ready());
        match group.plan.strategy {
            Strategy::StrictPack => {
                format!("all its {count} bundles are to be on one worker: {}", self.why_hopeless(&sum))
            }
            Strategy::StrictSpread => {
                format!(
                    "its {count} bundles are to be on as many workers, and of {workers} there are not so many that can have one"
                )
            }
            Strategy::Pack | Strategy::Spread => {
                format!("its {count} bundles take {sum}, and {workers} workers together do not have that much")
            }
        }
    }

    /// Why no lease in a bundle can ever be like this, if none can.
    pub(crate) fn why_not_in_bundle(&self, bundle: BundleId, shape: &Shape) -> Option<String> {
        let group = self.groups.get(bundle.group)?;
        let Some(known) = group.bundles.get(bundle.index as usize) else {
            return Some(format!(
                "its placement group has {} bundles, and no bundle {}",
                group.bundles.len(),
                bundle.index
            ));
        };
        if !known.shape.resources.has_room(&Resources::default(), &shape.resources) {
            return Some(format!(
                "it needs {shape}, and bundle {} of its placement group has {}",
                bundle.index, known.shape
            ));
        }
        let host = known.host.and_then(|host| self.workers.get(host));
        match host {
            Some(host) if !shape.accepts(&host.info.labels) => {
                Some(format!("its bundle is on {}, which does not have the labels of {shape}", host.info.name))
            }
            Some(_) => None,
            None if group.state == GroupState::Broken => {
                let nobody = !self.workers.iter().any(|worker| worker.could_ever_host(&known.shape));
                nobody.then(|| format!("the worker of its bundle was lost: {}", self.why_hopeless(&known.shape)))
            }
            None => None,
        }
    }
}
