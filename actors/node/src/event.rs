//! What can happen to a node. The shell turns frames, streams, timers and the ends of processes into these.

use tandem_actor_protocol::call::ActorSpec;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::peer::PeerMessage;
use tandem_actor_protocol::placement::BundleId;
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::value::Value;
use tandem_actor_protocol::{ActorId, ExecutorId, ExtentId, JobId, ObjectId, PlacementGroupId, WorkerId};

use crate::action::SpillFile;

/// Why an actor does not get its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameRefusal {
    /// Another one has it.
    Taken(ActorId),
    /// The coordinator gives it to none, for this reason.
    Refused(String),
}

/// How a placement group stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupNews {
    /// Not all of it can be reserved, for this reason.
    Waits(String),
    /// Every bundle is reserved.
    Reserved,
    /// It cannot be, for this reason.
    Failed(String),
    /// It is not there any more, and what is in it is to end.
    Gone,
}

/// Why an object was not brought back from disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreError {
    /// Its file cannot be read, or is not what was written.
    Damaged(String),
    /// There is no memory to put it in.
    NoMemory(String),
}

/// What the driver of a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriverWork {
    /// The main program, with these arguments.
    Program(Vec<String>),
    /// No process but an actor, as long as that lives. It has no arguments but values.
    Actor(Box<ActorSpec>),
}

