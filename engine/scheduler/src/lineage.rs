//! How the stages of a job depend on each other: what a finished, lost or unneeded output means for the rest.
//! Part of [`Job`]; every change of a task goes through [`Job::change`], which carries it on to readers and inputs.
//! Invariants:
//! - A stage is wanted while a stage that reads it is unfinished and itself wanted. Output that is not wanted any
//!   more is retained within a budget: a worker that is lost later then costs only what it held, not all before.
//! - `open_inputs` counts the inputs of which some task's output cannot be read; tasks start only while it is 0.
//! - An attempt reads the input locations of the version it was launched with, or none. One whose version is over
//!   may still finish, for it has then read all it needs; if it fails, that costs its task nothing.
//! - When output that is not deterministic is made again, all that read it before is started again, and so on.

use std::collections::BTreeSet;

use tandem_proto::{Attempt, JobId, StageId, TaskId, WorkerId};

use crate::action::{Action, Fact, FinishedTask};
use crate::job::{Context, Job};
use crate::report::{AttemptId, TaskOutput};
use crate::restore::RestoredStage;
use crate::stage::{Demand, Keep, Stage};
use crate::task::{Run, TaskState};
use crate::totals::Totals;
use crate::views;
use crate::worker::Standing;

/// What other stages see of a stage.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Face {
    readable: bool,
    hungry: bool,
    finished: bool,
}

impl Face {
    fn of(stage: &Stage) -> Self {
        Self { readable: stage.is_readable(), hungry: stage.is_hungry(), finished: stage.is_finished() }
    }
}

impl Job {
    /// Places a task of a runnable stage to a worker, or one more attempt of a task that runs elsewhere.
    pub(crate) fn launch(&mut self, cx: &mut Context<'_>, id: StageId, index: u32, worker: WorkerId) -> AttemptId {
        if self.started.is_none() {
            self.started = Some(cx.now);
            self.record(cx, Fact::JobStarted { job: self.id, at: cx.now });
        }
        self.slots += 1;
        self.joined_by(cx, worker);
        let attempt = self.change(cx, id, |stage, cx| stage.launch(index, worker, cx.now));
        AttemptId { task: TaskId { job: self.id, stage: id, index }, attempt }
    }

    /// Takes over an attempt that a worker turned out to run.
    pub(crate) fn adopt(&mut self, cx: &mut Context<'_>, attempt: AttemptId, worker: WorkerId) {
        self.started.get_or_insert(cx.now);
        self.slots += 1;
        if self.plan.executors {
            self.members.insert(worker);
        }
        let TaskId { stage, index, .. } = attempt.task;
        self.change(cx, stage, |stage, cx| stage.adopt(index, worker, attempt.attempt, cx.now));
    }

    /// Makes the result of an attempt the task's result. The worker holds its output.
    pub(crate) fn accept(&mut self, cx: &mut Context<'_>, attempt: AttemptId, worker: WorkerId, output: TaskOutput) {
        let AttemptId { task, attempt } = attempt;
        let TaskId { job, stage: id, index } = task;
        self.started.get_or_insert(cx.now);
        self.holders.insert(worker);
        for overtaken in self.stage(id).tasks[index as usize].state.runs().filter(|run| run.attempt != attempt) {
            self.cancel(cx, task, overtaken);
        }
        cx.counters.attempts_succeeded += 1;
        cx.counters.shuffle_local_bytes += output.metrics.shuffle_local_bytes;
        cx.counters.shuffle_remote_bytes += output.metrics.shuffle_remote_bytes;
        cx.counters.fetch_wait_ms += output.metrics.fetch_wait_ms;
        cx.counters.spilled_bytes += output.metrics.spilled_bytes;
        self.change(cx, id, |stage, cx| {
            stage.accept(index, worker, attempt, output, cx.now);
            if stage.keep == Keep::Nothing {
                stage.release(index);
            } else {
                cx.workers.hold(worker, job, id);
            }
        });
        self.settle_readers(cx, id);
    }

