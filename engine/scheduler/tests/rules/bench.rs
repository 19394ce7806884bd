//! A cluster with a clock of its own, and the small jobs that the rules are shown with.

use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_graph::{Divisible, StageRole};
use tandem_proto::{Epoch, JobId, StageId, Term, WorkerId};
use tandem_scheduler::{
    Action, AttemptId, Cluster, ClusterConfig, Event, Fact, FailureKind, FailureReason, GroupNews, GroupReport,
    HeldOutput, JobOutcome, JobPlan, LeaseDemand, LeaseReport, Registration, RestoredCommit, RestoredJob, StagePlan,
    TaskFailure, TaskOutcome, TaskOutput, Timestamp, WorkerInfo,
};

pub(crate) const JOB: JobId = JobId(1);
pub(crate) const A: WorkerId = WorkerId(1);
pub(crate) const B: WorkerId = WorkerId(2);

/// A cluster with its clock, and what it did last.
pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    pub(crate) now: u64,
    pub(crate) facts: Vec<Fact>,
    /// What each worker knows of leases, and says with each beat.
    pub(crate) leases: BTreeMap<WorkerId, LeaseReport>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            cluster: Cluster::new(ClusterConfig::default(), Term(1)),
            now: 1_000,
            facts: Vec::new(),
            leases: BTreeMap::new(),
        }
    }

    pub(crate) fn feed(&mut self, event: Event) -> Vec<Action> {
        self.note_event(&event);
        let actions = self.cluster.handle(Timestamp(self.now), event);
        assert_eq!(self.cluster.audit(), Vec::<String>::new());
        actions.iter().for_each(|action| self.note_action(action));
        self.facts.extend(actions.iter().filter_map(|action| match action {
            Action::Record(fact) => Some(fact.clone()),
            _ => None,
        }));
        actions
    }

    /// What a worker that says this knows of leases afterwards.
    fn note_event(&mut self, event: &Event) {
        match event {
            Event::LeaseDemand { worker, demand, .. } => {
                let known = &mut self.leases.entry(*worker).or_default().demand;
                let key = |demand: &LeaseDemand| (demand.job, demand.shape.clone(), demand.bundle);
                known.retain(|other| key(other) != key(demand));
                known.push(demand.clone());
            }
            Event::GroupWanted { worker, plan, .. } => {
                let known = &mut self.leases.entry(*worker).or_default().groups;
                known.push(GroupReport { plan: plan.clone(), settled: false });
            }
            Event::GroupRemoved { worker, group, .. } => {
                self.leases.entry(*worker).or_default().groups.retain(|known| known.plan.group != *group);
            }
            Event::LeaseReturned { worker, lease, .. } => {
                self.leases.entry(*worker).or_default().hosted.retain(|known| known != lease);
            }
            Event::LeaseReleased { worker, lease, .. } => {
                self.leases.entry(*worker).or_default().owned.retain(|known| known != lease);
            }
            _ => {}
        }
    }

    /// What a worker that is told this knows of leases afterwards.
    fn note_action(&mut self, action: &Action) {
        match action {
            Action::GrantLease { worker, grant, .. } => {
                let known = self.leases.entry(*worker).or_default();
                if grant.host == *worker && !known.hosted.contains(&grant.lease) {
                    known.hosted.push(grant.lease);
                }
                if grant.owner == *worker && !known.owned.contains(&grant.lease) {
                    known.owned.push(grant.lease);
                }
            }
            Action::GroupChanged { worker, group, news, .. } => {
                let known = &mut self.leases.entry(*worker).or_default().groups;
                for known in known.iter_mut().filter(|known| known.plan.group == *group) {
                    known.settled = !matches!(news, GroupNews::Waits(_));
                }
            }
            Action::RevokeLease { worker, lease, .. } => {
                self.leases.entry(*worker).or_default().owned.retain(|known| known != lease);
            }
            _ => {}
        }
    }

    pub(crate) fn join(&mut self, worker: WorkerId, slots: u32) -> Vec<Action> {
        self.register(worker, slots, Vec::new(), Vec::new())
    }

    pub(crate) fn register(
        &mut self,
        worker: WorkerId,
        slots: u32,
        running: Vec<AttemptId>,
        held: Vec<AttemptId>,
    ) -> Vec<Action> {
        let jobs = running.iter().map(|attempt| attempt.task.job).collect();
        let held = held.into_iter().map(|attempt| HeldOutput { attempt, output: TaskOutput::default() }).collect();
        let info = WorkerInfo { name: format!("worker-{}", worker.0), slots, ..WorkerInfo::default() };
        self.feed(Event::WorkerRegistered(Box::new(Registration {
            running,
            held,
            jobs,
            ..Registration::new(worker, info)
        })))
    }

    pub(crate) fn accept(&mut self, job: JobId, plan: JobPlan) -> Vec<Action> {
        self.feed(Event::JobAccepted { job, plan: Arc::new(plan) })
    }

    pub(crate) fn report(&mut self, (worker, epoch, attempt): Launched, outcome: TaskOutcome) -> Vec<Action> {
        self.feed(Event::TaskReported { worker, epoch, sequence: 1, attempt, outcome })
    }

    pub(crate) fn finish(&mut self, launched: Launched) -> Vec<Action> {
        self.report(launched, TaskOutcome::Finished(Box::default()))
    }

    pub(crate) fn fail(&mut self, launched: Launched, kind: FailureKind) -> Vec<Action> {
        self.report(launched, TaskOutcome::Failed(TaskFailure { kind, message: "it broke".to_owned() }))
    }

    /// A worker's stream breaks and it does not come back.
    pub(crate) fn lose(&mut self, worker: WorkerId, epoch: Epoch) -> Vec<Action> {
        self.feed(Event::WorkerDisconnected { worker, epoch });
        self.pass(1_000)
    }

    /// A job of one task goes on when its worker is lost, and fails with the last of so many.
    #[track_caller]
    pub(crate) fn assert_poisonous_with(mut self, plan: JobPlan, workers: u64) {
        self.join(A, 1);
        let mut at = only(&self.accept(JOB, plan));
        for next in (2..=workers).map(WorkerId) {
            self.join(next, 1);
            at = only(&self.lose(at.0, at.1));
            assert_eq!(at.0, next);
        }
        self.lose(at.0, at.1);
        assert_eq!(self.failure().0, FailureReason::Poisonous);
    }

    /// Time passes; workers in touch stay so.
    pub(crate) fn pass(&mut self, ms: u64) -> Vec<Action> {
        let until = self.now + ms;
        let mut actions = Vec::new();
        while self.now < until {
            self.now = until.min(self.now + 500);
            self.beat();
            actions.extend(self.feed(Event::Tick));
        }
        actions
    }

    /// Time passes and no worker is heard.
    pub(crate) fn pass_in_silence(&mut self, ms: u64) {
        let until = self.now + ms;
        while self.now < until {
            self.now = until.min(self.now + 100);
            self.feed(Event::Tick);
        }
    }

    pub(crate) fn beat(&mut self) {
        for (worker, epoch) in EPOCHS {
            let usage = tandem_scheduler::WorkerUsage::default();
            let leases = self.leases.get(&worker).cloned().unwrap_or_default();
            let epoch = Epoch((1 << 32) + epoch);
            self.feed(Event::Heartbeat { worker, epoch, usage, progress: Vec::new(), leases });
        }
    }

    /// The coordinator restarts; its journal has these jobs.
    pub(crate) fn restarted(self, jobs: &[(JobId, JobPlan)]) -> Self {
        let job = |(job, plan): &(JobId, JobPlan)| RestoredJob {
            job: *job,
            plan: Arc::new(plan.clone()),
            accepted: Timestamp(1_000),
            accepted_term: Term(1),
            commit: RestoredCommit::None,
        };
        let now = self.now + 1_000;
        let jobs = jobs.iter().map(job).collect();
        let (cluster, actions) = Cluster::restore(ClusterConfig::default(), Term(2), Timestamp(now), jobs, self.facts);
        assert!(launched(&actions).is_empty());
        Self { cluster, now, facts: Vec::new(), leases: BTreeMap::new() }
    }

    /// The epoch that a registration was given.
    pub(crate) fn epoch_of(&self, actions: &[Action]) -> Epoch {
        let given = |action: &Action| match *action {
            Action::Registered { epoch, .. } => Some(epoch),
            _ => None,
        };
        actions.iter().find_map(given).expect("a registration")
    }

    pub(crate) fn outcome(&self) -> Option<JobOutcome> {
        self.cluster.job(JOB)?.outcome
    }

    pub(crate) fn failure(&self) -> (FailureReason, String) {
        match self.outcome() {
            Some(JobOutcome::Failed(failure)) => (failure.reason, format!("{failure:?}")),
            other => panic!("the job has not failed: {other:?}"),
        }
    }
}

