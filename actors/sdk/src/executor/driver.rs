//! Runs the main program.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tokio::runtime::Runtime;

use super::ends::{flush_output, placed};
use super::panics;
use crate::args::Args;
use crate::context::Context;
use crate::getting::Flushing;
use crate::process::Process;

/// A main program.
pub type Driver = fn(Context, Args) -> LocalBoxFuture<'static, Result<(), Failure>>;

/// Runs it and tells the node, and the caller, how it ended.
pub(crate) fn run(process: &Arc<Process>, runtime: &Runtime, main: Driver, args: Vec<String>) -> Result<(), Failure> {
    let ctx = Context::new(Arc::clone(process), None);
    let future = AssertUnwindSafe(async { main(ctx, Args::from(args)).await }).catch_unwind();
    let outcome = runtime.block_on(Flushing { process: Arc::clone(process), future: Box::pin(future) });
    let outcome = outcome
        .unwrap_or_else(|payload| Err(Failure::new(FailureKind::Panicked, "", panics::message(&*payload))))
        .map_err(|failure| placed(process, 0, "the main program", failure));
    flush_output();
    process.send(ToNode::DriverDone(outcome.clone()));
    process.transport().flush();
    outcome
}