    /// Puts back a stage that had finished before the coordinator restarted. Output of a worker that is gone is lost.
    pub(crate) fn restore_stage(&mut self, cx: &mut Context<'_>, id: StageId, finished: RestoredStage) {
        let job = self.id;
        self.holders.extend(&finished.workers);
        self.change(cx, id, |stage, cx| {
            let kept = stage.keep != Keep::Nothing;
            let mut files = finished.files.into_iter();
            for (index, task) in (0..stage.len()).zip(&finished.tasks) {
                let files = files.by_ref().take(task.files as usize).collect();
                let Some(&worker) = finished.workers.get(task.worker as usize) else { continue };
                let there = kept && cx.workers.get(worker).is_some();
                if kept && !there && stage.demand == Demand::Wanted {
                    continue;
                }
                stage.restore(index, worker, task, finished.started, files);
                if there {
                    cx.workers.hold(worker, job, id);
                } else {
                    stage.release(index);
                }
            }
            let (rows, bytes) = finished.tasks.iter().fold((0, 0), |sum, task| (sum.0 + task.rows, sum.1 + task.bytes));
            stage.totals = Totals::restored(finished.counts, finished.operators, rows, bytes);
            (stage.started, stage.ended) = (Some(finished.started), Some(finished.at));
        });
    }

    /// A worker still holds output that a restored job counts on, and tells its sizes.
    pub(crate) fn confirm(&mut self, attempt: AttemptId, output: &TaskOutput) {
        let stage = self.stage_mut(attempt.task.stage);
        let tasks = stage.tasks.len();
        stage.sizes.set(attempt.task.index, tasks, &output.partition_sizes);
    }

    /// A placed attempt ended without a result.
    pub(crate) fn leave(&mut self, cx: &mut Context<'_>, attempt: AttemptId) {
        let AttemptId { task: TaskId { stage, index, .. }, attempt } = attempt;
        self.change(cx, stage, |stage, _| stage.leave(index, attempt));
        if self.plan.is_program() {
            self.end_executors(cx);
        }
    }

    /// Output is gone, if it was held by this worker. When it is wanted, its task is pending again. What read
    /// it before is started again when
    /// the task might put out something else this time.
    pub(crate) fn lose(&mut self, cx: &mut Context<'_>, id: StageId, index: u32, at: WorkerId, why: &str) {
        let TaskState::Held { worker, attempt } = self.stage(id).tasks[index as usize].state else { return };
        if worker != at {
            return;
        }
        if self.stage(id).demand == Demand::Idle {
            cx.workers.unhold(worker, self.id, id);
            return self.change(cx, id, |stage, _| stage.release(index));
        }
        let task = TaskId { job: self.id, stage: id, index };
        self.remember(cx, AttemptId { task, attempt }, views::TaskState::Lost, worker, why.to_owned());
        cx.counters.outputs_lost += 1;
        cx.workers.unhold(worker, self.id, id);
        self.change(cx, id, |stage, _| stage.lose(index));
        if !self.stage(id).deterministic {
            self.restart_readers(cx, id);
        }
    }

    /// Loses all output of a stage that a worker holds.
    pub(crate) fn lose_all(&mut self, cx: &mut Context<'_>, id: StageId, at: WorkerId, why: &str) {
        let held_there = |state: &TaskState| matches!(state, TaskState::Held { worker, .. } if *worker == at);
        for index in self.stage(id).indices(held_there) {
            self.lose(cx, id, index, at, why);
        }
    }

