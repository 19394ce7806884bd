//! Executor → node of its worker.

use serde::{Deserialize, Serialize};
use tandem_arena::{ExtentId, Lease as SpaceLease, ObjectId};

use crate::call::{ActorCall, ActorSpec, CallOptions, TaskSpec};
use crate::failure::Failure;
use crate::id::{ActorId, CallId, PlacementGroupId};
use crate::placement::{BundleId, PlacementGroup};
use crate::value::Value;

/// What an executor says. The first message is [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToNode {
    /// It has started.
    Hello(Hello),
    /// Run this task. The executor holds each of its objects once.
    Submit(TaskSpec),
    /// Start this actor. Its creation object, held once, is ready when its constructor has returned.
    Spawn(ActorSpec),
    /// Call this actor. The executor holds each of the call's objects once.
    Call(ActorCall),
    /// Keep this object, held once by the executor.
    Put {
        /// Its id.
        object: ObjectId,
        /// Its value.
        value: Value,
    },
    /// Say when these objects, which it holds, are there: [`ToExecutor::Value`](crate::executor::ToExecutor::Value) once for each
    /// if `fetch`, else [`ToExecutor::Ready`](crate::executor::ToExecutor::Ready).
    Watch {
        /// The objects.
        objects: Vec<ObjectId>,
        /// With their values.
        fetch: bool,
    },
    /// It now holds these, once each, beside what it held: it found them inside of a value.
    Retain(Vec<ObjectId>),
    /// It holds these no more, not even once.
    Release(Vec<ObjectId>),
    /// What it read in place of these is dropped: one [`Shared`](crate::value::Body::Shared) value that it got each.
    Unpin(Vec<ObjectId>),
    /// A task or call waits for objects: its slot may be used by others meanwhile. What was queued behind a task that waits
    /// comes back with [`Self::GaveBack`].
    Blocked(CallId),
    /// It has what it waited for and goes on when [`ToExecutor::Resume`](crate::executor::ToExecutor::Resume) comes.
    Unblocked(CallId),
    /// Has not begun these and will not.
    GaveBack(Vec<CallId>),
    /// A task began; until its end, what the executor prints is its.
    Began(CallId),
    /// A task or call ended.
    Done {
        /// Which.
        call: CallId,
        /// The attempt that was asked for.
        attempt: u32,
        /// One value per object, or why there are none.
        outcome: Result<Vec<Value>, Failure>,
    },
    /// Cancels a call and what it has submitted, or with `force` ends its process if it does not end by itself.
    Cancel {
        /// Which.
        call: CallId,
        /// After a grace.
        force: bool,
    },
    /// Ends an actor: gracefully, after the calls that are there, or at once.
    Kill {
        /// Which.
        actor: ActorId,
        /// Not waiting for anything.
        at_once: bool,
    },
    /// The state of an actor, so that a restart goes on from there: after all calls that have ended up to now, and after the one that is
    /// next to end unless results are held, see [`ToExecutor::StartHeld`](crate::executor::ToExecutor::StartHeld).
    Checkpoint {
        /// Which.
        actor: ActorId,
        /// What its `restore` gets.
        state: Value,
    },
    /// Find an actor by its name; [`ToExecutor::Found`](crate::executor::ToExecutor::Found) answers.
    Find {
        /// Chosen by the executor.
        request: u32,
        /// Empty for that of the job.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Needs room for an object of this size in the arena; [`ToExecutor::Space`](crate::executor::ToExecutor::Space) answers.
    NeedSpace {
        /// Of the object.
        bytes: u64,
    },
    /// These leases of room are used up.
    SpaceUsed(Vec<SpaceLease>),
    /// As asked by [`ToExecutor::StopWriting`](crate::executor::ToExecutor::StopWriting), it has no lease in the extent any more,
    /// whatever it was granted before it hears of this.
    GaveUp(ExtentId),
    /// Runs a statement; [`ToExecutor::SqlDone`](crate::executor::ToExecutor::SqlDone) answers.
    Sql(SqlRequest),
    /// The driver is done: the job ends so.
    DriverDone(Result<(), Failure>),
    /// An actor has ended, as [`ToExecutor::EndActor`](crate::executor::ToExecutor::EndActor) asked.
    ActorEnded(ActorId),
    /// Nothing can wake this call but the value of one of these objects: no timer and nothing else in its process. Holds until one
    /// of them has a value or never will, or until the call ends.
    Stuck {
        /// The call.
        call: CallId,
        /// What it waits for.
        objects: Vec<ObjectId>,
    },
    /// Reserve this placement group. Since version 2, as all that follows.
    CreateGroup(PlacementGroup),
    /// Give back what a placement group has reserved, and end what is in it.
    RemoveGroup(PlacementGroupId),
    /// As [`Self::Submit`], on what a bundle has.
    SubmitIn {
        /// The task.
        task: TaskSpec,
        /// Where.
        bundle: BundleId,
    },
    /// As [`Self::Spawn`], on what a bundle has.
    SpawnIn {
        /// The actor.
        actor: ActorSpec,
        /// Where.
        bundle: BundleId,
    },
    /// As [`Self::Submit`] or [`Self::SubmitIn`], of a task that yields items. It returns how many it has yielded. Since version 3, as
    /// all that follows.
    SubmitStream {
        /// The task.
        task: TaskSpec,
        /// Where, if that matters.
        bundle: Option<BundleId>,
    },
    /// The next items of a stream that the executor has submitted are to be these objects, each held once by it. It is told of each
    /// that is there by [`ToExecutor::Ready`](crate::executor::ToExecutor::Ready), before the value of what the stream returns.
    WantItems {
        /// The stream.
        call: CallId,
        /// The items, which follow those that were wanted before.
        items: Vec<ObjectId>,
    },
    /// A task, or a call of an actor, yields an item that is wanted.
    Yield {
        /// The task or call.
        call: CallId,
        /// The attempt that was asked for.
        attempt: u32,
        /// Which item, counted from 0 in each attempt.
        index: u64,
        /// The item.
        value: Value,
    },
    /// As [`Self::Call`], of a method that is in a group or yields items. What is said of the streams of tasks holds for its items.
    CallWith {
        /// The call.
        call: ActorCall,
        /// What it has that others have not.
        options: CallOptions,
    },
    /// No checkpoint comes behind the calls of an actor that have ended up to now, see
    /// [`ToExecutor::StartHeld`](crate::executor::ToExecutor::StartHeld).
    NoCheckpoint {
        /// Which.
        actor: ActorId,
        /// None is needed: they have not changed it since the last one, or since its start. Else why none could be made; they fail so.
        outcome: Result<(), Failure>,
    },
}

/// How an executor introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`](crate::PROTOCOL) of its SDK.
    pub protocol: u16,
    /// Version of its SDK.
    pub version: String,
    /// Its process id, where it runs.
    pub pid: u32,
    /// Functions and classes it has.
    pub functions: Vec<String>,
}

/// A statement over tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlRequest {
    /// Chosen by the executor.
    pub request: u32,
    /// The statement.
    pub sql: String,
    /// Name and path of each table; the format is told by the path.
    pub tables: Vec<(String, String)>,
    /// Name and objects of each table that is a set of Arrow objects.
    pub object_tables: Vec<(String, Vec<ObjectId>)>,
}
