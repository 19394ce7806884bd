//! One worker's fine state: takes events, decides, says what to do.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use tandem_actor_protocol::peer::{PeerBody, PeerMessage};
use tandem_actor_protocol::{ExecutorId, JobId, WorkerId};

use crate::action::Action;
use crate::config::NodeConfig;
use crate::context::{Context, Shared};
use crate::event::{Event, LeaseGrant};
use crate::history::History;
use crate::host::Gpus;
use crate::job::{FunctionWanted, Job};
use crate::outside;
use crate::timers::{Timers, Timestamp};

/// The fine state of one worker.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    shared: Shared,
    pub(crate) jobs: FxHashMap<JobId, Job>,
    /// Jobs that are over, so that what comes late of them makes nothing anew.
    over: VecDeque<JobId>,
}

/// Jobs that are remembered after their end.
const REMEMBERED_JOBS: usize = 1024;

impl Node {
    /// A node that knows of nothing.
    pub fn new(config: NodeConfig) -> Self {
        let shared = Shared::new(Gpus::new(config.gpus));
        Self { config, shared, jobs: FxHashMap::default(), over: VecDeque::new() }
    }

    /// Takes what has happened at `now`, and says what to do, in this order.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        let Self { config, shared, jobs, over } = self;
        let mut cx = Context { now, config, out: Vec::new(), shared };
        let mut jobs = Jobs { jobs, over };
        while let Some((job, timer)) = cx.shared.timers.due(now) {
            jobs.with(&mut cx, job, |job, cx| job.timer(cx, timer));
        }
        jobs.handle(&mut cx, event);
        loop {
            if let Some(message) = cx.shared.between.pop_front() {
                jobs.heard(&mut cx, config.worker, message);
            } else if let Some((grant, gpus)) = cx.shared.gpus.next() {
                jobs.with(&mut cx, grant.job, |job, cx| job.lease_begins(cx, &grant, gpus));
            } else {
                break;
            }
        }
        cx.out
    }

    pub(crate) fn history(&self) -> &History {
        &self.shared.history
    }

    pub(crate) fn spilled(&self) -> u64 {
        self.shared.spilled_bytes
    }

    pub(crate) fn timers(&self) -> &Timers {
        &self.shared.timers
    }

    /// When [`Event::Tick`] is wanted at the latest, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.shared.timers.next()
    }
}

/// The jobs of a node, while it handles an event.
struct Jobs<'a> {
    jobs: &'a mut FxHashMap<JobId, Job>,
    over: &'a mut VecDeque<JobId>,
}

