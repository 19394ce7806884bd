//! Ids of calls, actors and objects. The submitter chooses them, so that submitting needs no answer.
//!
//! ```text
//!   ObjectId:  owner worker 64 │ process 24 │ number 40
//! ```
//!
//! The owner is the worker of the process that made the id; a process gets its number from its worker and never one that
//! another process had. A call has the id of the first object it returns, the others follow it. An actor has the id of
//! the call that creates it, whose object is ready when the actor is; a placement group that of an object that is ready when the
//! group is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tandem_arena::ObjectId;
use tandem_proto::WorkerId;

/// Which process of a worker made an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessNumber(pub u32);

impl ProcessNumber {
    /// The largest there is.
    pub const MAX: Self = Self((1 << 24) - 1);

    /// The `number`th object of this process on `worker`.
    pub fn object(self, worker: WorkerId, number: u64) -> ObjectId {
        debug_assert!(self <= Self::MAX && number < 1 << 40);
        ObjectId(u128::from(worker.0) << 64 | u128::from(self.0) << 40 | u128::from(number))
    }

    /// The process that made `object`.
    pub fn of(object: ObjectId) -> Self {
        Self((object.0 >> 40) as u32 & Self::MAX.0)
    }
}

/// The worker that owns `object`: it knows where it is, who holds it and how it is made again.
pub fn object_owner(object: ObjectId) -> WorkerId {
    WorkerId((object.0 >> 64) as u64)
}

macro_rules! call_like {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u128);

        impl $name {
            /// The worker that owns it.
            pub fn owner(self) -> WorkerId {
                object_owner(ObjectId(self.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:032x}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.strip_prefix($prefix)
                    .filter(|digits| digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
                    .and_then(|digits| u128::from_str_radix(digits, 16).ok())
                    .map(Self)
                    .ok_or_else(|| ParseIdError { text: text.to_owned(), prefix: $prefix })
            }
        }
    };
}

call_like!(
    /// One call of a task's function or an actor's method, over all its attempts.
    CallId,
    "t"
);
call_like!(
    /// One actor, over all its restarts.
    ActorId,
    "a"
);
call_like!(
    /// One placement group.
    PlacementGroupId,
    "p"
);

impl CallId {
    /// Its `index`th object.
    pub fn object(self, index: u32) -> ObjectId {
        ObjectId(self.0 + u128::from(index))
    }
}

impl ActorId {
    /// The call that creates it.
    pub fn creation(self) -> CallId {
        CallId(self.0)
    }
}

impl PlacementGroupId {
    /// The object that is ready when the group is.
    pub fn object(self) -> ObjectId {
        ObjectId(self.0)
    }
}

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id (it looks like `{prefix}` and 32 hexadecimal digits)")]
pub struct ParseIdError {
    text: String,
    prefix: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_their_owner_and_process() {
        let worker = WorkerId(0xfedc_ba98_7654_3210);
        let object = ProcessNumber::MAX.object(worker, (1 << 40) - 1);
        assert_eq!((object_owner(object), ProcessNumber::of(object)), (worker, ProcessNumber::MAX));
        let call = CallId(ProcessNumber(7).object(worker, 5).0);
        assert_eq!(call.object(2), ProcessNumber(7).object(worker, 7));
        assert_eq!(call.to_string().parse(), Ok(call));
        assert!("t12".parse::<CallId>().is_err() && call.to_string().parse::<ActorId>().is_err());
    }
}
