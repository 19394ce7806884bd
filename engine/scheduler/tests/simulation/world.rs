//! Everything around the real [`Cluster`]: virtual time, a network that loses, repeats, delays and reorders, workers that crash
//! and stop, a coordinator that crashes, and the clients. One seed is one history.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use tandem_graph::TaskWork;
use tandem_proto::{Epoch, JobId, LeaseId, StageId, Term, WorkerId};
use tandem_scheduler::{
    Action, ActorName, AttemptId, Cluster, ClusterConfig, Event, JobOutcome, NamedActor, StagedFile,
};

use crate::journal::Journal;
use crate::plans::Script;
use crate::rng::Rng;
use crate::worker::VirtualWorker;

/// Faults happen until then.
pub(crate) const FAULTS_UNTIL_MS: u64 = 20_000;
/// All jobs must have ended by then.
const END_MS: u64 = 400_000;
/// When all jobs have ended, this long is enough for everyone to hear of it.
const QUIET_MS: u64 = 8_000;
/// Where virtual time starts.
const EPOCH_MS: u64 = 1_000_000;

/// What is going to happen.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    /// A message of a worker reaches the coordinator.
    ToCoordinator {
        stream: u64,
        event: Event,
    },
    /// A message of the coordinator reaches a worker.
    ToWorker {
        stream: u64,
        action: Action,
    },
    /// The coordinator, or the worker, notices that a stream is gone.
    CoordinatorSeesBreak {
        stream: u64,
    },
    WorkerSeesBreak {
        worker: WorkerId,
        stream: u64,
    },
    /// A worker's time to connect, to beat, or to go on with an attempt.
    Connect {
        worker: WorkerId,
    },
    Beat {
        worker: WorkerId,
        stream: u64,
    },
    Step {
        worker: WorkerId,
        attempt: AttemptId,
    },
    /// The shell's own.
    Tick {
        term: Term,
    },
    Published {
        term: Term,
        job: JobId,
        files: Vec<StagedFile>,
        outcome: Result<(), String>,
    },
    Cleaned {
        term: Term,
        job: JobId,
    },
    /// An owner wants something else, or a host is done with a lease.
    Want {
        worker: WorkerId,
        job: JobId,
    },
    Return {
        worker: WorkerId,
        lease: LeaseId,
    },
    CoordinatorStarts,
    /// Clients.
    Submit,
    Stop {
        job: JobId,
    },
    Follow {
        job: JobId,
    },
    ClientDies {
        job: JobId,
    },
    ReadResult {
        job: JobId,
    },
    /// Trouble.
    Fault,
    Join,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Absent,
    Following { term: Term },
    Dead,
}

/// A submitted job as the outside knows it.
#[derive(Debug)]
pub(crate) struct SimJob {
    pub(crate) script: Script,
    pub(crate) client: Client,
    pub(crate) outcome: Option<JobOutcome>,
    /// It was never journaled and the coordinator crashed.
    pub(crate) vanished: bool,
    pub(crate) forgotten: bool,
    pub(crate) published: Option<Vec<StagedFile>>,
    pub(crate) commit_failed: bool,
    /// The task that fails wherever it runs has run. It may not: another stage may do its work.
    pub(crate) met_fatal: bool,
    pub(crate) stop_asked: bool,
    pub(crate) was_alone: bool,
}

