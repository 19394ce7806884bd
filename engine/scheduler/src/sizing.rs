//! What the sizes of its inputs say of a stage: how to divide it over tasks, and where each of them would rather run.
//! Part of [`Job`]. Which task runs what is decided once, in `division.rs`, and journaled before any of them is launched.

use std::collections::BTreeMap;

use tandem_graph::{InputSlice, TaskWork};
use tandem_proto::{Epoch, StageId, WorkerId};

use crate::action::{Action, Fact};
use crate::division::{Division, InputSizes, Producer, Share};
use crate::job::{Context, Job};
use crate::report::AttemptId;
use crate::stage::{Divided, Stage};
use crate::task::TaskState;
use crate::workers::Workers;

/// Locality is looked at when the input is on no more workers than this; beyond, no worker holds much of it.
const LOCAL_WORKERS: usize = 8;
/// A worker is preferred when it holds this share of a task's input, in percent.
const LOCAL_PERCENT: u64 = 40;
/// Cells of the size tables that are looked at to place one stage.
const LOCAL_CELLS: usize = 1 << 18;
/// Tasks of a stage that has taken over others: each holds the build sides of its joins, so there are not many, but enough for all
/// slots to be busy to the end.
const FUSED_TASKS_PER_SLOT: u32 = 2;
/// Cells of the size tables that are looked at to divide one stage.
const DIVISION_CELLS: usize = 1 << 20;

impl Job {
    /// Decides how the stages are divided that could start now and for which that is open.
    pub(crate) fn divide_runnable(&mut self, cx: &mut Context<'_>) {
        let open = |id: &StageId| self.stage(*id).divided == Divided::Open;
        let stages: Vec<_> = self.runnable.iter().chain(&self.demanding).copied().filter(open).collect();
        for id in stages {
            let Some(plan) = self.plan.stage(id) else { continue };
            let mergeable = plan.divisible.mergeable;
            let division = match self.input_sizes(id) {
                Some(sizes) => Division::fit(&sizes, slots(cx.workers), mergeable),
                None if mergeable && self.stage(id).fused.depth() > 0 => {
                    Division::merged(plan.partitions, fused_tasks(cx.workers))
                }
                None => Division::planned(plan),
            };
            let first_attempt = self.stage(id).first_attempt();
            self.record(cx, Fact::StageDivided { job: self.id, stage: id, division: division.clone(), first_attempt });
            self.stage_mut(id).divide(division, first_attempt);
        }
    }

    /// What each partition of a stage reads. None when that is not known, or too much to look at.
    fn input_sizes(&self, id: StageId) -> Option<InputSizes> {
        let plan = self.plan.stage(id).filter(|plan| !plan.divisible.sized_by.is_empty())?;
        let columns = plan.partitions as usize;
        let mut sizes = InputSizes { partitions: vec![0; columns], producers: Vec::new() };
        let mut cells = 0;
        for &input in &plan.divisible.sized_by {
            let stage = self.stage(input);
            cells += stage.tasks.len() * columns;
            if stage.sizes.outputs() != columns || !stage.sizes.is_known() || cells > DIVISION_CELLS {
                return None;
            }
            for task in 0..stage.len() {
                let bytes: Vec<u64> = stage.sizes.row(task).collect();
                sizes.partitions.iter_mut().zip(&bytes).for_each(|(sum, bytes)| *sum += bytes);
                if plan.divisible.split_over == Some(input) {
                    sizes.producers.push(Producer { outputs: stage.division.outputs_of(task), bytes });
                }
            }
        }
        Some(sizes)
    }

