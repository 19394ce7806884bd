//! What the end of a task attempt means. Part of the [`Cluster`].
//! Invariant: only a report of a placed attempt changes a task, except that a finished attempt may fill a task that is pending.
//!
//!   finished        accepted
//!   failed: retry, resources    one of the task's failures; the third fails the job; other workers first
//!   failed: fatal               fails the job
//!   failed: fetch               the input is lost and made again; costs nothing, but not for ever
//!   failed: cancelled           costs nothing
//!   worker lost                 costs nothing; the third worker lost makes the task poisonous and fails the job, the thirtieth a
//!                               driver; a driver at a client cannot start elsewhere, so that fails the job at once
//!
//! A failure of an attempt whose input locations are over costs nothing, whatever it says.

use tandem_graph::StageRole;
use tandem_proto::{Epoch, JobId, PartitionId, StageId, TaskId, WorkerId};

use crate::action::Action;
use crate::cluster::Cluster;
use crate::contact::Contact;
use crate::job::{Context, Job};
use crate::reason::{FailureReason, JobFailure};
use crate::report::{AttemptId, FailureKind, TaskFailure, TaskOutcome, TaskOutput};
use crate::task::{Run, TaskState};
use crate::views;
use crate::worker::Standing;

impl Cluster {
    /// An attempt ended, or a worker says so again.
    pub(crate) fn task_reported(
        &mut self,
        worker: WorkerId,
        epoch: Epoch,
        sequence: u64,
        attempt: AttemptId,
        outcome: TaskOutcome,
    ) {
        if !self.heard(worker, epoch) {
            return;
        }
        self.out.actions.push(Action::Acknowledge { worker, epoch, sequence });
        self.unplace(worker, attempt);
        match outcome {
            TaskOutcome::Finished(output) => self.attempt_finished(worker, attempt, *output),
            TaskOutcome::Failed(failure) => self.attempt_failed(worker, attempt, failure),
        }
    }

    /// Frees the slot of an attempt. False when it had none.
    pub(crate) fn unplace(&mut self, worker: WorkerId, attempt: AttemptId) -> Option<Standing> {
        let known = self.workers.get(worker)?.placed.iter().position(|placed| placed.attempt == attempt)?;
        let placed = self.workers.edit(worker, |worker| worker.placed.swap_remove(known))?;
        self.free_slot(attempt.task.job);
        Some(placed.standing)
    }

    /// A job has one slot less.
    pub(crate) fn free_slot(&mut self, job: JobId) {
        self.with_job(job, |job, cx| {
            job.slots -= 1;
            cx.out.touched.insert(job.id);
        });
    }

    fn attempt_finished(&mut self, worker: WorkerId, attempt: AttemptId, output: TaskOutput) {
        let job_id = attempt.task.job;
        if self.jobs.get(&job_id).is_none_or(|job| job.is_ended() || !job.has(attempt.task)) {
            return self.context().drop_output(worker, job_id, None);
        }
        self.with_job(job_id, |job, cx| {
            let stage = attempt.task.stage;
            let state = job.stage(stage).tasks[attempt.task.index as usize].state;
            job.holders.insert(worker);
            if state.run(worker, attempt.attempt).is_some() || job.may_take_over(attempt) {
                job.accept(cx, attempt, worker, output);
            } else if state.accepted() != Some((worker, attempt.attempt)) {
                job.stage_mut(stage).strays.insert(worker);
            }
        });
    }

    fn attempt_failed(&mut self, worker: WorkerId, attempt: AttemptId, failure: TaskFailure) {
        self.count_failure(failure.kind);
        let contact = |cx: &Context<'_>, id| cx.workers.get(id).map(|worker| worker.contact);
        let unreachable = self.with_job(attempt.task.job, |job, cx| {
            if !job.has(attempt.task) {
                return None;
            }
            if job.run(worker, attempt).is_none() {
                if failure.kind != FailureKind::Cancelled {
                    job.remember_failure(cx, attempt, failure.message);
                }
                return None;
            }
            let lost = job.attempt_failed(cx, worker, attempt, failure)?;
            matches!(contact(cx, lost), Some(Contact::Broken { .. })).then_some(lost)
        });
        // Its stream is broken and a peer cannot read from it: two witnesses are enough.
        if let Some(lost) = unreachable {
            self.lose_worker(lost, "its connection broke and its output cannot be read");
        }
    }

    fn count_failure(&mut self, kind: FailureKind) {
        match kind {
            FailureKind::Retry | FailureKind::Fatal | FailureKind::Resources => self.counters.attempts_failed += 1,
            FailureKind::Fetch { .. } => self.counters.attempts_fetch_failed += 1,
            FailureKind::Cancelled => self.counters.attempts_cancelled += 1,
        }
    }

    /// A placed attempt went down with its worker.
    pub(crate) fn attempt_lost(&mut self, worker: WorkerId, attempt: AttemptId, why: &str) {
        self.counters.attempts_lost += 1;
        self.with_job(attempt.task.job, |job, cx| {
            if job.run(worker, attempt).is_some() {
                job.worker_lost(cx, worker, attempt, why);
            }
        });
    }

    /// A placed attempt is not on its worker and has left no trace: it never got there, or its report is on the way.
    pub(crate) fn requeue_if_running(&mut self, worker: WorkerId, attempt: AttemptId) {
        self.with_job(attempt.task.job, |job, cx| {
            if job.run(worker, attempt).is_some() {
                job.leave(cx, attempt);
            }
        });
    }
}

