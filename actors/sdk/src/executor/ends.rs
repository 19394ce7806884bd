//! How calls end.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tandem_actor_protocol::CallId;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;

use super::attempt::Ended;
use crate::inputs::{CallOutcome, Outputs};
use crate::process::Process;
use crate::value::Kept;

/// Tells the node how an attempt ended, without waiting for anything. `name` is the function or method, for people.
pub(crate) fn finish(process: &Arc<Process>, call: CallId, attempt: u32, name: &str, outcome: CallOutcome) {
    process.calls().end(call);
    let (outcome, kept) = match outcome {
        Ok(Outputs { values, kept }) => (Ok(values), kept),
        Err(failure) => (Err(placed(process, attempt, name, failure)), Kept::default()),
    };
    process.transport().post(ToNode::Done { call, attempt, outcome });
    drop(kept);
}

/// The most that a failure tells in one text, in bytes: it travels in a message.
const MAX_TEXT_BYTES: usize = 16 << 10;

/// The failure with what its function does not know, and no longer than it can be sent.
pub(crate) fn placed(process: &Process, attempt: u32, name: &str, failure: Failure) -> Failure {
    let task = if failure.task.is_empty() { name.to_owned() } else { failure.task };
    let worker = process.welcome().worker_name.clone();
    let message = clipped(failure.message);
    let chain = failure.chain.into_iter().map(clipped).collect();
    Failure { message, chain, task, worker, attempts: attempt + 1, ..failure }
}

fn clipped(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let end = (0..=MAX_TEXT_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}

/// What a call that was ended is reported as.
pub(crate) fn ended(ended: Ended, timeout: Option<Duration>) -> Failure {
    match ended {
        Ended::Cancelled => Failure::new(FailureKind::Cancelled, "", "cancelled"),
        Ended::TimedOut => timed_out(timeout.unwrap_or_default()),
        Ended::Panicked(message) => Failure::new(FailureKind::Panicked, "", message),
    }
}

pub(crate) fn timed_out(timeout: Duration) -> Failure {
    Failure::new(FailureKind::TimedOut, "", format!("it took longer than {timeout:?}"))
}

/// Makes sure that what was printed is not mixed up with what the next call prints.
pub(crate) fn flush_output() {
    // Nobody reads it if it cannot be written.
    let _ = std::io::stdout().flush();
}
