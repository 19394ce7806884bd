//! The cluster as the journal knows it, after the coordinator restarted. Part of the [`Cluster`].
//!
//! The journal knows accepted jobs, their commits, finished stages, the names of actors, placement groups, and which workers were there. Everything else comes back from
//! the workers: each registers with what it runs and holds. Until all of them are back, or their grace is over, nothing of
//! the restored jobs is started, so that nothing is run twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_proto::{Epoch, JobId, StageId, Term, WorkerId};

use crate::action::{Action, Fact, FinishedTask};
use crate::cluster::Cluster;
use crate::config::ClusterConfig;
use crate::contact::{Contact, DutyEvent};
use crate::division::Division;
use crate::event::WorkerInfo;
use crate::job::{Cleaning, Job, Origin, Phase, PhaseEvent, Publication};
use crate::plan::JobPlan;
use crate::reason::JobOutcome;
use crate::report::{OperatorMetrics, RowCount, StagedFile};
use crate::stage::Numbering;
use crate::time::Timestamp;
use crate::timers::Timer;
use crate::views::Counters;
use crate::worker::Worker;

/// Attempts that one reign of a coordinator may start of a task; the next reign counts on from the next multiple.
const ATTEMPTS_PER_REIGN: u32 = 1_000;
/// Input versions that one reign may count for a stage.
const VERSIONS_PER_REIGN: u32 = 1 << 16;

/// A job that the journal knows, for [`Cluster::restore`].
#[derive(Debug, Clone)]
pub struct RestoredJob {
    /// The job.
    pub job: JobId,
    /// Its shape.
    pub plan: Arc<JobPlan>,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// The term it was accepted in. Attempts of later terms are numbered from other thousands, so that none is mistaken
    /// for one of an earlier term that still runs.
    pub accepted_term: Term,
    /// How far its commit had come.
    pub commit: RestoredCommit,
}

/// How far the commit of a restored job had come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RestoredCommit {
    /// No intent was journaled.
    #[default]
    None,
    /// The intent to publish these files was journaled; it is rolled forward.
    Intended(Vec<StagedFile>),
    /// Everything is published.
    Done,
}

/// A stage that had finished, as [`Fact::StageFinished`] has it.
#[derive(Debug)]
pub(crate) struct RestoredStage {
    pub(crate) started: Timestamp,
    pub(crate) at: Timestamp,
    pub(crate) workers: Vec<WorkerId>,
    pub(crate) tasks: Vec<FinishedTask>,
    pub(crate) counts: Vec<RowCount>,
    pub(crate) operators: Vec<OperatorMetrics>,
    pub(crate) files: Vec<StagedFile>,
}

/// What the facts say of one job.
#[derive(Debug, Default)]
struct History {
    started: Option<Timestamp>,
    fusions: BTreeMap<StageId, (u32, u32)>,
    divisions: BTreeMap<StageId, (Division, u32)>,
    stages: BTreeMap<StageId, RestoredStage>,
    retries_used: u32,
    ended: Option<(Timestamp, JobOutcome)>,
    cleaning: Option<Cleaning>,
}

impl Cluster {
    /// The cluster as the journal knows it, and what to do at once: commits are rolled forward, leftovers removed.
    /// Jobs in order of acceptance, facts in order of recording; facts of unknown jobs are ignored.
    pub fn restore(
        config: ClusterConfig,
        term: Term,
        now: Timestamp,
        jobs: Vec<RestoredJob>,
        facts: Vec<Fact>,
    ) -> (Self, Vec<Action>) {
        let mut cluster = Self::new(config, term);
        cluster.now = now;
        let mut histories: BTreeMap<JobId, History> = BTreeMap::new();
        let (mut workers, mut names, mut groups) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for fact in facts {
            match fact {
                Fact::WorkerJoined { worker, name } => {
                    workers.insert(worker, name);
                }
                Fact::WorkerGone { worker } => {
                    workers.remove(&worker);
                }
                Fact::NameClaimed { name, actor } => {
                    names.insert(name, actor);
                }
                Fact::NameFreed { name } => {
                    names.remove(&name);
                }
                Fact::GroupReserved { plan, hosts } => {
                    groups.insert(plan.group, (plan, hosts));
                }
                Fact::GroupRemoved { group } => {
                    groups.remove(&group);
                }
                fact => {
                    if let Some(job) = fact.job() {
                        histories.entry(job).or_default().add(fact);
                    }
                }
            }
        }
        let mut gone = Vec::new();
        for (worker, name) in workers {
            cluster.expect_worker(worker, name);
            if !cluster.config.expect_workers {
                cluster.give_up_quietly(worker);
                gone.push(Action::Record(Fact::WorkerGone { worker }));
            }
        }
        for job in jobs {
            let history = histories.remove(&job.job).unwrap_or_default();
            cluster.restore_job(term, job, history);
        }
        // What the facts say is journaled and counted already.
        cluster.out.actions = gone;
        cluster.counters = Counters::default();
        names.into_iter().for_each(|(name, actor)| cluster.restore_name(name, actor));
        groups.into_values().for_each(|(plan, hosts)| cluster.restore_group(plan, hosts));
        cluster.settle_fusions();
        cluster.roll_forward();
        cluster.settle();
        let actions = std::mem::take(&mut cluster.out.actions);
        (cluster, actions)
    }

