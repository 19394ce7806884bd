//! What a worker owes its coordinator: the attempts it runs, the reports that were not acknowledged, the outputs it holds.
//! Owned by [`crate::control`]; pure: events in, actions out, no clock, no I/O.
//!
//! Invariants: an attempt runs at most once; it is in at most one of `running` and `held`; its end is reported under one
//! sequence, which is repeated until acknowledged; nothing is taken from a coordinator of a lower term than one seen before.
//! A worker that was given up meanwhile registers like any other: the coordinator cancels and drops what it does not want.
//!
//!   Away ─► Registering ─► Attached ─► Away …      (the link; running and held outlive it)
//!
//!   launch ─► running ─► reported ─► held ─► dropped
//!                └─────► reported (failed or cancelled)

mod leases;
mod ledger;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use tandem_graph::{InputSlice, TaskWork};
use tandem_node::Event as NodeEvent;
use tandem_proto::v1::coordinator_message::Message as FromCoordinator;
use tandem_proto::v1::worker_message::Message as ToCoordinator;
use tandem_proto::v1::{self, CoordinatorMessage, FailureKind, TaskFailed, TaskFinished, WorkerMessage};
use tandem_proto::{Attempt, Epoch, JobId, StageId, TaskId, Term, WorkerId};
use tandem_runtime::News;

use leases::Leases;
use ledger::Reports;

/// One attempt to run one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AttemptId {
    /// The task.
    pub(crate) task: TaskId,
    /// Which attempt of it.
    pub(crate) attempt: Attempt,
}

impl From<v1::TaskAttempt> for AttemptId {
    fn from(message: v1::TaskAttempt) -> Self {
        let (task, attempt) = message.ids();
        Self { task, attempt }
    }
}

impl From<AttemptId> for v1::TaskAttempt {
    fn from(id: AttemptId) -> Self {
        id.task.attempt(id.attempt)
    }
}

/// A task attempt to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    /// Which one.
    pub(crate) id: AttemptId,
    /// What of the stage it runs.
    pub(crate) work: TaskWork,
    /// The version of the stage's input locations it must use.
    pub(crate) inputs_version: u32,
}

/// The end of a task attempt. The outcome is kept in its wire form: it is repeated as it is, never looked into.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TaskEnd {
    /// Which one.
    pub(crate) id: AttemptId,
    /// The numbers of its outputs; with `id`, their names.
    pub(crate) outputs: Range<u32>,
    /// How it ended.
    pub(crate) outcome: Result<TaskFinished, TaskFailed>,
}

/// What a heartbeat says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sample {
    /// Resident memory of the process.
    pub(crate) rss_bytes: u64,
    /// Reserved in the memory pool.
    pub(crate) pool_used_bytes: u64,
    /// Stored output in memory.
    pub(crate) stored_bytes: u64,
    /// Stored output on disk.
    pub(crate) spilled_bytes: u64,
    /// Rows and bytes put out so far by what runs.
    pub(crate) progress: Vec<(AttemptId, u64, u64)>,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A stream to the coordinator can be written to.
    LinkOpened,
    /// It broke, or was closed by either side.
    LinkClosed,
    /// The coordinator said something.
    Received(Box<CoordinatorMessage>),
    /// A task attempt ended.
    Ended(TaskEnd),
    /// A heartbeat is due.
    Beat(Sample),
    /// The node wants others to know something.
    News(News),
    /// This process was asked to leave.
    DrainRequested,
}

/// What is to be done, in this order.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Say this to the coordinator.
    Send(WorkerMessage),
    /// Beat from now on, this often.
    BeatEvery(Duration),
    /// Take what a stage is for the tasks of it that follow.
    KnowStage {
        /// The job.
        job: JobId,
        /// The stage.
        stage: StageId,
        /// The version of the locations of its inputs.
        inputs_version: u32,
        /// What [`Action::Start`] would ask the coordinator for.
        definition: Box<v1::StageDefinition>,
    },
    /// Run this.
    Start(Launch),
    /// Stop this; it will end soon.
    Cancel(AttemptId),
    /// Forget these outputs of one attempt.
    DropAttempt(AttemptId, Range<u32>),
    /// Forget all output of a stage.
    DropStage(JobId, StageId),
    /// Forget all that belongs to a job.
    DropJob(JobId),
    /// Forget what is remembered of other jobs: nothing of them runs or is held.
    KeepJobs(BTreeSet<JobId>),
    /// Tell the node.
    Node(NodeEvent),
    /// Say in the log of a job that what it waits for cannot be had.
    Refused(JobId, String),
    /// Close the stream to the coordinator; another is opened.
    CloseLink,
    /// Finish what runs, and leave when told or when the time for it is over.
    StartDrainTimer,
    /// End the process.
    Exit(Exit),
}

