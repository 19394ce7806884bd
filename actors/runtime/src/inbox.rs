//! What comes to the desk: events of the node, and wishes of the shell.

use std::any::Any;

use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::peer::PeerMessage;
use tandem_actor_protocol::{ExecutorId, JobId, ObjectId, WorkerId};
use tandem_node::{DriverWork, Event, ExitCause};
use tokio::sync::oneshot;

use crate::function::{FunctionCall, Returned};
use crate::guest::Visit;
use crate::room::{Lent, Room};

/// Where a driver runs.
#[derive(Debug)]
pub(crate) enum Seat {
    /// In a process of this worker.
    Process,
    /// At this client.
    Client(Box<Visit>),
    /// At a client that has been here once, and cannot come again.
    Taken,
}

/// One thing that comes to the desk.
pub(crate) enum Inbound {
    /// The node is to hear of this.
    Event(Event),
    /// An executor said these, in this order.
    Said(ExecutorId, Vec<ToNode>),
    /// An executor is gone, after all it said.
    Gone(ExecutorId, ExitCause),
    /// Run the driver of a job.
    Drive {
        /// The job.
        job: JobId,
        /// Which attempt.
        attempt: u32,
        /// What it is.
        driver: DriverWork,
        /// Where it runs, if it is a program.
        seat: Seat,
        /// Told how it ended.
        reply: oneshot::Sender<Result<(), Failure>>,
    },
    /// Call a function with values that are in place.
    Call {
        /// What.
        call: FunctionCall,
        /// Told how it ended.
        reply: oneshot::Sender<Result<Returned, Failure>>,
    },
    /// A task of a stage leaves its place.
    Leave {
        /// The number by which the node knows it.
        ticket: u64,
        /// The job.
        job: JobId,
        /// Told when nothing runs in it any more.
        reply: oneshot::Sender<()>,
    },
    /// Give room in the arena of a job.
    Space {
        /// The number by which the node knows it.
        ticket: u64,
        /// The job.
        job: JobId,
        /// How much.
        bytes: u64,
        /// Where, or why not.
        reply: oneshot::Sender<Result<Room, Failure>>,
    },
    /// The node of another worker said these, in this order.
    Heard(WorkerId, Vec<PeerMessage>),
    /// Keep an object for another worker that reads it.
    Read {
        /// The number by which the node knows it.
        ticket: u64,
        /// The job.
        job: JobId,
        /// Which.
        object: ObjectId,
        /// Where it is; none if it is not here.
        reply: oneshot::Sender<Option<Lent>>,
    },
    /// Look at the node.
    Look(Box<dyn FnOnce(&mut dyn Any) + Send>),
    /// Say this to all executors that are there, then end them; told when they are gone.
    Stop(ToExecutor, oneshot::Sender<()>),
}
