//! Node of a worker → one of its executors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tandem_arena::{ExtentId, Lease as SpaceLease, ObjectId};
use tandem_proto::{JobId, WorkerId};

use crate::failure::Failure;
use crate::id::{ActorId, CallId, ProcessNumber};
use crate::value::Value;

/// What a node says to an executor. The first message is [`Welcome`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToExecutor {
    /// Answers its hello.
    Welcome(Welcome),
    /// Run this, behind what is queued.
    Run(Run),
    /// Start this actor. Its end is reported as that of its creation call.
    Start(Start),
    /// Call an actor that was started here, behind the calls before it.
    Call(Run),
    /// The value of an object that was watched with `fetch`.
    Value {
        /// Which.
        object: ObjectId,
        /// Its value, or why there is none.
        outcome: Result<Value, Failure>,
    },
    /// Watched objects that have a value, or will never have one.
    Ready(Vec<ObjectId>),
    /// A call that was blocked has a slot again.
    Resume(CallId),
    /// Give back up to so many tasks that have not begun, last ones first.
    Recall(u32),
    /// End this call, if it runs or waits here; it is reported as cancelled, or as what it was by then.
    Cancel(CallId),
    /// End an actor after the calls that are queued.
    EndActor(ActorId),
    /// Answers [`ToNode::Find`](crate::node::ToNode::Find).
    Found {
        /// As asked.
        request: u32,
        /// The actor, and its class.
        actor: Option<(ActorId, String)>,
    },
    /// Room for objects. A new extent comes first, by its own message.
    Space(Result<SpaceLease, Failure>),
    /// Map this extent: the frame has its descriptor.
    Extent {
        /// Which.
        extent: ExtentId,
        /// Its size.
        bytes: u64,
        /// The descriptor can be written to.
        writable: bool,
    },
    /// Forget this extent, in which nothing is to be read any more. Version 2 of the protocol says so too when others are to
    /// write it; then it is forgotten as soon as nothing is built there, which is said by
    /// [`ToNode::GaveUp`](crate::node::ToNode::GaveUp).
    GiveUp(ExtentId),
    /// Answers [`ToNode::Sql`](crate::node::ToNode::Sql).
    SqlDone {
        /// As asked.
        request: u32,
        /// The rows, as Arrow objects that the executor holds once each, in order; at least one, which has the schema.
        outcome: Result<Vec<ObjectId>, Failure>,
    },
    /// End in order: nothing more comes.
    Shutdown,
    /// End what is leased in this extent as soon as nothing is built there that was not sent, and say so by
    /// [`ToNode::GaveUp`](crate::node::ToNode::GaveUp). It may be read as before. From version 3 on.
    StopWriting(ExtentId),
    /// As [`Self::Run`], of a task that yields items by [`ToNode::Yield`](crate::node::ToNode::Yield).
    RunStream {
        /// The task.
        run: Run,
        /// Which items are wanted, in order: each from its first to before its second number. Others before the last of these numbers
        /// are there already; from that on, items are to wait.
        wanted: Vec<(u64, u64)>,
    },
    /// All items up to before this number are wanted that were to wait.
    MayYield {
        /// The task or call.
        call: CallId,
        /// The number.
        until: u64,
    },
    /// As [`Self::Call`], of a method that yields items by [`ToNode::Yield`](crate::node::ToNode::Yield).
    CallStream {
        /// The call.
        run: Run,
        /// All items before this number are wanted; from that on, they are to wait.
        until: u64,
    },
    /// As [`Self::Start`], of an actor whose calls are made again when it is lost. If it makes checkpoints, what its calls return is
    /// held until one covers it: before the end of its creation the process says
    /// [`ToNode::NoCheckpoint`](crate::node::ToNode::NoCheckpoint), and behind the end of each call, at once or behind later ones, a
    /// checkpoint or that.
    StartHeld(Start),
}

/// What an executor must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`PROTOCOL`](crate::PROTOCOL) of the node.
    pub protocol: u16,
    /// Its job.
    pub job: JobId,
    /// The name of its job, put in by whoever writes the message to the process.
    pub job_name: String,
    /// The worker.
    pub worker: WorkerId,
    /// The worker's name.
    pub worker_name: String,
    /// What its ids are made with.
    pub process: ProcessNumber,
    /// What it is there for.
    pub role: Role,
}

/// What an executor is there for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Runs the job's main program.
    Driver {
        /// The program's arguments.
        args: Vec<String>,
    },
    /// Runs tasks, one at a time.
    Tasks,
    /// Runs one actor.
    Actor,
    /// Runs many light actors.
    LightActors,
}

/// One attempt of a task, or one call of an actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Which call.
    pub call: CallId,
    /// Which attempt of it, counted from 0.
    pub attempt: u32,
    /// Function or method.
    pub function: String,
    /// The actor, for a call of one.
    pub actor: Option<ActorId>,
    /// Values of the arguments. The executor holds what they name until the call has ended; those that are shared are pinned
    /// until it unpins them, which may be later: an actor keeps what it was given.
    pub args: Vec<Value>,
    /// How many objects it returns.
    pub returns: u32,
    /// Beyond this it is to be ended by the executor, else by the node; 0 is for ever.
    pub timeout_ms: u64,
    /// Variables that concern only this task, in addition to those of the process.
    pub environment: BTreeMap<String, String>,
}

/// An actor to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Which.
    pub actor: ActorId,
    /// Which start of it, counted from 0.
    pub attempt: u32,
    /// The type's name.
    pub class: String,
    /// Arguments of its constructor.
    pub args: Vec<Value>,
    /// Its last checkpoint, which replaces what the constructor made.
    pub checkpoint: Option<Value>,
    /// Calls it works on at once.
    pub concurrency: u32,
}
