//! Jobs that have executors at workers: where the driver of a program runs, and which workers must be told when it is over.
//! Part of the [`Cluster`] and of [`Job`].
//!
//! A driver takes no slot: any worker in touch will do, the one with the fewest drivers first. What its executors have made
//! ends with it, so every worker that has to do with the job is told before the next driver starts. One that is out of
//! touch then says when it is back of which jobs it has executors, and is told that these are gone.

use std::collections::BTreeSet;

use tandem_proto::{JobId, StageId, TaskId, WorkerId};

use crate::action::Action;
use crate::cluster::Cluster;
use crate::job::{Context, Job};
use crate::report::AttemptId;

/// The driver's stage, the only one of a program.
const DRIVER: StageId = StageId(1);

impl Cluster {
    /// Starts the drivers that wait, as far as there are workers.
    pub(crate) fn launch_drivers(&mut self) {
        for id in self.driverless.clone() {
            let Some(job) = self.jobs.get(&id) else { continue };
            let Some(task) = job.stage(DRIVER).tasks.first() else { continue };
            let Some(host) = self.host_for_driver(task.avoids()) else { continue };
            self.launch(TaskId { job: id, stage: DRIVER, index: 0 }, host);
        }
    }

    /// The worker in touch with the fewest drivers, and of those the one with the most free slots. Not where it failed, unless
    /// it failed everywhere.
    pub(crate) fn host_for_driver(&self, failed_on: &[WorkerId]) -> Option<WorkerId> {
        let avoid = self.workers.to_avoid(failed_on, None);
        let usable = self.workers.iter().filter(|worker| worker.takes_work() && !avoid.contains(&worker.id));
        usable.min_by_key(|worker| (worker.drivers(), u32::MAX - worker.free(), worker.id)).map(|worker| worker.id)
    }

    /// Where the driver of a job is, if it is a program.
    pub(crate) fn driver_host(&self, job: &Job) -> Option<WorkerId> {
        let tasks = if job.plan.is_program() { &job.stage(DRIVER).tasks[..] } else { &[] };
        tasks.iter().flat_map(|task| task.state.runs()).map(|run| run.worker).next()
    }

    /// Whether a worker that is not known has executors of a live job: then it was given up, and others take it for lost.
    pub(crate) fn was_given_up(&self, jobs: &[JobId], running: &[AttemptId]) -> bool {
        let live = |job: &JobId| self.jobs.get(job).is_some_and(Job::has_executors);
        jobs.iter().any(live) || running.iter().any(|attempt| live(&attempt.task.job))
    }

    /// A worker that registered has executors of these jobs. Answers with those that it is told to end.
    pub(crate) fn compare_jobs(&mut self, id: WorkerId, jobs: Vec<JobId>) -> BTreeSet<JobId> {
        let mut gone = BTreeSet::new();
        for job in jobs {
            let wanted = self.jobs.get_mut(&job).is_some_and(|job| job.keeps_executors(id));
            if !wanted {
                self.context().job_gone(id, job);
                gone.insert(job);
            }
        }
        // Of others it has nothing that it could be told to end.
        for job in self.jobs.values_mut() {
            job.untold.remove(&id);
        }
        gone
    }

    /// A worker has executors of these jobs: of one that is over it was told, but may not have heard.
    pub(crate) fn end_strangers(&mut self, id: WorkerId, jobs: Vec<JobId>) {
        for job in jobs {
            if !self.jobs.get_mut(&job).is_some_and(|job| job.keeps_executors(id)) {
                self.context().job_gone(id, job);
            }
        }
    }

    /// A worker is gone, and with it what it had of any job. All that have to do with these jobs are told.
    pub(crate) fn leave_jobs(&mut self, id: WorkerId) {
        let mut others = BTreeSet::new();
        for job in self.jobs.values_mut() {
            if job.members.remove(&id) {
                others.extend(&job.members);
            }
            job.untold.remove(&id);
        }
        for worker in others {
            if let Some(epoch) = self.context().reach(worker) {
                self.out.actions.push(Action::WorkerGone { worker, epoch, gone: id });
            }
        }
    }
}

impl Job {
    /// A worker is about to have executors of the job.
    pub(crate) fn joined_by(&mut self, cx: &mut Context<'_>, worker: WorkerId) {
        if self.plan.is_program() {
            // What an earlier driver left, which ended while the coordinator was away.
            self.end_executors(cx);
        }
        if self.plan.executors {
            self.members.insert(worker);
        }
    }

    /// Whether the executors that a worker turned out to have are still wanted.
    fn keeps_executors(&mut self, worker: WorkerId) -> bool {
        let wanted = self.has_executors() && !self.untold.contains(&worker);
        if wanted {
            self.members.insert(worker);
        }
        wanted
    }

    /// What executors of the job have made is not wanted any more.
    pub(crate) fn end_executors(&mut self, cx: &mut Context<'_>) {
        if self.plan.executors {
            self.end_groups(cx);
            self.end_leases(cx);
            self.end_names(cx);
        }
        for worker in std::mem::take(&mut self.members) {
            if !cx.job_gone(worker, self.id) && !self.is_ended() {
                self.untold.insert(worker);
            }
        }
        if self.is_ended() {
            self.untold.clear();
        }
    }
}

impl Context<'_> {
    /// Tells a worker that nothing of a job that it has is wanted any more. False when it is out of touch.
    pub(crate) fn job_gone(&mut self, id: WorkerId, job: JobId) -> bool {
        let Some(worker) = self.workers.get(id).filter(|worker| worker.contact.has_stream()) else { return false };
        self.out.actions.push(Action::JobGone { worker: id, epoch: worker.epoch, job });
        true
    }
}
