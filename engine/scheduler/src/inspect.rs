//! What the outside may see, built from the state on demand. Part of the [`Cluster`].
//! Invariant: whatever is pending has a reason.

use std::collections::BTreeSet;

use tandem_proto::{Attempt, JobId, PartitionId, StageId, TaskId, WorkerId};

use crate::cluster::Cluster;
use crate::division::Division;
use crate::groups::{Bundle, Group, GroupState};
use crate::job::{Cleaning, Job, Origin, Phase};
use crate::needs::Needs;
use crate::reason::{GroupReason, JobOutcome, PendingReason};
use crate::report::{AttemptId, OperatorMetrics};
use crate::stage::{Demand, Stage};
use crate::task::{self, Run, Task};
use crate::time::Timestamp;
use crate::views::{
    BundleView, ClusterView, Counters, GroupStateView, GroupView, InputsError, JobState, JobView, NodeView,
    ResultPartition, StageInput, StageView, TaskState, TaskView,
};

impl Cluster {
    /// One job.
    pub fn job(&self, job: JobId) -> Option<JobView> {
        self.jobs.get(&job).map(|job| self.view_job(job, |stage| stage.totals.operators()))
    }

    /// All remembered jobs, oldest first, without their operators.
    pub fn jobs(&self) -> Vec<JobView> {
        let jobs = self.order.iter().filter_map(|id| self.jobs.get(id));
        jobs.map(|job| self.view_job(job, |_| Vec::new())).collect()
    }

    /// Whether something that an unsuccessful job staged is still to be removed.
    pub fn is_cleaning_up(&self) -> bool {
        self.jobs.values().any(|job| job.cleaning != Cleaning::Unneeded)
    }

    /// The tasks of a job and their earlier attempts, in order; none when the job is unknown.
    pub fn tasks(&self, job: JobId) -> Option<Vec<TaskView>> {
        let job = self.jobs.get(&job)?;
        let mut tasks: Vec<_> = job.past.iter().map(view_past).collect();
        // A task that will not be tried again is told by the attempts that it had.
        let tried: BTreeSet<TaskId> = job.past.iter().map(|past| past.attempt.task).collect();
        for id in job.plan.stage_ids().filter(|&id| job.taken_over_by(id).is_none()) {
            let stage = job.stage(id);
            let views = stage.tasks.iter().zip(0..).flat_map(|(task, index)| {
                let second = task.state.runs().nth(1).map(|run| self.view_second(job, id, index, run));
                std::iter::once(self.view_task(job, id, index, task)).chain(second)
            });
            tasks
                .extend(views.filter(|view| view.state != TaskState::Cancelled || !tried.contains(&view.attempt.task)));
        }
        tasks.sort_by_key(|view| view.attempt);
        Some(tasks)
    }

    /// All workers, and the last few that were lost lately.
    pub fn nodes(&self) -> Vec<NodeView> {
        let present = self.workers.iter().map(|worker| worker.view());
        present.chain(self.workers.lost(self.now).cloned()).collect()
    }

    /// The placement groups of a job, or all of them.
    pub fn groups(&self, job: Option<JobId>) -> Vec<GroupView> {
        let shown = self.groups.iter().filter(|group| job.is_none_or(|job| job == group.plan.job));
        shown.map(|group| self.view_group(group)).collect()
    }

    fn view_group(&self, group: &Group) -> GroupView {
        let (state, reason) = match &group.state {
            GroupState::Pending { .. } => (GroupStateView::Pending, Some(group.why_waits())),
            GroupState::Broken => (GroupStateView::Broken, Some(group.why_waits())),
            GroupState::Reserved => (GroupStateView::Reserved, None),
            GroupState::Failed(why) => (GroupStateView::Failed, Some(GroupReason::Unsatisfiable(why.clone()))),
        };
        let bundle = |bundle: &Bundle| BundleView {
            host: bundle.host,
            worker: bundle.host.map_or_else(String::new, |host| self.workers.name(host)),
            used: bundle.leased.clone(),
        };
        GroupView { plan: group.plan.clone(), state, reason, bundles: group.bundles.iter().map(bundle).collect() }
    }

