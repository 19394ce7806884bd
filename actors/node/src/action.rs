//! What the shell must do, in this order.

use std::collections::BTreeMap;

use tandem_actor_protocol::call::ActorSpec;
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::node::SqlRequest;
use tandem_actor_protocol::peer::PeerMessage;
use tandem_actor_protocol::placement::{BundleId, PlacementGroup};
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::value::Value;
use tandem_actor_protocol::{ExecutorId, ExtentId, JobId, Location, ObjectId, PlacementGroupId, SpaceLease, WorkerId};

/// An object that another worker reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lent {
    /// A name that only these bytes have: an object that was made again, maybe with others, has another one.
    pub copy: ObjectId,
    /// Where they are.
    pub at: LentAt,
}

/// Where the bytes are of an object that another worker reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LentAt {
    /// In the arena of the job.
    Arena(Location),
    /// In a file.
    Disk {
        /// Which.
        file: SpillFile,
        /// How many.
        length: u64,
    },
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start a process. Answered by [`Event::ExecutorStarted`](crate::Event::ExecutorStarted), and by
    /// [`Event::ExecutorGone`](crate::Event::ExecutorGone) once it has ended.
    StartExecutor {
        /// Which; never used again.
        executor: ExecutorId,
        /// Of which job.
        job: JobId,
        /// What it needs beside what the job gives all.
        needs: ExecutorNeeds,
    },
    /// Say this to an executor. With [`ToExecutor::Extent`] goes the extent's descriptor. The name of the job is put into its
    /// welcome by the shell, which knows it.
    Send {
        /// Which.
        executor: ExecutorId,
        /// What.
        message: ToExecutor,
    },
    /// End a process and all it has started: in order within a grace, or at once.
    StopExecutor {
        /// Which.
        executor: ExecutorId,
        /// Kill it now.
        at_once: bool,
    },
    /// Say this to the node of another worker.
    SendPeer {
        /// Which.
        worker: WorkerId,
        /// What.
        message: PeerMessage,
    },
    /// How to reach the node of a worker. Comes before the first message to it.
    KnowPeer {
        /// Which.
        worker: WorkerId,
        /// `host:port`.
        address: String,
    },
    /// Make the memory of a new extent of a job's arena.
    MakeExtent {
        /// The job.
        job: JobId,
        /// Which.
        extent: ExtentId,
        /// Its size.
        bytes: u64,
    },
    /// Drop the memory of an extent: nothing is there, and no process uses it any more.
    DropExtent {
        /// The job.
        job: JobId,
        /// Which.
        extent: ExtentId,
    },
    /// Answers [`Event::SpaceWanted`](crate::Event::SpaceWanted).
    SpaceGiven {
        /// As given.
        ticket: u64,
        /// Where, for writing by the shell; or why not.
        outcome: Result<SpaceLease, Failure>,
    },
    /// Answers [`Event::ReadWanted`](crate::Event::ReadWanted).
    ReadGiven {
        /// As given.
        ticket: u64,
        /// Where it is; none if it is not here.
        lent: Option<Lent>,
    },
    /// Write the bytes of an object to a new file on disk. They stay as they are until the answer,
    /// [`Event::Spilled`](crate::Event::Spilled).
    Spill {
        /// The job.
        job: JobId,
        /// The file, of which nothing is left if this fails.
        file: SpillFile,
        /// Where they are.
        from: Location,
    },
    /// Read the bytes of an object back. Answered by [`Event::Restored`](crate::Event::Restored).
    Restore {
        /// The job.
        job: JobId,
        /// Which.
        object: ObjectId,
        /// The file, which stays.
        file: SpillFile,
        /// Where to put them.
        into: Location,
    },
    /// Remove a file that was written: nobody reads it.
    DropSpilled {
        /// Which.
        file: SpillFile,
    },
    /// Get the bytes of an object from another worker.
    Fetch {
        /// The job.
        job: JobId,
        /// Which.
        object: ObjectId,
        /// What it is there, if that is in another job.
        theirs: Option<(JobId, ObjectId)>,
        /// Who has it.
        from: WorkerId,
        /// Where to put it.
        into: Location,
    },
    /// The whole demand of a job for leases of a shape has changed.
    Demand {
        /// The job.
        job: JobId,
        /// The shape.
        shape: Shape,
        /// The bundle that they are to be a part of; none for the workers as they are.
        bundle: Option<BundleId>,
        /// Leases wanted in all.
        wanted: u32,
    },
    /// As owner, this node needs a lease no more.
    ReleaseLease {
        /// Which.
        lease: u64,
    },
    /// As host, this node runs nothing on a revoked lease any more.
    ReturnLease {
        /// Which.
        lease: u64,
    },
    /// Have the coordinator reserve a placement group. Answered by [`Event::GroupChanged`](crate::Event::GroupChanged).
    CreateGroup {
        /// The job.
        job: JobId,
        /// The group.
        group: Box<PlacementGroup>,
    },
    /// As its owner, this node needs a placement group no more.
    RemoveGroup {
        /// The job.
        job: JobId,
        /// The group.
        group: PlacementGroupId,
    },
    /// Ask the coordinator for the name of an actor.
    ClaimName {
        /// The job.
        job: JobId,
        /// The actor.
        spec: Box<ActorSpec>,
    },
    /// Tell the coordinator that an actor is gone for good.
    DropName {
        /// The job.
        job: JobId,
        /// The actor.
        actor: tandem_actor_protocol::ActorId,
    },
    /// Ask the coordinator who has a name.
    FindName {
        /// Who asks.
        executor: ExecutorId,
        /// As it asked.
        request: u32,
        /// The job.
        job: JobId,
        /// Empty for that of the job.
        namespace: String,
        /// The name.
        name: String,
    },
    /// Start a job that is this actor and nothing else. Answered by [`Event::Detached`](crate::Event::Detached).
    Detach {
        /// The job of whoever made it.
        job: JobId,
        /// The actor, without arguments but values.
        spec: Box<ActorSpec>,
    },
    /// Run a statement as a query of the job.
    RunSql {
        /// Who asks.
        executor: ExecutorId,
        /// The job.
        job: JobId,
        /// What.
        request: SqlRequest,
        /// The values of the tables that are objects.
        tables: Vec<(String, Vec<Value>)>,
    },
    /// The driver of a job has ended.
    DriverEnded {
        /// The job.
        job: JobId,
        /// Which attempt.
        attempt: u32,
        /// How.
        outcome: Result<(), Failure>,
    },
    /// Answers [`Event::FunctionWanted`](crate::Event::FunctionWanted).
    FunctionEnded {
        /// As given.
        ticket: u64,
        /// Its values, pinned until the shell sends [`Event::SpaceDropped`](crate::Event::SpaceDropped) with the same
        /// ticket; or why there are none.
        outcome: Result<Vec<Value>, Failure>,
    },
    /// Answers [`Event::PlaceDropped`](crate::Event::PlaceDropped).
    PlaceFree {
        /// As given.
        ticket: u64,
    },
    /// Answers [`Event::LeaveWanted`](crate::Event::LeaveWanted).
    Leave {
        /// Nothing would be lost with this worker, and that stays so unless it gets a lease.
        may: bool,
    },
    /// Something of a job ended or began that people may want to see.
    Note {
        /// The job.
        job: JobId,
        /// What.
        text: String,
    },
    /// Nothing of the job is left: drop its memory and whatever else the shell has of it.
    ForgetJob {
        /// The job.
        job: JobId,
    },
}

/// Names a file on disk that has the bytes of an object; never used again on the same node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpillFile(pub u64);

/// What the [`purpose`](ExecutorNeeds::purpose) of a driver is; no class of actors has this name.
pub const DRIVER: &str = "driver";

/// What a process needs beside its job's package and variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutorNeeds {
    /// Variables over those of the job.
    pub environment: BTreeMap<String, String>,
    /// Memory it may take; 0 is what the worker gives to one slot.
    pub memory_bytes: u64,
    /// Indices of GPUs that it may use.
    pub gpus: Vec<u32>,
    /// What it is for, for logs: [`DRIVER`], `tasks`, or the actor's class.
    pub purpose: String,
}
