//! The one task that owns the node. Whatever happens comes here, in order; the node decides; this performs, and never waits.
//!
//! ```text
//!   executors ─ bounded ─┐                            ┌─▶ outboxes, supervisors (send, start, end)
//!   coordinator, peers ──┼─▶ desk ─▶ node.handle ─────┼─▶ arenas (memory), spill (disk)
//!   own tasks, timers ───┘                            └─▶ outside (news), tickets (answers)
//! ```

mod jobs;
mod perform;
mod start;
mod thread;
mod tickets;

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::{ExecutorId, JobId};
use tandem_node::{Event, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::warn;

use crate::arenas::Arenas;
use crate::brain::Brain;
use crate::executor::{Orders, Outbox, Speaker, Surroundings};
use crate::handle::Access;
use crate::inbox::{Inbound, Seat};
use crate::peers::Peers;
use crate::spill::Spill;
use jobs::Jobs;
use tickets::Tickets;

pub(crate) use thread::DeskThread;

/// Things that are taken out of a channel at once.
const BATCH: usize = 64;

/// See the module's header.
pub(crate) struct Desk {
    pub(crate) brain: Box<dyn Brain>,
    pub(crate) start: Instant,
    pub(crate) surroundings: Arc<Surroundings>,
    /// How own tasks and guards reach this desk.
    pub(crate) access: Access,
    pub(crate) executors: HashMap<ExecutorId, Executor>,
    pub(crate) arenas: Arenas,
    pub(crate) spill: Spill,
    /// Where objects and rows are moved, which would hold up this desk's own thread.
    pub(crate) movers: Handle,
    pub(crate) tickets: Tickets,
    pub(crate) peers: Peers,
    pub(crate) jobs: Jobs,
    pub(crate) drivers: HashMap<JobId, Driver>,
    /// Supervisors and others that this desk has started.
    pub(crate) tasks: JoinSet<()>,
    /// What happened while actions were performed.
    pub(crate) followups: VecDeque<Happening>,
}

/// Something that happened.
#[derive(Debug)]
pub(crate) struct Happening {
    pub(crate) event: Event,
    /// The driver that is launched by it: it is that of its job as soon as the node hears of it, and not before.
    pub(crate) driver: Option<Driver>,
}

impl From<Event> for Happening {
    fn from(event: Event) -> Self {
        Self { event, driver: None }
    }
}

/// A driver that is wanted or runs here.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) attempt: u32,
    pub(crate) seat: Seat,
    /// Told how it ended.
    pub(crate) reply: oneshot::Sender<Result<(), Failure>>,
}

/// What the desk has of an executor.
pub(crate) struct Executor {
    pub(crate) job: JobId,
    pub(crate) outbox: Outbox,
    pub(crate) speaker: Arc<Speaker>,
    pub(crate) orders: Orders,
    /// Once its process was started.
    pub(crate) job_name: Arc<OnceLock<String>>,
}

/// Where things come from. The first has what few send and must not be lost; it goes first.
pub(crate) struct Inboxes {
    pub(crate) own: mpsc::UnboundedReceiver<Inbound>,
    pub(crate) executors: mpsc::Receiver<Inbound>,
}

impl Desk {
    pub(crate) fn new(
        brain: Box<dyn Brain>,
        surroundings: Arc<Surroundings>,
        access: Access,
        spill: Spill,
        movers: Handle,
    ) -> Self {
        Self {
            brain,
            start: Instant::now(),
            peers: Peers::new(surroundings.config.worker, surroundings.config.security.clone(), access.clone()),
            surroundings,
            access,
            executors: HashMap::new(),
            arenas: Arenas::default(),
            spill,
            movers,
            tickets: Tickets::default(),
            jobs: Jobs::default(),
            drivers: HashMap::new(),
            tasks: JoinSet::new(),
            followups: VecDeque::new(),
        }
    }