/// Why the process ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The coordinator said so, or there is nothing left to stay for.
    Shutdown,
    /// The coordinator will not have this worker.
    Rejected(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Away,
    Registering,
    Attached(Epoch),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duty {
    Serving,
    Draining,
}

/// What becomes of a running attempt when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Its output is kept.
    Wanted,
    /// It was told to stop; if it ends well first, its output is kept all the same.
    Cancelled,
    /// Its job is gone, and so will its output be.
    Orphaned,
}

/// All that a worker must remember to keep its word. See the module's header.
#[derive(Debug)]
pub(crate) struct WorkerState {
    identity: v1::Register,
    link: Link,
    term: Term,
    duty: Duty,
    running: BTreeMap<AttemptId, Fate>,
    held: BTreeMap<AttemptId, TaskFinished>,
    /// What has run, whatever came of it, so that a repeated launch does not run it again. Kept as long as its job.
    ended: BTreeSet<AttemptId>,
    reports: Reports,
    leases: Leases,
    /// Nothing of programs would be lost with this worker, as its node says while it drains.
    may_leave: bool,
}

impl WorkerState {
    /// A worker that just started. `identity` is what it says of itself whenever it registers.
    pub(crate) fn new(identity: v1::Register) -> Self {
        Self {
            leases: Leases::new(WorkerId(identity.worker)),
            identity,
            link: Link::Away,
            term: Term(0),
            duty: Duty::Serving,
            running: BTreeMap::new(),
            held: BTreeMap::new(),
            ended: BTreeSet::new(),
            reports: Reports::default(),
            may_leave: false,
        }
    }

    /// Whether the coordinator knows this worker and may send it tasks.
    pub(crate) fn is_attached(&self) -> bool {
        matches!(self.link, Link::Attached(_))
    }