    /// What makes a worker run an attempt that is placed on it.
    pub(crate) fn launch_action(&self, worker: WorkerId, epoch: Epoch, attempt: AttemptId) -> Action {
        let stage = self.stage(attempt.task.stage);
        let share = stage.division.share(attempt.task.index);
        let split_over = self.plan.stage(attempt.task.stage).and_then(|plan| plan.divisible.split_over);
        let slice = match (&share, split_over) {
            (Share::Slice { producers, .. }, Some(stage)) => Some(InputSlice { stage, producers: producers.clone() }),
            _ => None,
        };
        let work = TaskWork {
            partitions: share.partitions().collect(),
            first_output: stage.division.outputs_of(attempt.task.index).start,
            slice,
            merged: matches!(share, Share::Merged(_)),
        };
        Action::Launch { worker, epoch, attempt, work, inputs_version: stage.inputs_version }
    }

    /// Sorts the pending tasks of a stage by the worker that holds most of their input.
    pub(crate) fn arrange(&mut self, id: StageId) {
        let preferences = self.preferences(id);
        let stage = self.stage_mut(id);
        stage.arranged = Some(stage.inputs_version);
        if stage.inputs.is_empty() {
            return;
        }
        stage.queue.arrange(|index| preferences.get(index as usize).copied().flatten());
    }

    /// For each task the worker that holds most of its input, if one stands out. Empty when none does.
    fn preferences(&self, id: StageId) -> Vec<Option<WorkerId>> {
        let stage = self.stage(id);
        let columns = self.plan.stage(id).map_or(0, |plan| plan.partitions as usize);
        let tasks = stage.tasks.len();
        let paired = self.plan.stage(id).map_or(&[][..], |plan| &plan.divisible.paired);
        // A partition of several reads one column of a table that has a column for each, or what one task put out as that
        // partition; of others nobody knows what.
        let tells =
            |input: &StageId| tasks == 1 || paired.contains(input) || self.stage(*input).sizes.outputs() == columns;
        let inputs: Vec<_> = stage.inputs.iter().copied().filter(tells).collect();
        let cells = |input: &Stage| input.tasks.len() * input.sizes.outputs();
        if inputs.iter().map(|&input| cells(self.stage(input))).sum::<usize>() > LOCAL_CELLS {
            return Vec::new();
        }
        let mut bytes: BTreeMap<WorkerId, Vec<u64>> = BTreeMap::new();
        for id in inputs {
            let input = self.stage(id);
            for (task, index) in input.tasks.iter().zip(0..) {
                let TaskState::Held { worker, .. } = task.state else { continue };
                let sums = bytes.entry(worker).or_insert_with(|| vec![0; tasks]);
                let row: Vec<u64> = input.sizes.row(index).collect();
                if paired.contains(&id) {
                    for reader in input.division.outputs_of(index).filter_map(|number| stage.division.runner_of(number))
                    {
                        sums[reader as usize] += row.iter().sum::<u64>();
                    }
                } else if tasks == 1 {
                    sums[0] += row.iter().sum::<u64>();
                } else {
                    for (sum, task) in sums.iter_mut().zip(0..) {
                        let columns = stage.division.share(task).partitions();
                        *sum += columns.filter_map(|column| row.get(column as usize)).sum::<u64>();
                    }
                }
            }
            if bytes.len() > LOCAL_WORKERS {
                return Vec::new();
            }
        }
        (0..tasks).map(|task| stands_out(&bytes, task)).collect()
    }
}

/// The worker with the most bytes for a task, if that is a good part of all of them.
fn stands_out(bytes: &BTreeMap<WorkerId, Vec<u64>>, task: usize) -> Option<WorkerId> {
    let total: u64 = bytes.values().map(|sums| sums[task]).sum();
    let (&worker, sums) = bytes.iter().max_by_key(|(_, sums)| sums[task])?;
    (sums[task] > 0 && sums[task].saturating_mul(100) >= total.saturating_mul(LOCAL_PERCENT)).then_some(worker)
}

/// Tasks that a stage has at most which has taken over others.
pub(crate) fn fused_tasks(workers: &Workers) -> u32 {
    slots(workers).max(1).saturating_mul(FUSED_TASKS_PER_SLOT)
}

/// Tasks that all workers may run at once.
pub(crate) fn slots(workers: &Workers) -> u32 {
    workers.iter().map(|worker| worker.info.slots).fold(0, u32::saturating_add)
}
