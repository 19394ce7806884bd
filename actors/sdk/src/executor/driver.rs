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

/// Refuses to begin without these variables, and names all that are missing.
///
/// # Errors
/// When one is not set, or empty.
pub fn require(names: &[&str]) -> Result<(), Failure> {
    let is_missing = |name: &&&str| std::env::var_os(name).is_none_or(|value| value.is_empty());
    let missing: Vec<String> = names.iter().filter(is_missing).map(|name| format!("`{name}`")).collect();
    match missing.as_slice() {
        [] => Ok(()),
        [one] => Err(not_set(&format!("the variable {one} is"))),
        all => Err(not_set(&format!("the variables {} are", all.join(", ")))),
    }
}

fn not_set(what: &str) -> Failure {
    let message = format!("{what} not set: give each with `--env NAME=VALUE` or `--secret NAME`");
    Failure::new(FailureKind::Mismatch, "", message)
}
