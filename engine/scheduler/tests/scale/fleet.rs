//! A fleet of virtual workers that run one wide job without doing any work. Everything reaches the `Cluster` at once and in
//! order: what is measured is the state machine, not a network.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use tandem_graph::{Divisible, StageRole};
use tandem_proto::{Epoch, JobId, StageId, Term, WorkerId};
use tandem_scheduler::{
    Action, AttemptId, Cluster, ClusterConfig, CountKind, Event, JobOutcome, JobPlan, LeaseReport, OperatorMetrics,
    Progress, Registration, RowCount, StagePlan, TaskMetrics, TaskOutcome, TaskOutput, Timestamp, WorkerInfo,
    WorkerUsage,
};

/// How much there is of everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) workers: u32,
    pub(crate) slots: u32,
    pub(crate) stages: u32,
    pub(crate) tasks: u32,
}

impl Size {
    /// Tasks of the job.
    pub(crate) fn all_tasks(self) -> u64 {
        u64::from(self.stages) * u64::from(self.tasks)
    }
}

const JOB: JobId = JobId(7);
/// Workers are lost one after the other, and with each a partition of every stage so far, which are made again in a row.
const LOSS_EVERY_MS: u64 = 4_000;
const LOSSES: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Beat(WorkerId),
    Finish(WorkerId, AttemptId),
    Lose,
}

/// The workers and the one job they run.
pub(crate) struct Fleet {
    size: Size,
    cluster: Cluster,
    now: u64,
    agenda: BinaryHeap<Reverse<(u64, Due)>>,
    /// Epoch and running attempts of each worker.
    workers: BTreeMap<WorkerId, (Epoch, BTreeSet<AttemptId>)>,
    next_worker: u64,
    sequence: u64,
    launched: u64,
    finished: bool,
    pub(crate) actions: u64,
    pub(crate) journal_bytes: u64,
}

impl Fleet {
    pub(crate) fn new(size: Size) -> Self {
        Self {
            size,
            cluster: Cluster::new(ClusterConfig::default(), Term(1)),
            now: 0,
            agenda: BinaryHeap::new(),
            workers: BTreeMap::new(),
            next_worker: 1,
            sequence: 0,
            launched: 0,
            finished: false,
            actions: 0,
            journal_bytes: 0,
        }
    }