    /// Changes one stage and carries on what that means for its readers and inputs.
    fn change<R>(
        &mut self,
        cx: &mut Context<'_>,
        id: StageId,
        edit: impl FnOnce(&mut Stage, &mut Context<'_>) -> R,
    ) -> R {
        cx.out.touched.insert(self.id);
        let stage = self.stage_mut(id);
        let before = Face::of(stage);
        let result = edit(stage, cx);
        let after = Face::of(stage);
        self.refresh(id);
        if before != after {
            self.carry_on(cx, id, before, after);
        }
        result
    }

    fn carry_on(&mut self, cx: &mut Context<'_>, id: StageId, before: Face, after: Face) {
        if before.readable != after.readable {
            for place in 0..self.stage(id).readers.len() {
                self.open_or_close_input(id, place, after.readable);
            }
        }
        if before.finished != after.finished {
            self.count_end(cx, id, after.finished);
        }
        if before.hungry != after.hungry {
            for place in 0..self.stage(id).inputs.len() {
                let input = self.stage(id).inputs[place];
                self.update_demand(cx, input);
            }
        }
    }

    /// One reader learns that an input became readable, or is not any more.
    fn open_or_close_input(&mut self, id: StageId, place: usize, readable: bool) {
        let reader = self.stage(id).readers[place];
        let stage = self.stage_mut(reader);
        if readable {
            stage.open_inputs -= 1;
        } else {
            stage.open_inputs += 1;
            stage.inputs_version += 1;
        }
        self.refresh(reader);
    }

    fn count_end(&mut self, cx: &mut Context<'_>, id: StageId, finished: bool) {
        let is_end = self.stage(id).keep != Keep::ForReaders;
        if finished {
            self.open_ends -= u32::from(is_end);
            cx.counters.stages_finished += 1;
            self.record_stage(cx, id);
        } else {
            self.open_ends += u32::from(is_end);
        }
    }

    /// Asks again whether anything unfinished needs a stage.
    pub(crate) fn update_demand(&mut self, cx: &mut Context<'_>, id: StageId) {
        if self.stage(id).keep != Keep::ForReaders {
            return;
        }
        let wanted = self.stage(id).readers.iter().any(|&reader| self.stage(reader).is_hungry());
        match (self.stage(id).demand, wanted) {
            (Demand::Idle, true) => self.revive(cx, id),
            (Demand::Wanted, false) => self.retire(cx, id),
            (Demand::Wanted, true) | (Demand::Idle, false) => {}
        }
    }

    /// A stage is wanted again: what was dropped or lost must be made again.
    fn revive(&mut self, cx: &mut Context<'_>, id: StageId) {
        let complete = self.stage(id).is_readable();
        self.change(cx, id, |stage, _| {
            stage.demand = Demand::Wanted;
            for index in stage.indices(|state| matches!(state, TaskState::Spent { .. })) {
                stage.reopen(index);
            }
        });
        if !complete && !self.stage(id).deterministic {
            self.restart_readers(cx, id);
        }
    }

    /// Nothing wants a stage any more: what it runs ends, what it put out is retained if there is room.
    fn retire(&mut self, cx: &mut Context<'_>, id: StageId) {
        self.cancel_running(cx, id);
        self.change(cx, id, |stage, _| {
            stage.demand = Demand::Idle;
            stage.sizes.clear();
        });
        let budget = cx.config.retained_bytes_per_worker.saturating_mul(cx.workers.ready() as u64);
        while let Some(largest) = self.largest_retained(budget) {
            self.discard(cx, largest);
        }
    }

    /// The largest stage that is only retained, when all of them together are over the budget.
    fn largest_retained(&self, budget: u64) -> Option<StageId> {
        let retained = || {
            let stages = self.plan.stage_ids().map(|id| (id, self.stage(id)));
            stages.filter(|(_, stage)| stage.demand == Demand::Idle && stage.holds_any())
        };
        let bytes = retained().fold(0u64, |sum, (_, stage)| sum.saturating_add(stage.totals.bytes));
        if bytes <= budget {
            return None;
        }
        retained().max_by_key(|(_, stage)| stage.totals.bytes).map(|(id, _)| id)
    }

    /// Drops the output of a stage that nothing wants.
    fn discard(&mut self, cx: &mut Context<'_>, id: StageId) {
        let job = self.id;
        let mut holders = self.stage(id).holders();
        for &worker in &holders {
            cx.workers.unhold_stage(worker, job, id);
        }
        holders.append(&mut self.stage_mut(id).strays);
        self.change(cx, id, |stage, _| {
            for index in stage.indices(|state| matches!(state, TaskState::Held { .. })) {
                stage.release(index);
            }
        });
        for worker in holders {
            cx.drop_output(worker, job, Some(id));
        }
    }

    /// Ends all running attempts of a stage; its tasks are pending again.
    pub(crate) fn cancel_running(&mut self, cx: &mut Context<'_>, id: StageId) {
        for index in self.stage(id).indices(TaskState::is_running) {
            for run in self.stage(id).tasks[index as usize].state.runs() {
                self.cancel(cx, TaskId { job: self.id, stage: id, index }, run);
            }
            self.change(cx, id, |stage, _| stage.requeue(index));
        }
        if self.plan.is_program() {
            self.end_executors(cx);
        }
    }

    fn cancel(&mut self, cx: &mut Context<'_>, task: TaskId, run: Run) {
        let attempt = AttemptId { task, attempt: run.attempt };
        cx.cancel(run.worker, attempt);
        self.remember_cancelled(cx, attempt, run.worker);
    }

    /// Starts again all that may have read output of `id` that will not come out the same, and what has read
    /// that, and so on. Output
    /// that was lost since may have been read too, so it does not matter what the stages in between still have.
    pub(crate) fn restart_readers(&mut self, cx: &mut Context<'_>, id: StageId) {
        let mut readers: BTreeSet<StageId> = self.stage(id).readers.iter().copied().collect();
        // Readers have higher ids than what they read, so each is met after all that leads to it.
        while let Some(reader) = readers.pop_first() {
            readers.extend(&self.stage(reader).readers);
            if self.stage(reader).finished() + self.stage(reader).running() > 0 {
                self.restart(cx, reader);
            }
        }
    }

    /// Makes every task of a stage pending; what it has put out does not count any more.
    fn restart(&mut self, cx: &mut Context<'_>, id: StageId) {
        let job = self.id;
        self.record(cx, Fact::StageReopened { job, stage: id });
        self.cancel_running(cx, id);
        let mut holders = self.stage(id).holders();
        for &worker in &holders {
            cx.workers.unhold_stage(worker, job, id);
        }
        self.change(cx, id, |stage, _| {
            stage.strays.append(&mut holders);
            for index in 0..stage.len() {
                match stage.tasks[index as usize].state {
                    TaskState::Held { .. } => stage.lose(index),
                    TaskState::Spent { .. } => stage.reopen(index),
                    TaskState::Pending | TaskState::Running(_) | TaskState::Raced(..) => {}
                }
                let task = &mut stage.tasks[index as usize];
                task.oldest_valid = task.next_attempt;
            }
        });
    }

    /// Whether an attempt that a worker runs or holds may become the task's attempt.
    pub(crate) fn may_take_over(&self, attempt: AttemptId) -> bool {
        let stage = self.stage(attempt.task.stage);
        // After a restart nobody knows which inputs an attempt has read; that matters only if making them
        // again changes them.
        let traceable = self.plan.stages.iter().all(|stage| stage.deterministic);
        self.is_active() && stage.tasks[attempt.task.index as usize].accepts(attempt.attempt) && traceable
    }

    fn record_stage(&self, cx: &mut Context<'_>, id: StageId) {
        if !self.plan.journaled {
            return;
        }
        let stage = self.stage(id);
        let mut workers: Vec<WorkerId> =
            stage.tasks.iter().filter_map(|task| task.state.accepted()).map(|at| at.0).collect();
        workers.sort_unstable();
        workers.dedup();
        let started = stage.started.unwrap_or(cx.now);
        let tasks = stage.tasks.iter().enumerate().map(|(index, task)| {
            let (worker, attempt) = task.state.accepted().unwrap_or((WorkerId(0), Attempt(0)));
            let worker = workers.binary_search(&worker).unwrap_or_default() as u32;
            let files = stage.files.get(&(index as u32)).map_or(0, |files| files.len() as u32);
            let (after_ms, took_ms) = (task.started.ms_since(started), task.ended.ms_since(task.started));
            FinishedTask { worker, attempt, after_ms, took_ms, rows: task.rows, bytes: task.bytes, files }
        });
        let fact = Fact::StageFinished {
            job: self.id,
            stage: id,
            started,
            at: cx.now,
            tasks: tasks.collect(),
            counts: stage.totals.counts().collect(),
            operators: stage.totals.operators(),
            files: stage.files.values().flatten().cloned().collect(),
            workers,
        };
        cx.out.actions.push(Action::Record(fact));
    }
}

impl Context<'_> {
    /// Tells a worker to end an attempt, which keeps its slot until the worker says that it has ended.
    pub(crate) fn cancel(&mut self, id: WorkerId, attempt: AttemptId) {
        let Some(worker) = self.workers.get_mut(id) else { return };
        for placed in worker.placed.iter_mut().filter(|placed| placed.attempt == attempt) {
            placed.standing = Standing::Cancelled;
            placed.seen = self.now;
        }
        if worker.contact.has_stream() {
            self.out.actions.push(Action::Cancel { worker: id, epoch: worker.epoch, attempt });
        }
    }

    /// Tells a worker to forget output. One that is out of touch is told when it registers and lists what it holds.
    pub(crate) fn drop_output(&mut self, id: WorkerId, job: JobId, stage: Option<StageId>) {
        if let Some(worker) = self.workers.get(id).filter(|worker| worker.contact.has_stream()) {
            self.out.actions.push(Action::DropOutput { worker: id, epoch: worker.epoch, job, stage });
        }
    }
}
