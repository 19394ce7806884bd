//! What programs that run on Tandem are written with: tasks, actors, objects, and the process that they run in.
//!
//! A *task* is a function that any process of the job can run, an *actor* a value that lives in a process of its own and is
//! called, an *object* what a call returns: an [`ObjectRef`] to a value that is there or will be. The program is one
//! executable. Its main function, the *driver*, runs somewhere in the cluster, and so do its tasks and actors, as processes
//! that any worker may start.
//!
//! ```no_run
//! use tandem::prelude::*;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Circle {
//!     r: f64,
//! }
//!
//! #[tandem::task(retries = 3)]
//! async fn area(c: Circle) -> Result<f64> {
//!     Ok(c.r * c.r * std::f64::consts::PI)
//! }
//!
//! #[tandem::main]
//! async fn main(ctx: Context, args: Args) -> Result<()> {
//!     let count: u32 = args.parse(0)?;
//!     let circles = (0..count).map(|r| Circle { r: f64::from(r) });
//!     let areas: Vec<ObjectRef<f64>> = circles.map(|c| area::submit(&ctx, c)).collect();
//!     let total: f64 = ctx.get_all(&areas).await?.iter().sum();
//!     println!("{total}");
//!     Ok(())
//! }
//! ```
//!
//! Started by hand, a program with the feature `client` is the client of a cluster: its main function runs there and then, and
//! its tasks and actors in the cluster.
//!
//! What holds inside: no user's code runs on the thread that hears the node; whoever waits for an answer writes what is
//! queued by itself; a value is read where it is, and what it is read from stays until it is dropped.
#![deny(unsafe_code)]

#[cfg(test)]
extern crate self as tandem;

mod actor;
mod apart;
mod args;
mod attached;
mod calls;
#[cfg(feature = "client")]
mod client;
mod context;
mod error;
mod executor;
mod getting;
#[cfg(doctest)]
mod guide;
mod inputs;
mod memory;
mod object_ref;
mod objects;
mod outbox;
mod placement;
pub mod prelude;
mod process;
mod registry;
mod resources;
mod space;
mod sql;
mod sync;
mod table;
mod task;
#[cfg(feature = "texts")]
pub mod texts;
mod transport;
mod value;

pub use actor::{ActorHandle, ActorPool, CompletedCalls, NewPool, PoolCalls, Spawn};
pub use anyhow::{self, bail, ensure};
pub use args::{ArgError, Args};
pub use bytes::Bytes;
pub use context::{Context, Waited};
pub use error::BoxError;
pub use getting::{Get, GetAll};
pub use object_ref::ObjectRef;
pub use placement::{Bundle, NewPlacementGroup, PlacementGroup, Strategy};
pub use resources::{Resources, cpus, gpus};
pub use sql::Sql;
pub use table::{MapBatches, MapOnActors, Table, TableOnActors};
pub use tandem_actor_protocol::failure::{Failure, FailureKind};
pub use tandem_macros::{actor, main, method, task};
pub use task::{Argument, IntoArg, ObjectStream, Retry, TaskCall, Yield};
pub use value::{Batches, Data};

/// What a fallible function of a program returns.
pub type Result<T, E = anyhow::Error> = std::result::Result<T, E>;

/// The types of Arrow, as far as values need them; those of the crate `arrow` are the same.
pub mod arrow {
    pub use arrow_array::{self as array, RecordBatch};
    pub use arrow_buffer as buffer;
    pub use arrow_schema::{self as datatypes, ArrowError, DataType, Field, Schema, SchemaRef};
}

/// What the macros write.
#[doc(hidden)]
pub mod __private {
    pub use crate::actor::{Actor, ActorRef, Class, Create, Method, MethodCall, find};
    pub use crate::error::returned;
    pub use crate::executor::{Driver, main, require};
    pub use crate::inputs::{CallOutcome, Inputs, Outputs};
    pub use crate::registry::{Code, Function};
    pub use crate::task::{Many, One, Returns, Streamed};
    pub use crate::value::{Fetched, ValueBuilder, ValueError};
    pub use inventory;
    pub use serde;
    pub use std;

    /// A future that stays on its thread.
    pub type LocalFuture<'a, T> = std::pin::Pin<Box<dyn std::future::Future<Output = T> + 'a>>;
}
