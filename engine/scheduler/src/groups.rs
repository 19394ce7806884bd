//! The placement groups: what their bundles have, where, and how much of it leases take.
//! Owned by the [`Cluster`](super::Cluster); which workers get bundles is decided in `packing.rs`, when and what follows in
//! `reserving.rs`.
//! Invariants: a group that is pending or failed has nothing; one that is reserved has all; what a bundle has is booked on its
//! worker as long as it is there, and what is leased of it is never more than that.
//!
//! ```text
//!   Pending ─all placed─► Reserved ⇄ Broken      (a worker of it is lost or drains, its bundles are placed anew)
//!      └─hopeless─► Failed                       any ─removed─► gone
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tandem_proto::resources::GPUS;
use tandem_proto::{JobId, WorkerId};

use crate::gpus::GpuShares;
use crate::reason::GroupReason;
use crate::resources::{Resources, Shape};
use crate::time::Timestamp;

/// One placement group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlacementGroupId(pub u128);

impl PlacementGroupId {
    /// The worker that owns it: the upper half of the id.
    pub fn owner(self) -> WorkerId {
        WorkerId((self.0 >> 64) as u64)
    }
}

/// One bundle of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BundleId {
    /// The group.
    pub group: PlacementGroupId,
    /// Which of its bundles, counted from 0.
    pub index: u32,
}

/// Where the bundles of a group go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    /// On as few workers as possible.
    Pack,
    /// On as many workers as possible.
    Spread,
    /// All on one worker.
    StrictPack,
    /// Each on a worker of its own.
    StrictSpread,
}

/// A group as its owner wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlan {
    /// Which.
    pub group: PlacementGroupId,
    /// Of which job.
    pub job: JobId,
    /// For people; may be empty.
    pub name: String,
    /// Where its bundles go.
    pub strategy: Strategy,
    /// What each of them has; at least one.
    pub bundles: Vec<Shape>,
}

/// Where a group stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupState {
    /// It has nothing; since when no workers could ever hold it, if they cannot.
    Pending { hopeless: Option<Timestamp> },
    /// All its bundles have a place.
    Reserved,
    /// It had them all, and some are lost.
    Broken,
    /// No workers can hold it, for this reason.
    Failed(String),
}

/// What can happen to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupEvent {
    /// Every bundle has a place.
    Placed,
    /// A bundle has lost its place.
    Lost,
    /// The workers there are could never hold it, or they could.
    Looked { hopeless: Option<Timestamp> },
    /// They could not for too long.
    GivenUp(String),
}

/// A transition that must not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a placement group cannot go from {state:?} by {event:?}")]
pub(crate) struct IllegalGroup {
    state: GroupState,
    event: GroupEvent,
}

impl GroupState {
    /// The state after `event`.
    pub(crate) fn apply(&mut self, event: GroupEvent) -> Result<(), IllegalGroup> {
        *self = match (&*self, event) {
            (Self::Pending { .. } | Self::Broken, GroupEvent::Placed) => Self::Reserved,
            (Self::Reserved | Self::Broken, GroupEvent::Lost) => Self::Broken,
            (Self::Pending { .. }, GroupEvent::Looked { hopeless }) => Self::Pending { hopeless },
            (Self::Pending { .. }, GroupEvent::GivenUp(reason)) => Self::Failed(reason),
            (state, event) => return Err(IllegalGroup { state: state.clone(), event }),
        };
        Ok(())
    }
}

/// One bundle.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) shape: Shape,
    pub(crate) host: Option<WorkerId>,
    /// What leases take of it, and of each of its GPUs.
    pub(crate) leased: Resources,
    leased_gpus: GpuShares,
}

impl Bundle {
    /// Whether this much is left of it.
    pub(crate) fn has_room(&self, more: &Resources) -> bool {
        let gpus = self.leased_gpus.has_room(self.shape.resources.amount(GPUS), more.amount(GPUS));
        gpus && self.shape.resources.has_room(&self.leased, more)
    }
}

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) plan: GroupPlan,
    pub(crate) state: GroupState,
    pub(crate) bundles: Vec<Bundle>,
    /// Why bundles have no place, once that was tried.
    pub(crate) reason: Option<GroupReason>,
    /// When its owner last mentioned it, or was told of it.
    pub(crate) owner_seen: Timestamp,
}

