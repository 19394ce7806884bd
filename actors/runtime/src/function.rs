//! Calls of functions by stages that run beside them.

use tandem_actor_protocol::JobId;
use tandem_actor_protocol::value::Value;
use tandem_node::Event;

use crate::room::{Part, Source, Ticket};

/// A call with its arguments in place.
#[derive(Debug)]
pub(crate) struct FunctionCall {
    pub(crate) ticket: u64,
    pub(crate) job: JobId,
    /// The number of the place that it runs in, if its caller has one.
    pub(crate) place: Option<u64>,
    pub(crate) function: String,
    pub(crate) args: Vec<Value>,
    pub(crate) returns: u32,
}

impl From<FunctionCall> for Event {
    fn from(call: FunctionCall) -> Self {
        let FunctionCall { ticket, job, place, function, args, returns } = call;
        Self::FunctionWanted { ticket, job, place, function, args, returns }
    }
}

/// What a function returned, pinned until it is dropped.
#[derive(Debug)]
pub(crate) struct Returned {
    sources: Vec<Source>,
    _ticket: Ticket,
}

impl Returned {
    pub(crate) fn new(sources: Vec<Source>, ticket: Ticket) -> Self {
        Self { sources, _ticket: ticket }
    }

    /// Copies the values.
    pub(crate) async fn read(mut self) -> std::io::Result<Vec<Part>> {
        let mut parts = Vec::with_capacity(self.sources.len());
        for source in std::mem::take(&mut self.sources) {
            parts.push(source.read().await?);
        }
        Ok(parts)
    }
}
