//! Which calls of an actor are made in their order.

use std::sync::Arc;

use tandem_actor_protocol::CallId;
use tandem_actor_protocol::call::ConcurrencyGroup;

/// The calls that one process makes in one concurrency group of an actor. They keep their order; those of other lanes may overtake them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lane {
    process: u128,
    group: Option<Arc<ConcurrencyGroup>>,
}

impl Lane {
    pub(crate) fn of(call: CallId, group: Option<&Arc<ConcurrencyGroup>>) -> Self {
        // The rest of the id counts what the process has made.
        Self { process: call.0 >> 40, group: group.cloned() }
    }
}
