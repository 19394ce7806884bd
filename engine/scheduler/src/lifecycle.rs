//! How a job goes on when its stages are done, when it fails, when it is stopped, and when time passes.
//! Part of [`Job`]. Every path to the end goes through [`Job::end`].

use std::collections::BTreeMap;

use crate::action::{Action, Fact};
use crate::job::{Cleaning, Context, Job, Phase, PhaseEvent, Publication};
use crate::plan::CountCheck;
use crate::reason::{FailureReason, JobFailure, JobOutcome};
use crate::report::{CountKind, RowCount, StagedFile};
use crate::time::Timestamp;

impl Job {
    /// Takes the next step when the last stage has finished, and asks for removal of leftovers when nothing runs any more.
    pub(crate) fn settle(&mut self, cx: &mut Context<'_>) {
        if self.is_active() && self.open_ends == 0 {
            self.finish(cx);
        }
        if self.cleaning == Cleaning::Waiting && self.slots == 0 {
            self.cleaning = Cleaning::Asked;
            cx.out.actions.push(Action::CleanUp { job: self.id });
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        if self.has_answered() {
            return self.advance(PhaseEvent::Answer);
        }
        if let Some(failure) = self.broken_check() {
            return self.fail(cx, failure);
        }
        if self.plan.has_sinks() && self.publication == Publication::Outstanding {
            if self.slots > 0 {
                // Attempts that were overtaken have not ended; they may still write.
                return;
            }
            self.advance(PhaseEvent::Commit);
            cx.out.actions.push(Action::Commit { job: self.id, files: self.staged_files() });
        } else {
            self.succeed(cx);
        }
    }

    /// The shell has published the files, or could not.
    pub(crate) fn commit_finished(&mut self, cx: &mut Context<'_>, outcome: Result<(), String>) {
        if self.phase != Phase::Committing {
            return;
        }
        cx.out.touched.insert(self.id);
        match outcome {
            Ok(()) => {
                self.publication = Publication::Done;
                self.succeed(cx);
            }
            Err(cause) => self.fail(cx, failure(FailureReason::CommitFailed, format!("publishing failed: {cause}"))),
        }
    }

    fn succeed(&mut self, cx: &mut Context<'_>) {
        if self.plan.result_stage().is_none() {
            return self.end(cx, JobOutcome::Succeeded);
        }
        self.advance(PhaseEvent::Answer);
        self.ended = Some(cx.now);
        self.lease_until = cx.now.after_ms(cx.config.result_grace_ms);
        self.announce(cx, JobOutcome::Succeeded);
    }

    /// The job failed: it starts again if it may and that could help, else it ends. One that has answered only gives up its
    /// result.
    pub(crate) fn fail(&mut self, cx: &mut Context<'_>, failure: JobFailure) {
        if self.has_answered() {
            return self.end(cx, JobOutcome::Succeeded);
        }
        if self.retries_used >= self.plan.retries || !failure.reason.retryable() {
            return self.end(cx, JobOutcome::Failed(failure));
        }
        self.retries_used += 1;
        self.record(cx, Fact::JobRetried { job: self.id, retries_used: self.retries_used });
        for id in self.plan.stage_ids() {
            self.cancel_running(cx, id);
            for task in &mut self.stage_mut(id).tasks {
                task.forgive();
            }
        }
        self.advance(PhaseEvent::Retry { until: cx.now.after_ms(cx.config.retry_delay_ms) });
        cx.out.touched.insert(self.id);
    }

    /// Someone wants the job to end. Too late once its files are being published.
    pub(crate) fn stop(&mut self, cx: &mut Context<'_>, reason: String) {
        match self.phase {
            Phase::Active | Phase::Backoff { .. } => self.end(cx, JobOutcome::Stopped(reason)),
            Phase::Answered | Phase::Remaking => self.end(cx, JobOutcome::Succeeded),
            Phase::Committing | Phase::Ended(_) => {}
        }
    }

    /// The job is over: nothing of it runs on, no output of it is kept.
    pub(crate) fn end(&mut self, cx: &mut Context<'_>, outcome: JobOutcome) {
        let answered = self.has_answered();
        self.advance(PhaseEvent::End(outcome.clone()));
        self.ended.get_or_insert(cx.now);
        for id in self.plan.stage_ids() {
            self.cancel_running(cx, id);
            for worker in self.stage(id).holders() {
                cx.workers.unhold_stage(worker, self.id, id);
            }
            self.stage_mut(id).strip();
        }
        self.runnable.clear();
        self.demanding.clear();
        self.end_executors(cx);
        for worker in std::mem::take(&mut self.holders) {
            cx.drop_output(worker, self.id, None);
        }
        if self.plan.has_sinks() && outcome != JobOutcome::Succeeded {
            self.cleaning = Cleaning::Waiting;
        }
        cx.out.touched.insert(self.id);
        if !answered {
            self.announce(cx, outcome);
        }
    }

    fn announce(&mut self, cx: &mut Context<'_>, outcome: JobOutcome) {
        match &outcome {
            JobOutcome::Succeeded => cx.counters.jobs_succeeded += 1,
            JobOutcome::Failed(_) => cx.counters.jobs_failed += 1,
            JobOutcome::Stopped(_) => cx.counters.jobs_stopped += 1,
        }
        self.record(cx, Fact::JobEnded { job: self.id, at: cx.now, outcome: outcome.clone() });
        // First, since the end is not to be shown before its report is written.
        cx.out.actions.push(Action::JobEnded { job: self.id, outcome });
        cx.out.actions.push(Action::JobChanged { job: self.id });
    }

    /// Puts back how the job had ended before the coordinator restarted. A result may still be waited for.
    pub(crate) fn restore_end(&mut self, cx: &mut Context<'_>, at: Timestamp, outcome: JobOutcome) {
        if outcome == JobOutcome::Succeeded && self.plan.result_stage().is_some() {
            self.publication = Publication::Done;
            self.advance(PhaseEvent::Answer);
        } else {
            self.end(cx, outcome);
        }
        self.ended = Some(at);
    }

    /// The shell has removed what the job had staged.
    pub(crate) fn cleaned_up(&mut self, cx: &mut Context<'_>) {
        if self.cleaning == Cleaning::Asked {
            self.cleaning = Cleaning::Unneeded;
            self.record(cx, Fact::CleanedUp { job: self.id });
        }
    }

    /// A client follows the job.
    pub(crate) fn follower_joined(&mut self, cx: &mut Context<'_>) {
        self.followers += 1;
        self.remake_result(cx);
    }

    /// A client that followed is gone.
    pub(crate) fn follower_left(&mut self, cx: &Context<'_>) {
        self.followers = self.followers.saturating_sub(1);
        if self.followers == 0 {
            let grace_ms = match self.phase {
                Phase::Answered | Phase::Remaking => cx.config.result_grace_ms,
                _ => cx.config.follower_lease_ms,
            };
            self.lease_until = cx.now.after_ms(grace_ms);
        }
    }

    /// When a part of the result is lost that someone waits for, it is made again, unless it would not be the same.
    pub(crate) fn remake_result(&mut self, cx: &mut Context<'_>) {
        let same_again = self.plan.stages.iter().all(|stage| stage.deterministic);
        if self.phase == Phase::Answered && self.open_ends > 0 && self.followers > 0 && same_again {
            self.advance(PhaseEvent::ResultLost);
            cx.out.touched.insert(self.id);
        }
    }

    /// When time may change something for the job. `workerless` is since when there is no worker.
    pub(crate) fn deadline(&self, cx: &Context<'_>, workerless: Option<Timestamp>) -> Option<Timestamp> {
        let deadlines = self.deadlines(cx, workerless);
        [deadlines.timeout, deadlines.lease, deadlines.delay, deadlines.workers].into_iter().flatten().min()
    }

    fn deadlines(&self, cx: &Context<'_>, workerless: Option<Timestamp>) -> Deadlines {
        let open = matches!(self.phase, Phase::Active | Phase::Backoff { .. });
        let lonely = self.followers == 0 && (self.has_answered() || (open && self.plan.attached));
        let starved = workerless.filter(|_| self.is_active() && self.slots == 0);
        Deadlines {
            timeout: self.plan.timeout_ms.filter(|_| open).map(|ms| self.accepted.after_ms(ms)),
            lease: lonely.then_some(self.lease_until),
            delay: match self.phase {
                Phase::Backoff { until } => Some(until),
                _ => None,
            },
            workers: starved.map(|since| since.max(self.resumed).after_ms(cx.config.no_workers_grace_ms)),
        }
    }

    /// Does what is due by now.
    pub(crate) fn time_passed(
        &mut self,
        cx: &mut Context<'_>,
        workerless: Option<Timestamp>,
        last_worker: Option<&str>,
    ) {
        let deadlines = self.deadlines(cx, workerless);
        let due = |deadline: Option<Timestamp>| deadline.is_some_and(|at| at <= cx.now);
        if due(deadlines.timeout) {
            self.fail(cx, timeout(self.plan.timeout_ms.unwrap_or_default()));
        } else if due(deadlines.lease) {
            self.stop(cx, "its client is gone".to_owned());
        } else if due(deadlines.workers) {
            self.fail(cx, no_workers(cx.config.no_workers_grace_ms, last_worker));
        } else if due(deadlines.delay) {
            self.advance(PhaseEvent::Resume);
            self.resumed = cx.now;
            cx.out.touched.insert(self.id);
        }
    }

    /// All files of accepted attempts, by stage and task.
    fn staged_files(&self) -> Vec<StagedFile> {
        self.stages.iter().flat_map(|stage| stage.files.values().flatten().cloned()).collect()
    }

    /// Rows by source, step and sink, summed over all stages.
    pub(crate) fn counts(&self) -> Vec<RowCount> {
        let mut sums: BTreeMap<(CountKind, String), (u64, u64)> = BTreeMap::new();
        for count in self.stages.iter().flat_map(|stage| stage.totals.counts()) {
            let sum = sums.entry((count.kind, count.name)).or_default();
            sum.0 = sum.0.saturating_add(count.rows);
            sum.1 = sum.1.saturating_add(count.bytes);
        }
        sums.into_iter().map(|((kind, name), (rows, bytes))| RowCount { name, kind, rows, bytes }).collect()
    }

    fn broken_check(&self) -> Option<JobFailure> {
        if self.plan.count_checks.is_empty() {
            return None;
        }
        let counts = self.counts();
        let rows = |step: &str| {
            let count = counts.iter().find(|count| count.kind == CountKind::Step && count.name == step);
            count.map_or(0, |count| count.rows)
        };
        self.plan.count_checks.iter().find_map(|check| check.broken_by(rows(&check.step)))
    }
}

/// What a job waits for, by what happens then.
struct Deadlines {
    /// It has taken too long.
    timeout: Option<Timestamp>,
    /// Nobody cares for it any more.
    lease: Option<Timestamp>,
    /// It starts again.
    delay: Option<Timestamp>,
    /// It has waited too long for workers.
    workers: Option<Timestamp>,
}

impl CountCheck {
    fn broken_by(&self, rows: u64) -> Option<JobFailure> {
        let (bound, limit) = match (self.min_rows, self.max_rows) {
            (Some(min), _) if rows < min => ("min_rows", min),
            (_, Some(max)) if rows > max => ("max_rows", max),
            _ => return None,
        };
        let cause = format!("check `{bound} = {limit}` of step `{}` failed: it has {rows} rows", self.step);
        Some(failure(FailureReason::CheckFailed, cause))
    }
}

fn failure(reason: FailureReason, cause: String) -> JobFailure {
    let nowhere = String::new;
    JobFailure { reason, stage: nowhere(), task: nowhere(), worker: nowhere(), cause, help: nowhere() }
}

fn timeout(ms: u64) -> JobFailure {
    JobFailure {
        help: "give it a longer `timeout`, or the cluster more workers".to_owned(),
        ..failure(FailureReason::TimedOut, format!("timed out after {} s", ms.div_ceil(1_000)))
    }
}

fn no_workers(grace_ms: u64, last_worker: Option<&str>) -> JobFailure {
    let waited = grace_ms.div_ceil(1_000);
    let cause = match last_worker {
        Some(name) => format!("all workers are lost, the last was {name}; none came back within {waited} s"),
        None => format!("no worker has joined within {waited} s"),
    };
    JobFailure {
        worker: last_worker.unwrap_or_default().to_owned(),
        help: "see `tandem node list`, and start workers with `tandem worker` or `tandem cluster up`".to_owned(),
        ..failure(FailureReason::NoWorkers, cause)
    }
}
