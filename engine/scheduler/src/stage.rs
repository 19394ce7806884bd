//! One stage of a job: its tasks, how many of them stand where, and what they have put out.
//! Owned by its [`Job`](super::job::Job), which alone knows how stages depend on each other.
//! Invariant: `running`, `held` and `spent` count the tasks in those states; the rest are pending and queued.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tandem_graph::StageRole;
use tandem_proto::{Attempt, StageId, WorkerId};

use crate::action::FinishedTask;
use crate::division::Division;
use crate::needs::Needs;
use crate::plan::StagePlan;
use crate::queue::TaskQueue;
use crate::report::{StagedFile, TaskOutput};
use crate::sizes::SizeTable;
use crate::task::{Run, Task, TaskEvent, TaskState};
use crate::time::Timestamp;
use crate::totals::{Contribution, Totals};

/// Whether anything unfinished still needs a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Its unfinished tasks must run, its output must be kept.
    Wanted,
    /// All that would read it is finished; its output is only retained in case some of that is lost.
    Idle,
}

/// What becomes of the output of finished tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Other stages read it: kept while one of them is unfinished, and retained as long as there is room.
    ForReaders,
    /// The client reads it: kept until the job ends.
    ForClient,
    /// Nobody reads it: the task has written files, or was only run for what it counts.
    Nothing,
}

/// One stage.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) tasks: Vec<Task>,
    /// What each task runs.
    pub(crate) division: Division,
    /// Whether that may still change.
    pub(crate) divided: Divided,
    /// Whether it takes over the work of others.
    pub(crate) fused: Fused,
    /// What each of its tasks takes besides a slot.
    pub(crate) needs: Option<Arc<Needs>>,
    /// Since when no worker could ever run its tasks.
    pub(crate) hopeless: Option<Timestamp>,
    /// Its only reader may yet take over its work, so it does not start.
    pub(crate) held_back: bool,
    pub(crate) queue: TaskQueue,
    pub(crate) demand: Demand,
    pub(crate) keep: Keep,
    /// Running it again gives the same output.
    pub(crate) deterministic: bool,
    /// Stages whose output it reads, and that read its output.
    pub(crate) inputs: Vec<StageId>,
    pub(crate) readers: Vec<StageId>,
    /// Input stages whose output is not complete.
    pub(crate) open_inputs: u32,
    /// Names the input locations that hold now. Moves when one of them is lost.
    pub(crate) inputs_version: u32,
    /// The version that the queue was arranged for.
    pub(crate) arranged: Option<u32>,
    running: u32,
    held: u32,
    spent: u32,
    pub(crate) failed_attempts: u32,
    pub(crate) totals: Totals,
    /// Rows and bytes of running attempts.
    pub(crate) live: (u64, u64),
    pub(crate) sizes: SizeTable,
    /// Staged files by task.
    pub(crate) files: BTreeMap<u32, Vec<StagedFile>>,
    /// Workers that hold output of this stage which does not count.
    pub(crate) strays: BTreeSet<WorkerId>,
    pub(crate) started: Option<Timestamp>,
    pub(crate) ended: Option<Timestamp>,
}

/// Whether it is decided how a stage is divided over tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Divided {
    /// When it could start, the sizes of its inputs will tell.
    Open,
    /// For good: attempts are named after their tasks.
    Decided,
}

/// Whether a stage takes over the work of the stage that makes the probe side of its join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fused {
    /// The size of the build side will tell.
    Open,
    /// It takes over so many stages, one below the other.
    Settled(u32),
}

/// From where attempt numbers and input versions of one reign of a coordinator count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Numbering {
    pub(crate) first_attempt: u32,
    pub(crate) first_version: u32,
}

impl Stage {
    /// A stage of which nothing has run.
    pub(crate) fn new(plan: &StagePlan, readers: Vec<StageId>, numbering: Numbering) -> Self {
        let division = Division::planned(plan);
        let tasks = division.tasks();
        let divided = Divided::of(plan, 0);
        let fused = if plan.fusion.is_some() { Fused::Open } else { Fused::Settled(0) };
        // What earlier reigns started of it is known again when what they had decided is.
        let open = divided == Divided::Open || fused == Fused::Open;
        let oldest_valid = if open { numbering.first_attempt } else { 0 };
        let keep = match plan.role {
            StageRole::Result => Keep::ForClient,
            StageRole::Exchange if !readers.is_empty() => Keep::ForReaders,
            StageRole::Exchange | StageRole::Sink(_) | StageRole::Driver | StageRole::ClientDriver => Keep::Nothing,
        };
        Self {
            tasks: new_tasks(tasks, numbering.first_attempt, oldest_valid),
            division,
            divided,
            fused,
            needs: plan.needs.as_ref().map(|needs| Arc::new(Needs::new(needs))),
            hopeless: None,
            held_back: false,
            queue: TaskQueue::full(tasks),
            demand: Demand::Wanted,
            keep,
            deterministic: plan.deterministic,
            inputs: plan.inputs.clone(),
            readers,
            open_inputs: plan.inputs.len() as u32,
            inputs_version: numbering.first_version,
            arranged: None,
            running: 0,
            held: 0,
            spent: 0,
            failed_attempts: 0,
            totals: Totals::default(),
            live: (0, 0),
            sizes: SizeTable::new(plan.outputs),
            files: BTreeMap::new(),
            strays: BTreeSet::new(),
            started: None,
            ended: None,
        }
    }

