//! The one task that holds the cluster: takes messages in order, advances the state machine, performs what comes out.
//! Owned by [`crate::Coordinator`]; nothing else changes the cluster.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tandem_jobs::planned::PlannedJob;
use tandem_proto::v1::{self, coordinator_message::Message as ToWorker};
use tandem_proto::{Epoch, JobId, Term, WorkerId};
use tandem_scheduler::{Action, AttemptId, Cluster, Event, Fact, JobOutcome, StagedFile};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::chores;
use super::job_table::{JobEntry, JobTable};
use super::message::{Acceptance, Arrival, ClusterHandle, Follower, Message, Seen};
use super::outbox::{Outbox, Outboxes};
use super::stage_parts::StageParts;
use super::totals::Totals;
use crate::clock::Clock;
use crate::journal::{Journal, StoredReport};
use crate::logs::LogStore;
use crate::wire;

/// A wake-up when nothing has a deadline; keeps the loop simple.
const LONG: Duration = Duration::from_secs(3600);

/// The state and everything that performs its actions.
pub(crate) struct Owner {
    cluster: Cluster,
    jobs: JobTable,
    outboxes: Outboxes,
    /// The stream of the worker whose registration is being handled.
    arriving: Option<Arriving>,
    /// When the followers of a changed job may see it.
    unshown: BTreeMap<JobId, Instant>,
    publishing: HashSet<JobId>,
    /// Ended jobs whose report is being written to their folder; their end is shown when it is there.
    reporting: HashSet<JobId>,
    chores: JoinSet<()>,
    /// Who waits until there is nothing left to do for jobs that ended.
    settling: Option<oneshot::Sender<()>>,
    totals: Totals,
    surroundings: Surroundings,
    inbox: mpsc::Receiver<Message>,
}

struct Arriving {
    worker: WorkerId,
    outbox: Outbox,
    answer: oneshot::Sender<Result<Epoch, String>>,
}

/// What the owner works with and never changes.
pub(crate) struct Surroundings {
    /// Where facts go.
    pub(crate) journal: Arc<Journal>,
    /// Lines of jobs.
    pub(crate) logs: Arc<LogStore>,
    /// The only source of time.
    pub(crate) clock: Clock,
    /// Of this reign.
    pub(crate) term: Term,
    /// For people.
    pub(crate) cluster_name: String,
    /// What chores answer with.
    pub(crate) handle: ClusterHandle,
}

impl Owner {
    /// The owner of `cluster` and its restored `jobs`.
    pub(crate) fn new(
        cluster: Cluster,
        jobs: JobTable,
        (journal, logs): (Arc<Journal>, Arc<LogStore>),
        clock: Clock,
        term: Term,
        cluster_name: String,
    ) -> (Self, ClusterHandle) {
        let (handle, inbox) = ClusterHandle::channel();
        let surroundings = Surroundings { journal, logs, clock, term, cluster_name, handle: handle.clone() };
        let owner = Self {
            cluster,
            jobs,
            outboxes: Outboxes::default(),
            arriving: None,
            unshown: BTreeMap::new(),
            publishing: HashSet::new(),
            reporting: HashSet::new(),
            chores: JoinSet::new(),
            settling: None,
            totals: Totals::default(),
            surroundings,
            inbox,
        };
        (owner, handle)
    }

