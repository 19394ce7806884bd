//! Node of one worker ↔ node of another. The link delivers in order and once, as long as both workers live.
//!
//! The owner is the worker whose process submitted a call; the host runs it on a lease that the owner has been granted there.

use serde::{Deserialize, Serialize};
use tandem_arena::ObjectId;
use tandem_proto::{JobId, WorkerId};

use crate::call::{ActorCall, ActorSpec, ConcurrencyGroup, TaskSpec};
use crate::failure::Failure;
use crate::id::{ActorId, CallId, PlacementGroupId, object_owner};
use crate::value::Format;

/// A message between nodes about one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerMessage {
    /// The job.
    pub job: JobId,
    /// What about it.
    pub body: PeerBody,
}

/// A value that may be on any worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemoteValue {
    /// Here.
    Inline {
        /// How to read it.
        format: Format,
        /// Its bytes.
        bytes: bytes::Bytes,
        /// Objects it names.
        refs: Vec<ObjectId>,
    },
    /// In the store of a worker, which keeps it until the owner releases it.
    Held {
        /// How to read it.
        format: Format,
        /// Where.
        worker: WorkerId,
        /// Its size.
        length: u64,
        /// Objects it names.
        refs: Vec<ObjectId>,
    },
}

/// What nodes tell each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerBody {
    /// Owner → host: run this on that lease. Object arguments come with their values.
    Run {
        /// Which lease of the owner.
        lease: u64,
        /// The task; its object arguments are in `resolved`, in their order.
        task: TaskSpec,
        /// Which attempt, counted from 0.
        attempt: u32,
        /// Values of its object arguments.
        resolved: Vec<(ObjectId, RemoteValue)>,
    },
    /// Owner → host: give back up to so many of its tasks that have not begun.
    Recall {
        /// How many.
        count: u32,
    },
    /// Host → owner: these were not begun. Answers each [`Self::Recall`], if only with none; comes unasked when a lease is gone.
    GaveBack(Vec<CallId>),
    /// Host → owner: a task or actor call ended.
    Done {
        /// Which.
        call: CallId,
        /// Which attempt.
        attempt: u32,
        /// A value per object, or why there are none.
        outcome: Result<Vec<RemoteValue>, Failure>,
    },
    /// Anyone → owner, owner → host: end it.
    Cancel {
        /// Which.
        call: CallId,
        /// Its process too, after a grace.
        force: bool,
    },
    /// Owner → host: start this actor on that lease.
    Start {
        /// Which lease of the owner.
        lease: u64,
        /// The actor; its object arguments are in `resolved`.
        actor: Box<ActorSpec>,
        /// Which start, counted from 0.
        attempt: u32,
        /// Values of its object arguments.
        resolved: Vec<(ObjectId, RemoteValue)>,
        /// Its last checkpoint, with the object that names it where it is held.
        checkpoint: Option<(ObjectId, RemoteValue)>,
    },
    /// Caller → host of the actor.
    Call {
        /// The call; its object arguments are in `resolved`.
        call: ActorCall,
        /// Which attempt of the call.
        attempt: u32,
        /// Values of its object arguments.
        resolved: Vec<(ObjectId, RemoteValue)>,
        /// Which start of the actor it is for. It goes back from any other: calls before it may not have ended there.
        start: u32,
        /// The group of its method, if that is in one.
        group: Option<ConcurrencyGroup>,
        /// The first items, if it yields any; from those on, items are to wait.
        items: Option<Vec<ObjectId>>,
    },
    /// Caller → owner of an actor: where is it? Answered now and at each change by [`Self::ActorAt`].
    WatchActor(ActorId),
    /// Owner → caller.
    ActorAt {
        /// Which.
        actor: ActorId,
        /// On which worker it is ready, none while it starts, or why it is gone for good.
        place: Result<Option<WorkerId>, Failure>,
        /// Calls that were under way when it was lost are made again.
        retry_calls: bool,
        /// It is this actor of another job: calls of it go to its owner, as [`Self::CallOutside`].
        outside: Option<ActorId>,
        /// Which start of it that is.
        start: u32,
    },
    /// Host → owner: the process of the actor ended.
    ActorLost {
        /// Which.
        actor: ActorId,
        /// Which start of it.
        attempt: u32,
        /// Why.
        why: Failure,
    },
    /// Anyone → owner of an actor: end it.
    Kill {
        /// Which.
        actor: ActorId,
        /// Not waiting for its calls.
        at_once: bool,
    },
    /// Host → owner: a checkpoint of the actor, to be kept whole or not at all. Answered by [`Self::Kept`]; the next one waits for that,
    /// but for the last one before the end of its process.
    Checkpoint {
        /// Which.
        actor: ActorId,
        /// Which start of it.
        attempt: u32,
        /// Its state, with the object that names it where it is held; none if that is still the one of the checkpoint before, or of its
        /// start.
        state: Option<(ObjectId, RemoteValue)>,
        /// How calls that this covers have ended. Their callers are told when it is kept.
        replies: Vec<Reply>,
    },
    /// Holder → owner: processes here hold these objects, and want to know their values when they are there.
    Borrow(Vec<ObjectId>),
    /// Owner → holder: a borrowed object has a value, or why it has none.
    Resolved {
        /// Which.
        object: ObjectId,
        /// Its value.
        outcome: Result<RemoteValue, Failure>,
    },
    /// Owner → holder, in answer to each borrow: from now on the holder keeps the object alive by itself.
    Lent(Vec<ObjectId>),
    /// Holder → owner: nothing here holds these any more.
    Return(Vec<ObjectId>),
    /// Owner → whoever keeps the bytes: they are not needed any more.
    Drop(Vec<ObjectId>),
    /// Holder → owner: the bytes could not be read from where they were said to be.
    Unreadable {
        /// Which.
        object: ObjectId,
        /// Where they were said to be.
        worker: WorkerId,
    },
    /// How to reach the nodes of other workers, each as `host:port`. Comes before anything that may lead to them.
    Know(Vec<(WorkerId, String)>),
    /// Anyone → owner of a placement group: remove it.
    RemoveGroup(PlacementGroupId),
    /// Keeper → owner: this worker is to leave, take what it keeps of these. Answered by [`Self::Drop`] for those that are taken, and said
    /// again until then.
    Take(Vec<ObjectId>),
    /// Caller → owner of an actor of another job. Said in the caller's job, as is the answer.
    CallOutside(Box<OutsideCall>),
    /// Owner of the actor → caller: its call has ended.
    DoneOutside {
        /// Which, as the caller calls it.
        call: CallId,
        /// Its values, or why there are none.
        outcome: Result<Vec<OutsideValue>, Failure>,
    },
    /// Caller → owner of the actor, in the actor's job: results that it kept are needed no more.
    DropOutside {
        /// The caller's job.
        job: JobId,
        /// Which.
        objects: Vec<ObjectId>,
    },
    /// As [`Self::Run`], of a task that yields items.
    RunStream {
        /// Which lease of the owner.
        lease: u64,
        /// The task; its object arguments are in `resolved`, in their order.
        task: TaskSpec,
        /// Which attempt, counted from 0.
        attempt: u32,
        /// Values of its object arguments.
        resolved: Vec<(ObjectId, RemoteValue)>,
        /// Which items are wanted, by their numbers.
        wanted: Vec<(u64, ObjectId)>,
        /// From this number on, items are to wait.
        until: u64,
    },
    /// Owner → host: the next items of a task or call that were to wait are wanted, as these objects.
    WantItems {
        /// The task or call.
        call: CallId,
        /// The items.
        items: Vec<ObjectId>,
    },
    /// Host → owner: an item that is wanted. Comes before the end of its task or call.
    Yielded {
        /// Which.
        item: ObjectId,
        /// Its value, or why it cannot be kept.
        outcome: Result<RemoteValue, Failure>,
    },
    /// Whoever looks for calls that wait in a circle → each worker that [`Awaited::worker`] names: what do these wait for? Answered by
    /// [`Self::Stalled`].
    AskStalled {
        /// For which search, of those of the worker that asks.
        search: u64,
        /// What is asked for, once each.
        awaited: Vec<Awaited>,
    },
    /// What these wait for, and all that they wait for there. It may be a part of that, and of what was asked for: the rest is asked
    /// for again.
    Stalled {
        /// As asked.
        search: u64,
        /// None: some of it does not wait, or not for anything that is known. So there is no circle.
        found: Option<Vec<Stalled>>,
    },
    /// Whoever has found a circle → host of one of its calls: it gets a failure in place of what it waits for, if that is still this
    /// wait.
    Deadlocked {
        /// The call.
        call: CallId,
        /// Which of its waits.
        wait: u64,
        /// The calls of the circle, in words.
        circle: String,
    },
    /// Anyone → owner: this worker is to have a copy of a large object. Answered by [`Self::CopyFrom`] when it is its turn.
    WantCopy {
        /// Which.
        object: ObjectId,
        /// Where it was said to be.
        at: WorkerId,
    },
    /// Owner → whoever wants a copy. Answers a [`Self::WantCopy`], and each [`Self::CopyEnded`] that says that it could not be read.
    CopyFrom {
        /// Which.
        object: ObjectId,
        /// It may be read from there now; none if it could be read from nobody who may have it.
        from: Option<WorkerId>,
    },
    /// Answers each [`Self::CopyFrom`] that names a worker: nothing is read from there any more.
    CopyEnded {
        /// Which.
        object: ObjectId,
        /// The worker that was named.
        from: WorkerId,
        /// What came of it.
        end: CopyEnd,
    },
    /// Host → owner: these were not begun, and nothing more can begin on this lease: its place is gone, or it never came.
    NoPlace {
        /// Which lease of the owner.
        lease: u64,
        /// What came for it.
        calls: Vec<CallId>,
    },
    /// Host → whoever sent them: these were not begun. The first one has an argument that could not be read from where it was said to be;
    /// the others are calls of an actor that must not overtake it.
    CannotRead {
        /// The argument.
        object: ObjectId,
        /// Where it was said to be.
        worker: WorkerId,
        /// What was sent.
        calls: Vec<CallId>,
    },
    /// Owner → host: answers each [`Self::Checkpoint`], in their order.
    Kept {
        /// The actor.
        actor: ActorId,
        /// Which start of it.
        attempt: u32,
        /// Why it is not kept, nor any later one of this start: the actor is to start again.
        outcome: Result<(), Failure>,
    },
    /// Owner → caller: a call of an actor has ended so, whatever attempt the caller is at: a checkpoint covers it, and it is not made
    /// again. Comes before the caller hears of another place of the actor.
    Covered {
        /// Which.
        call: CallId,
        /// How many items it has yielded, which come from where it was carried out.
        yielded: u64,
        /// A value per object, or why there are none.
        outcome: Result<Vec<RemoteValue>, Failure>,
    },
    /// Owner → caller: the checkpoint that was to cover these calls is not kept, and the actor goes on from one before. Comes before the
    /// caller hears of another place of the actor.
    Uncovered {
        /// Where they were carried out.
        host: WorkerId,
        /// The calls.
        calls: Vec<CallId>,
    },
}

