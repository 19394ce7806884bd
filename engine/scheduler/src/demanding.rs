//! Stages whose tasks take more than a slot: where these run, and what is said of those that no worker could ever run.
//! Part of the [`Cluster`].
//!
//! Tasks that take something scarce, such as a GPU, are placed with the leases that take some of it, by `sharing.rs`, each to the job that
//! has the least. Those that take nothing but processors, or only some workers will do for, are placed in the rounds of all others.

use std::collections::BTreeSet;

use tandem_proto::{JobId, StageId, WorkerId};

use crate::cluster::Cluster;
use crate::job::Job;
use crate::needs::Needs;
use crate::reason::{FailureReason, JobFailure, PendingReason};
use crate::resources::CPUS;
use crate::stage::Stage;
use crate::worker::Worker;

impl Cluster {
    /// Places up to `limit` tasks of a job, of stages that compete for `resource` besides processors.
    pub(crate) fn place_demanding(&mut self, id: JobId, limit: u32, resource: Option<&str>) -> u32 {
        if limit == 0 || self.jobs.get(&id).is_none_or(|job| job.demanding.is_empty()) {
            return 0;
        }
        self.with_job(id, |job, cx| job.divide_runnable(cx));
        let stages = self.jobs.get(&id).map(|job| job.demanding_of(resource)).unwrap_or_default();
        let mut placed = 0;
        for stage in stages {
            if placed < limit {
                placed += self.place_stage(id, stage, limit - placed);
            }
        }
        placed
    }

    fn place_stage(&mut self, id: JobId, stage: StageId, limit: u32) -> u32 {
        let Some(job) = self.jobs.get_mut(&id) else { return 0 };
        let Some(needs) = job.stage(stage).needs.clone() else { return 0 };
        let offers = self.workers.offers_for(&needs, limit);
        if offers.is_empty() {
            return 0;
        }
        let mut wishes = Vec::new();
        job.take_wishes_of(stage, limit as usize, &self.workers, &offers, &mut wishes);
        self.place_wishes(offers, wishes).values().sum()
    }

    /// Fails jobs of which no worker could run a stage for a while. The workers there are may all be busy, or out of touch: they count.
    pub(crate) fn give_up_stages(&mut self) {
        if self.workers.ready() == 0 {
            return;
        }
        for id in self.demanding.iter().copied().collect::<Vec<_>>() {
            if let Some(failure) = self.look_at_demanding(id) {
                self.with_job(id, |job, cx| job.fail(cx, failure));
            }
        }
    }

    /// Notes since when stages of a job wait in vain. Answers with how it fails, when one has done so for too long.
    fn look_at_demanding(&mut self, id: JobId) -> Option<JobFailure> {
        let (now, grace_ms) = (self.now, self.config.unschedulable_grace_ms);
        let stages: Vec<StageId> = self.jobs.get(&id)?.demanding.iter().copied().collect();
        for stage in stages {
            let why = self.jobs.get(&id).and_then(|job| self.why_never(job.stage(stage)));
            let job = self.jobs.get_mut(&id)?;
            if why.is_some() != job.stage(stage).hopeless.is_some() {
                self.out.touched.insert(id);
            }
            let Some(why) = why else {
                job.stage_mut(stage).hopeless = None;
                continue;
            };
            let since = *job.stage_mut(stage).hopeless.get_or_insert(now);
            if now.ms_since(since) >= grace_ms {
                job.stage_mut(stage).hopeless = None;
                return Some(job.unschedulable(stage, &why, grace_ms));
            }
        }
        None
    }

    /// Why no worker there is could ever run the tasks of a stage, if none could and none runs.
    fn why_never(&self, stage: &Stage) -> Option<String> {
        let needs = stage.needs.as_deref()?;
        let somewhere = stage.running() > 0 || self.workers.iter().any(|worker| worker.could_ever_host(&needs.shape));
        (!somewhere).then(|| self.why_hopeless(&needs.shape))
    }

