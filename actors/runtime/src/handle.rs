//! What the worker has of its runtime.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tandem_actor_protocol::call::ActorSpec;
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::value::{Format, Value};
use tandem_actor_protocol::{INLINE_BYTES, JobId, ObjectId, ProcessNumber, WorkerId};
use tandem_node::{DriverWork, Event, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tracing::info;

use crate::brain::Brain;
use crate::cgroup::{CONTROLLERS, Cgroups};
use crate::config::RuntimeConfig;
use crate::desk::{Desk, DeskThread, Inboxes};
use crate::executor::{Spawner, Surroundings};
use crate::folders::Folders;
use crate::function::FunctionCall;
use crate::guest::{DriverPort, Visits};
use crate::inbox::{Inbound, Seat};
use crate::outside::Outside;
use crate::peers::{LentStats, PeerPort};
use crate::place::Place;
use crate::room::{Part, Room};
use crate::spill::{Spill, SpillStats};
use crate::watch::{Watch, adopt_orphans};

/// Batches of executors that wait for the desk; each executor has at most one more under way.
const BATCHES: usize = 32;

/// Starts runtimes.
#[derive(Debug)]
pub struct Runtime;

/// Reaches a runtime. When the last clone is dropped, everything ends at once.
#[derive(Debug, Clone)]
pub struct RuntimeHandle {
    access: Access,
    peers: PeerPort,
    /// The wall clock when the node's time was 0.
    started: SystemTime,
    visits: Visits,
    attach_grace: Duration,
    spill: Spill,
    _thread: Arc<DeskThread>,
}

/// The desk's inbox for who is not executor: does not keep the runtime alive.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    worker: WorkerId,
    own: mpsc::UnboundedSender<Inbound>,
    next_ticket: Arc<AtomicU64>,
}

/// An argument of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// How to read it.
    pub format: Format,
    /// Its bytes, one part after the other.
    pub parts: Vec<Bytes>,
}

impl Runtime {
    /// Starts a runtime around a node that knows nothing yet.
    ///
    /// # Errors
    /// When its folder cannot be made.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start(config: RuntimeConfig, outside: Arc<dyn Outside>, brain: impl Brain) -> io::Result<RuntimeHandle> {
        let folders = Folders::open(config.work_dir.clone())?;
        let spill = Spill::open(config.spill_dir.as_deref())?;
        if config.adopt_orphans {
            adopt_orphans()?;
        }
        let (own, own_inbox) = mpsc::unbounded_channel();
        let (desk, executors) = mpsc::channel(BATCHES);
        let cgroups = divide(&config);
        let watch = Watch::start(&config);
        let spawner = Spawner::start(watch.leaders().clone())?;
        let attach_grace = config.attach_grace;
        let access = Access { worker: config.worker, own, next_ticket: Arc::default() };
        let peers = PeerPort::new(config.worker, access.clone(), desk.clone(), spill.clone());
        let surroundings = Arc::new(Surroundings { config, outside, folders, watch, spawner, cgroups, desk });
        let desk = Desk::new(Box::new(brain), surroundings, access.clone(), spill.clone(), Handle::current());
        let started = SystemTime::now();
        let thread = DeskThread::start(desk.run(Inboxes { own: own_inbox, executors }))?;
        Ok(RuntimeHandle {
            access,
            peers,
            started,
            visits: Visits::default(),
            attach_grace,
            spill,
            _thread: Arc::new(thread),
        })
    }
}

/// The cgroups for executors, where there can be some.
fn divide(config: &RuntimeConfig) -> Option<Arc<Cgroups>> {
    let root = config.cgroup.as_deref()?;
    match Cgroups::open(root, &config.worker.to_string(), CONTROLLERS) {
        Ok(cgroups) => {
            info!(cgroup = %root.display(), "executors have cgroups of their own");
            Some(Arc::new(cgroups))
        }
        Err(error) => {
            info!(%error, "the memory of executors is watched, and not held by cgroups");
            None
        }
    }
}

impl RuntimeHandle {
    /// Tells the node what the coordinator or another worker said: leases, names, jobs and workers that are gone.
    pub fn tell(&self, event: Event) {
        self.access.send(Inbound::Event(event));
    }

    /// What a time of the node is on the wall clock.
    pub fn wall_time(&self, at: Timestamp) -> SystemTime {
        self.started + Duration::from_micros(at.0)
    }

    /// What is on disk because there is no room for it in memory.
    pub fn spill_stats(&self) -> SpillStats {
        self.spill.stats()
    }

    /// What other workers have read of its objects.
    pub fn lent_stats(&self) -> LentStats {
        self.peers.lent_stats()
    }

    /// What this runtime is to other workers; for the worker's data port.
    pub fn peer_port(&self) -> PeerPort {
        self.peers.clone()
    }

    /// Where clients attach; for the worker's data port.
    pub fn driver_port(&self) -> DriverPort {
        DriverPort::new(self.visits.clone())
    }

    /// Runs the driver of a job to its end. What it has printed is passed on by then, if anyone takes it. Dropping the future
    /// ends the driver.
    ///
    /// # Errors
    /// Why it failed, or was lost.
    pub async fn drive(&self, job: JobId, attempt: u32, args: Vec<String>) -> Result<(), Failure> {
        self.drive_in(Seat::Process, job, attempt, DriverWork::Program(args)).await
    }

    /// Runs a job that is an actor, as long as that lives. Dropping the future ends it.
    ///
    /// # Errors
    /// Why it could not start, or was lost for good.
    pub async fn drive_actor(&self, job: JobId, attempt: u32, spec: ActorSpec) -> Result<(), Failure> {
        self.drive_in(Seat::Process, job, attempt, DriverWork::Actor(Box::new(spec))).await
    }

