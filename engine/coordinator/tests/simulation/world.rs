//! Everything around the real [`Cluster`]: virtual time, a network that loses, repeats, delays and reorders, workers that crash
//! and stop, a coordinator that crashes, and the clients. One seed is one history.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use tandem_coordinator::state::{
    Action, AttemptId, Cluster, ClusterConfig, Event, FailureKind, JobOutcome, RowCount, StagedFile, TaskMetrics,
    TaskOutcome, TaskOutput, Timestamp, WorkerUsage,
};
use tandem_proto::{Epoch, JobId, PartitionId, StageId, TaskId, Term, WorkerId};

use crate::journal::Journal;
use crate::plans::{Script, random_script};
use crate::rng::Rng;
use crate::worker::{Link, VirtualWorker, failed};

/// Faults happen until then.
const FAULTS_UNTIL_MS: u64 = 20_000;
/// All jobs must have ended by then.
const END_MS: u64 = 400_000;
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
enum Client {
    Absent,
    Following { term: Term },
    Dead,
}

/// A submitted job as the outside knows it.
#[derive(Debug)]
pub(crate) struct SimJob {
    pub(crate) script: Script,
    client: Client,
    pub(crate) outcome: Option<JobOutcome>,
    /// It was never journaled and the coordinator crashed.
    vanished: bool,
    forgotten: bool,
    published: Option<Vec<StagedFile>>,
    commit_failed: bool,
    stop_asked: bool,
    was_alone: bool,
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
    pub(crate) released: u64,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    order: u64,
    agenda: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) term: Term,
    journal: Journal,
    workers: BTreeMap<WorkerId, VirtualWorker>,
    next_worker: u64,
    next_stream: u64,
    /// The worker of each stream that is not known to be broken by the coordinator, and the epoch it was given.
    streams: BTreeMap<u64, (WorkerId, Option<Epoch>)>,
    /// The stream that each worker's messages go to.
    routes: BTreeMap<WorkerId, u64>,
    pub(crate) jobs: BTreeMap<JobId, SimJob>,
    /// Where each attempt was launched, and whether it finished.
    launched: BTreeMap<AttemptId, WorkerId>,
    finished: BTreeSet<AttemptId>,
    lineages: BTreeMap<AttemptId, BTreeMap<(StageId, u32), u32>>,
    pub(crate) losses: u32,
    pub(crate) tally: Tally,
    trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        let mut world = Self {
            rng: Rng::new(seed),
            now: EPOCH_MS,
            order: 0,
            agenda: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            cluster: Some(Cluster::new(ClusterConfig::default(), Term(1))),
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
            if !self.faults_last() && self.all_ended() {
                return Ok(self.tally);
            }
        }
        let open: Vec<_> = self.jobs.iter().filter(|(_, job)| !job.is_over()).map(|(id, _)| *id).collect();
        let views: Vec<_> =
            open.iter().map(|&job| self.cluster.as_ref().and_then(|cluster| cluster.job(job))).collect();
        if open.is_empty() { Ok(self.tally) } else { Err(format!("jobs never ended: {open:?}: {views:#?}")) }
    }

    fn all_ended(&self) -> bool {
        self.cluster.is_some() && self.jobs.values().all(SimJob::is_over)
    }

    fn faults_last(&self) -> bool {
        self.now < EPOCH_MS + FAULTS_UNTIL_MS
    }

    fn plan(&mut self, delay_ms: u64, happening: Happening) {
        self.order += 1;
        self.agenda.push(Reverse((self.now + delay_ms, self.order)));
        self.happenings.insert(self.order, happening);
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
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

    // The shell.

    /// Gives an event to the coordinator, if it is up, performs what comes out and checks that all is well.
    fn feed(&mut self, event: Event) -> Result<(), String> {
        let now = Timestamp(self.now);
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        let before = cluster.counters();
        let actions = cluster.handle(now, event);
        let after = cluster.counters();
        self.losses += (after.workers_lost - before.workers_lost) as u32;
        self.tally.workers_lost += after.workers_lost - before.workers_lost;
        self.tally.outputs_lost += after.outputs_lost - before.outputs_lost;
        self.tally.released += after.workers_released - before.workers_released;
        self.perform(actions)
    }

    fn perform(&mut self, actions: Vec<Action>) -> Result<(), String> {
        self.check_actions(&actions)?;
        for action in actions {
            self.perform_one(action)?;
        }
        self.check_state()?;
        if let Some(at) = self.cluster.as_ref().and_then(Cluster::next_deadline) {
            let delay = at.0.saturating_sub(self.now);
            self.plan(delay, Happening::Tick { term: self.term });
        }
        Ok(())
    }

    fn perform_one(&mut self, action: Action) -> Result<(), String> {
        if self.trace {
            println!("          -> {action:?}");
        }
        match action {
            Action::Registered { worker, epoch }
            | Action::Acknowledge { worker, epoch, .. }
            | Action::Launch { worker, epoch, .. }
            | Action::Cancel { worker, epoch, .. }
            | Action::DropOutput { worker, epoch, .. }
            | Action::Drain { worker, epoch }
            | Action::Shutdown { worker, epoch } => self.send_to_worker(worker, epoch, action),
            Action::Disconnect { worker, epoch } => {
                if let Some(stream) = self.route(worker, epoch) {
                    self.streams.remove(&stream);
                    self.plan(1, Happening::WorkerSeesBreak { worker, stream });
                }
            }
            Action::Record(fact) => {
                self.journal.record(fact);
                if self.rng.chance(30) {
                    self.journal.sync();
                }
            }
            Action::Commit { job, files } => self.commit(job, files)?,
            Action::CleanUp { job } => {
                let delay = self.rng.range(1..100);
                self.plan(delay, Happening::Cleaned { term: self.term, job });
            }
            Action::JobChanged { job } => self.job_changed(job),
            Action::JobEnded { job, outcome } => self.job_ended(job, outcome)?,
            Action::Forget { job } => {
                self.journal.forget(job);
                if let Some(job) = self.jobs.get_mut(&job) {
                    job.forgotten = true;
                }
            }
        }
        Ok(())
    }

    fn commit(&mut self, job: JobId, files: Vec<StagedFile>) -> Result<(), String> {
        self.check_commit(job, &files)?;
        self.journal.intend(job, files.clone());
        let fails = self.jobs.get(&job).map_or(0, |job| job.script.commit_fails_percent);
        let outcome = if self.rng.chance(fails) { Err("the disk is full".to_owned()) } else { Ok(()) };
        let delay = self.rng.range(1..400);
        self.plan(delay, Happening::Published { term: self.term, job, files, outcome });
        Ok(())
    }

    fn published(&mut self, id: JobId, files: Vec<StagedFile>, outcome: Result<(), String>) -> Result<(), String> {
        let Some(job) = self.jobs.get_mut(&id) else { return Ok(()) };
        match &outcome {
            Ok(()) => {
                job.published = Some(files);
                self.journal.done(id);
            }
            Err(_) => job.commit_failed = true,
        }
        // The coordinator may die between publishing and saying so.
        if self.faults_last() && self.rng.chance(10) {
            self.crash_coordinator();
            return Ok(());
        }
        self.feed(Event::CommitFinished { job: id, outcome })
    }

    fn tick(&mut self) -> Result<(), String> {
        let due = self.cluster.as_ref().and_then(Cluster::next_deadline);
        if due.is_some_and(|due| due.0 <= self.now) { self.feed(Event::Tick) } else { Ok(()) }
    }

    fn crash_coordinator(&mut self) {
        self.cluster = None;
        self.tally.restarts += 1;
        self.routes.clear();
        for (stream, (worker, _)) in std::mem::take(&mut self.streams) {
            let delay = self.rng.range(1..100);
            self.plan(delay, Happening::WorkerSeesBreak { worker, stream });
        }
        for (id, job) in &mut self.jobs {
            if !job.script.plan.journaled && !job.is_over() {
                job.vanished = true;
                self.tally.vanished += 1;
            }
            if let Client::Following { .. } = job.client {
                job.client = Client::Absent;
                job.was_alone = true;
            }
            let _ = id;
        }
        let delay = self.rng.range(20..3_000);
        self.plan(delay, Happening::CoordinatorStarts);
    }

    fn start_coordinator(&mut self) -> Result<(), String> {
        if self.cluster.is_some() {
            return Ok(());
        }
        self.term.0 += 1;
        let (jobs, facts) = self.journal.crash(&mut self.rng);
        let (cluster, actions) =
            Cluster::restore(ClusterConfig::default(), self.term, Timestamp(self.now), jobs, facts);
        self.cluster = Some(cluster);
        let clients: Vec<_> =
            self.jobs.iter().filter(|(_, job)| job.client == Client::Absent).map(|(&id, _)| id).collect();
        for job in clients {
            let delay = self.rng.range(1..2_000);
            self.plan(delay, Happening::Follow { job });
        }
        self.perform(actions)
    }

    // The network.

    /// How long a message takes, and how many copies of it arrive.
    fn fate(&mut self, worker: WorkerId) -> Vec<u64> {
        if self.workers.get(&worker).is_some_and(|worker| worker.cut_until > self.now) {
            return Vec::new();
        }
        let delay = self.rng.range(1..8);
        if !self.faults_last() {
            return vec![delay];
        }
        match self.rng.range(0..100) {
            0 => Vec::new(),
            1 => vec![delay, delay + self.rng.range(1..2_000)],
            2 => vec![delay + self.rng.range(50..1_500)],
            _ => vec![delay],
        }
    }

    fn send_to_coordinator(&mut self, worker: WorkerId, stream: u64, event: Event) {
        for delay in self.fate(worker) {
            self.plan(delay, Happening::ToCoordinator { stream, event: event.clone() });
        }
    }

    fn route(&self, worker: WorkerId, epoch: Epoch) -> Option<u64> {
        let stream = *self.routes.get(&worker)?;
        self.streams.get(&stream).is_some_and(|&(_, known)| known == Some(epoch)).then_some(stream)
    }

    fn send_to_worker(&mut self, worker: WorkerId, epoch: Epoch, action: Action) {
        if matches!(action, Action::Registered { .. })
            && let Some(stream) = self.routes.get(&worker)
            && let Some(known) = self.streams.get_mut(stream)
        {
            known.1 = Some(epoch);
        }
        let Some(stream) = self.route(worker, epoch) else { return };
        for delay in self.fate(worker) {
            self.plan(delay, Happening::ToWorker { stream, action: action.clone() });
        }
    }

    fn deliver_to_coordinator(&mut self, stream: u64, event: Event) -> Result<(), String> {
        if self.cluster.is_none() {
            return Ok(());
        }
        let Some(&(worker, _)) = self.streams.get(&stream) else { return Ok(()) };
        if matches!(event, Event::WorkerRegistered(_)) {
            self.routes.insert(worker, stream);
        }
        self.feed(event)
    }

    fn coordinator_sees_break(&mut self, stream: u64) -> Result<(), String> {
        match self.streams.remove(&stream) {
            Some((worker, Some(epoch))) => self.feed(Event::WorkerDisconnected { worker, epoch }),
            _ => Ok(()),
        }
    }

    fn break_stream(&mut self, worker: WorkerId) {
        let stream = match self.workers.get(&worker).map(|worker| worker.link) {
            Some(Link::Registering { stream } | Link::Attached { stream, .. }) => stream,
            Some(Link::Away) | None => return,
        };
        let (first, second) = (self.rng.range(1..50), self.rng.range(1..50));
        self.plan(first, Happening::CoordinatorSeesBreak { stream });
        self.plan(second, Happening::WorkerSeesBreak { worker, stream });
    }

    // Workers.

    fn join(&mut self) {
        let id = WorkerId(self.next_worker);
        self.next_worker += 1;
        let slowness = if self.rng.chance(15) { 8 } else { 1 };
        let slots = self.rng.range(1..5) as u32;
        self.workers.insert(id, VirtualWorker::new(id, slots, slowness));
        let delay = self.rng.range(1..200);
        self.plan(delay, Happening::Connect { worker: id });
    }

    /// When a stopped worker goes on, if it is stopped.
    fn stopped_for(&self, worker: WorkerId) -> Option<u64> {
        let until = self.workers.get(&worker)?.paused_until;
        (until > self.now).then(|| until - self.now)
    }

    fn connect(&mut self, id: WorkerId) {
        if let Some(delay) = self.stopped_for(id) {
            return self.plan(delay, Happening::Connect { worker: id });
        }
        let (up, stream) = (self.cluster.is_some(), self.next_stream);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.link != Link::Away {
            return;
        }
        if !up || worker.cut_until > self.now {
            return self.plan(100, Happening::Connect { worker: id });
        }
        self.next_stream += 1;
        worker.link = Link::Registering { stream };
        let registration = worker.registration();
        self.streams.insert(stream, (id, None));
        self.send_to_coordinator(id, stream, Event::WorkerRegistered(Box::new(registration)));
        // A registration that is not answered is given up.
        self.plan(1_000, Happening::Beat { worker: id, stream });
    }

    fn worker_sees_break(&mut self, id: WorkerId, broken: u64) {
        if let Some(delay) = self.stopped_for(id) {
            return self.plan(delay, Happening::WorkerSeesBreak { worker: id, stream: broken });
        }
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match worker.link {
            Link::Registering { stream } | Link::Attached { stream, .. } if stream == broken => {
                worker.link = Link::Away;
                let delay = self.rng.range(10..300);
                self.plan(delay, Happening::Connect { worker: id });
            }
            _ => {}
        }
    }

    fn beat(&mut self, id: WorkerId, of: u64) {
        if let Some(delay) = self.stopped_for(id) {
            return self.plan(delay, Happening::Beat { worker: id, stream: of });
        }
        let Some(worker) = self.workers.get(&id) else { return };
        match worker.link {
            Link::Registering { stream } if stream == of => {
                self.plan(0, Happening::CoordinatorSeesBreak { stream });
                self.plan(0, Happening::WorkerSeesBreak { worker: id, stream });
            }
            Link::Attached { stream, epoch } if stream == of => {
                let (progress, owed, draining) = (worker.progress(), worker.owed.clone(), worker.draining);
                let usage = WorkerUsage::default();
                self.send_to_coordinator(id, stream, Event::Heartbeat { worker: id, epoch, usage, progress });
                for (sequence, (attempt, outcome)) in owed {
                    let event = Event::TaskReported { worker: id, epoch, sequence, attempt, outcome };
                    self.send_to_coordinator(id, stream, event);
                }
                if draining {
                    self.send_to_coordinator(id, stream, Event::WorkerDraining { worker: id, epoch });
                }
                self.plan(500, Happening::Beat { worker: id, stream });
            }
            _ => {}
        }
    }

    fn deliver_to_worker(&mut self, stream: u64, action: Action) -> Result<(), String> {
        let Some(id) = addressee(&action) else { return Ok(()) };
        if let Some(delay) = self.stopped_for(id) {
            self.plan(delay, Happening::ToWorker { stream, action });
            return Ok(());
        }
        let Some(worker) = self.workers.get_mut(&id) else { return Ok(()) };
        match (worker.link, action) {
            (Link::Registering { stream: mine }, Action::Registered { epoch, .. }) if mine == stream => {
                worker.link = Link::Attached { stream, epoch };
                self.plan(0, Happening::Beat { worker: id, stream });
            }
            (Link::Attached { stream: mine, .. }, action) if mine == stream => self.obey(id, action),
            _ => {}
        }
        Ok(())
    }

    fn obey(&mut self, id: WorkerId, action: Action) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match action {
            Action::Launch { attempt, inputs_version, .. } => {
                if worker.launch(attempt, inputs_version) {
                    let delay = self.rng.range(1..50);
                    self.plan(delay, Happening::Step { worker: id, attempt });
                }
            }
            Action::Cancel { attempt, .. } => {
                if let Some(run) = worker.running.get_mut(&attempt) {
                    run.cancelled = true;
                }
            }
            Action::DropOutput { job, stage, .. } => worker.drop_output(job, stage),
            Action::Acknowledge { sequence, .. } => {
                worker.owed.remove(&sequence);
            }
            Action::Drain { .. } => worker.draining = true,
            Action::Shutdown { .. } => {
                self.break_stream(id);
                self.workers.remove(&id);
                self.keep_some_workers();
            }
            _ => {}
        }
    }

    fn step(&mut self, id: WorkerId, attempt: AttemptId) {
        if let Some(delay) = self.stopped_for(id) {
            return self.plan(delay, Happening::Step { worker: id, attempt });
        }
        let Some(worker) = self.workers.get(&id) else { return };
        let Some(run) = worker.running.get(&attempt).cloned() else { return };
        let pace = worker.slowness;
        if run.cancelled && self.rng.chance(80) {
            return self.end(id, attempt, failed(FailureKind::Cancelled));
        }
        match run.to_read {
            None => self.ask_for_inputs(id, attempt, run.inputs_version),
            Some(inputs) if inputs.is_empty() => {
                let outcome = self.outcome_of(id, attempt);
                self.end(id, attempt, outcome);
            }
            Some(_) => {
                if let Err(failure) = self.read_inputs(id, attempt) {
                    return self.end(id, attempt, failure);
                }
                let delay = self.rng.range(1..600) * pace;
                self.plan(delay, Happening::Step { worker: id, attempt });
            }
        }
    }

    fn ask_for_inputs(&mut self, id: WorkerId, attempt: AttemptId, version: u32) {
        let Some(cluster) = &self.cluster else { return self.plan(200, Happening::Step { worker: id, attempt }) };
        let TaskId { job, stage, .. } = attempt.task;
        let Ok(inputs) = cluster.stage_inputs(job, stage, version) else {
            return self.end(id, attempt, failed(FailureKind::Retry));
        };
        let Some(plan) = self.jobs.get(&job).map(|job| job.script.plan.clone()) else { return };
        let mut to_read = Vec::new();
        for input in inputs {
            for partition in 0..input.worker_of.len() {
                let writer = plan.stage(input.stage).map_or(0, |plan| plan.task_of(PartitionId(partition as u32)));
                let task = TaskId { job, stage: input.stage, index: writer };
                let attempt = AttemptId { task, attempt: tandem_proto::Attempt(input.attempt_of[partition]) };
                to_read.push((attempt, input.workers[input.worker_of[partition] as usize].0));
            }
        }
        to_read.dedup();
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let pace = worker.slowness;
        if let Some(run) = worker.running.get_mut(&attempt) {
            run.to_read = Some(to_read);
        }
        let delay = self.rng.range(1..600) * pace;
        self.plan(delay, Happening::Step { worker: id, attempt });
    }

    /// Reads every input, or fails with the one that cannot be read.
    fn read_inputs(&mut self, id: WorkerId, attempt: AttemptId) -> Result<(), TaskOutcome> {
        let run = self.workers.get_mut(&id).and_then(|worker| worker.running.get_mut(&attempt));
        let Some(inputs) = run.and_then(|run| run.to_read.replace(Vec::new())) else { return Ok(()) };
        let mut lineage = BTreeMap::new();
        for (input, from) in inputs {
            let source = self
                .workers
                .get(&from)
                .filter(|source| source.paused_until <= self.now && source.cut_until <= self.now);
            if !source.is_some_and(|source| source.held.contains_key(&input)) {
                let TaskId { stage, index, .. } = input.task;
                return Err(failed(FailureKind::Fetch { stage, partition: PartitionId(index), worker: from }));
            }
            lineage.extend(self.lineages.get(&input).cloned().unwrap_or_default());
        }
        if let Some(run) = self.workers.get_mut(&id).and_then(|worker| worker.running.get_mut(&attempt)) {
            run.lineage = lineage;
        }
        Ok(())
    }

    /// How an attempt ends that has read its inputs.
    fn outcome_of(&mut self, id: WorkerId, attempt: AttemptId) -> TaskOutcome {
        let TaskId { job, stage, index } = attempt.task;
        let Some(script) = self.jobs.get(&job).map(|job| job.script.clone()) else {
            return failed(FailureKind::Cancelled);
        };
        if script.fatal == Some((stage, index)) {
            return failed(FailureKind::Fatal);
        }
        if self.rng.chance(script.flaky_percent) {
            return failed(if self.rng.chance(50) { FailureKind::Retry } else { FailureKind::Resources });
        }
        let Some(plan) = script.plan.stage(stage) else { return failed(FailureKind::Fatal) };
        let run = self.workers.get(&id).and_then(|worker| worker.running.get(&attempt));
        let mut lineage = run.map(|run| run.lineage.clone()).unwrap_or_default();
        if !plan.deterministic {
            lineage.insert((stage, index), attempt.attempt.0);
        }
        self.lineages.insert(attempt, lineage);
        self.finished.insert(attempt);
        TaskOutcome::Finished(Box::new(output(plan, attempt)))
    }

    fn end(&mut self, id: WorkerId, attempt: AttemptId, outcome: TaskOutcome) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let Some(sequence) = worker.end(attempt, outcome.clone()) else { return };
        if let Link::Attached { stream, epoch } = worker.link {
            self.send_to_coordinator(id, stream, Event::TaskReported { worker: id, epoch, sequence, attempt, outcome });
        }
    }

    // Clients.

    fn submit(&mut self) -> Result<(), String> {
        if self.cluster.is_none() {
            self.plan(500, Happening::Submit);
            return Ok(());
        }
        let script = random_script(&mut self.rng);
        let id = JobId(self.rng.next());
        let plan = script.plan.clone();
        if plan.journaled {
            self.journal.accept(id, plan.clone(), Timestamp(self.now), self.term);
        }
        if let Some(delay) = script.stop_after_ms {
            self.plan(delay, Happening::Stop { job: id });
        }
        if let Some(delay) = script.client_dies_after_ms {
            self.plan(delay, Happening::ClientDies { job: id });
        }
        let follows = plan.attached || self.rng.chance(50);
        let job = SimJob {
            script,
            client: if follows { Client::Absent } else { Client::Dead },
            outcome: None,
            vanished: false,
            forgotten: false,
            published: None,
            commit_failed: false,
            stop_asked: false,
            was_alone: false,
        };
        self.jobs.insert(id, job);
        if follows {
            let delay = self.rng.range(1..100);
            self.plan(delay, Happening::Follow { job: id });
        }
        self.feed(Event::JobAccepted { job: id, plan })
    }

    fn stop_asked(&mut self, job: JobId) {
        if let Some(job) = self.jobs.get_mut(&job).filter(|_| self.cluster.is_some()) {
            job.stop_asked = true;
        }
    }

    fn follow(&mut self, id: JobId) -> Result<(), String> {
        let term = self.term;
        let Some(job) = self.jobs.get_mut(&id).filter(|_| self.cluster.is_some()) else { return Ok(()) };
        if job.client != Client::Absent {
            return Ok(());
        }
        job.client = Client::Following { term };
        self.feed(Event::FollowerJoined { job: id })?;
        self.job_changed(id);
        Ok(())
    }

    fn client_dies(&mut self, id: JobId) -> Result<(), String> {
        let Some(job) = self.jobs.get_mut(&id) else { return Ok(()) };
        job.was_alone = true;
        match std::mem::replace(&mut job.client, Client::Dead) {
            Client::Following { term } if term == self.term => self.feed(Event::FollowerLeft { job: id }),
            _ => Ok(()),
        }
    }

    /// A follower sees the job's status.
    fn job_changed(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let has_result = job.script.plan.result_stage().is_some();
        if matches!(job.client, Client::Following { .. }) && has_result && job.outcome.is_some() {
            let delay = self.rng.range(1..300);
            self.plan(delay, Happening::ReadResult { job: id });
        }
    }

    /// Reads the whole result, or waits for the rest of it.
    fn read_result(&mut self, id: JobId) -> Result<(), String> {
        let Some(view) = self.cluster.as_ref().and_then(|cluster| cluster.job(id)) else { return Ok(()) };
        let expected =
            view.plan.result_stage().and_then(|stage| view.plan.stage(stage)).map_or(0, |stage| stage.partitions);
        let readable = view.results.iter().filter(|result| {
            let worker = self.workers.get(&result.worker);
            worker.is_some_and(|worker| worker.paused_until <= self.now && worker.cut_until <= self.now)
        });
        if readable.count() as u32 == expected { self.feed(Event::ResultRead { job: id }) } else { Ok(()) }
    }

    // Trouble.

    fn plan_fault(&mut self) {
        let delay = self.rng.range(200..3_000);
        self.plan(delay, Happening::Fault);
    }

    fn fault(&mut self) -> Result<(), String> {
        if !self.faults_last() {
            self.keep_some_workers();
            return Ok(());
        }
        self.plan_fault();
        let ids: Vec<_> = self.workers.keys().copied().collect();
        let Some(id) = self.rng.pick(&ids) else {
            self.join();
            return Ok(());
        };
        match self.rng.range(0..10) {
            0..=2 => self.kill(id),
            3 => self.pause(id),
            4 => self.break_stream(id),
            5 => self.cut(id),
            6 => {
                self.feed(Event::DrainRequested { worker: id })?;
                self.plan(500, Happening::Join);
            }
            7 => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.draining = true;
                    self.plan(500, Happening::Join);
                }
            }
            8 => self.crash_coordinator(),
            _ => self.join(),
        }
        Ok(())
    }

    fn kill(&mut self, id: WorkerId) {
        // A killed process resets its connection; a machine that is gone says nothing.
        if self.rng.chance(80) {
            self.break_stream(id);
        }
        self.workers.remove(&id);
        if self.rng.chance(80) {
            let delay = self.rng.range(100..3_000);
            self.plan(delay, Happening::Join);
        }
    }

    fn pause(&mut self, id: WorkerId) {
        let length = self.rng.range(100..6_000);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.paused_until = self.now + length;
        }
    }

    fn cut(&mut self, id: WorkerId) {
        let length = self.rng.range(100..5_000);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.cut_until = self.now + length;
        }
    }

    fn keep_some_workers(&mut self) {
        if self.workers.values().filter(|worker| !worker.draining).count() < 2 {
            self.plan(100, Happening::Join);
        }
    }

    // What must always hold.

    fn check_actions(&mut self, actions: &[Action]) -> Result<(), String> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        for action in actions {
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
        }
        Ok(())
    }

    fn check_state(&self) -> Result<(), String> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let faults = cluster.audit();
        if !faults.is_empty() {
            return Err(faults.join("\n"));
        }
        for (&id, job) in &self.jobs {
            let Some(view) = cluster.job(id) else {
                if job.script.plan.journaled && !job.forgotten {
                    return Err(format!("job {id} is lost"));
                }
                continue;
            };
            check_reasons(&view)?;
            for task in cluster.tasks(id).unwrap_or_default() {
                use tandem_coordinator::state::{PendingReason, TaskState};
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
            }
        }
        Ok(())
    }

    fn check_commit(&self, id: JobId, files: &[StagedFile]) -> Result<(), String> {
        let Some(job) = self.jobs.get(&id) else { return Err(format!("unknown job {id} commits")) };
        if let Some(published) = &job.published
            && published != files
        {
            return Err(format!("job {id} published {published:?} and then {files:?}"));
        }
        let sinks =
            job.script.plan.stages.iter().filter(|stage| matches!(stage.role, tandem_exec::graph::StageRole::Sink(_)));
        let expected: u32 = sinks.map(|stage| stage.tasks()).sum();
        let places: BTreeSet<_> = files.iter().map(|file| &file.final_path).collect();
        if files.len() != places.len() || files.len() as u32 != expected {
            return Err(format!("job {id} commits {} files for {expected} tasks: {files:?}", files.len()));
        }
        self.check_one_history(id)
    }

    /// Nothing that went into the outcome has read two different attempts of what does not come out the same twice.
    fn check_one_history(&self, id: JobId) -> Result<(), String> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let Some(job) = self.jobs.get(&id) else { return Ok(()) };
        let plan = &job.script.plan;
        let mut history: BTreeMap<(StageId, u32), u32> = BTreeMap::new();
        for task in cluster.tasks(id).unwrap_or_default() {
            let ends = plan
                .stage(task.attempt.task.stage)
                .is_some_and(|stage| stage.role != tandem_exec::graph::StageRole::Exchange);
            if !ends || task.state != tandem_coordinator::state::TaskState::Succeeded {
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

    fn job_ended(&mut self, id: JobId, outcome: JobOutcome) -> Result<(), String> {
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

impl SimJob {
    fn is_over(&self) -> bool {
        self.outcome.is_some() || self.vanished
    }

    /// Whether anything that happened explains how the job ended.
    fn check_outcome(&self, outcome: &JobOutcome, losses: u32) -> Result<(), &'static str> {
        use tandem_coordinator::state::FailureReason as Reason;
        let plan = &self.script.plan;
        let explained = match outcome {
            JobOutcome::Succeeded => {
                let published = !plan.has_sinks() || self.published.is_some();
                published && self.script.fatal.is_none() && plan.count_checks.is_empty()
            }
            JobOutcome::Stopped(_) => self.stop_asked || (plan.attached && self.was_alone),
            JobOutcome::Failed(failure) => match failure.reason {
                Reason::Fatal => self.script.fatal.is_some(),
                Reason::AttemptsExhausted => self.script.flaky_percent > 0,
                Reason::Poisonous => losses >= 3,
                Reason::InputsUnreadable => false,
                Reason::NoWorkers => true,
                Reason::TimedOut => plan.timeout_ms.is_some(),
                Reason::CheckFailed => !plan.count_checks.is_empty(),
                Reason::CommitFailed => self.commit_failed,
            },
        };
        if explained { Ok(()) } else { Err("nothing explains its end") }
    }
}

fn addressee(action: &Action) -> Option<WorkerId> {
    match action {
        Action::Registered { worker, .. }
        | Action::Acknowledge { worker, .. }
        | Action::Launch { worker, .. }
        | Action::Cancel { worker, .. }
        | Action::DropOutput { worker, .. }
        | Action::Drain { worker, .. }
        | Action::Shutdown { worker, .. } => Some(*worker),
        _ => None,
    }
}

/// No attempt starts with an input on a worker that is gone.
fn check_inputs(cluster: &Cluster, attempt: AttemptId, version: u32) -> Result<(), String> {
    let TaskId { job, stage, .. } = attempt.task;
    let inputs = cluster.stage_inputs(job, stage, version).map_err(|error| format!("{attempt:?}: {error}"))?;
    let nodes = cluster.nodes();
    let alive = |id: WorkerId| {
        nodes.iter().any(|node| node.worker == id && node.state != tandem_coordinator::state::NodeState::Lost)
    };
    match inputs.iter().flat_map(|input| &input.workers).find(|(worker, _)| !alive(*worker)) {
        Some((worker, _)) => Err(format!("{attempt:?} starts with input on {worker}, which is gone")),
        None => Ok(()),
    }
}

fn check_reasons(view: &tandem_coordinator::state::JobView) -> Result<(), String> {
    use tandem_coordinator::state::JobState;
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

fn output(plan: &tandem_coordinator::state::StagePlan, attempt: AttemptId) -> TaskOutput {
    let TaskId { stage, index, .. } = attempt.task;
    let files = match &plan.role {
        tandem_exec::graph::StageRole::Sink(sink) => vec![StagedFile {
            sink: sink.clone(),
            staged_path: format!("staged/{stage}-{index}-{}", attempt.attempt),
            final_path: format!("{stage}-{index}"),
            rows: 1,
            bytes: 10,
            multipart_id: String::new(),
            parts: Vec::new(),
        }],
        _ => Vec::new(),
    };
    let count =
        RowCount { name: plan.name.clone(), kind: tandem_coordinator::state::CountKind::Step, rows: 1, bytes: 0 };
    TaskOutput {
        partition_sizes: vec![40 + (index as u8); plan.outputs as usize].into(),
        metrics: TaskMetrics { counts: vec![count], output_rows: 1, output_bytes: 10, ..TaskMetrics::default() },
        files,
    }
}