    /// How many attempts run.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// How many outputs are held.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Every transition there is.
    pub(crate) fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut actions = match event {
            Event::LinkOpened => {
                self.link = Link::Registering;
                vec![Action::Send(self.register())]
            }
            Event::LinkClosed => {
                self.link = Link::Away;
                Vec::new()
            }
            Event::Received(message) => self.receive(*message),
            Event::Ended(end) => self.ended(end),
            Event::Beat(sample) => self.beat(sample),
            Event::News(news) => self.news(news).into_iter().collect(),
            Event::DrainRequested => self.drain(),
        };
        if self.is_done() {
            actions.push(Action::Exit(Exit::Shutdown));
        }
        actions
    }

    /// Draining, with nothing to finish or to serve, and no coordinator to say that it may go.
    fn is_done(&self) -> bool {
        let programs = !self.leases.hosts_none() || (self.leases.has_jobs() && !self.may_leave);
        let idle = self.running.is_empty() && self.held.is_empty() && !programs;
        self.duty == Duty::Draining && self.link == Link::Away && idle
    }

    fn receive(&mut self, message: CoordinatorMessage) -> Vec<Action> {
        let epoch = Epoch(message.epoch);
        match (message.message, self.link) {
            (Some(FromCoordinator::Rejected(rejected)), _) => vec![Action::Exit(Exit::Rejected(rejected.reason))],
            (Some(FromCoordinator::Registered(registered)), Link::Registering) => self.registered(epoch, &registered),
            (Some(message), Link::Attached(current)) if current == epoch => self.command(message),
            // Of an older registration, or without content known to this version: a repeat at worst.
            _ => Vec::new(),
        }
    }

    fn command(&mut self, message: FromCoordinator) -> Vec<Action> {
        match message {
            FromCoordinator::Launch(launch) => self.launch(launch),
            FromCoordinator::Cancel(cancel) => cancel.attempt.map_or_else(Vec::new, |id| self.cancel(id.into())),
            FromCoordinator::DropOutput(drop) if drop.all_stages => self.drop_job(JobId(drop.job)),
            FromCoordinator::DropOutput(drop) => self.drop_stage(JobId(drop.job), StageId(drop.stage)),
            FromCoordinator::Ack(ack) => {
                self.reports.acknowledge(ack.sequence);
                Vec::new()
            }
            FromCoordinator::Drain(_) => self.drain(),
            FromCoordinator::Shutdown(_) => vec![Action::Exit(Exit::Shutdown)],
            FromCoordinator::LeaseGranted(lease) => {
                self.leases.grant(lease).map(|grant| Action::Node(NodeEvent::LeaseGranted(grant))).into_iter().collect()
            }
            FromCoordinator::LeaseRevoked(ended) => {
                self.leases.revoke(ended.lease);
                vec![Action::Node(NodeEvent::LeaseRevoked { lease: ended.lease })]
            }
            FromCoordinator::LeaseRefused(refused) => {
                let (job, reason) = (JobId(refused.job), refused.reason);
                let shape = refused.shape.unwrap_or_default().into();
                let Ok(bundle) = refused.bundle.map(TryInto::try_into).transpose() else { return Vec::new() };
                let event = NodeEvent::LeaseRefused { job, shape, bundle, reason: reason.clone() };
                vec![Action::Refused(job, reason), Action::Node(event)]
            }
            FromCoordinator::GroupChanged(changed) => {
                self.leases.group_changed(changed).map(Action::Node).into_iter().collect()
            }
            FromCoordinator::JobGone(gone) => {
                let job = JobId(gone.job);
                self.leases.end_groups(job);
                vec![Action::Node(NodeEvent::JobGone { job })]
            }
            FromCoordinator::WorkerGone(gone) => {
                vec![Action::Node(NodeEvent::PeerLost { worker: WorkerId(gone.worker) })]
            }
            // Handled before; a second one on the same stream changes nothing.
            FromCoordinator::Registered(_) | FromCoordinator::Rejected(_) => Vec::new(),
        }
    }

    fn register(&self) -> WorkerMessage {
        let running = self.running.iter().filter(|(_, fate)| **fate != Fate::Orphaned);
        let mut register = v1::Register {
            term: self.term.0,
            running: running.map(|(id, _)| (*id).into()).collect(),
            held: self.held.iter().map(held_output).collect(),
            ..self.identity.clone()
        };
        self.leases.register(&mut register);
        WorkerMessage { epoch: 0, message: Some(ToCoordinator::Register(register)) }
    }

    fn registered(&mut self, epoch: Epoch, registered: &v1::Registered) -> Vec<Action> {
        if Term(registered.term) < self.term {
            return vec![Action::CloseLink];
        }
        self.term = Term(registered.term);
        self.link = Link::Attached(epoch);
        let interval = Duration::from_millis(registered.heartbeat_interval_ms.max(1).into());
        let mut actions = vec![Action::BeatEvery(interval), self.forget_idle_jobs()];
        if self.duty == Duty::Draining {
            actions.extend(self.send(ToCoordinator::Draining(v1::Draining {})));
        }
        let owed: Vec<_> = self.reports.all().collect();
        actions.extend(owed.into_iter().filter_map(|report| self.send(ToCoordinator::Report(report))));
        actions
    }

    /// A job of which nothing is left here may have ended while the coordinator was away, and nobody would say so.
    fn forget_idle_jobs(&mut self) -> Action {
        let jobs: BTreeSet<_> = self.running.keys().chain(self.held.keys()).map(|id| id.task.job).collect();
        self.ended.retain(|id| jobs.contains(&id.task.job));
        Action::KeepJobs(jobs)
    }

    /// A launch that crosses this worker's `Draining` runs too: refusing it would cost the task an attempt.
    fn launch(&mut self, mut message: v1::LaunchTask) -> Vec<Action> {
        let Some(id) = message.attempt.map(AttemptId::from) else { return Vec::new() };
        if self.running.contains_key(&id) || self.ended.contains(&id) {
            return Vec::new();
        }
        self.running.insert(id, Fate::Wanted);
        let inputs_version = message.inputs_version;
        let known = message.definition.take().map(|definition| {
            let TaskId { job, stage, .. } = id.task;
            Action::KnowStage { job, stage, inputs_version, definition: Box::new(definition) }
        });
        let start = Action::Start(Launch { id, inputs_version, work: task_work(message) });
        known.into_iter().chain([start]).collect()
    }

    fn cancel(&mut self, id: AttemptId) -> Vec<Action> {
        match self.running.get_mut(&id) {
            Some(fate @ Fate::Wanted) => {
                *fate = Fate::Cancelled;
                vec![Action::Cancel(id)]
            }
            // On its way out, or ended: its report tells which.
            Some(Fate::Cancelled | Fate::Orphaned) | None => Vec::new(),
        }
    }

    fn drop_stage(&mut self, job: JobId, stage: StageId) -> Vec<Action> {
        self.held.retain(|id, _| (id.task.job, id.task.stage) != (job, stage));
        vec![Action::DropStage(job, stage)]
    }

    fn drop_job(&mut self, job: JobId) -> Vec<Action> {
        self.held.retain(|id, _| id.task.job != job);
        self.ended.retain(|id| id.task.job != job);
        let mut actions = vec![Action::DropJob(job)];
        for (id, fate) in self.running.iter_mut().filter(|(id, _)| id.task.job == job) {
            if *fate == Fate::Wanted {
                actions.push(Action::Cancel(*id));
            }
            *fate = Fate::Orphaned;
        }
        actions
    }

    fn ended(&mut self, end: TaskEnd) -> Vec<Action> {
        let TaskEnd { id, outputs, outcome } = end;
        let Some(fate) = self.running.remove(&id) else { return Vec::new() };
        if fate != Fate::Orphaned {
            self.ended.insert(id);
        }
        match (fate, outcome) {
            (Fate::Orphaned, Ok(_)) => {
                let reported = self.report(id, v1::task_report::Outcome::Failed(cancelled()));
                [Action::DropAttempt(id, outputs)].into_iter().chain(reported).collect()
            }
            (Fate::Wanted | Fate::Cancelled, Ok(finished)) => {
                self.held.insert(id, finished.clone());
                self.report(id, v1::task_report::Outcome::Finished(finished)).into_iter().collect()
            }
            (_, Err(failed)) => self.report(id, v1::task_report::Outcome::Failed(failed)).into_iter().collect(),
        }
    }

    fn beat(&mut self, sample: Sample) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.duty == Duty::Draining {
            actions.push(Action::Node(NodeEvent::LeaveWanted));
        }
        if !self.is_attached() {
            return actions;
        }
        let progress = sample.progress.into_iter();
        let mut heartbeat = v1::Heartbeat {
            rss_bytes: sample.rss_bytes,
            pool_used_bytes: sample.pool_used_bytes,
            stored_bytes: sample.stored_bytes,
            spilled_bytes: sample.spilled_bytes,
            progress: progress
                .map(|(id, rows, bytes)| v1::TaskProgress { attempt: Some(id.into()), rows, bytes })
                .collect(),
            may_leave: self.may_leave,
            ..v1::Heartbeat::default()
        };
        self.leases.beat(&mut heartbeat);
        actions.extend(self.send(ToCoordinator::Heartbeat(heartbeat)));
        let overdue = self.reports.overdue();
        actions.extend(overdue.into_iter().filter_map(|report| self.send(ToCoordinator::Report(report))));
        actions
    }

    fn news(&mut self, news: News) -> Option<Action> {
        match news {
            News::Demand { job, shape, bundle, wanted } => {
                let demand = self.leases.demand(job, shape, bundle, wanted);
                self.send(ToCoordinator::Demand(demand))
            }
            News::CreateGroup { job, group } => {
                let wanted = self.leases.want_group(job, *group);
                self.send(ToCoordinator::GroupWanted(wanted))
            }
            News::RemoveGroup { group, .. } => {
                let ended = self.leases.remove_group(group);
                self.send(ToCoordinator::GroupRemoved(ended))
            }
            News::ReleaseLease(lease) => {
                self.leases.release(lease);
                self.send(ToCoordinator::LeaseReleased(v1::LeaseEnded { lease }))
            }
            News::ReturnLease(lease) => {
                self.leases.return_lease(lease);
                self.send(ToCoordinator::LeaseReturned(v1::LeaseEnded { lease }))
            }
            News::Leave { may } => {
                self.may_leave = may;
                None
            }
            News::Began(job) => {
                self.leases.begin(job);
                None
            }
            News::Forgotten(job) => {
                self.leases.forget(job);
                None
            }
            // Not for the attach stream.
            News::ClaimName { .. }
            | News::DropName { .. }
            | News::FindName { .. }
            | News::Detach { .. }
            | News::Note { .. } => None,
        }
    }

    fn drain(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.duty == Duty::Serving {
            self.duty = Duty::Draining;
            actions.push(Action::StartDrainTimer);
        }
        actions.extend(self.send(ToCoordinator::Draining(v1::Draining {})));
        actions
    }

    fn report(&mut self, id: AttemptId, outcome: v1::task_report::Outcome) -> Option<Action> {
        let report = self.reports.add(id.into(), outcome);
        self.send(ToCoordinator::Report(report))
    }

    /// Nothing while the coordinator is away: what matters is said again when it is back.
    fn send(&self, message: ToCoordinator) -> Option<Action> {
        match self.link {
            Link::Attached(epoch) => Some(Action::Send(WorkerMessage { epoch: epoch.0, message: Some(message) })),
            Link::Away | Link::Registering => None,
        }
    }
}

fn task_work(message: v1::LaunchTask) -> TaskWork {
    let slice = message
        .slice
        .map(|slice| InputSlice { stage: StageId(slice.stage), producers: slice.first_producer..slice.end_producer });
    let v1::LaunchTask { partitions, first_output, merged, .. } = message;
    TaskWork { partitions, first_output, slice, merged }
}

fn held_output((id, finished): (&AttemptId, &TaskFinished)) -> v1::HeldOutput {
    v1::HeldOutput { attempt: Some((*id).into()), finished: Some(finished.clone()) }
}

/// The outcome of an attempt that stopped because it was told to.
pub(crate) fn cancelled() -> TaskFailed {
    TaskFailed { kind: FailureKind::Cancelled.into(), message: "cancelled".to_owned(), ..TaskFailed::default() }
}