    /// Virtual time so far.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        self.now
    }

    /// Attempts beyond one per task.
    pub(crate) fn repeated_tasks(&self) -> u64 {
        self.launched - self.size.all_tasks()
    }

    /// Runs the job to its end. `measure` is handed each call of the state machine.
    pub(crate) fn run(mut self, mut measure: impl FnMut(&mut dyn FnMut())) -> Self {
        for _ in 0..self.size.workers {
            self.join(&mut measure);
        }
        let plan = Arc::new(wide_plan(self.size));
        self.feed(&mut measure, Event::JobAccepted { job: JOB, plan });
        self.agenda.push(Reverse((LOSS_EVERY_MS, Due::Lose)));
        while !self.finished {
            self.step(&mut measure);
        }
        self
    }

    fn step(&mut self, measure: &mut impl FnMut(&mut dyn FnMut())) {
        let next = self.agenda.peek().map(|Reverse((at, _))| *at);
        let deadline = self.cluster.next_deadline().map(|at| at.0);
        if deadline.is_some_and(|deadline| next.is_none_or(|next| deadline <= next)) {
            self.now = self.now.max(deadline.unwrap_or_default());
            return self.feed(measure, Event::Tick);
        }
        let Some(Reverse((at, due))) = self.agenda.pop() else { panic!("nothing is left to happen") };
        self.now = at;
        match due {
            Due::Beat(worker) => self.beat(measure, worker),
            Due::Finish(worker, attempt) => self.finish(measure, worker, attempt),
            Due::Lose => self.lose(measure),
        }
    }

    fn feed(&mut self, measure: &mut impl FnMut(&mut dyn FnMut()), event: Event) {
        let (now, cluster) = (Timestamp(self.now), &mut self.cluster);
        let (mut event, mut actions) = (Some(event), Vec::new());
        measure(&mut || {
            if let Some(event) = event.take() {
                actions = cluster.handle(now, event);
            }
        });
        self.actions += actions.len() as u64;
        for action in actions {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Registered { worker, epoch } => {
                self.workers.insert(worker, (epoch, BTreeSet::new()));
                self.agenda.push(Reverse((self.now + 500 + worker.0 % 500, Due::Beat(worker))));
            }
            Action::Launch { worker, attempt, .. } => {
                self.launched += 1;
                if let Some((_, running)) = self.workers.get_mut(&worker) {
                    running.insert(attempt);
                }
                let length = 200 + (u64::from(attempt.task.index) * 7_919 + worker.0 * 104_729) % 800;
                self.agenda.push(Reverse((self.now + length, Due::Finish(worker, attempt))));
            }
            Action::Record(fact) => {
                self.journal_bytes += postcard::to_stdvec(&fact).map_or(0, |bytes| bytes.len() as u64);
            }
            Action::JobEnded { outcome, .. } => {
                assert_eq!(outcome, JobOutcome::Succeeded);
                self.finished = true;
            }
            _ => {}
        }
    }

    fn join(&mut self, measure: &mut impl FnMut(&mut dyn FnMut())) {
        let worker = WorkerId(self.next_worker);
        self.next_worker += 1;
        let info = WorkerInfo { name: format!("worker-{}", worker.0), slots: self.size.slots, ..WorkerInfo::default() };
        self.feed(measure, Event::WorkerRegistered(Box::new(Registration::new(worker, info))));
    }

    fn beat(&mut self, measure: &mut impl FnMut(&mut dyn FnMut()), worker: WorkerId) {
        let Some((epoch, running)) = self.workers.get(&worker) else { return };
        let progress =
            running.iter().map(|&attempt| Progress { attempt, rows: self.now, bytes: 8 * self.now }).collect();
        let event = Event::Heartbeat {
            worker,
            epoch: *epoch,
            usage: WorkerUsage::default(),
            progress,
            leases: LeaseReport::default(),
        };
        self.agenda.push(Reverse((self.now + 500, Due::Beat(worker))));
        self.feed(measure, event);
    }

    fn finish(&mut self, measure: &mut impl FnMut(&mut dyn FnMut()), worker: WorkerId, attempt: AttemptId) {
        let Some((epoch, running)) = self.workers.get_mut(&worker) else { return };
        if !running.remove(&attempt) {
            return;
        }
        self.sequence += 1;
        let (epoch, sequence) = (*epoch, self.sequence);
        let outcome = TaskOutcome::Finished(Box::new(output(self.size, attempt)));
        self.feed(measure, Event::TaskReported { worker, epoch, sequence, attempt, outcome });
    }

    /// A worker process dies and another takes its place.
    fn lose(&mut self, measure: &mut impl FnMut(&mut dyn FnMut())) {
        if self.now < LOSSES * LOSS_EVERY_MS {
            self.agenda.push(Reverse((self.now + LOSS_EVERY_MS, Due::Lose)));
        }
        let place = (self.now / LOSS_EVERY_MS * 7_919) as usize % self.workers.len();
        if let Some(worker) = self.workers.keys().nth(place).copied()
            && let Some((epoch, _)) = self.workers.remove(&worker)
        {
            self.feed(measure, Event::WorkerDisconnected { worker, epoch });
            self.join(measure);
        }
    }
}

/// Stages in a row, each reading all of the two before it: a thousand readers of a thousand writers. The last one is run for
/// what it counts, so that no shell is needed to publish.
fn wide_plan(size: Size) -> JobPlan {
    let stage = |place: u32| StagePlan {
        name: format!("stage {}", place + 1),
        inputs: (place.saturating_sub(1).max(1)..=place).filter(|&input| input > 0).map(StageId).collect(),
        partitions: size.tasks,
        share_plan: false,
        outputs: size.tasks,
        divisible: Divisible::default(),
        role: StageRole::Exchange,
        deterministic: true,
        fusion: None,
        needs: None,
    };
    JobPlan {
        name: "wide".to_owned(),
        stages: (0..size.stages).map(stage).collect(),
        attached: false,
        journaled: true,
        timeout_ms: None,
        retries: 0,
        race_stragglers: true,
        count_checks: Vec::new(),
        executors: false,
    }
}

fn output(size: Size, attempt: AttemptId) -> TaskOutput {
    let cell = |reader: u32| 100 + ((attempt.task.index + reader) % 60) as u8;
    let operator = |node: u32, name: &str| OperatorMetrics {
        node,
        name: name.to_owned(),
        output_rows: 1_000,
        elapsed_ns: 5_000_000,
        spilled_bytes: 0,
    };
    TaskOutput {
        partition_sizes: (0..size.tasks).map(cell).collect(),
        metrics: TaskMetrics {
            counts: vec![RowCount { name: "clean".to_owned(), kind: CountKind::Step, rows: 1_000, bytes: 0 }],
            operators: ["RepartitionExec", "HashJoinExec", "FilterExec", "ShuffleReadExec"]
                .iter()
                .zip(0..)
                .map(|(name, node)| operator(node, name))
                .collect(),
            output_rows: 1_000,
            output_bytes: 1 << 20,
            ..TaskMetrics::default()
        },
        files: Vec::new(),
    }
}

/// The most memory this process has had, as the kernel tells it; 0 where it does not.
#[allow(dead_code)] // Only the example prints it.
pub(crate) fn peak_memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default() / 1_024
}
