//! The whole cluster: every worker and job, and the one way to change them.
//! Owned by the coordinator actor.
//!
//! One event is handled in three steps: what it says is applied (`membership.rs` for workers, `reports.rs` for attempts, here
//! for jobs); each job it touched takes its next step; then free slots are given out (`dispatch.rs`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tandem_proto::{Epoch, JobId, Term};

use crate::action::{Action, Fact};
use crate::config::ClusterConfig;
use crate::event::Event;
use crate::groups::Groups;
use crate::job::{Context, Job, Outbox, Shelf};
use crate::leases::Leases;
use crate::names::Names;
use crate::plan::JobPlan;
use crate::resources::CPUS;
use crate::stage::Numbering;
use crate::time::Timestamp;
use crate::timers::{Timer, Timers};
use crate::views::Counters;
use crate::workers::Workers;

/// A deadline that is met so late means that the coordinator itself stood still, so that silence says nothing.
const STALLED_MS: u64 = 1_000;

/// The state of the cluster.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) config: ClusterConfig,
    pub(crate) now: Timestamp,
    /// The epoch of the last registration.
    pub(crate) epoch: Epoch,
    pub(crate) workers: Workers,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    /// Remembered jobs in order of acceptance.
    pub(crate) order: Vec<JobId>,
    /// Jobs that are over, in the order they ended, and how many tasks they remember.
    pub(crate) ended: VecDeque<JobId>,
    pub(crate) ended_tasks: usize,
    pub(crate) leases: Leases,
    pub(crate) names: Names,
    pub(crate) groups: Groups,
    /// Jobs that want slots, or leases of processors: those that have the least of these first, then longest not served.
    pub(crate) wanting: BTreeSet<(u64, u64, JobId)>,
    /// The key of each job in `wanting`.
    pub(crate) wanting_keys: BTreeMap<JobId, (u64, u64)>,
    /// Jobs whose driver waits for a worker.
    pub(crate) driverless: BTreeSet<JobId>,
    /// Jobs with tasks that take more than a slot and could start.
    pub(crate) demanding: BTreeSet<JobId>,
    pub(crate) timers: Timers,
    /// It is time to look for stragglers, once all else of this event is settled.
    pub(crate) stragglers_due: bool,
    /// The same for jobs that have more than their share.
    pub(crate) sharing_due: bool,
    /// Since when no worker takes tasks, and the name of the last one that was lost.
    pub(crate) workerless: Option<Timestamp>,
    pub(crate) last_lost: Option<String>,
    /// Counts slots given out, to tell who was served last.
    pub(crate) served: u64,
    pub(crate) out: Outbox,
    pub(crate) counters: Counters,
}

impl Cluster {
    /// An empty cluster. `term` is this coordinator's, higher than any before it over the same data folder.
    pub fn new(config: ClusterConfig, term: Term) -> Self {
        Self {
            config,
            now: Timestamp::default(),
            epoch: Epoch(term.0 << 32),
            workers: Workers::default(),
            jobs: BTreeMap::new(),
            order: Vec::new(),
            ended: VecDeque::new(),
            ended_tasks: 0,
            leases: Leases::new(term),
            names: Names::default(),
            groups: Groups::default(),
            wanting: BTreeSet::new(),
            wanting_keys: BTreeMap::new(),
            driverless: BTreeSet::new(),
            demanding: BTreeSet::new(),
            timers: Timers::default(),
            stragglers_due: false,
            sharing_due: false,
            workerless: None,
            last_lost: None,
            served: 0,
            out: Outbox::default(),
            counters: Counters::default(),
        }
    }