    /// Waits for the client of a job, and has the driver run there to its end. Dropping the future lets the client go.
    ///
    /// # Errors
    /// Why it failed, did not come, or was lost.
    pub async fn drive_at_client(&self, job: JobId, attempt: u32, args: Vec<String>) -> Result<(), Failure> {
        let visit = self.visits.wait(job, self.attach_grace).await?;
        self.drive_in(Seat::Client(Box::new(visit)), job, attempt, DriverWork::Program(args)).await
    }

    async fn drive_in(&self, seat: Seat, job: JobId, attempt: u32, driver: DriverWork) -> Result<(), Failure> {
        let (reply, answer) = oneshot::channel();
        self.access.send(Inbound::Drive { job, attempt, driver, seat, reply });
        let cancel = OnDrop::new(&self.access, Event::DriverCancelled { job });
        let ended = answer.await;
        cancel.disarm();
        ended.unwrap_or_else(|_| Err(stopping("driver")))
    }

    /// A place for the calls of a task that has more than a slot, which the coordinator has booked: so many thousandths of GPUs, and maybe
    /// other things.
    pub fn take_place(&self, job: JobId, gpus_milli: u64) -> Place {
        Place::new(job, gpus_milli, self.access.clone())
    }

    /// Calls a function of a job's package beside a task that has a slot of its own, in its `place` if it has one. Dropping the future ends
    /// the call.
    ///
    /// # Errors
    /// Why it has no result.
    pub async fn call_function(
        &self,
        job: JobId,
        place: Option<&Place>,
        function: &str,
        args: Vec<Argument>,
        returns: u32,
    ) -> Result<Vec<Part>, Failure> {
        let mut rooms = Vec::new();
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(self.place(job, function, arg, &mut rooms).await?);
        }
        let ticket = self.access.ticket();
        let (reply, answer) = oneshot::channel();
        let place = place.map(Place::ticket);
        let call = FunctionCall { ticket, job, place, function: function.to_owned(), args: values, returns };
        self.access.send(Inbound::Call { call, reply });
        let cancel = OnDrop::new(&self.access, Event::FunctionCancelled { ticket });
        let ended = answer.await;
        cancel.disarm();
        drop(rooms);
        let returned = ended.unwrap_or_else(|_| Err(stopping(function)))?;
        returned.read().await.map_err(|error| Failure::new(FailureKind::ObjectLost, function, error.to_string()))
    }

    /// Gets room for an object of `bytes` in the arena of a job.
    ///
    /// # Errors
    /// When there is none.
    pub async fn space(&self, job: JobId, bytes: u64) -> Result<Room, Failure> {
        self.access.space(job, bytes).await
    }

    /// Looks at the node, or whatever brain the runtime was started with; none if it is of another type or gone.
    pub async fn look<B: Brain, T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut B) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.access.send(Inbound::Look(Box::new(move |brain: &mut dyn Any| {
            if let Some(brain) = brain.downcast_mut() {
                // Nobody may wait any more.
                let _ = reply.send(look(brain));
            }
        })));
        answer.await.ok()
    }

    /// Ends all processes in order, waits for that, and removes what is on disk. Nothing works afterwards.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        self.access.send(Inbound::Stop(ToExecutor::Shutdown, done));
        // An error means that it has stopped before.
        let _ = stopped.await;
    }

    async fn place(&self, job: JobId, function: &str, arg: Argument, rooms: &mut Vec<Room>) -> Result<Value, Failure> {
        let Argument { format, mut parts } = arg;
        let bytes: usize = parts.iter().map(Bytes::len).sum();
        if bytes <= INLINE_BYTES {
            let whole = if parts.len() == 1 { parts.swap_remove(0) } else { parts.concat().into() };
            return Ok(Value::inline(format, whole));
        }
        let room = self.space(job, bytes as u64).await?;
        let written = room.write(format, parts).await;
        rooms.push(room);
        written.map_err(|error| Failure::new(FailureKind::StoreFull, function, error.to_string()))
    }
}

impl Access {
    /// Tells the desk. Without a desk nobody has to know.
    pub(crate) fn send(&self, inbound: Inbound) {
        let _ = self.own.send(inbound);
    }

    /// A number that nothing else has.
    pub(crate) fn ticket(&self) -> u64 {
        self.next_ticket.fetch_add(1, Ordering::Relaxed)
    }

    /// The name of what is built under a ticket. The node has names of its own below.
    pub(crate) fn object(&self, ticket: u64) -> ObjectId {
        ProcessNumber(0).object(self.worker, (1 << 39) | ticket)
    }

    /// As [`RuntimeHandle::space`].
    pub(crate) async fn space(&self, job: JobId, bytes: u64) -> Result<Room, Failure> {
        let ticket = self.ticket();
        let (reply, answer) = oneshot::channel();
        self.send(Inbound::Space { ticket, job, bytes, reply });
        answer.await.unwrap_or_else(|_| Err(stopping("")))
    }
}

/// Tells the node, unless what was waited for has come.
struct OnDrop<'a> {
    access: &'a Access,
    event: Option<Event>,
}

impl<'a> OnDrop<'a> {
    fn new(access: &'a Access, event: Event) -> Self {
        Self { access, event: Some(event) }
    }

    fn disarm(mut self) {
        self.event = None;
    }
}

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        if let Some(event) = self.event.take() {
            self.access.send(Inbound::Event(event));
        }
    }
}

fn stopping(task: &str) -> Failure {
    Failure::new(FailureKind::WorkerLost, task, "the worker is stopping")
}
