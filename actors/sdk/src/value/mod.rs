//! Values on their way between processes.

mod batches;
mod builder;
mod data;
mod kept;
mod refs;

use bytes::Bytes;
use tandem_actor_protocol::value::Format;

pub use batches::Batches;
pub use builder::ValueBuilder;
pub(crate) use builder::{Built, build, build_within};
pub use data::Data;
pub(crate) use kept::Kept;
pub(crate) use refs::{adopting, collect, found, name};

/// A value as it came, in place.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub(crate) format: Format,
    pub(crate) bytes: Bytes,
}

impl Fetched {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Why bytes are not a value of the expected type, or a value cannot be bytes.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// They are of another kind.
    #[error("a value in the form {found:?} where {expected} is expected")]
    Format {
        /// What came.
        found: Format,
        /// What the type is read from.
        expected: &'static str,
    },
    /// They are not of this type.
    #[error("not a value of type {type_name}: {reason}")]
    Malformed {
        /// The type that was expected.
        type_name: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be written.
    #[error("a value of type {type_name} cannot be sent: {reason}")]
    Unwritable {
        /// Its type.
        type_name: &'static str,
        /// What is wrong.
        reason: String,
    },
}