    /// Advances the state by one event. Pure but for `self`; never fails: what makes no sense is dropped.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        self.now = self.now.max(now);
        if self.workers.ready() == 0 {
            self.workerless.get_or_insert(self.now);
        }
        self.apply(event);
        self.settle();
        std::mem::take(&mut self.out.actions)
    }

    /// When [`Event::Tick`] is due; none when nothing waits for time.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// The leases and limits it decides by.
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::WorkerRegistered(registration) => self.register(*registration),
            Event::WorkerDisconnected { worker, epoch } => self.disconnected(worker, epoch),
            Event::Heartbeat { worker, epoch, usage, progress, leases } => {
                self.heartbeat(worker, epoch, usage, &progress, leases);
            }
            Event::LeaseDemand { worker, epoch, demand } => self.lease_demand(worker, epoch, demand),
            Event::LeaseReleased { worker, epoch, lease } => self.lease_released(worker, epoch, lease),
            Event::LeaseReturned { worker, epoch, lease } => self.lease_returned(worker, epoch, lease),
            Event::GroupWanted { worker, epoch, plan } => self.group_wanted(worker, epoch, plan),
            Event::GroupRemoved { worker, epoch, group } => self.group_removed(worker, epoch, group),
            Event::NameClaimed { name, actor } => self.claim_name(name, actor),
            Event::ActorFound { job, owner } => self.actor_found(job, owner),
            Event::NameDropped { job, actor } => self.drop_names(job, actor),
            Event::TaskReported { worker, epoch, sequence, attempt, outcome } => {
                self.task_reported(worker, epoch, sequence, attempt, outcome);
            }
            Event::WorkerDraining { worker, epoch } => {
                if self.heard(worker, epoch) {
                    self.drain(worker);
                }
            }
            Event::DrainRequested { worker } => self.drain(worker),
            Event::JobAccepted { job, plan } => self.accept_job(job, plan),
            Event::StopRequested { job, reason } => self.with_job(job, |job, cx| job.stop(cx, reason)),
            Event::FollowerJoined { job } => self.with_job(job, |job, cx| job.follower_joined(cx)),
            Event::FollowerLeft { job } => self.with_job(job, |job, cx| job.follower_left(cx)),
            Event::ResultRead { job } => self.with_job(job, |job, cx| {
                if job.has_answered() {
                    job.stop(cx, String::new());
                }
            }),
            Event::CommitFinished { job, outcome } => self.with_job(job, |job, cx| job.commit_finished(cx, outcome)),
            Event::CleanedUp { job } => self.with_job(job, |job, cx| job.cleaned_up(cx)),
            Event::Tick => self.tick(),
        }
    }

    fn accept_job(&mut self, id: JobId, plan: Arc<JobPlan>) {
        if self.jobs.contains_key(&id) {
            return;
        }
        let mut job = Job::new(id, plan, self.now, Numbering::default());
        job.lease_until = self.now.after_ms(self.config.follower_return_ms);
        self.counters.jobs_accepted += 1;
        self.jobs.insert(id, job);
        self.order.push(id);
        self.out.touched.insert(id);
    }

    /// Lets one job handle something; nothing happens when it is unknown.
    pub(crate) fn with_job<R: Default>(
        &mut self,
        id: JobId,
        handle: impl FnOnce(&mut Job, &mut Context<'_>) -> R,
    ) -> R {
        let Some(job) = self.jobs.get_mut(&id) else { return R::default() };
        let mut cx = Context {
            now: self.now,
            config: &self.config,
            workers: &mut self.workers,
            leases: &mut self.leases,
            names: &mut self.names,
            groups: &mut self.groups,
            out: &mut self.out,
            counters: &mut self.counters,
        };
        let result = handle(job, &mut cx);
        if let Some(at) = job.deadline(&cx, self.workerless) {
            self.timers.arm(Timer::Job(id), at);
        }
        result
    }

    /// What jobs may change, for a change that is no job's.
    pub(crate) fn context(&mut self) -> Context<'_> {
        Context {
            now: self.now,
            config: &self.config,
            workers: &mut self.workers,
            leases: &mut self.leases,
            names: &mut self.names,
            groups: &mut self.groups,
            out: &mut self.out,
            counters: &mut self.counters,
        }
    }

    fn tick(&mut self) {
        if self.timers.next().is_some_and(|due| self.now.ms_since(due) >= STALLED_MS) {
            self.excuse_silence();
        }
        while let Some(timer) = self.timers.pop(self.now) {
            match timer {
                Timer::Dispatch => {}
                Timer::Stragglers => self.stragglers_due = true,
                Timer::Sharing => self.sharing_due = true,
                Timer::Worker(worker) => self.look_at_worker(worker),
                Timer::Job(job) => self.look_at_job(job),
            }
        }
    }

    fn look_at_job(&mut self, id: JobId) {
        let (workerless, last_lost) = (self.workerless, self.last_lost.take());
        self.with_job(id, |job, cx| job.time_passed(cx, workerless, last_lost.as_deref()));
        self.last_lost = last_lost;
    }

    /// Brings everything that depends on the event up to date.
    pub(crate) fn settle(&mut self) {
        self.note_workers();
        let mut changed = BTreeSet::new();
        self.settle_jobs(&mut changed);
        self.launch_drivers();
        self.dispatch();
        if std::mem::take(&mut self.stragglers_due) {
            self.race_stragglers();
        }
        if std::mem::take(&mut self.sharing_due) {
            self.share_again();
        }
        self.settle_jobs(&mut changed);
        self.release_drained();
        self.out.actions.extend(changed.into_iter().map(|job| Action::JobChanged { job }));
    }

    /// Starts or ends the time without workers.
    fn note_workers(&mut self) {
        match (self.workers.ready() > 0, self.workerless) {
            (true, Some(_)) => self.workerless = None,
            (false, None) => {
                self.workerless = Some(self.now);
                let live = self.jobs.values().filter(|job| !job.is_ended()).map(|job| job.id);
                self.out.touched.extend(live);
            }
            (true, None) | (false, Some(_)) => {}
        }
    }

    fn settle_jobs(&mut self, changed: &mut BTreeSet<JobId>) {
        while let Some(id) = self.out.touched.pop_first() {
            self.with_job(id, |job, cx| job.settle(cx));
            self.index_job(id);
            if !self.retire_job(id) {
                changed.insert(id);
            }
        }
    }

    /// Keeps `wanting`, `driverless` and `demanding` right after a job changed.
    pub(crate) fn index_job(&mut self, id: JobId) {
        let expected = self.workers.any_expected();
        if self.jobs.get(&id).is_some_and(|job| job.wants_driver(expected)) {
            self.driverless.insert(id);
        } else {
            self.driverless.remove(&id);
        }
        if self.jobs.get(&id).is_some_and(|job| job.is_demanding(expected)) {
            self.demanding.insert(id);
        } else {
            self.demanding.remove(&id);
        }
        let key = self.jobs.get(&id).and_then(|job| self.wanting_key(job, expected));
        let known = self.wanting_keys.get(&id).copied();
        if key == known {
            return;
        }
        if let Some((used, served)) = known {
            self.wanting.remove(&(used, served, id));
            self.wanting_keys.remove(&id);
        }
        if let Some((used, served)) = key {
            self.wanting.insert((used, served, id));
            self.wanting_keys.insert(id, (used, served));
        }
    }

    /// What a job has of processors and when it was served, if it wants more.
    pub(crate) fn wanting_key(&self, job: &Job, workers_expected: bool) -> Option<(u64, u64)> {
        let leases = || job.may_lease(workers_expected) && self.leases.waits_for_cpus(job.id);
        let wants = job.wants_slots(workers_expected) || leases();
        wants.then(|| (job.task_cpus() + self.leases.usage(job.id, CPUS), job.served))
    }

    /// Moves a job that is over to those that are only remembered, and forgets the oldest of them. True when this job is
    /// already forgotten.
    fn retire_job(&mut self, id: JobId) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else { return true };
        if job.is_ended() && job.shelf == Shelf::Live {
            job.shelf = Shelf::Remembered;
            self.ended_tasks += job.stages.iter().map(|stage| stage.tasks.len()).sum::<usize>();
            self.ended.push_back(id);
        }
        self.forget_old();
        !self.jobs.contains_key(&id)
    }

    fn forget_old(&mut self) {
        while self.ended.len() > self.config.kept_jobs.max(1)
            || (self.ended_tasks > self.config.kept_tasks && self.ended.len() > 1)
        {
            let Some(&oldest) = self.ended.front() else { return };
            if self.jobs.get(&oldest).is_some_and(|job| !job.is_at_rest()) {
                return;
            }
            self.ended.pop_front();
            if let Some(job) = self.jobs.remove(&oldest) {
                self.ended_tasks -= job.stages.iter().map(|stage| stage.tasks.len()).sum::<usize>();
            }
            self.order.retain(|&job| job != oldest);
            self.timers.disarm(Timer::Job(oldest));
            self.out.actions.push(Action::Forget { job: oldest });
        }
    }

    /// The journal entry about the cluster itself.
    pub(crate) fn record(&mut self, fact: Fact) {
        self.out.actions.push(Action::Record(fact));
    }
}