impl Job {
    /// This very attempt, if it is placed on this worker.
    pub(crate) fn run(&self, worker: WorkerId, attempt: AttemptId) -> Option<Run> {
        let AttemptId { task, attempt } = attempt;
        let state = || self.stage(task.stage).tasks[task.index as usize].state;
        self.has(task).then(state)?.run(worker, attempt)
    }

    /// A placed attempt failed. Answers with the worker whose output it could not read.
    fn attempt_failed(
        &mut self,
        cx: &mut Context<'_>,
        worker: WorkerId,
        attempt: AttemptId,
        failure: TaskFailure,
    ) -> Option<WorkerId> {
        let TaskId { stage, .. } = attempt.task;
        let state = match failure.kind {
            FailureKind::Cancelled => views::TaskState::Cancelled,
            _ => views::TaskState::Failed,
        };
        self.remember(cx, attempt, state, worker, failure.message.clone());
        let run = self.run(worker, attempt)?;
        let current = run.inputs_version == self.stage(stage).inputs_version;
        self.leave(cx, attempt);
        match failure.kind {
            FailureKind::Cancelled => None,
            FailureKind::Fatal => {
                self.fail_for(cx, worker, attempt, FailureReason::Fatal, failure.message);
                None
            }
            FailureKind::Retry | FailureKind::Resources => {
                if current {
                    self.own_failure(cx, worker, attempt, failure);
                }
                None
            }
            FailureKind::Fetch { stage: input, partition, worker: from } => {
                self.fetch_failed(cx, worker, attempt, (input, partition, from), current, failure.message)
            }
        }
    }

    /// One of the failures that a task may have.
    fn own_failure(&mut self, cx: &mut Context<'_>, worker: WorkerId, attempt: AttemptId, failure: TaskFailure) {
        let task = &mut self.stage_mut(attempt.task.stage).tasks[attempt.task.index as usize];
        let trouble = task.trouble();
        trouble.failures += 1;
        if !trouble.avoid.contains(&worker) {
            trouble.avoid.push(worker);
        }
        let failures = trouble.failures;
        if failures >= cx.config.task_failures {
            let cause = format!("{} (failed {failures} times)", failure.message);
            self.fail_for(cx, worker, attempt, FailureReason::AttemptsExhausted, cause);
        }
    }

    /// An input could not be read. If it is where the attempt was told, it is lost.
    fn fetch_failed(
        &mut self,
        cx: &mut Context<'_>,
        worker: WorkerId,
        attempt: AttemptId,
        (input, partition, from): (StageId, PartitionId, WorkerId),
        current: bool,
        message: String,
    ) -> Option<WorkerId> {
        let stage = attempt.task.stage;
        let task = &mut self.stage_mut(stage).tasks[attempt.task.index as usize];
        task.trouble().fetch_failures += 1;
        if task.trouble().fetch_failures >= cx.config.fetch_failures {
            let cause = format!("{message} ({} attempts could not read their input)", cx.config.fetch_failures);
            self.fail_for(cx, worker, attempt, FailureReason::InputsUnreadable, cause);
            return None;
        }
        if !current || !self.stage(stage).inputs.contains(&input) {
            return None;
        }
        let writer = self.stage(input).division.writer_of(partition.0)?;
        let held = self.stage(input).tasks[writer as usize].state;
        if matches!(held, TaskState::Held { worker, .. } if worker == from) {
            self.lose(cx, input, writer, from, "it could not be read");
            let stage = self.stage_mut(input);
            stage.strays.insert(from);
            let task = &mut stage.tasks[writer as usize];
            task.oldest_valid = task.next_attempt;
        }
        Some(from)
    }

    /// A placed attempt went down with its worker.
    fn worker_lost(&mut self, cx: &mut Context<'_>, worker: WorkerId, attempt: AttemptId, why: &str) {
        let TaskId { stage, index, .. } = attempt.task;
        self.remember(cx, attempt, views::TaskState::Lost, worker, why.to_owned());
        self.leave(cx, attempt);
        let trouble = self.stage_mut(stage).tasks[index as usize].trouble();
        trouble.workers_lost += 1;
        let lost = trouble.workers_lost;
        let most = match self.plan.stage(stage).map(|stage| &stage.role) {
            Some(StageRole::ClientDriver) => {
                let cause = format!("the worker that stood for its client was lost: {why}");
                return self.fail_for(cx, worker, attempt, FailureReason::Fatal, cause);
            }
            Some(StageRole::Driver) => cx.config.poison_workers_of_driver,
            Some(StageRole::Exchange | StageRole::Result | StageRole::Sink(_)) | None => cx.config.poison_workers,
        };
        if lost >= most {
            let cause = format!("{lost} workers were lost while they ran this task");
            self.fail_for(cx, worker, attempt, FailureReason::Poisonous, cause);
        }
    }

    /// The job fails because of one attempt.
    fn fail_for(
        &mut self,
        cx: &mut Context<'_>,
        worker: WorkerId,
        attempt: AttemptId,
        reason: FailureReason,
        cause: String,
    ) {
        if !self.is_active() {
            return;
        }
        let help = match reason {
            FailureReason::AttemptsExhausted | FailureReason::Fatal => {
                format!("see every attempt with `tandem job tasks {}`", self.id)
            }
            FailureReason::Poisonous => "look for memory the task needs beyond its worker's limit".to_owned(),
            _ => {
                format!("see the workers with `tandem node list` and the attempts with `tandem job tasks {}`", self.id)
            }
        };
        let nowhere = String::new;
        let failure = JobFailure { reason, stage: nowhere(), task: nowhere(), worker: nowhere(), cause, help };
        let failure = self.name_failure(attempt, cx.workers.name(worker), failure);
        self.fail(cx, failure);
    }
}