impl Group {
    pub(crate) fn new(plan: GroupPlan, now: Timestamp) -> Self {
        let bundle = |shape: &Shape| Bundle {
            shape: shape.clone(),
            host: None,
            leased: Resources::default(),
            leased_gpus: GpuShares::default(),
        };
        let bundles = plan.bundles.iter().map(bundle).collect();
        let state = GroupState::Pending { hopeless: None };
        Self { plan, state, bundles, reason: None, owner_seen: now }
    }

    /// Whether it waits for places.
    pub(crate) fn waits(&self) -> bool {
        matches!(self.state, GroupState::Pending { .. } | GroupState::Broken)
    }

    /// Why it waits, if it does.
    pub(crate) fn why_waits(&self) -> GroupReason {
        self.reason.clone().unwrap_or(GroupReason::NoRoom)
    }

    /// Those that have no place.
    pub(crate) fn unplaced(&self) -> impl Iterator<Item = usize> {
        self.bundles.iter().enumerate().filter(|(_, bundle)| bundle.host.is_none()).map(|(index, _)| index)
    }

    /// What its bundles have on workers.
    pub(crate) fn reserved(&self) -> impl Iterator<Item = (WorkerId, &Resources)> {
        self.bundles.iter().filter_map(|bundle| Some((bundle.host?, &bundle.shape.resources)))
    }
}

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    table: BTreeMap<PlacementGroupId, Group>,
    by_job: BTreeMap<JobId, BTreeSet<PlacementGroupId>>,
    by_host: BTreeSet<(WorkerId, BundleId)>,
    /// Those that wait for places, by the number they were given when they began to.
    waiting: BTreeMap<u64, PlacementGroupId>,
    numbers: BTreeMap<PlacementGroupId, u64>,
    next: u64,
    /// The version of the workers with which all that wait were last tried, and the number to go on from if not all were.
    tried: u64,
    next_try: u64,
}

impl Groups {
    /// One group.
    pub(crate) fn get(&self, id: PlacementGroupId) -> Option<&Group> {
        self.table.get(&id)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.table.values()
    }

    /// One bundle.
    pub(crate) fn bundle(&self, id: BundleId) -> Option<&Bundle> {
        self.table.get(&id.group)?.bundles.get(id.index as usize)
    }

    /// The groups of a job.
    pub(crate) fn of_job(&self, job: JobId) -> Vec<PlacementGroupId> {
        self.by_job.get(&job).into_iter().flatten().copied().collect()
    }

    /// How many groups a job has.
    pub(crate) fn count(&self, job: JobId) -> usize {
        self.by_job.get(&job).map_or(0, BTreeSet::len)
    }

    /// The groups that a worker owns.
    pub(crate) fn owned_by(&self, worker: WorkerId) -> impl Iterator<Item = &Group> {
        let first = u128::from(worker.0) << 64;
        let all = PlacementGroupId(first)..=PlacementGroupId(first | u128::from(u64::MAX));
        self.table.range(all).map(|(_, group)| group)
    }

    /// The bundles on a worker.
    pub(crate) fn hosted_by(&self, worker: WorkerId) -> Vec<BundleId> {
        let first = BundleId { group: PlacementGroupId(0), index: 0 };
        let last = BundleId { group: PlacementGroupId(u128::MAX), index: u32::MAX };
        let all = (worker, first)..=(worker, last);
        self.by_host.range(all).map(|(_, id)| *id).collect()
    }

