//! What must hold after every event, and for every job when it ends.

use std::collections::{BTreeMap, BTreeSet};

use tandem_graph::StageRole;
use tandem_proto::{JobId, StageId, TaskId, WorkerId};
use tandem_scheduler::{
    Action, AttemptId, Cluster, FailureReason, GroupStateView, GroupView, JobOutcome, JobState, JobView, NodeState,
    PendingReason, Share, StagedFile, TaskState,
};

use crate::worker::Link;
use crate::world::{SimJob, World};

impl World {
    pub(crate) fn check_actions(&mut self, actions: &[Action]) -> Result<(), String> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        for action in actions {
            if let Action::GrantLease { grant, .. } = action
                && self.granted.insert(grant.lease)
            {
                self.tally.in_bundles += u64::from(grant.bundle.is_some());
                check_room(cluster, grant.host)?;
            }
            let Action::Launch { worker, attempt, inputs_version, .. } = *action else { continue };
            if let Some(&first) = self.launched.get(&attempt)
                && first != worker
            {
                return Err(format!("{attempt:?} was launched on {first} and on {worker}"));
            }
            let new = self.launched.insert(attempt, worker).is_none();
            let node = cluster.nodes().into_iter().find(|node| node.worker == worker);
            let Some(node) = node else { return Err(format!("{attempt:?} was launched on unknown {worker}")) };
            if node.slots_used > node.info.slots && new {
                return Err(format!("{worker} has {} slots and {} attempts", node.info.slots, node.slots_used));
            }
            if new {
                check_inputs(cluster, attempt, inputs_version)?;
            }
            let plan = self.jobs.get(&attempt.task.job).and_then(|job| job.script.plan.stage(attempt.task.stage));
            if new && plan.is_some_and(|plan| plan.needs.is_some()) {
                self.tally.demanding += 1;
                check_room(cluster, worker)?;
            }
        }
        Ok(())
    }

    pub(crate) fn check_state(&self) -> Result<(), String> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let faults = cluster.audit();
        if !faults.is_empty() {
            return Err(faults.join("\n"));
        }
        check_groups(cluster)?;
        for (&id, job) in &self.jobs {
            let Some(view) = cluster.job(id) else {
                if job.script.plan.journaled && !job.forgotten {
                    return Err(format!("job {id} is lost"));
                }
                continue;
            };
            check_reasons(&view)?;
            for task in cluster.tasks(id).unwrap_or_default() {
                if task.state == TaskState::Pending {
                    match task.pending_reason {
                        None => return Err(format!("{:?} waits without a reason", task.attempt)),
                        Some(PendingReason::Scheduling) => {
                            return Err(format!("{:?} could run and does not", task.attempt));
                        }
                        Some(_) => {}
                    }
                }
                if task.state == TaskState::Succeeded && !self.finished.contains(&task.attempt) {
                    return Err(format!("{:?} is accepted and never finished", task.attempt));
                }
                if task.state == TaskState::Succeeded {
                    self.check_work(cluster, task.attempt)?;
                }
            }
        }
        Ok(())
    }

    /// An accepted attempt has run what its task is now, also when a coordinator that is gone had divided the stage.
    fn check_work(&self, cluster: &Cluster, attempt: AttemptId) -> Result<(), String> {
        let TaskId { job, stage, index } = attempt.task;
        let (Some(division), Some(work)) = (cluster.division(job, stage), self.works.get(&attempt)) else {
            return Err(format!("{attempt:?} was never launched"));
        };
        let (share, outputs) = (division.share(index), division.outputs_of(index));
        let slice = match &share {
            Share::Partitions(_) | Share::Merged(_) => None,
            Share::Slice { producers, .. } => Some(producers),
        };
        let partitions: Vec<u32> = share.partitions().collect();
        let same = work.partitions == partitions
            && work.outputs() == outputs
            && work.merged == matches!(share, Share::Merged(_))
            && work.slice.as_ref().map(|slice| &slice.producers) == slice;
        if same { Ok(()) } else { Err(format!("{attempt:?} has run {work:?}, but its task is {share:?}")) }
    }

    pub(crate) fn check_commit(&self, id: JobId, files: &[StagedFile]) -> Result<(), String> {
        let Some(job) = self.jobs.get(&id) else { return Err(format!("unknown job {id} commits")) };
        if let Some(published) = &job.published
            && published != files
        {
            return Err(format!("job {id} published {published:?} and then {files:?}"));
        }
        let Some(view) = self.cluster.as_ref().and_then(|cluster| cluster.job(id)) else {
            return Err(format!("job {id} commits without a coordinator"));
        };
        let stages = view.stages.iter().zip(&view.plan.stages);
        let sinks = stages.filter(|(_, plan)| matches!(plan.role, StageRole::Sink(_))).map(|(stage, _)| stage);
        let expected: u32 = sinks.map(|stage| stage.tasks).sum();
        let places: BTreeSet<_> = files.iter().map(|file| &file.final_path).collect();
        if files.len() != places.len() || files.len() as u32 != expected {
            return Err(format!("job {id} commits {} files for {expected} tasks: {files:?}", files.len()));
        }
        self.check_one_history(id)
    }

    /// Nothing that went into the outcome has read two different attempts of what does not come out the same twice.
    pub(crate) fn check_one_history(&self, id: JobId) -> Result<(), String> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let Some(job) = self.jobs.get(&id) else { return Ok(()) };
        let plan = &job.script.plan;
        let mut history: BTreeMap<(StageId, u32), u32> = BTreeMap::new();
        for task in cluster.tasks(id).unwrap_or_default() {
            let ends = plan.stage(task.attempt.task.stage).is_some_and(|stage| stage.role != StageRole::Exchange);
            if !ends || task.state != TaskState::Succeeded {
                continue;
            }
            for (&source, &attempt) in self.lineages.get(&task.attempt).into_iter().flatten() {
                let first = *history.entry(source).or_insert(attempt);
                if first != attempt {
                    return Err(format!("job {id} has read attempts {first} and {attempt} of {source:?}"));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn job_ended(&mut self, id: JobId, outcome: JobOutcome) -> Result<(), String> {
        if outcome == JobOutcome::Succeeded {
            self.check_one_history(id)?;
        }
        let losses = self.losses;
        let Some(job) = self.jobs.get_mut(&id) else { return Err(format!("unknown job {id} ended")) };
        if let Some(earlier) = &job.outcome
            && *earlier != outcome
        {
            return Err(format!("job {id} ended as {earlier:?} and then as {outcome:?}"));
        }
        job.check_outcome(&outcome, losses).map_err(|fault| format!("job {id}: {fault}: {outcome:?}"))?;
        if job.outcome.is_none() {
            match outcome {
                JobOutcome::Succeeded => self.tally.succeeded += 1,
                JobOutcome::Failed(_) => self.tally.failed += 1,
                JobOutcome::Stopped(_) => self.tally.stopped += 1,
            }
        }
        job.outcome = Some(outcome);
        self.job_changed(id);
        Ok(())
    }
}

impl World {
    /// Some time after the last job has ended, no worker has anything of it but what it may hold for readers.
    pub(crate) fn check_nothing_left(&self) -> Result<(), String> {
        for worker in self.workers.values().filter(|worker| matches!(worker.link, Link::Attached { .. })) {
            if let Some(job) = worker.node.executors.first() {
                return Err(format!("{} still has executors of {job}", worker.id));
            }
            if let Some(lease) = worker.node.leases().first() {
                return Err(format!("{} still has {lease:?}", worker.id));
            }
        }
        let leases = self.cluster.as_ref().map_or(0, |cluster| cluster.summary().leases);
        let groups = self.cluster.as_ref().map_or_else(Vec::new, |cluster| cluster.groups(None));
        match groups.first() {
            Some(group) => Err(format!("{group:?} is of a job that is over")),
            None if leases > 0 => Err(format!("{leases} leases are booked for jobs that are over")),
            None => Ok(()),
        }
    }

    /// What a worker has is never given twice.
    pub(crate) fn check_not_overbooked(&self, id: WorkerId) -> Result<(), String> {
        match self.workers.get(&id) {
            Some(worker) if worker.is_overbooked() => {
                Err(format!("{id} has {} slots and hosts {:?}", worker.slots, worker.node))
            }
            _ => Ok(()),
        }
    }
}

impl SimJob {
    pub(crate) fn is_over(&self) -> bool {
        self.outcome.is_some() || self.vanished
    }

    /// Whether anything that happened explains how the job ended.
    pub(crate) fn check_outcome(&self, outcome: &JobOutcome, losses: u32) -> Result<(), &'static str> {
        let plan = &self.script.plan;
        let explained = match outcome {
            JobOutcome::Succeeded => {
                let published = !plan.has_sinks() || self.published.is_some();
                published && !self.met_fatal && plan.count_checks.is_empty()
            }
            JobOutcome::Stopped(_) => self.stop_asked || (plan.attached && self.was_alone),
            JobOutcome::Failed(failure) => match failure.reason {
                FailureReason::Fatal => self.met_fatal,
                FailureReason::AttemptsExhausted => self.script.flaky_percent > 0,
                FailureReason::Poisonous => losses >= 3,
                FailureReason::InputsUnreadable => false,
                FailureReason::NoWorkers => true,
                FailureReason::TimedOut => plan.timeout_ms.is_some(),
                FailureReason::CheckFailed => !plan.count_checks.is_empty(),
                FailureReason::CommitFailed => self.commit_failed,
                FailureReason::Unschedulable => plan.stages.iter().any(|stage| stage.needs.is_some()),
            },
        };
        if explained { Ok(()) } else { Err("nothing explains its end") }
    }
}

/// A worker that was given something has that much.
fn check_room(cluster: &Cluster, worker: WorkerId) -> Result<(), String> {
    let Some(node) = cluster.nodes().into_iter().find(|node| node.worker == worker) else {
        return Err(format!("a lease on unknown {worker}"));
    };
    let (has, used) = (&node.info.resources, &node.used);
    match used.milli.iter().find(|(name, amount)| **amount > has.amount(name)) {
        Some((name, _)) => Err(format!("{worker} has not so much {name}: {has:?}, taken are {used:?}")),
        None => Ok(()),
    }
}

/// No attempt starts with an input on a worker that is gone.
fn check_inputs(cluster: &Cluster, attempt: AttemptId, version: u32) -> Result<(), String> {
    let TaskId { job, stage, .. } = attempt.task;
    let inputs = cluster.stage_inputs(job, stage, version).map_err(|error| format!("{attempt:?}: {error}"))?;
    let nodes = cluster.nodes();
    let alive = |id: WorkerId| nodes.iter().any(|node| node.worker == id && node.state != NodeState::Lost);
    match inputs.iter().flat_map(|input| &input.workers).find(|(worker, _)| !alive(*worker)) {
        Some((worker, _)) => Err(format!("{attempt:?} starts with input on {worker}, which is gone")),
        None => Ok(()),
    }
}

/// What waits says why.
fn check_groups(cluster: &Cluster) -> Result<(), String> {
    let silent = |group: &GroupView| group.reason.is_none() && group.state != GroupStateView::Reserved;
    match cluster.groups(None).into_iter().find(silent) {
        Some(group) => Err(format!("{group:?} waits without a reason")),
        None => Ok(()),
    }
}

fn check_reasons(view: &JobView) -> Result<(), String> {
    let live = matches!(view.state, JobState::Pending | JobState::Running);
    let running: u32 = view.stages.iter().map(|stage| stage.running).sum();
    if live && running == 0 && view.pending_reason.is_none() {
        return Err(format!("job {} waits without a reason", view.job));
    }
    for stage in &view.stages {
        if live && stage.running == 0 && stage.pending > 0 && stage.pending_reason.is_none() {
            return Err(format!("stage {} of {} waits without a reason", stage.stage, view.job));
        }
        if stage.pending + stage.running + stage.finished != stage.tasks {
            return Err(format!("stage {} of {} does not add up", stage.stage, view.job));
        }
    }
    Ok(())
}
