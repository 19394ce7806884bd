//! What is to be run: tasks, actors, calls of actors.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tandem_arena::ObjectId;

use crate::id::{ActorId, CallId};
use crate::resources::Shape;
use crate::value::Value;

/// An argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arg {
    /// This value.
    Value(Value),
    /// The value of this object. The function does not start before it is there.
    Object(ObjectId),
}

/// A task: one call of a function, in any executor of the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Which call.
    pub call: CallId,
    /// The function's name in its package, such as `my_app::area`.
    pub function: String,
    /// Its arguments, in order.
    pub args: Vec<Arg>,
    /// How many objects it returns.
    pub returns: u32,
    /// The task or actor call that submitted it; none for the driver.
    pub parent: Option<CallId>,
    /// None for the defaults, which most tasks have.
    pub options: Option<Box<TaskOptions>>,
}

/// How a task is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskOptions {
    /// For people; the function's name if empty.
    pub name: String,
    /// How often it is run again after its process or worker was lost, or its memory limit met.
    pub retries: u32,
    /// Which errors of its own are worth a retry, out of the same `retries`.
    pub retry_on: RetryOn,
    /// How long one attempt may take, in milliseconds; 0 is for ever.
    pub timeout_ms: u64,
    /// What it takes of its worker.
    pub shape: Shape,
    /// Rather on a worker that runs few things than on this one.
    pub spread: bool,
    /// Variables of its process, over those of the job.
    pub environment: BTreeMap<String, String>,
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            retries: 3,
            retry_on: RetryOn::Never,
            timeout_ms: 0,
            shape: Shape::one_cpu(),
            spread: false,
            environment: BTreeMap::new(),
        }
    }
}

impl TaskOptions {
    /// What its leases are of.
    pub fn leased(&self) -> Cow<'_, Shape> {
        self.shape.spread_if(self.spread)
    }
}

/// Which errors that a function returns are worth another attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetryOn {
    /// None: it has done what it can.
    Never,
    /// All of them.
    Any,
    /// Those whose text contains one of these.
    Containing(Vec<String>),
}

/// An actor: a value that lives in a process and is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorSpec {
    /// Which one.
    pub actor: ActorId,
    /// The type's name in its package, such as `my_app::Counter`.
    pub class: String,
    /// Arguments of its constructor.
    pub args: Vec<Arg>,
    /// The call that created it; none for the driver.
    pub parent: Option<CallId>,
    /// How it lives.
    pub options: ActorOptions,
}

/// How an actor lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorOptions {
    /// Under which name it is found; none if empty.
    pub name: String,
    /// Where the name holds; the job's own if empty.
    pub namespace: String,
    /// It outlives its job.
    pub detached: bool,
    /// How often it is started again after its process or worker was lost.
    pub max_restarts: u32,
    /// Calls that were under way when it was lost are made again. Otherwise they fail.
    pub retry_calls: bool,
    /// Calls that may wait for it; more are refused.
    pub max_pending_calls: u32,
    /// Calls it works on at once, beside those of its groups; more than one, and they end in any order.
    pub concurrency: u32,
    /// It shares a process with others of its kind.
    pub light: bool,
    /// What it takes of its worker.
    pub shape: Shape,
    /// Rather on a worker that runs few things than on this one.
    pub spread: bool,
    /// Variables of its process, over those of the job.
    pub environment: BTreeMap<String, String>,
}

impl Default for ActorOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            namespace: String::new(),
            detached: false,
            max_restarts: 0,
            retry_calls: false,
            max_pending_calls: 100_000,
            concurrency: 1,
            light: false,
            shape: Shape::nothing(),
            spread: true,
            environment: BTreeMap::new(),
        }
    }
}

impl ActorOptions {
    /// What its lease is of.
    pub fn leased(&self) -> Cow<'_, Shape> {
        self.shape.spread_if(self.spread)
    }
}

/// One call of an actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorCall {
    /// Which call.
    pub call: CallId,
    /// Of which actor.
    pub actor: ActorId,
    /// The method's name.
    pub method: String,
    /// Its arguments, in order.
    pub args: Vec<Arg>,
    /// How many objects it returns.
    pub returns: u32,
    /// The call that made it; none for the driver.
    pub parent: Option<CallId>,
}

/// What a call of an actor has that most have not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallOptions {
    /// The group of its method; none for the methods that are in none.
    pub group: Option<ConcurrencyGroup>,
    /// Its method yields items, and returns how many these were.
    pub stream: bool,
}

/// Calls of an actor that are worked on beside those of its other groups. Order is kept among the calls of one process in one group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConcurrencyGroup {
    /// Its name in the actor's type.
    pub name: String,
    /// Calls of it that the actor works on at once.
    pub concurrency: u32,
}