    /// Those that wait for places, the first ones first.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = PlacementGroupId> {
        self.waiting.values().copied()
    }

    /// Those that are to be tried next, with their numbers.
    pub(crate) fn untried(&self) -> Vec<(u64, PlacementGroupId)> {
        self.waiting.range(self.next_try..).map(|(number, id)| (*number, *id)).collect()
    }

    /// All that wait were tried with the workers as they are.
    pub(crate) fn all_tried(&mut self, version: u64) {
        (self.tried, self.next_try) = (version, 0);
    }

    /// Those from this number on are tried later.
    pub(crate) fn try_later(&mut self, number: u64) {
        (self.tried, self.next_try) = (0, number);
    }

    /// Something that waits was not tried with the workers as they are.
    pub(crate) fn try_again(&mut self) {
        self.tried = 0;
    }

    /// Whether there is something to try.
    pub(crate) fn any_untried(&self, version: u64) -> bool {
        self.any_waits() && self.tried != version
    }

    /// Whether any waits for places.
    pub(crate) fn any_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Adds a group that has nothing yet.
    pub(crate) fn insert(&mut self, group: Group) {
        let id = group.plan.group;
        self.by_job.entry(group.plan.job).or_default().insert(id);
        self.table.insert(id, group);
        self.index(id);
    }

    /// Takes a group out that has nothing any more.
    pub(crate) fn remove(&mut self, id: PlacementGroupId) -> Option<Group> {
        let group = self.table.remove(&id)?;
        if let Some(groups) = self.by_job.get_mut(&group.plan.job) {
            groups.remove(&id);
            if groups.is_empty() {
                self.by_job.remove(&group.plan.job);
            }
        }
        self.index(id);
        Some(group)
    }

    /// Changes where a group stands. What cannot happen changes nothing: it is a bug, and told in tests.
    pub(crate) fn advance(&mut self, id: PlacementGroupId, event: GroupEvent) {
        if let Some(group) = self.table.get_mut(&id) {
            let advanced = group.state.apply(event);
            debug_assert!(advanced.is_ok(), "{advanced:?}");
        }
        self.index(id);
    }

    /// Why its bundles have no place. False: that is known.
    pub(crate) fn explain(&mut self, id: PlacementGroupId, reason: GroupReason) -> bool {
        let known = self.table.get_mut(&id).map(|group| group.reason.replace(reason.clone()));
        known.is_some_and(|known| known != Some(reason))
    }

    /// Its owner has mentioned it, or was told of it.
    pub(crate) fn owner_saw(&mut self, id: PlacementGroupId, now: Timestamp) {
        if let Some(group) = self.table.get_mut(&id) {
            group.owner_seen = now;
        }
    }

    /// Notes where a bundle is now. The caller books it there.
    pub(crate) fn put(&mut self, id: BundleId, host: Option<WorkerId>) {
        let Some(bundle) = self.bundle_mut(id) else { return };
        let before = std::mem::replace(&mut bundle.host, host);
        if let Some(before) = before {
            self.by_host.remove(&(before, id));
        }
        if let Some(host) = host {
            self.by_host.insert((host, id));
        }
    }

    /// Books a lease on a bundle.
    pub(crate) fn book(&mut self, id: BundleId, resources: &Resources) {
        if let Some(bundle) = self.bundle_mut(id) {
            bundle.leased.add(resources);
            bundle.leased_gpus.add(resources.amount(GPUS));
        }
    }

    /// Frees the place of a lease.
    pub(crate) fn unbook(&mut self, id: BundleId, resources: &Resources) {
        if let Some(bundle) = self.bundle_mut(id) {
            bundle.leased.subtract(resources);
            bundle.leased_gpus.remove(resources.amount(GPUS));
        }
    }

    fn bundle_mut(&mut self, id: BundleId) -> Option<&mut Bundle> {
        self.table.get_mut(&id.group)?.bundles.get_mut(id.index as usize)
    }

    /// Keeps `waiting` right.
    fn index(&mut self, id: PlacementGroupId) {
        let waits = self.table.get(&id).is_some_and(Group::waits);
        match (waits, self.numbers.get(&id).copied()) {
            (true, None) => {
                self.next += 1;
                self.numbers.insert(id, self.next);
                self.waiting.insert(self.next, id);
            }
            (false, Some(number)) => {
                self.numbers.remove(&id);
                self.waiting.remove(&number);
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_never_goes_back_to_having_nothing() {
        use GroupEvent::{GivenUp, Looked, Lost, Placed};
        let hopeless = Some(Timestamp(5));
        let pending = GroupState::Pending { hopeless: None };
        let failed = GroupState::Failed("no GPU".to_owned());
        let cases = [
            (pending.clone(), Placed, Some(GroupState::Reserved)),
            (pending.clone(), Looked { hopeless }, Some(GroupState::Pending { hopeless })),
            (GroupState::Pending { hopeless }, GivenUp("no GPU".to_owned()), Some(failed.clone())),
            (pending, Lost, None),
            (GroupState::Reserved, Lost, Some(GroupState::Broken)),
            (GroupState::Reserved, Placed, None),
            (GroupState::Broken, Lost, Some(GroupState::Broken)),
            (GroupState::Broken, Placed, Some(GroupState::Reserved)),
            (GroupState::Broken, GivenUp(String::new()), None),
            (failed, Placed, None),
        ];
        for (state, event, expected) in cases {
            let mut after = state.clone();
            assert_eq!(after.apply(event.clone()).is_ok(), expected.is_some(), "{state:?} and {event:?}");
            assert_eq!(after, expected.unwrap_or(state), "{event:?}");
        }
    }
}
