//! The places of tasks of stages that have more than a slot: the calls that one makes run in its place, one at a time, with its GPUs.
//!
//! ```text
//!   PlaceWanted ─► taken ─PlaceDropped─► to be given back ─nothing runs in it─► PlaceFree
//! ```

use super::Job;
use crate::action::Action;
use crate::context::Context;
use crate::host::{GpuShare, Group, GroupId};

/// The place of one task of a stage.
#[derive(Debug)]
pub(crate) struct StagePlace {
    /// Nothing else is in it.
    pub(crate) group: GroupId,
    gpus: GpuShare,
    /// Nothing more is called in it.
    pub(crate) dropped: bool,
}

impl Job {
    /// A task of a stage has so much of GPUs, and maybe other things that are not counted here.
    pub(crate) fn take_place(&mut self, cx: &mut Context<'_>, ticket: u64, gpus_milli: u64) {
        let gpus = cx.shared.gpus.take(gpus_milli);
        let group = self.group_for_place(&gpus.indices);
        self.stage_places.insert(ticket, StagePlace { group, gpus, dropped: false });
        self.groups[group.0 as usize].own += 1;
    }

    /// Groups are used again by later tasks.
    fn group_for_place(&mut self, gpus: &[u32]) -> GroupId {
        let taken = |group: GroupId| self.stage_places.values().any(|place| place.group == group);
        let known = (0..self.groups.len()).map(GroupId::at).find(|id| {
            let group = &self.groups[id.0 as usize];
            group.of_place && group.gpus == gpus && !taken(*id)
        });
        known.unwrap_or_else(|| {
            let class = self.class_for(0, gpus);
            self.add_group(Group::of_place(gpus.to_vec(), class))
        })
    }

    /// A task of a stage has ended. Its place is free when what it called has ended too.
    pub(crate) fn drop_place(&mut self, cx: &mut Context<'_>, ticket: u64) {
        let Some(place) = self.stage_places.get_mut(&ticket) else {
            return cx.act(Action::PlaceFree { ticket });
        };
        if !std::mem::replace(&mut place.dropped, true) {
            let id = place.group;
            let group = &mut self.groups[id.0 as usize];
            group.own = group.own.saturating_sub(1);
            group.revoked.push_back(ticket);
            self.dirty.group(id);
        }
    }

    /// Nothing runs in a place any more.
    pub(crate) fn free_place(&mut self, cx: &mut Context<'_>, ticket: u64) {
        let Some(place) = self.stage_places.remove(&ticket) else { return };
        cx.shared.gpus.give_back(&place.gpus);
        cx.act(Action::PlaceFree { ticket });
    }
}