    /// Serves until it is told to stop.
    pub(crate) async fn run(mut self, mut inboxes: Inboxes) {
        let (mut urgent, mut batch) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        loop {
            let deadline = self.brain.next_deadline().map(|at| self.start + Duration::from_micros(at.0));
            tokio::select! {
                biased;
                _ = inboxes.own.recv_many(&mut urgent, BATCH) => {}
                // Before what executors say, which may come without a pause.
                () = until(deadline) => self.happened(Event::Tick),
                Some(_) = self.tasks.join_next() => {}
                _ = inboxes.executors.recv_many(&mut batch, BATCH) => {}
            }
            for inbound in urgent.drain(..).chain(batch.drain(..)) {
                if let Inbound::Stop(last_words, done) = inbound {
                    self.stop(inboxes, last_words).await;
                    // Whoever asked may be gone.
                    let _ = done.send(());
                    return;
                }
                self.take(inbound);
            }
        }
    }

    fn take(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Event(event) => self.take_event(event),
            Inbound::Said(executor, messages) => {
                for message in messages {
                    self.happened(Event::FromExecutor { executor, message });
                }
            }
            Inbound::Gone(executor, cause) => {
                self.executors.remove(&executor);
                self.happened(Event::ExecutorGone { executor, cause });
            }
            Inbound::Drive { job, attempt, driver, seat, reply } => {
                let event = Event::DriverLaunched { job, attempt, driver };
                self.happened(Happening { event, driver: Some(Driver { attempt, seat, reply }) });
            }
            Inbound::Call { call, reply } => {
                self.tickets.called(call.ticket, call.job, reply);
                self.happened(Event::from(call));
            }
            Inbound::Leave { ticket, job, reply } => {
                self.tickets.leaves(ticket, reply);
                self.happened(Event::PlaceDropped { ticket, job });
            }
            Inbound::Space { ticket, job, bytes, reply } => {
                self.tickets.wanted(ticket, job, reply);
                self.happened(Event::SpaceWanted { ticket, job, bytes });
            }
            Inbound::Heard(worker, messages) => {
                for message in messages {
                    self.happened(Event::FromPeer { worker, message });
                }
            }
            Inbound::Read { ticket, job, object, reply } => {
                self.tickets.reads(ticket, job, reply);
                self.happened(Event::ReadWanted { ticket, job, object });
            }
            Inbound::Look(look) => {
                let brain: &mut dyn Any = &mut *self.brain;
                look(brain);
            }
            // Taken by the loop.
            Inbound::Stop(..) => {}
        }
    }

    fn take_event(&mut self, event: Event) {
        match &event {
            Event::ExecutorStarted { executor, outcome: Err(_) } => _ = self.executors.remove(executor),
            Event::PeerLost { worker } => self.peers.lost(*worker),
            Event::FunctionCancelled { ticket } => self.tickets.cancelled(*ticket),
            _ => {}
        }
        self.happened(event);
    }

    /// Lets the node decide, and does what it says, also about what came of that.
    fn happened(&mut self, happening: impl Into<Happening>) {
        self.followups.push_back(happening.into());
        while let Some(happening) = self.followups.pop_front() {
            let Some(Happening { event, driver }) = self.jobs.pass(happening) else { continue };
            if let (Event::DriverLaunched { job, .. }, Some(driver)) = (&event, driver) {
                self.drivers.insert(*job, driver);
            }
            for action in self.brain.handle(self.now(), event) {
                self.perform(action);
            }
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Ends all executors, in order as far as they go along, and waits until nothing is left of them. The node hears no more.
    async fn stop(mut self, mut inboxes: Inboxes, last_words: ToExecutor) {
        for executor in self.executors.values() {
            executor.tell(&last_words);
            executor.orders.end();
        }
        let Surroundings { config, folders, .. } = &*self.surroundings;
        let patience = config.stop_grace + STOP_MARGIN;
        let ended = async {
            loop {
                tokio::select! {
                    ended = self.tasks.join_next() => if ended.is_none() { return },
                    // So that nobody waits for a place to say what nobody hears.
                    Some(_) = inboxes.executors.recv() => {}
                }
            }
        };
        if tokio::time::timeout(patience, ended).await.is_err() {
            warn!(executors = self.executors.len(), "executors did not end in time");
        }
        self.tasks.shutdown().await;
        folders.close();
        self.spill.close();
    }
}

/// What stopping takes beyond the grace that processes have.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// Never, when there is no deadline.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
