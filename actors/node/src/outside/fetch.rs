//! Values of other jobs on their way into the arena of this one.

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::value::Format;
use tandem_actor_protocol::{CallId, JobId, ObjectId};
use tandem_arena::Holder;

use crate::context::Context;
use crate::job::Job;
use crate::objects::Stored;

/// What a value is there, and what it becomes here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FromOutside {
    pub(crate) job: JobId,
    pub(crate) object: ObjectId,
    pub(crate) format: Format,
    pub(crate) becomes: Becomes,
}

/// What a value of another job becomes here.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Becomes {
    /// The value of the object that it is fetched as.
    Object,
    /// One of the results of a call of an actor of that job.
    Result { call: CallId, index: u32 },
}

impl Job {
    /// The bytes of such a value are here under a name in the arena, or could not be had.
    pub(crate) fn fetched_outside(
        &mut self,
        cx: &mut Context<'_>,
        object: ObjectId,
        outside: FromOutside,
        outcome: Result<(ObjectId, u64), Failure>,
    ) {
        let outcome = outcome.map(|(name, length)| Stored::local(outside.format, name, length, Vec::new()));
        match outside.becomes {
            Becomes::Result { call, index } => self.result_from_outside(cx, call, index, outcome),
            Becomes::Object => match outcome {
                Ok(stored) if self.is_pending(object) => self.make_object(cx, object, stored),
                Ok(stored) => self.give_up(&stored),
                Err(failure) => self.break_object(object, failure.into()),
            },
        }
    }

    /// Nobody wants a value that is in the arena here.
    pub(super) fn give_up(&mut self, stored: &Stored) {
        if let Some(name) = stored.name() {
            self.unpin(Holder::Worker, name);
        }
    }
}

/// Why a value of another job is not here.
pub(crate) fn unreadable(reason: String) -> Failure {
    Failure::new(FailureKind::ObjectLost, "", format!("a value of another job cannot be read: {reason}"))
}