/// What happened in one seed, to see that the simulation exercises something.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) stopped: u64,
    pub(crate) vanished: u64,
    pub(crate) workers_lost: u64,
    pub(crate) restarts: u64,
    pub(crate) outputs_lost: u64,
    pub(crate) raced: u64,
    pub(crate) released: u64,
    pub(crate) rejected: u64,
    pub(crate) leases: u64,
    pub(crate) revoked: u64,
    pub(crate) refused: u64,
    pub(crate) named: u64,
    pub(crate) reserved: u64,
    pub(crate) failed_groups: u64,
    pub(crate) in_bundles: u64,
    pub(crate) demanding: u64,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    pub(crate) order: u64,
    pub(crate) agenda: BinaryHeap<Reverse<(u64, u64)>>,
    pub(crate) happenings: BTreeMap<u64, Happening>,
    pub(crate) config: ClusterConfig,
    pub(crate) cluster: Option<Cluster>,
    /// No worker that the journal knows lives any more.
    pub(crate) down: bool,
    pub(crate) term: Term,
    pub(crate) journal: Journal,
    pub(crate) workers: BTreeMap<WorkerId, VirtualWorker>,
    pub(crate) next_worker: u64,
    pub(crate) next_stream: u64,
    /// The worker of each stream that is not known to be broken by the coordinator, and the epoch it was given.
    pub(crate) streams: BTreeMap<u64, (WorkerId, Option<Epoch>)>,
    /// The stream that each worker's messages go to.
    pub(crate) routes: BTreeMap<WorkerId, u64>,
    pub(crate) jobs: BTreeMap<JobId, SimJob>,
    /// Where each attempt was launched, and whether it finished.
    pub(crate) launched: BTreeMap<AttemptId, WorkerId>,
    pub(crate) finished: BTreeSet<AttemptId>,
    /// Leases that were given.
    pub(crate) granted: BTreeSet<LeaseId>,
    /// Names as they were given.
    pub(crate) names: BTreeMap<ActorName, NamedActor>,
    /// What each attempt was launched to run.
    pub(crate) works: BTreeMap<AttemptId, TaskWork>,
    pub(crate) lineages: BTreeMap<AttemptId, BTreeMap<(StageId, u32), u32>>,
    pub(crate) losses: u32,
    pub(crate) tally: Tally,
    pub(crate) trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        // A task puts out 10 bytes.
        let retained_bytes_per_worker = rng.pick(&[0, 25, 1 << 20]).unwrap_or_default();
        let config =
            ClusterConfig { retained_bytes_per_worker, unschedulable_grace_ms: 2_000, ..ClusterConfig::default() };
        let mut world = Self {
            rng,
            config: config.clone(),
            now: EPOCH_MS,
            order: 0,
            agenda: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            cluster: Some(Cluster::new(config, Term(1))),
            down: false,
            term: Term(1),
            journal: Journal::default(),
            workers: BTreeMap::new(),
            next_worker: 1,
            next_stream: 1,
            streams: BTreeMap::new(),
            routes: BTreeMap::new(),
            jobs: BTreeMap::new(),
            launched: BTreeMap::new(),
            finished: BTreeSet::new(),
            granted: BTreeSet::new(),
            names: BTreeMap::new(),
            works: BTreeMap::new(),
            lineages: BTreeMap::new(),
            losses: 0,
            tally: Tally::default(),
            trace,
        };
        for _ in 0..world.rng.range(1..6) {
            world.join();
        }
        for _ in 0..world.rng.range(1..7) {
            let delay = world.rng.range(0..FAULTS_UNTIL_MS - 2_000);
            world.plan(delay, Happening::Submit);
        }
        world.plan_fault();
        world
    }

    /// Lives through the whole history.
    pub(crate) fn run(mut self) -> Result<Tally, String> {
        let mut quiet_since = self.now;
        while let Some(Reverse((at, order))) = self.agenda.pop() {
            let Some(happening) = self.happenings.remove(&order) else { continue };
            self.now = self.now.max(at);
            if self.now > EPOCH_MS + END_MS {
                break;
            }
            self.tally.events += 1;
            if self.trace {
                println!("{:>9} {happening:?}", self.now - EPOCH_MS);
            }
            self.happen(happening)?;
            if self.faults_last() || !self.all_ended() {
                quiet_since = self.now;
            } else if self.now > quiet_since + QUIET_MS {
                return self.check_nothing_left().map(|()| self.tally);
            }
        }
        let open: Vec<_> = self.jobs.iter().filter(|(_, job)| !job.is_over()).map(|(id, _)| *id).collect();
        let views: Vec<_> =
            open.iter().map(|&job| self.cluster.as_ref().and_then(|cluster| cluster.job(job))).collect();
        if open.is_empty() { Ok(self.tally) } else { Err(format!("jobs never ended: {open:?}: {views:#?}")) }
    }

    pub(crate) fn all_ended(&self) -> bool {
        self.cluster.is_some() && self.jobs.values().all(SimJob::is_over)
    }

    pub(crate) fn faults_last(&self) -> bool {
        self.now < EPOCH_MS + FAULTS_UNTIL_MS
    }

    pub(crate) fn plan(&mut self, delay_ms: u64, happening: Happening) {
        self.order += 1;
        self.agenda.push(Reverse((self.now + delay_ms, self.order)));
        self.happenings.insert(self.order, happening);
    }

    pub(crate) fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::ToCoordinator { stream, event } => self.deliver_to_coordinator(stream, event),
            Happening::ToWorker { stream, action } => self.deliver_to_worker(stream, action),
            Happening::CoordinatorSeesBreak { stream } => self.coordinator_sees_break(stream),
            Happening::WorkerSeesBreak { worker, stream } => {
                self.worker_sees_break(worker, stream);
                Ok(())
            }
            Happening::Connect { worker } => {
                self.connect(worker);
                Ok(())
            }
            Happening::Beat { worker, stream } => {
                self.beat(worker, stream);
                Ok(())
            }
            Happening::Step { worker, attempt } => {
                self.step(worker, attempt);
                Ok(())
            }
            Happening::Tick { term } if term == self.term => self.tick(),
            Happening::Published { term, job, files, outcome } if term == self.term => {
                self.published(job, files, outcome)
            }
            Happening::Cleaned { term, job } if term == self.term => self.feed(Event::CleanedUp { job }),
            Happening::Tick { .. } | Happening::Published { .. } | Happening::Cleaned { .. } => Ok(()),
            Happening::Want { worker, job } => {
                self.make_or_drop_group(worker, job);
                self.want(worker, job);
                self.name_or_drop(worker, job)
            }
            Happening::Return { worker, lease } => {
                self.return_lease(worker, lease);
                Ok(())
            }
            Happening::CoordinatorStarts => self.start_coordinator(),
            Happening::Submit => self.submit(),
            Happening::Stop { job } => {
                self.stop_asked(job);
                self.feed(Event::StopRequested { job, reason: "asked to".to_owned() })
            }
            Happening::Follow { job } => self.follow(job),
            Happening::ClientDies { job } => self.client_dies(job),
            Happening::ReadResult { job } => self.read_result(job),
            Happening::Fault => self.fault(),
            Happening::Join => {
                self.join();
                Ok(())
            }
        }
    }
}