    /// Sums over the cluster.
    pub fn summary(&self) -> ClusterView {
        let mut sums = ClusterView::default();
        for worker in self.workers.iter() {
            sums.slots_used += worker.slots_taken();
            sums.leases += worker.hosted;
            if worker.view_state() == crate::views::NodeState::Ready {
                sums.nodes_ready += 1;
                sums.slots += worker.info.slots;
            }
        }
        let live = |job: &&Job| !job.has_answered() && !job.is_ended();
        sums.jobs_running = self.jobs.values().filter(live).count() as u32;
        sums
    }

    /// Whether a job is known and not over.
    pub fn is_live(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|job| !job.is_ended())
    }

    /// What happened since this coordinator started.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Where the attempts of `stage` that were launched with `version` find their inputs.
    pub fn stage_inputs(&self, job: JobId, stage: StageId, version: u32) -> Result<Vec<StageInput>, InputsError> {
        let live = self.jobs.get(&job).filter(|job| !job.is_ended()).ok_or(InputsError::NoSuchJob(job))?;
        live.plan.stage(stage).ok_or(InputsError::NoSuchStage(job, stage))?;
        let current = live.stage(stage).inputs_version;
        if version != current || live.stage(stage).open_inputs > 0 {
            return Err(InputsError::Stale { stage, asked: version, current });
        }
        Ok(live.stage(stage).inputs.iter().map(|&input| self.locate(live, input)).collect())
    }

    /// How many other stages a stage takes over.
    pub fn fused(&self, job: JobId, stage: StageId) -> u32 {
        let known = self.jobs.get(&job).filter(|job| job.plan.stage(stage).is_some());
        known.map_or(0, |job| job.stage(stage).fused.depth())
    }

    /// How a stage is divided over tasks.
    pub fn division(&self, job: JobId, stage: StageId) -> Option<&Division> {
        let known = self.jobs.get(&job).filter(|job| job.plan.stage(stage).is_some())?;
        Some(&known.stage(stage).division)
    }

    fn locate(&self, job: &Job, id: StageId) -> StageInput {
        let stage = job.stage(id);
        let holders: Vec<WorkerId> = stage.holders().into_iter().collect();
        let mut input = StageInput { stage: id, workers: Vec::new(), worker_of: Vec::new(), attempt_of: Vec::new() };
        for (task, index) in stage.tasks.iter().zip(0..) {
            let (worker, attempt) = task.state.accepted().unwrap_or((WorkerId(0), Attempt(0)));
            let place = holders.binary_search(&worker).unwrap_or_default() as u32;
            for _ in stage.division.outputs_of(index) {
                input.worker_of.push(place);
                input.attempt_of.push(attempt.0);
            }
        }
        input.workers = holders.into_iter().map(|worker| (worker, self.address(worker))).collect();
        input
    }

    /// The data port of a worker; empty if it is not registered.
    pub fn address(&self, worker: WorkerId) -> String {
        self.workers.get(worker).map(|worker| worker.info.data_address.clone()).unwrap_or_default()
    }

    fn view_job(&self, job: &Job, operators: impl Fn(&Stage) -> Vec<OperatorMetrics>) -> JobView {
        let stages: Vec<_> =
            job.plan.stage_ids().map(|id| self.view_stage(job, id, operators(job.stage(id)))).collect();
        let outcome = match &job.phase {
            Phase::Ended(outcome) => Some(outcome.clone()),
            Phase::Answered | Phase::Remaking => Some(JobOutcome::Succeeded),
            Phase::Active | Phase::Backoff { .. } | Phase::Committing => None,
        };
        let state = match &outcome {
            Some(JobOutcome::Succeeded) => JobState::Succeeded,
            Some(JobOutcome::Failed(_)) => JobState::Failed,
            Some(JobOutcome::Stopped(_)) => JobState::Stopped,
            None if job.started.is_some() => JobState::Running,
            None => JobState::Pending,
        };
        JobView {
            job: job.id,
            plan: job.plan.clone(),
            state,
            pending_reason: if outcome.is_none() { self.why_job_waits(job) } else { None },
            outcome,
            accepted: job.accepted,
            started: job.started,
            ended: job.ended,
            stages,
            counts: job.counts(),
            results: self.results(job),
            retries_used: job.retries_used,
            driver_address: self.driver_host(job).map(|worker| self.address(worker)).unwrap_or_default(),
        }
    }

    fn view_stage(&self, job: &Job, id: StageId, operators: Vec<OperatorMetrics>) -> StageView {
        let stage = job.stage(id);
        let taken_over_by = job.taken_over_by(id);
        let (tasks, pending) = if taken_over_by.is_some() { (0, 0) } else { (stage.len(), stage.pending()) };
        let waits = pending > 0 && stage.running() == 0;
        let cut_short = job.ended.filter(|_| job.is_ended() && taken_over_by.is_none());
        StageView {
            stage: id,
            tasks,
            pending,
            running: stage.running(),
            finished: stage.finished(),
            failed_attempts: stage.failed_attempts,
            rows: stage.totals.rows.saturating_add(stage.live.0),
            bytes: stage.totals.bytes.saturating_add(stage.live.1),
            started: stage.started,
            ended: stage.ended.or(cut_short),
            pending_reason: (waits && !job.is_ended()).then(|| self.why_stage_waits(job, stage)),
            operators,
            fused: stage.fused.depth(),
            taken_over_by,
        }
    }

    fn view_task(&self, job: &Job, id: StageId, index: u32, task: &Task) -> TaskView {
        let name = |worker| self.workers.name(worker);
        let (state, attempt, worker) = match task.state {
            task::TaskState::Pending if job.is_ended() => {
                (TaskState::Cancelled, Attempt(task.next_attempt), String::new())
            }
            task::TaskState::Pending => (TaskState::Pending, Attempt(task.next_attempt), String::new()),
            task::TaskState::Running(run) | task::TaskState::Raced(run, _) => {
                (TaskState::Running, run.attempt, name(run.worker))
            }
            task::TaskState::Held { worker, attempt } | task::TaskState::Spent { worker, attempt } => {
                (TaskState::Succeeded, attempt, name(worker))
            }
        };
        let task_id = TaskId { job: job.id, stage: id, index };
        let known = |at: Timestamp| (at != Timestamp::default()).then_some(at);
        let waits = state == TaskState::Pending;
        TaskView {
            attempt: AttemptId { task: task_id, attempt },
            state,
            worker,
            message: String::new(),
            started: known(task.started(attempt))
                .filter(|_| matches!(state, TaskState::Running | TaskState::Succeeded)),
            ended: match state {
                TaskState::Succeeded => known(task.ended),
                TaskState::Cancelled => job.ended,
                TaskState::Pending | TaskState::Running | TaskState::Failed | TaskState::Lost => None,
            },
            rows: if waits { 0 } else { task.rows },
            bytes: if waits { 0 } else { task.bytes },
            pending_reason: waits.then(|| self.why_task_waits(job, job.stage(id), task)),
        }
    }

    /// The second attempt of a task that is raced.
    fn view_second(&self, job: &Job, stage: StageId, index: u32, run: Run) -> TaskView {
        TaskView {
            attempt: AttemptId { task: TaskId { job: job.id, stage, index }, attempt: run.attempt },
            state: TaskState::Running,
            worker: self.workers.name(run.worker),
            message: String::new(),
            started: Some(run.started),
            ended: None,
            rows: 0,
            bytes: 0,
            pending_reason: None,
        }
    }

    /// The readable partitions of the result. One that could still change by a re-run is not shown.
    fn results(&self, job: &Job) -> Vec<ResultPartition> {
        let Some(id) = job.plan.result_stage().filter(|_| !job.is_ended()) else { return Vec::new() };
        let stage = job.stage(id);
        let settled = job.plan.stages.iter().all(|stage| stage.deterministic) || stage.is_finished();
        let mut results = Vec::new();
        for (task, index) in stage.tasks.iter().zip(0..).filter(|_| settled) {
            let task::TaskState::Held { worker, attempt } = task.state else { continue };
            let data_address = self.address(worker);
            for partition in stage.division.outputs_of(index) {
                let (partition, data_address) = (PartitionId(partition), data_address.clone());
                results.push(ResultPartition { partition, attempt, worker, data_address });
            }
        }
        results
    }

    fn why_job_waits(&self, job: &Job) -> Option<PendingReason> {
        if job.phase == Phase::Committing {
            return Some(PendingReason::Committing);
        }
        if job.stages.iter().any(|stage| stage.running() > 0) {
            return None;
        }
        let waiting = |stage: &&Stage| stage.demand == Demand::Wanted && stage.pending() > 0;
        let startable = job.stages.iter().filter(waiting).find(|stage| stage.open_inputs == 0);
        let stage = startable.or_else(|| job.stages.iter().find(waiting));
        Some(stage.map_or_else(|| self.why_startable_waits(job, None), |stage| self.why_stage_waits(job, stage)))
    }

    fn why_stage_waits(&self, job: &Job, stage: &Stage) -> PendingReason {
        if stage.demand == Demand::Idle {
            return PendingReason::NotNeeded;
        }
        if let Some(&input) = stage.inputs.iter().find(|&&input| !job.stage(input).is_readable()) {
            return PendingReason::InputsIncomplete(input);
        }
        if let Some(build) = stage.held_back.then(|| job.awaited_build(stage)).flatten() {
            return PendingReason::InputsIncomplete(build);
        }
        let pending = || stage.tasks.iter().filter(|task| task.state == task::TaskState::Pending);
        match self.why_startable_waits(job, stage.needs.as_deref()) {
            PendingReason::Scheduling if !pending().any(|task| self.could_start(job, stage, task)) => {
                PendingReason::AvoidsFreeWorkers
            }
            reason => reason,
        }
    }

    fn why_task_waits(&self, job: &Job, stage: &Stage, task: &Task) -> PendingReason {
        if stage.demand == Demand::Idle || stage.open_inputs > 0 || stage.held_back {
            return self.why_stage_waits(job, stage);
        }
        match self.why_startable_waits(job, stage.needs.as_deref()) {
            PendingReason::Scheduling if !self.could_start(job, stage, task) => PendingReason::AvoidsFreeWorkers,
            reason => reason,
        }
    }

    /// Why a task does not run whose inputs are there.
    fn why_startable_waits(&self, job: &Job, needs: Option<&Needs>) -> PendingReason {
        match job.phase {
            Phase::Backoff { .. } => PendingReason::RetryDelay,
            Phase::Committing => PendingReason::Committing,
            Phase::Answered | Phase::Ended(_) => PendingReason::NotNeeded,
            Phase::Active | Phase::Remaking if job.origin == Origin::Restored && self.workers.any_expected() => {
                PendingReason::Reattaching
            }
            Phase::Active | Phase::Remaking if self.workers.ready() == 0 => PendingReason::NoWorkers,
            Phase::Active | Phase::Remaking if job.plan.is_program() => self.why_driver_waits(),
            Phase::Active | Phase::Remaking if let Some(needs) = needs => self.why_demanding_waits(needs),
            Phase::Active | Phase::Remaking if self.workers.free_slots() > 0 => PendingReason::Scheduling,
            Phase::Active | Phase::Remaking if self.workers.any_short() => PendingReason::NoMemory,
            Phase::Active | Phase::Remaking => PendingReason::NoFreeSlot,
        }
    }

    /// A driver needs no slot, only a worker.
    fn why_driver_waits(&self) -> PendingReason {
        let in_touch = self.workers.iter().any(|worker| worker.takes_work());
        if in_touch { PendingReason::Scheduling } else { PendingReason::NoneInTouch }
    }

    fn could_start(&self, job: &Job, stage: &Stage, task: &Task) -> bool {
        if job.plan.is_program() {
            return self.host_for_driver(task.avoids()).is_some();
        }
        let avoid = self.workers.to_avoid(task.avoids(), stage.needs.as_deref());
        self.host_for_task(stage, |worker| !avoid.contains(&worker)).is_some()
    }
}

fn view_past(past: &super::job::PastAttempt) -> TaskView {
    TaskView {
        attempt: past.attempt,
        state: past.state,
        worker: past.worker.clone(),
        message: past.message.clone(),
        started: Some(past.started),
        ended: Some(past.ended),
        rows: 0,
        bytes: 0,
        pending_reason: None,
    }
}