/// Something without which a call does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Awaited {
    /// The value of an object.
    Object(ObjectId),
    /// The end of a call that is at this worker, or waits there to be sent to another.
    Call {
        /// The call.
        call: CallId,
        /// The worker.
        at: WorkerId,
    },
}

impl Awaited {
    /// Who knows what it waits for itself.
    pub fn worker(self) -> WorkerId {
        match self {
            Self::Object(object) => object_owner(object),
            Self::Call { at, .. } => at,
        }
    }
}

/// Something that is awaited, and waits itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stalled {
    /// What.
    pub awaited: Awaited,
    /// Its name for people, if it is a call.
    pub name: String,
    /// Which wait this is, if it is a call that has begun: a worker gives each a number of its own.
    pub wait: Option<u64>,
    /// Nothing but these, or some of them, can have it go on.
    pub waits_for: Vec<Awaited>,
}

/// How the copying of an object to a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CopyEnd {
    /// The worker has a copy, from which others may read.
    Here,
    /// It could not be read there, and is wanted still.
    Unreadable,
    /// It is not wanted any more.
    Unwanted,
}

/// How a call of an actor has ended that nobody may see before a checkpoint covers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Which.
    pub call: CallId,
    /// How many items it has yielded to another worker. Those are not held.
    pub yielded: u64,
    /// A value per object, or why there are none.
    pub outcome: Result<Vec<ReplyValue>, Failure>,
}

/// One value of a reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyValue {
    /// Names it where it is held, if it is large or names others.
    pub object: Option<ObjectId>,
    /// The value.
    pub value: RemoteValue,
}

/// A call of an actor of another job. Its values name no objects: those of one job mean nothing in another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideCall {
    /// The worker of the caller.
    pub caller: WorkerId,
    /// The caller's job.
    pub job: JobId,
    /// As the caller calls it.
    pub call: CallId,
    /// The actor.
    pub actor: ActorId,
    /// The method's name.
    pub method: String,
    /// Its arguments, in order. Those that are held stay there until the call has ended.
    pub args: Vec<OutsideValue>,
    /// How many values it returns.
    pub returns: u32,
    /// The group of its method, if that is in one.
    pub group: Option<ConcurrencyGroup>,
}

/// A value on its way to another job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutsideValue {
    /// Here.
    Inline {
        /// How to read it.
        format: Format,
        /// Its bytes.
        bytes: bytes::Bytes,
    },
    /// In the arena of a job at the worker that says so.
    Held {
        /// How to read it.
        format: Format,
        /// Its size.
        length: u64,
        /// The job.
        job: JobId,
        /// Its name there.
        object: ObjectId,
    },
}
