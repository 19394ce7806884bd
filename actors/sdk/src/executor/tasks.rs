//! Runs tasks, one at a time, in the order in which they came.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tokio::runtime::Runtime;

use super::attempt::{Attempt, Ended};
use super::ends::{ended, finish, flush_output, timed_out};
use super::environment::Variables;
use super::panics;
use super::watchdog::Watchdog;
use super::work::{Job, Work};
use crate::calls::{Call, within};
use crate::context::Context;
use crate::inputs::{CallOutcome, Inputs};
use crate::process::Process;
use crate::registry::{self, Code};

/// How much longer than it may an async function can take before its process is ended, because it never waits.
const STUCK: Duration = Duration::from_secs(1);
/// How this process ends itself.
const STUCK_CODE: i32 = 4;

/// Runs tasks until nothing more comes.
pub(crate) fn run(process: &Arc<Process>, runtime: &Runtime) {
    let watchdog = Watchdog::default();
    while let Some(work) = process.work().next() {
        match work {
            Work::Run(job) => run_task(process, runtime, &watchdog, job),
            Work::Start(birth) => {
                let failure = Failure::new(FailureKind::Mismatch, "", "this process runs no actors");
                finish(process, birth.call.id, birth.attempt, &birth.class, Err(failure));
            }
            Work::Taken(_) | Work::End(_) => {}
        }
        if process.work().is_empty() {
            process.transport().flush();
        }
    }
}

fn run_task(process: &Arc<Process>, runtime: &Runtime, watchdog: &Watchdog, job: Job) {
    let Job { call, attempt, function: name, args, returns, timeout_ms, environment, .. } = job;
    process.transport().post(ToNode::Began(call.id));
    let outcome = match registry::function(&name) {
        None => Err(unknown(&name)),
        Some(function) => {
            let timeout = (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms));
            let _watched = timeout.map(|timeout| {
                let spare = if matches!(function.code, Code::Async(_)) { STUCK } else { Duration::ZERO };
                let (process, call, name) = (Arc::clone(process), call.id, name.clone());
                watchdog.arm(timeout.saturating_add(spare), move || {
                    finish(&process, call, attempt, &name, Err(timed_out(timeout)));
                    process.transport().flush();
                    std::process::exit(STUCK_CODE);
                })
            });
            let _variables = Variables::set(environment);
            let inputs = Inputs::new(Arc::clone(process), args);
            let ctx = Context::new(Arc::clone(process), Some(Arc::clone(&call)));
            match function.code {
                Code::Plain(code) => run_plain(&call, || code(inputs, ctx)),
                Code::Async(code) => {
                    runtime.block_on(async { run_async(process, &call, timeout, code(inputs, ctx)).await })
                }
            }
        }
    };
    flush_output();
    finish(process, call.id, attempt, &name, outcome.and_then(|outputs| counted(process, outputs, returns)));
}

/// Runs code that may block this thread.
pub(crate) fn run_plain<T>(call: &Arc<Call>, code: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    if call.is_cancelled() {
        return Err(ended(Ended::Cancelled, None));
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| within(call, code)));
    outcome.unwrap_or_else(|payload| Err(ended(Ended::Panicked(panics::message(&*payload)), None)))
}

/// Runs code that waits.
pub(crate) async fn run_async<T>(
    process: &Arc<Process>,
    call: &Arc<Call>,
    timeout: Option<Duration>,
    code: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let attempt = Attempt::new(Arc::clone(process), Arc::clone(call), timeout, code).await;
    attempt.unwrap_or_else(|why| Err(ended(why, timeout)))
}

/// Outcomes are as many as the caller expects: one more than there are is nothing, and says that the call has ended.
pub(crate) fn counted(process: &Arc<Process>, outputs: crate::inputs::Outputs, returns: u32) -> CallOutcome {
    let count = outputs.values.len();
    if count == returns as usize {
        return Ok(outputs);
    }
    if count + 1 == returns as usize {
        return outputs.and(&Context::new(Arc::clone(process), None), &());
    }
    Err(Failure::new(FailureKind::Mismatch, "", format!("it returns {count} values where {returns} are expected")))
}

fn unknown(name: &str) -> Failure {
    let message = format!("there is no function `{name}` in this program; `--list` prints those that there are");
    Failure::new(FailureKind::NotFound, name, message)
}