    fn expect_worker(&mut self, id: WorkerId, name: String) {
        let until = self.now.after_ms(self.config.reattach_grace_ms);
        let info = WorkerInfo { name, ..WorkerInfo::default() };
        self.workers.insert(Worker::new(id, info, Epoch(0), Contact::Expected { until }, self.now));
        self.timers.arm(Timer::Worker(id), until);
    }

    /// A worker that is known to be gone: it keeps its name, and nobody waits for it or is shown that it is lost.
    fn give_up_quietly(&mut self, id: WorkerId) {
        for event in [DutyEvent::Drain(self.now), DutyEvent::Release] {
            self.workers.edit(id, |worker| worker.duty.apply(event));
        }
        self.workers.remove(id, self.now);
        self.timers.disarm(Timer::Worker(id));
    }

    fn restore_job(&mut self, term: Term, restored: RestoredJob, history: History) {
        let RestoredJob { job: id, plan, accepted, accepted_term, commit } = restored;
        let reign = u32::try_from(term.0.saturating_sub(accepted_term.0)).unwrap_or(u32::MAX);
        let numbering = Numbering {
            first_attempt: reign.saturating_mul(ATTEMPTS_PER_REIGN),
            first_version: reign.saturating_mul(VERSIONS_PER_REIGN),
        };
        let mut job = Job::new(id, plan, accepted, numbering);
        job.origin = Origin::Restored;
        job.resumed = self.now;
        job.lease_until = self.now.after_ms(self.config.follower_return_ms);
        job.started = history.started;
        job.retries_used = history.retries_used;
        if commit == RestoredCommit::Done {
            job.publication = Publication::Done;
        }
        self.jobs.insert(id, job);
        self.order.push(id);
        self.with_job(id, |job, cx| {
            for (stage, (depth, first_attempt)) in history.fusions {
                if job.plan.stage(stage).is_some() {
                    job.fuse(cx, stage, depth, first_attempt);
                }
            }
            for (stage, (division, first_attempt)) in history.divisions {
                if job.plan.stage(stage).is_some() {
                    job.stage_mut(stage).divide(division, first_attempt);
                    job.refresh(stage);
                }
            }
            // Readers first, so that it is known by then whether an input is still needed.
            for (stage, finished) in history.stages.into_iter().rev() {
                if job.plan.stage(stage).is_some() {
                    job.restore_stage(cx, stage, finished);
                }
            }
            for stage in job.plan.stage_ids() {
                if job.stage(stage).is_hungry() && !job.stage(stage).deterministic {
                    job.restart_readers(cx, stage);
                }
            }
            if let Some((at, outcome)) = history.ended {
                job.restore_end(cx, at, outcome);
                job.cleaning = history.cleaning.unwrap_or(job.cleaning);
            } else if let RestoredCommit::Intended(files) = commit {
                job.advance(PhaseEvent::Commit);
                job.intent = files;
            }
            cx.out.touched.insert(id);
        });
    }

    /// Decides what an earlier coordinator had not yet decided.
    fn settle_fusions(&mut self) {
        for job in self.order.clone() {
            self.with_job(job, |job, cx| {
                if job.is_active() {
                    for stage in job.plan.stage_ids() {
                        job.settle_fusion(cx, stage);
                    }
                }
            });
        }
    }

    /// Publishes what was meant to be published when the coordinator went down.
    fn roll_forward(&mut self) {
        for job in self.jobs.values_mut().filter(|job| job.phase == Phase::Committing) {
            let files = std::mem::take(&mut job.intent);
            self.out.actions.push(Action::Commit { job: job.id, files });
        }
    }
}

impl History {
    fn add(&mut self, fact: Fact) {
        match fact {
            Fact::WorkerJoined { .. }
            | Fact::WorkerGone { .. }
            | Fact::NameClaimed { .. }
            | Fact::NameFreed { .. }
            | Fact::GroupReserved { .. }
            | Fact::GroupRemoved { .. } => {}
            Fact::JobStarted { at, .. } => self.started = Some(at),
            Fact::StageFinished { job: _, stage, started, at, workers, tasks, counts, operators, files } => {
                let finished = RestoredStage { started, at, workers, tasks, counts, operators, files };
                self.stages.insert(stage, finished);
            }
            Fact::StageFused { stage, depth, first_attempt, .. } => {
                self.fusions.insert(stage, (depth, first_attempt));
            }
            Fact::StageDivided { stage, division, first_attempt, .. } => {
                self.divisions.insert(stage, (division, first_attempt));
            }
            Fact::StageReopened { stage, .. } => {
                self.stages.remove(&stage);
            }
            Fact::JobRetried { retries_used, .. } => self.retries_used = retries_used,
            Fact::JobEnded { at, outcome, .. } => self.ended = Some((at, outcome)),
            Fact::CleanedUp { .. } => self.cleaning = Some(Cleaning::Unneeded),
        }
    }
}