impl Jobs<'_> {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::FromExecutor { executor, message } => {
                self.of_executor(cx, executor, |job, cx| job.executor_said(cx, executor, message));
            }
            Event::FromPeer { worker, message } => self.heard(cx, worker, message),
            Event::ExecutorStarted { executor, outcome } => {
                self.of_executor(cx, executor, |job, cx| job.executor_started(cx, executor, outcome));
            }
            Event::ExecutorGone { executor, cause } => {
                self.of_executor(cx, executor, |job, cx| job.executor_gone(cx, executor, &cause));
            }
            Event::LeaseGranted(grant) => self.lease_granted(cx, grant),
            Event::LeaseRevoked { lease } => self.each(cx, |job, cx| {
                job.lease_here_revoked(cx, lease);
                job.lease_elsewhere_revoked(lease);
            }),
            Event::CoordinatorBack => self.each(cx, |job, cx| job.tell_all_demand(cx)),
            Event::JobGone { job } => {
                self.remember(job);
                self.with(cx, job, |job, cx| job.end(cx));
            }
            Event::PeerLost { worker } => {
                if cx.shared.lost.insert(worker) {
                    self.each(cx, |job, cx| job.peer_lost(cx, worker));
                }
            }
            Event::LeaveWanted => {
                self.each(cx, |job, cx| job.hand_over(cx));
                cx.act(Action::Leave { may: !self.jobs.values().any(Job::is_needed) });
            }
            Event::Tick => {}
            event => self.of_one_job(cx, event),
        }
    }

    /// A worker, or another job of this one, says something to a job here. That may be none of it any more.
    fn heard(&mut self, cx: &mut Context<'_>, from: WorkerId, message: PeerMessage) {
        let PeerMessage { job, body } = message;
        if matches!(
            body,
            PeerBody::Run { .. } | PeerBody::RunStream { .. } | PeerBody::Start { .. } | PeerBody::Know(_)
        ) {
            self.make(cx, job);
        }
        let is_here = self.jobs.get(&job).is_some_and(Job::is_running);
        match body {
            PeerBody::CallOutside(ref call) => match cx.public_job(call.actor) {
                Some(of) => self.with(cx, of, |job, cx| job.peer_said(cx, from, body)),
                None => outside::refuse(cx, call),
            },
            PeerBody::WatchActor(actor) if !is_here => outside::tell_place(cx, from, job, actor),
            PeerBody::Kill { actor, at_once } if !is_here => outside::kill(cx, actor, at_once),
            PeerBody::Borrow(objects) if !is_here => outside::lend_nothing(cx, from, job, objects),
            // Nothing of it is here.
            PeerBody::WantCopy { object, .. } if !is_here => {
                cx.tell_job(from, job, PeerBody::CopyFrom { object, from: None });
            }
            PeerBody::DoneOutside { outcome, .. } if !is_here => {
                outside::drop_unwanted(cx, from, job, outcome.unwrap_or_default());
            }
            PeerBody::AskStalled { search, .. } if !is_here => {
                cx.tell_job(from, job, PeerBody::Stalled { search, found: None });
            }
            body => self.with(cx, job, |job, cx| job.peer_said(cx, from, body)),
        }
    }

    fn of_one_job(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::DriverLaunched { job, attempt, driver } => {
                self.begin(cx, job);
                self.with(cx, job, |job, cx| job.launch_driver(cx, attempt, driver));
            }
            Event::LeaseRefused { job, shape, bundle, reason } => {
                self.with(cx, job, |job, cx| job.lease_refused(cx, &shape, bundle, &reason));
            }
            Event::GroupChanged { job, group, news } => {
                self.with(cx, job, |job, cx| job.group_changed(cx, group, news));
            }
            Event::DriverCancelled { job } => self.with(cx, job, |job, cx| job.cancel_driver(cx)),
            Event::FunctionWanted { ticket, job, place, function, args, returns } => {
                self.make(cx, job);
                let wanted = FunctionWanted { ticket, place, function, args, returns };
                self.with(cx, job, |job, cx| job.run_function(cx, wanted));
            }
            Event::PlaceWanted { ticket, job, gpus_milli } => {
                self.make(cx, job);
                self.with(cx, job, |job, cx| job.take_place(cx, ticket, gpus_milli));
            }
            Event::PlaceDropped { ticket, job } if self.jobs.contains_key(&job) => {
                self.with(cx, job, |job, cx| job.drop_place(cx, ticket));
            }
            Event::PlaceDropped { ticket, .. } => cx.act(Action::PlaceFree { ticket }),
            Event::SpaceWanted { ticket, job, bytes } => {
                self.make(cx, job);
                self.with(cx, job, |job, cx| job.shell_wants_space(cx, ticket, bytes));
            }
            Event::ReadWanted { ticket, job, object } if self.jobs.contains_key(&job) => {
                self.with(cx, job, |job, cx| job.shell_reads(cx, ticket, object));
            }
            Event::ReadWanted { ticket, .. } => cx.act(Action::ReadGiven { ticket, lent: None }),
            Event::ReadFailed { ticket, reason } => {
                self.of_ticket(cx, ticket, |job, cx| job.shell_cannot_read(cx, ticket, &reason));
            }
            Event::FunctionCancelled { ticket } => {
                self.of_ticket(cx, ticket, |job, cx| job.function_cancelled(cx, ticket));
            }
            Event::SpaceDropped { ticket } => self.of_ticket(cx, ticket, |job, cx| job.shell_dropped(cx, ticket)),
            Event::ExtentFailed { job, extent, reason } => {
                self.with(cx, job, |job, cx| job.extent_failed(cx, extent, &reason));
            }
            Event::Fetched { job, object, outcome } => self.with(cx, job, |job, cx| job.fetched(cx, object, outcome)),
            Event::Spilled { job, file, outcome } => self.with(cx, job, |job, cx| job.spilled(cx, file, outcome)),
            Event::Restored { job, object, outcome } => self.with(cx, job, |job, cx| job.restored(cx, object, outcome)),
            Event::NameClaimed { job, actor, outcome } if self.jobs.contains_key(&job) => {
                self.with(cx, job, |job, cx| job.name_claimed(cx, actor, outcome));
            }
            Event::NameClaimed { job, actor, .. } => cx.act(Action::DropName { job, actor }),
            Event::NameFound { executor, request, actor } => {
                self.of_executor(cx, executor, |job, cx| job.name_found(cx, executor, request, actor));
            }
            Event::Detached { job, actor, outcome } => {
                self.with(cx, job, |job, cx| job.detached(cx, actor, outcome));
            }
            Event::SqlDone { executor, request, outcome } => {
                self.of_executor(cx, executor, |job, cx| job.sql_done(cx, executor, request, outcome));
            }
            Event::ExecutorStarted { .. }
            | Event::FromExecutor { .. }
            | Event::ExecutorGone { .. }
            | Event::LeaseGranted(_)
            | Event::LeaseRevoked { .. }
            | Event::CoordinatorBack
            | Event::LeaveWanted
            | Event::JobGone { .. }
            | Event::FromPeer { .. }
            | Event::PeerLost { .. }
            | Event::Tick => {}
        }
    }

    fn lease_granted(&mut self, cx: &mut Context<'_>, grant: LeaseGrant) {
        let here = cx.config.worker;
        self.begin(cx, grant.job);
        self.with(cx, grant.job, |job, cx| {
            job.know_peer(cx, grant.owner, grant.owner_address.clone());
            job.know_peer(cx, grant.host, grant.host_address.clone());
            if grant.host == here {
                job.lease_here(cx, &grant);
            } else if grant.owner == here {
                job.lease_elsewhere(cx, &grant);
            }
        });
    }

    /// What the coordinator says of a job that was over is about its next driver: it said before that the job is gone.
    fn begin(&mut self, cx: &Context<'_>, job: JobId) {
        if !self.jobs.contains_key(&job) {
            self.over.retain(|over| *over != job);
        }
        self.make(cx, job);
    }

    fn make(&mut self, cx: &Context<'_>, job: JobId) {
        if !self.over.contains(&job) {
            self.jobs.entry(job).or_insert_with(|| Job::new(job, cx.config));
        }
    }

    fn remember(&mut self, job: JobId) {
        if !self.over.contains(&job) {
            self.over.truncate(REMEMBERED_JOBS - 1);
            self.over.push_front(job);
        }
    }

    fn of_executor<'a>(
        &mut self,
        cx: &mut Context<'a>,
        executor: ExecutorId,
        then: impl FnOnce(&mut Job, &mut Context<'a>),
    ) {
        if let Some(job) = cx.shared.executors.get(&executor).copied() {
            self.with(cx, job, then);
        }
    }

    fn of_ticket<'a>(&mut self, cx: &mut Context<'a>, ticket: u64, then: impl FnOnce(&mut Job, &mut Context<'a>)) {
        if let Some(job) = cx.shared.tickets.get(&ticket).copied() {
            self.with(cx, job, then);
        }
    }

    fn each<'a>(&mut self, cx: &mut Context<'a>, mut then: impl FnMut(&mut Job, &mut Context<'a>)) {
        let mut ids: Vec<JobId> = self.jobs.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.with(cx, id, &mut then);
        }
    }

    /// Does something with a job, if it is there, and all that follows from it.
    fn with<'a>(&mut self, cx: &mut Context<'a>, id: JobId, then: impl FnOnce(&mut Job, &mut Context<'a>)) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        then(job, cx);
        if job.is_over() {
            job.close(cx);
            self.jobs.remove(&id);
        } else {
            job.settle(cx);
        }
    }
}