/// An actor that was found by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub actor: ActorId,
    /// Its type.
    pub class: String,
    /// Where the node of its owner is reached.
    pub owner_address: String,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The coordinator launched the driver of a job here. Answered by
    /// [`Action::DriverEnded`](crate::Action::DriverEnded) in the end.
    DriverLaunched {
        /// The job.
        job: JobId,
        /// Which attempt of the driver's task.
        attempt: u32,
        /// What it is.
        driver: DriverWork,
    },
    /// The coordinator wants the driver ended.
    DriverCancelled {
        /// The job.
        job: JobId,
    },
    /// A task of a stage, which has a slot of its own, wants a function run beside it.
    FunctionWanted {
        /// Chosen by the shell; in the answer, [`Action::FunctionEnded`](crate::Action::FunctionEnded).
        ticket: u64,
        /// The job.
        job: JobId,
        /// The place that the task has, if any: [`Self::PlaceWanted`].
        place: Option<u64>,
        /// The function's name.
        function: String,
        /// Its arguments: inline, or built by the shell in [`Action::SpaceGiven`](crate::Action::SpaceGiven).
        args: Vec<Value>,
        /// How many values it returns.
        returns: u32,
    },
    /// A task of a stage has so much of this worker's GPUs, or other things that nobody else has: what it calls runs in one place, one
    /// call at a time, with these.
    PlaceWanted {
        /// Chosen by the shell, from the same numbers as all its tickets.
        ticket: u64,
        /// The job.
        job: JobId,
        /// Thousandths of GPUs; zero is none.
        gpus_milli: u64,
    },
    /// The task has ended, and waits for nothing that it called. Answered by [`Action::PlaceFree`](crate::Action::PlaceFree) when nothing of
    /// it runs any more.
    PlaceDropped {
        /// As given.
        ticket: u64,
        /// The job.
        job: JobId,
    },
    /// Nobody waits for this function any more.
    FunctionCancelled {
        /// As given.
        ticket: u64,
    },
    /// The shell needs room in the arena of a job, to put in what comes from a stage.
    SpaceWanted {
        /// Chosen by the shell.
        ticket: u64,
        /// The job.
        job: JobId,
        /// How much.
        bytes: u64,
    },
    /// Another worker reads an object: it stays where it is until [`Self::SpaceDropped`]. Answered by
    /// [`Action::ReadGiven`](crate::Action::ReadGiven).
    ReadWanted {
        /// Chosen by the shell, from the same numbers as all its tickets.
        ticket: u64,
        /// The job.
        job: JobId,
        /// Which.
        object: ObjectId,
    },
    /// What another worker reads cannot be read from its file. [`Self::SpaceDropped`] follows.
    ReadFailed {
        /// As given.
        ticket: u64,
        /// Why.
        reason: String,
    },
    /// The shell is done with an object or the room it was given.
    SpaceDropped {
        /// As given.
        ticket: u64,
    },
    /// A process was started, as [`Action::StartExecutor`](crate::Action::StartExecutor) asked, or could not be.
    ExecutorStarted {
        /// Which.
        executor: ExecutorId,
        /// Its process id, or why there is none.
        outcome: Result<u32, String>,
    },
    /// An executor said something.
    FromExecutor {
        /// Which.
        executor: ExecutorId,
        /// What.
        message: ToNode,
    },
    /// An executor's process and all it had started are gone. Comes once, after all it said.
    ExecutorGone {
        /// Which.
        executor: ExecutorId,
        /// Why.
        cause: ExitCause,
    },
    /// A lease of which this node is owner, host or both. May be repeated.
    LeaseGranted(LeaseGrant),
    /// No more is to be started on it.
    LeaseRevoked {
        /// Which.
        lease: u64,
    },
    /// No worker has what leases of a shape need, and for a while none has come that does.
    LeaseRefused {
        /// Which.
        job: JobId,
        /// What was asked for.
        shape: Shape,
        /// Of which bundle; none for the workers as they are.
        bundle: Option<BundleId>,
        /// What is missing.
        reason: String,
    },
    /// The coordinator says how a placement group stands, to its owner, and to whoever has work in it when it is gone. May be
    /// repeated.
    GroupChanged {
        /// Which job.
        job: JobId,
        /// Which group of it.
        group: PlacementGroupId,
        /// What is new.
        news: GroupNews,
    },
    /// This worker is to leave as soon as nothing is lost with it. Repeated; answered each time by
    /// [`Action::Leave`](crate::Action::Leave).
    LeaveWanted,
    /// The coordinator came back: it is to be told the whole demand again.
    CoordinatorBack,
    /// A job has ended: everything of it ends.
    JobGone {
        /// Which.
        job: JobId,
    },
    /// The node of another worker said something.
    FromPeer {
        /// Which.
        worker: WorkerId,
        /// What.
        message: PeerMessage,
    },
    /// Another worker is lost, with all it held and ran. It is never heard of again under this id.
    PeerLost {
        /// Which.
        worker: WorkerId,
    },
    /// The memory of an extent could not be had.
    ExtentFailed {
        /// The job.
        job: JobId,
        /// Which.
        extent: ExtentId,
        /// Why.
        reason: String,
    },
    /// The answer to [`Action::Fetch`](crate::Action::Fetch).
    Fetched {
        /// The job.
        job: JobId,
        /// Which object.
        object: ObjectId,
        /// Whether its bytes are where they should be, else why not.
        outcome: Result<(), String>,
    },
    /// The answer to [`Action::Spill`](crate::Action::Spill).
    Spilled {
        /// The job.
        job: JobId,
        /// Which file.
        file: SpillFile,
        /// Whether it has all, else why not.
        outcome: Result<(), String>,
    },
    /// The answer to [`Action::Restore`](crate::Action::Restore).
    Restored {
        /// The job.
        job: JobId,
        /// Which object.
        object: ObjectId,
        /// Whether its bytes are where they should be.
        outcome: Result<(), RestoreError>,
    },
    /// The coordinator's answer to [`Action::ClaimName`](crate::Action::ClaimName).
    NameClaimed {
        /// The job.
        job: JobId,
        /// For which actor.
        actor: ActorId,
        /// Whether it has its name now.
        outcome: Result<(), NameRefusal>,
    },
    /// The coordinator's answer to [`Action::FindName`](crate::Action::FindName).
    NameFound {
        /// Who asked.
        executor: ExecutorId,
        /// As it asked.
        request: u32,
        /// The actor, if there is one.
        actor: Option<Found>,
    },
    /// The answer to [`Action::Detach`](crate::Action::Detach).
    Detached {
        /// The job of whoever made it.
        job: JobId,
        /// As it is called there.
        actor: ActorId,
        /// What it is, or why it is not.
        outcome: Result<Found, String>,
    },
    /// The rows of a statement are there as objects of the shell, or there are none.
    SqlDone {
        /// Who asked.
        executor: ExecutorId,
        /// As it asked.
        request: u32,
        /// The rows, each built by the shell in room it was given under these tickets.
        outcome: Result<Vec<(u64, Value)>, String>,
    },
    /// The time of the next deadline has come.
    Tick,
}

/// Why a process is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitCause {
    /// It ended with this code.
    Exited(i32),
    /// A signal ended it.
    Signalled(i32),
    /// It took more memory than it may and was ended.
    MemoryLimit {
        /// What it may take.
        limit_bytes: u64,
        /// What it took.
        peak_bytes: u64,
    },
    /// It broke the protocol and was ended.
    Protocol(String),
    /// It never said hello.
    Silent,
    /// It ran at a client, which is gone.
    ClientGone(String),
    /// As the node asked.
    Asked,
}

/// A lease, as the coordinator gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseGrant {
    /// Which.
    pub lease: u64,
    /// For tasks of which job.
    pub job: JobId,
    /// The worker that owns the tasks.
    pub owner: WorkerId,
    /// Where the owner's node is reached by others.
    pub owner_address: String,
    /// The worker that runs them.
    pub host: WorkerId,
    /// Where the host's node is reached by others.
    pub host_address: String,
    /// What it is one of.
    pub shape: Shape,
    /// The bundle whose reservation it is a part of.
    pub bundle: Option<BundleId>,
}