    /// Why tasks with these needs do not run whose inputs are there, in a cluster with workers.
    pub(crate) fn why_demanding_waits(&self, needs: &Needs) -> PendingReason {
        let hosts = || self.workers.iter().filter(|worker| worker.could_ever_host(&needs.shape));
        let in_touch = || hosts().filter(|worker| worker.takes_work());
        if hosts().next().is_none() {
            return PendingReason::NoSuchWorker(format!("step `{}`: {}", needs.step, self.why_hopeless(&needs.shape)));
        }
        if in_touch().next().is_none() {
            return PendingReason::NoneInTouch;
        }
        if in_touch().any(|worker| worker.room_for_tasks(needs) > 0) {
            return PendingReason::Scheduling;
        }
        let lacks_slot = |worker: &Worker| worker.free_scarce().all(|(name, free)| free >= needs.beyond.amount(name));
        match in_touch().find(|worker| lacks_slot(worker)) {
            Some(worker) if worker.is_short() => PendingReason::NoMemory,
            Some(_) if needs.beyond.amount(CPUS) == 0 && needs.shape.labels.is_empty() => PendingReason::NoFreeSlot,
            Some(_) | None => PendingReason::InUse(needs.wish()),
        }
    }

    /// A worker that could start a task of a stage now, of those that may be.
    pub(crate) fn host_for_task(&self, stage: &Stage, may_be: impl Fn(WorkerId) -> bool) -> Option<WorkerId> {
        let has_room = |id: WorkerId| match stage.needs.as_deref() {
            Some(needs) => self.workers.get(id).is_some_and(|worker| worker.room_for_tasks(needs) > 0),
            None => true,
        };
        let mut free = self.workers.with_free_slots().map(|(id, _)| id);
        free.find(|id| may_be(*id) && has_room(*id))
    }
}

impl Job {
    /// Whether tasks of it that take more than a slot could start.
    pub(crate) fn is_demanding(&self, workers_expected: bool) -> bool {
        !self.demanding.is_empty() && self.may_start(workers_expected)
    }

    /// The resources besides processors that its tasks compete for which could start.
    pub(crate) fn scarce(&self) -> BTreeSet<&str> {
        self.demanding.iter().filter_map(|id| self.stage(*id).needs.as_deref()?.scarce()).collect()
    }

    /// The stages that could start tasks which compete for this besides processors.
    pub(crate) fn demanding_of(&self, resource: Option<&str>) -> Vec<StageId> {
        let of_class = |id: &StageId| self.stage(*id).needs.as_deref().is_some_and(|needs| needs.scarce() == resource);
        self.demanding.iter().copied().filter(of_class).collect()
    }

    /// Thousandths of a resource that its tasks take besides their slots.
    pub(crate) fn takes(&self, resource: &str) -> u64 {
        let needs = |id: &StageId| {
            let stage = self.stage(*id);
            Some(stage.needs.as_deref()?.beyond.amount(resource) * u64::from(stage.running()))
        };
        self.needy.iter().filter_map(needs).sum()
    }

    /// Thousandths of a resource that its tasks would take besides their slots if all could start that wait.
    pub(crate) fn waits_for(&self, resource: &str) -> u64 {
        let needs = |id: &StageId| {
            let stage = self.stage(*id);
            Some(stage.needs.as_deref()?.beyond.amount(resource) * u64::from(stage.pending()))
        };
        self.demanding.iter().filter_map(needs).sum()
    }

    fn unschedulable(&self, stage: StageId, why: &str, grace_ms: u64) -> JobFailure {
        let needs = self.stage(stage).needs.as_deref();
        let name = self.plan.stage(stage).map_or("", |plan| plan.name.as_str());
        let step = needs.map_or("", |needs| needs.step.as_str());
        let waited = grace_ms.div_ceil(1_000);
        JobFailure {
            reason: FailureReason::Unschedulable,
            stage: format!("{stage} ({name})"),
            task: String::new(),
            worker: String::new(),
            cause: format!("no worker could run step `{step}` for {waited} s: {why}"),
            help: "start a worker that has it, as with `tandem worker --gpus 1`, or change the step's resources"
                .to_owned(),
        }
    }
}