/// Workers register in the order of their ids in all tests that let time pass.
pub(crate) const EPOCHS: [(WorkerId, u64); 4] = [(A, 1), (B, 2), (WorkerId(3), 3), (WorkerId(4), 4)];

pub(crate) type Launched = (WorkerId, Epoch, AttemptId);

pub(crate) fn launched(actions: &[Action]) -> Vec<Launched> {
    let launch = |action: &Action| match *action {
        Action::Launch { worker, epoch, attempt, .. } => Some((worker, epoch, attempt)),
        _ => None,
    };
    actions.iter().filter_map(launch).collect()
}

pub(crate) fn only(actions: &[Action]) -> Launched {
    match launched(actions)[..] {
        [one] => one,
        ref other => panic!("one launch was expected: {other:?}"),
    }
}

pub(crate) fn stage(inputs: &[u32], partitions: u32, role: StageRole) -> StagePlan {
    StagePlan {
        name: "work".to_owned(),
        inputs: inputs.iter().copied().map(StageId).collect(),
        partitions,
        share_plan: false,
        outputs: 1,
        divisible: Divisible::default(),
        role,
        deterministic: true,
        fusion: None,
        needs: None,
    }
}

pub(crate) fn plan(stages: Vec<StagePlan>) -> JobPlan {
    JobPlan {
        name: "test".to_owned(),
        stages,
        attached: false,
        journaled: true,
        timeout_ms: None,
        retries: 0,
        race_stragglers: true,
        count_checks: Vec::new(),
        executors: false,
    }
}

pub(crate) fn one_task() -> JobPlan {
    plan(vec![stage(&[], 1, StageRole::Exchange)])
}
