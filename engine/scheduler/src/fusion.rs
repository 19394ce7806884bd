//! Which stages take over the work of the stage that makes the probe side of their join. Part of [`Job`].
//! Decided once per stage, when the build side is complete and so its size known, and journaled before anything is launched
//! by it.
//! Invariants: the stage that may be taken over does not start before that is decided; a stage that is decided to take over
//! another has not started.
//!
//! ```text
//!              ┌─ build side too large ──────────────▶ Settled(0): the probe side is exchanged
//!   Open ──────┤
//!              └─ small, and the probe stage itself is settled at depth d ──▶ Settled(d + 1), or Settled(0) where d is the deepest
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use tandem_proto::StageId;

use crate::action::Fact;
use crate::job::{Context, Job};
use crate::plan::{FusionPlan, VariantPlan};
use crate::sizing::fused_tasks;
use crate::stage::{Fused, Stage};
use crate::workers::Workers;

/// A build side of so many bytes is read by every task whatever the probe side is.
const SMALL_BUILD_BYTES: u64 = 8 << 20;
/// One of more bytes never is.
const LARGE_BUILD_BYTES: u64 = 128 << 20;
/// Nor is one of more than this part of the memory that a worker has for each of its slots: every task holds all of it, and
/// a table of its keys.
const BUILD_MEMORY_PART: u64 = 16;
/// In between it is when the probe side is expected to have this many times the rows that all tasks together build of.
const PROBE_ROWS_PER_BUILD_ROW: u64 = 4;

impl Job {
    /// Decides what can be decided now that the output of `id` can be read.
    pub(crate) fn settle_readers(&mut self, cx: &mut Context<'_>, id: StageId) {
        if self.stage(id).is_readable() {
            for reader in self.stage(id).readers.clone() {
                self.settle_fusion(cx, reader);
            }
        }
    }

    /// Decides whether a stage takes over another, if that is open and can be told.
    pub(crate) fn settle_fusion(&mut self, cx: &mut Context<'_>, id: StageId) {
        let Some(fusion) = self.plan.stage(id).and_then(|plan| plan.fusion.as_ref()) else { return };
        let (build, probe) = (fusion.build, fusion.probe);
        if self.stage(id).fused != Fused::Open || !self.stage(build).is_readable() {
            return;
        }
        let depth = match self.stage(probe).fused {
            // Another coordinator has had it run already.
            _ if self.stage(probe).finished() + self.stage(probe).running() > 0 => 0,
            _ if !self.pays(fusion, cx.workers) => 0,
            Fused::Open => return,
            // A longer row of joins is cut here: one more stage begins.
            Fused::Settled(depth) if depth >= fusion.deepest() => 0,
            Fused::Settled(depth) => depth + 1,
        };
        let first_attempt = self.stage(id).first_attempt();
        self.record(cx, Fact::StageFused { job: self.id, stage: id, depth, first_attempt });
        self.fuse(cx, id, depth, first_attempt);
        for reader in self.stage(id).readers.clone() {
            self.settle_fusion(cx, reader);
        }
    }

    /// Whether reading all of the build side in every task costs less than exchanging the probe side.
    fn pays(&self, fusion: &FusionPlan, workers: &Workers) -> bool {
        let build = &self.stage(fusion.build).totals;
        let tasks = fusion.tasks(fused_tasks(workers));
        let built_rows = build.rows.saturating_mul(tasks.into()).saturating_mul(PROBE_ROWS_PER_BUILD_ROW);
        let much_smaller = fusion.probe_rows.is_some_and(|rows| built_rows <= rows);
        let limit = if much_smaller { LARGE_BUILD_BYTES } else { SMALL_BUILD_BYTES };
        let per_slot =
            workers.iter().map(|worker| worker.info.memory_bytes / u64::from(worker.info.slots.max(1))).min();
        build.bytes <= limit.min(per_slot.unwrap_or(u64::MAX) / BUILD_MEMORY_PART)
    }

    /// Makes a stage take over `depth` others: none for 0. What earlier coordinators started of it counts from attempt `oldest_valid`
    /// on.
    pub(crate) fn fuse(&mut self, cx: &mut Context<'_>, id: StageId, depth: u32, oldest_valid: u32) {
        let Some(probe) = self.plan.stage(id).and_then(|plan| plan.fusion.as_ref()).map(|fusion| fusion.probe) else {
            return;
        };
        self.stage_mut(probe).held_back = false;
        let before: BTreeSet<StageId> = self.stage(id).inputs.iter().copied().collect();
        if depth > 0 {
            Arc::make_mut(&mut self.plan).stages[id.0 as usize - 1].fuse(depth);
        }
        let plan = Arc::clone(&self.plan);
        let Some(shape) = plan.stage(id) else { return };
        let after: BTreeSet<StageId> = shape.inputs.iter().copied().collect();
        for &input in before.difference(&after) {
            self.stage_mut(input).readers.retain(|reader| *reader != id);
        }
        for &input in after.difference(&before) {
            self.stage_mut(input).readers.push(id);
        }
        let open_inputs = after.iter().filter(|&&input| !self.stage(input).is_readable()).count() as u32;
        let stage = self.stage_mut(id);
        stage.fuse(shape, depth, oldest_valid);
        stage.open_inputs = open_inputs;
        for &input in before.union(&after) {
            self.update_demand(cx, input);
            self.refresh(input);
        }
        self.refresh(id);
    }

    /// The build side whose size decides whether a stage that is held back is run.
    pub(crate) fn awaited_build(&self, held_back: &Stage) -> Option<StageId> {
        let mut reader = *held_back.readers.first()?;
        // How many stages a reader takes over may hang on how many the one does that it would take over.
        loop {
            let fusion = self.plan.stage(reader)?.fusion.as_ref()?;
            if !self.stage(fusion.build).is_readable() {
                return Some(fusion.build);
            }
            reader = fusion.probe;
        }
    }

    /// The stage that does the work of `id` in its place, if one does.
    pub(crate) fn taken_over_by(&self, id: StageId) -> Option<StageId> {
        let takes_over = |&reader: &StageId| {
            let fusion = self.plan.stage(reader).and_then(|plan| plan.fusion.as_ref());
            self.stage(reader).fused.depth() > 0 && fusion.is_some_and(|fusion| fusion.probe == id)
        };
        self.plan.stage_ids().skip(id.0 as usize).find(takes_over)
    }
}

impl FusionPlan {
    /// Tasks that the fused stage has, more or less, when there are no more than `most` where partitions can be merged.
    fn tasks(&self, most: u32) -> u32 {
        let of_variant = |variant: &VariantPlan| {
            if variant.divisible.mergeable { variant.partitions.min(most) } else { variant.partitions }
        };
        self.variants.iter().map(of_variant).max().unwrap_or(1)
    }
}