    /// Number of tasks.
    pub(crate) fn len(&self) -> u32 {
        self.tasks.len() as u32
    }

    /// Tasks that run.
    pub(crate) fn running(&self) -> u32 {
        self.running
    }

    /// Tasks that are finished.
    pub(crate) fn finished(&self) -> u32 {
        self.held + self.spent
    }

    /// Tasks that wait.
    pub(crate) fn pending(&self) -> u32 {
        self.len() - self.running - self.finished()
    }

    /// Whether all tasks are finished.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished() == self.len()
    }

    /// Whether readers find the output of every task.
    pub(crate) fn is_readable(&self) -> bool {
        self.held == self.len()
    }

    /// Whether any output of it can be read.
    pub(crate) fn holds_any(&self) -> bool {
        self.held > 0
    }

    /// Whether it needs its inputs.
    pub(crate) fn is_hungry(&self) -> bool {
        self.demand == Demand::Wanted && !self.is_finished()
    }

    /// Whether a pending task could start if it had a slot.
    pub(crate) fn is_runnable(&self) -> bool {
        self.demand == Demand::Wanted && self.open_inputs == 0 && self.pending() > 0 && !self.held_back
    }

    /// The number that the first attempt of each task takes, as long as nothing of the stage was started.
    pub(crate) fn first_attempt(&self) -> u32 {
        self.tasks.first().map_or(0, |task| task.next_attempt)
    }

    /// Takes the shape of a stage that takes over `depth` others. Nothing of the stage was started in this reign; what
    /// earlier ones started counts from attempt `oldest_valid` on, if it is known how they had divided the stage.
    pub(crate) fn fuse(&mut self, plan: &StagePlan, depth: u32, oldest_valid: u32) {
        let divided = Divided::of(plan, depth);
        let oldest_valid = if divided == Divided::Open { self.first_attempt() } else { oldest_valid };
        self.divide(Division::planned(plan), oldest_valid);
        self.divided = divided;
        self.fused = Fused::Settled(depth);
        self.inputs.clone_from(&plan.inputs);
        self.arranged = None;
    }

    /// Decides which task runs what. Nothing of the stage was started in this reign; what earlier ones started counts from
    /// attempt `oldest_valid` on.
    pub(crate) fn divide(&mut self, division: Division, oldest_valid: u32) {
        self.tasks = new_tasks(division.tasks(), self.first_attempt(), oldest_valid);
        self.queue = TaskQueue::full(division.tasks());
        self.division = division;
        self.divided = Divided::Decided;
    }

    /// Places a pending task that was taken from the queue, or one more attempt of a task that runs elsewhere.
    pub(crate) fn launch(&mut self, index: u32, worker: WorkerId, now: Timestamp) -> Attempt {
        let task = &mut self.tasks[index as usize];
        let attempt = Attempt(task.next_attempt);
        task.next_attempt += 1;
        self.place(index, worker, attempt, self.inputs_version, now);
        attempt
    }

    /// Takes over an attempt that a worker turned out to run. What inputs it reads is not known, so a failure of it
    /// costs nothing.
    pub(crate) fn adopt(&mut self, index: u32, worker: WorkerId, attempt: Attempt, now: Timestamp) {
        let task = &mut self.tasks[index as usize];
        task.next_attempt = task.next_attempt.max(attempt.0.saturating_add(1));
        self.place(index, worker, attempt, u32::MAX, now);
    }

    fn place(&mut self, index: u32, worker: WorkerId, attempt: Attempt, inputs_version: u32, now: Timestamp) {
        let task = &mut self.tasks[index as usize];
        if !task.state.is_running() {
            (task.rows, task.bytes) = (0, 0);
            self.running += 1;
        }
        task.apply(TaskEvent::Launch(Run { worker, attempt, inputs_version, started: now }));
        self.started.get_or_insert(now);
        self.ended = None;
    }

    /// Notes how far a running attempt is.
    pub(crate) fn progress(&mut self, index: u32, rows: u64, bytes: u64) {
        let task = &mut self.tasks[index as usize];
        self.live.0 = self.live.0.saturating_sub(task.rows).saturating_add(rows);
        self.live.1 = self.live.1.saturating_sub(task.bytes).saturating_add(bytes);
        (task.rows, task.bytes) = (rows, bytes);
    }

    /// Makes the result of an attempt the task's result.
    pub(crate) fn accept(
        &mut self,
        index: u32,
        worker: WorkerId,
        attempt: Attempt,
        output: TaskOutput,
        now: Timestamp,
    ) {
        self.stop_running(index);
        let tasks = self.tasks.len();
        let task = &mut self.tasks[index as usize];
        task.started = task.state.run(worker, attempt).map_or(now, |run| run.started);
        task.apply(TaskEvent::Accept { worker, attempt });
        task.forgive();
        task.next_attempt = task.next_attempt.max(attempt.0.saturating_add(1));
        (task.ended, task.rows, task.bytes) = (now, output.metrics.output_rows, output.metrics.output_bytes);
        self.totals.replace(&mut task.contribution, &output.metrics);
        self.sizes.set(index, tasks, &output.partition_sizes);
        if output.files.is_empty() {
            self.files.remove(&index);
        } else {
            self.files.insert(index, output.files);
        }
        self.held += 1;
        self.started.get_or_insert(now);
        if self.is_finished() {
            self.ended = Some(now);
        }
    }

    /// Puts back a task that had finished before the coordinator restarted, of a stage that had started then.
    pub(crate) fn restore(
        &mut self,
        index: u32,
        worker: WorkerId,
        finished: &FinishedTask,
        stage_started: Timestamp,
        files: Vec<StagedFile>,
    ) {
        let task = &mut self.tasks[index as usize];
        task.apply(TaskEvent::Accept { worker, attempt: finished.attempt });
        task.next_attempt = task.next_attempt.max(finished.attempt.0.saturating_add(1));
        task.started = stage_started.after_ms(finished.after_ms);
        task.ended = task.started.after_ms(finished.took_ms);
        (task.rows, task.bytes) = (finished.rows, finished.bytes);
        task.contribution = Contribution::Restored;
        if !files.is_empty() {
            self.files.insert(index, files);
        }
        self.held += 1;
    }

    /// Gives up all placed attempts of a task, which is pending again.
    pub(crate) fn requeue(&mut self, index: u32) {
        self.stop_running(index);
        self.tasks[index as usize].apply(TaskEvent::Requeue);
        self.queue.push(index);
    }

    /// A placed attempt ended without a result. Its task is pending again, unless another attempt of it runs.
    pub(crate) fn leave(&mut self, index: u32, attempt: Attempt) {
        if self.tasks[index as usize].state.runs().count() == 1 {
            self.stop_running(index);
        }
        self.tasks[index as usize].apply(TaskEvent::Leave(attempt));
        if self.tasks[index as usize].state == TaskState::Pending {
            self.queue.push(index);
        }
    }

    /// Makes a task pending again whose output is gone or does not count.
    pub(crate) fn lose(&mut self, index: u32) {
        self.tasks[index as usize].apply(TaskEvent::Lose);
        self.held -= 1;
        self.queue.push(index);
        self.ended = None;
    }

    /// Gives up the output of one finished task.
    pub(crate) fn release(&mut self, index: u32) {
        self.tasks[index as usize].apply(TaskEvent::Release);
        self.held -= 1;
        self.spent += 1;
    }

    /// Makes a task pending again whose output was given up.
    pub(crate) fn reopen(&mut self, index: u32) {
        self.tasks[index as usize].apply(TaskEvent::Reopen);
        self.spent -= 1;
        self.queue.push(index);
        self.ended = None;
    }

    /// The tasks in a state that `filter` picks.
    pub(crate) fn indices(&self, filter: impl Fn(&TaskState) -> bool) -> Vec<u32> {
        (0..self.len()).filter(|&index| filter(&self.tasks[index as usize].state)).collect()
    }

    /// The workers that hold output that counts.
    pub(crate) fn holders(&self) -> BTreeSet<WorkerId> {
        let held = |task: &Task| match task.state {
            TaskState::Held { worker, .. } => Some(worker),
            _ => None,
        };
        self.tasks.iter().filter_map(held).collect()
    }

    /// Gives back the memory that only a live job needs.
    pub(crate) fn strip(&mut self) {
        self.queue = TaskQueue::full(0);
        self.sizes.clear();
        self.files = BTreeMap::new();
        self.strays = BTreeSet::new();
    }

    fn stop_running(&mut self, index: u32) {
        let task = &self.tasks[index as usize];
        if task.state.is_running() {
            self.running -= 1;
            self.live.0 = self.live.0.saturating_sub(task.rows);
            self.live.1 = self.live.1.saturating_sub(task.bytes);
        }
    }
}

impl Fused {
    /// How many stages it takes over, as far as that is settled.
    pub(crate) fn depth(self) -> u32 {
        match self {
            Self::Open => 0,
            Self::Settled(depth) => depth,
        }
    }
}

impl Divided {
    /// Of a stage of this shape that takes over `depth` others.
    fn of(plan: &StagePlan, depth: u32) -> Self {
        let merges = depth > 0 && plan.divisible.mergeable;
        if plan.divisible.sized_by.is_empty() && !merges { Self::Decided } else { Self::Open }
    }
}

fn new_tasks(count: u32, first_attempt: u32, oldest_valid: u32) -> Vec<Task> {
    let new_task = |_| {
        let mut task = Task::new(first_attempt);
        task.oldest_valid = oldest_valid;
        task
    };
    (0..count).map(new_task).collect()
}