    /// Performs `restored`, then runs until `stopping`. Chores that still run are dropped: the journal knows of them.
    pub(crate) async fn run(mut self, restored: Vec<Action>, stopping: CancellationToken) {
        self.perform_all(restored);
        loop {
            self.tell_settled();
            let wake = tokio::time::sleep_until(self.next_wake().into());
            tokio::select! {
                () = stopping.cancelled() => break,
                message = self.inbox.recv() => match message {
                    Some(message) => self.take(message),
                    None => break,
                },
                () = wake => self.wake(),
                Some(ended) = self.chores.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(%error, "a chore panicked");
                    }
                }
            }
        }
        self.chores.shutdown().await;
    }

    fn next_wake(&self) -> Instant {
        let deadline = self.cluster.next_deadline().map(|time| self.surroundings.clock.instant(time));
        let showing = self.unshown.values().min().copied();
        deadline.into_iter().chain(showing).min().unwrap_or_else(|| Instant::now() + LONG)
    }

    fn wake(&mut self) {
        if self.cluster.next_deadline().is_some_and(|deadline| deadline <= self.surroundings.clock.now()) {
            self.handle(Event::Tick);
        }
        let now = Instant::now();
        let due: Vec<_> = self.unshown.iter().filter(|(_, due)| **due <= now).map(|(job, _)| *job).collect();
        for job in due {
            self.show(job);
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Event(event) => self.handle(event),
            Message::Arrived(arrival) => self.arrive(*arrival),
            Message::Accepted(acceptance) => self.accept(*acceptance),
            Message::Follow { job, answer } => {
                // A client that is gone already is noticed by its dropped answer.
                if let Err(Some(_)) = answer.send(self.follow(job)) {
                    self.unfollow(job, false);
                }
            }
            Message::Unfollow { job, ended } => self.unfollow(job, ended),
            Message::Published { job, outcome } => {
                self.publishing.remove(&job);
                self.handle(Event::CommitFinished { job, outcome });
            }
            Message::Reported { job, problem } => {
                self.reporting.remove(&job);
                if let Some(entry) = self.jobs.get_mut(job) {
                    entry.report_problem = problem;
                }
                self.show(job);
            }
            Message::Settle { stop_jobs, settled } => self.settle(stop_jobs, settled),
            Message::Look(look) => look(&Seen {
                cluster: &self.cluster,
                jobs: &self.jobs,
                totals: &self.totals,
                waiting: self.inbox.len(),
            }),
        }
    }

    fn settle(&mut self, stop_jobs: bool, settled: oneshot::Sender<()>) {
        let jobs = if stop_jobs { self.cluster.jobs() } else { Vec::new() };
        for view in jobs {
            self.handle(Event::StopRequested { job: view.job, reason: "its cluster ends".to_owned() });
        }
        self.settling = Some(settled);
    }

    fn tell_settled(&mut self) {
        let idle =
            |_: &mut _| self.publishing.is_empty() && self.reporting.is_empty() && !self.cluster.is_cleaning_up();
        if let Some(settled) = self.settling.take_if(idle) {
            // Who waited may have lost patience.
            let _ = settled.send(());
        }
    }

    fn handle(&mut self, event: Event) {
        let actions = self.cluster.handle(self.surroundings.clock.now(), event);
        self.perform_all(actions);
    }

    fn perform_all(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.perform(action);
        }
    }

    /// The only place that sends, journals or starts a chore.
    fn perform(&mut self, action: Action) {
        if let Some((worker, epoch, mut message)) = wire::command(&action) {
            if let Some(ToWorker::Launch(launch)) = &mut message.message {
                launch.definition = self.definition(worker, epoch, &action);
            }
            return self.outboxes.send(worker, epoch, message);
        }
        match action {
            Action::Registered { worker, epoch } => {
                if let Some(arriving) = self.arriving.take_if(|arriving| arriving.worker == worker) {
                    self.let_in(arriving, epoch);
                }
            }
            Action::Reject { worker, reason } => {
                if let Some(arriving) = self.arriving.take_if(|arriving| arriving.worker == worker) {
                    // Whoever asked may have gone.
                    let _ = arriving.answer.send(Err(reason));
                }
            }
            Action::Disconnect { worker, epoch } => self.outboxes.cut(worker, epoch),
            Action::Record(fact) => self.record(fact),
            Action::Commit { job, files } => self.commit(job, files),
            Action::CleanUp { job } => self.clean_up(job),
            Action::JobChanged { job } => self.changed(job),
            Action::JobEnded { job, outcome } => self.ended(job, &outcome),
            Action::Forget { job } => self.forget(job),
            Action::Acknowledge { .. }
            | Action::Launch { .. }
            | Action::Cancel { .. }
            | Action::DropOutput { .. }
            | Action::JobGone { .. }
            | Action::GrantLease { .. }
            | Action::RevokeLease { .. }
            | Action::RefuseLease { .. }
            | Action::GroupChanged { .. }
            | Action::WorkerGone { .. }
            | Action::Drain { .. }
            | Action::Shutdown { .. } => unreachable!("a command is for a worker"),
        }
    }

    /// What a worker needs to know of a stage, with the first task of it there. What is large it gets when it asks, not from this thread
    /// and not on this stream.
    fn definition(&mut self, worker: WorkerId, epoch: Epoch, action: &Action) -> Option<v1::StageDefinition> {
        let Action::Launch { attempt: AttemptId { task, .. }, inputs_version, .. } = action else { return None };
        let (job, stage) = (task.job, task.stage);
        if !self.outboxes.tell(worker, epoch, (job, stage, *inputs_version)) {
            return None;
        }
        let parts = StageParts::find(&self.cluster, &self.jobs, job, stage, *inputs_version).ok()?;
        parts.is_small().then(|| parts.into_definition())
    }

    fn arrive(&mut self, arrival: Arrival) {
        let Arrival { registration, outbox, answer } = arrival;
        let worker = registration.worker;
        self.arriving = Some(Arriving { worker, outbox, answer });
        self.handle(Event::WorkerRegistered(Box::new(registration)));
        // Not let in: dropping the outbox ends the stream.
        self.arriving = None;
    }

    fn let_in(&mut self, arriving: Arriving, epoch: Epoch) {
        let Arriving { worker, outbox, answer } = arriving;
        let Surroundings { term, cluster_name, .. } = &self.surroundings;
        let interval_ms = self.cluster.config().heartbeat_interval_ms;
        self.outboxes.open(worker, epoch, outbox);
        self.outboxes.send(worker, epoch, wire::registered(epoch, *term, interval_ms, cluster_name));
        if answer.send(Ok(epoch)).is_err() {
            // The stream broke meanwhile; nobody else would say so.
            self.outboxes.cut(worker, epoch);
            let left = self.surroundings.handle.clone();
            self.chores.spawn(async move {
                let _ = left.event(Event::WorkerDisconnected { worker, epoch }).await;
            });
        }
    }

    fn accept(&mut self, acceptance: Acceptance) {
        let Acceptance { job, submission, shape, planned, answer } = acceptance;
        self.jobs.insert(job, JobEntry::new(submission, &shape, Some(planned)));
        self.handle(Event::JobAccepted { job, plan: shape });
        // The submitter may have gone; the job is accepted all the same.
        let _ = answer.send(());
    }

    fn record(&mut self, fact: Fact) {
        let cleaned = match &fact {
            Fact::CleanedUp { job } => Some(*job),
            _ => None,
        };
        self.surroundings.journal.record(fact);
        if let Some(job) = cleaned {
            self.release(job);
        }
    }

    /// Drops what only running the job took.
    fn release(&mut self, job: JobId) {
        let Some(entry) = self.jobs.get_mut(job) else { return };
        entry.planned = None;
        if entry.journaled {
            self.surroundings.journal.release(job);
        }
    }

    fn planned(&self, job: JobId) -> Option<Arc<PlannedJob>> {
        self.jobs.get(job).and_then(|entry| entry.planned.clone())
    }

    fn commit(&mut self, job: JobId, files: Vec<StagedFile>) {
        let Some(planned) = self.planned(job) else {
            return self
                .handle(Event::CommitFinished { job, outcome: Err("the job's sinks are not known".to_owned()) });
        };
        // Asked for again while it is under way.
        if !self.publishing.insert(job) {
            return;
        }
        let Surroundings { journal, handle, .. } = &self.surroundings;
        let (journal, handle) = (journal.clone(), handle.clone());
        self.chores.spawn(async move {
            let outcome = chores::commit(&journal, job, &planned, files).await;
            // Without an owner a restart rolls it forward.
            let _ = handle.send(Message::Published { job, outcome }).await;
        });
    }

    fn clean_up(&mut self, job: JobId) {
        let (planned, handle) = (self.planned(job), self.surroundings.handle.clone());
        self.chores.spawn(async move {
            if let Some(planned) = planned {
                chores::clean_up(job, &planned).await;
            }
            // Without an owner a restart cleans up again.
            let _ = handle.event(Event::CleanedUp { job }).await;
        });
    }

    fn changed(&mut self, job: JobId) {
        let Some(next) = self.jobs.get(job).and_then(JobEntry::next_showing) else { return };
        if next <= Instant::now() {
            self.show(job);
        } else {
            self.unshown.entry(job).or_insert(next);
        }
    }

    fn show(&mut self, job: JobId) {
        self.unshown.remove(&job);
        if self.reporting.contains(&job) {
            return;
        }
        if let (Some(view), Some(entry)) = (self.cluster.job(job), self.jobs.get_mut(job)) {
            entry.show(view);
        }
    }

    fn ended(&mut self, job: JobId, outcome: &JobOutcome) {
        self.report(job);
        self.show(job);
        let Some(entry) = self.jobs.get(job) else { return };
        // A lost result may have to be made again, and removing what a failed job staged takes its secrets.
        let to_do = if *outcome == JobOutcome::Succeeded { entry.face.result_stage.is_some() } else { entry.has_sinks };
        if !to_do {
            self.release(job);
        }
    }

    /// Sums up a job that ended, once.
    fn report(&mut self, job: JobId) {
        let (Some(view), Some(entry)) = (self.cluster.job(job), self.jobs.get_mut(job)) else { return };
        let (Some(planned), None) = (entry.planned.clone(), &entry.report) else { return };
        self.totals.add(&view.counts);
        let summary = chores::summary(&view, &planned);
        let report = StoredReport { summary_json: summary.to_json(), markdown: summary.to_markdown() };
        entry.report = Some(report.clone());
        let Surroundings { journal, handle, .. } = &self.surroundings;
        if entry.journaled {
            journal.report(job, report);
        }
        if planned.report.folder.is_some() {
            self.reporting.insert(job);
            let handle = handle.clone();
            self.chores.spawn(async move {
                let problem = chores::write_report(job, &summary, &planned).await;
                // Without an owner nobody waits for it.
                let _ = handle.send(Message::Reported { job, problem }).await;
            });
        }
    }

    fn forget(&mut self, job: JobId) {
        self.outboxes.forget(job);
        self.unshown.remove(&job);
        self.surroundings.logs.forget(job);
        if self.jobs.remove(job).is_some_and(|entry| entry.journaled) {
            self.surroundings.journal.forget(job);
        }
    }

    fn follow(&mut self, job: JobId) -> Option<Follower> {
        let view = self.cluster.job(job)?;
        let entry = self.jobs.get_mut(job)?;
        let follower = Follower { face: entry.face.clone(), views: entry.follow() };
        if !self.reporting.contains(&job) {
            entry.show(view);
        }
        self.handle(Event::FollowerJoined { job });
        Some(follower)
    }

    fn unfollow(&mut self, job: JobId, ended: bool) {
        let Some(entry) = self.jobs.get_mut(job) else { return };
        let last = entry.unfollow();
        let has_result = entry.face.result_stage.is_some();
        self.handle(Event::FollowerLeft { job });
        // Who stays to the end of a query reads its rows before leaving.
        if last && ended && has_result {
            self.handle(Event::ResultRead { job });
            self.release(job);
        }
    }
}
