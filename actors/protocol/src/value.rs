//! Values that pass between processes: arguments, results, objects.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tandem_arena::{Location, ObjectId};

/// A value, in whatever form its bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// Where its bytes are.
    pub body: Body,
    /// Objects that the value names: they live as long as it does.
    pub refs: Vec<ObjectId>,
}

/// Where the bytes of a value are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Here, no more than [`INLINE_BYTES`](crate::INLINE_BYTES).
    Inline {
        /// How to read them.
        format: Format,
        /// The bytes.
        bytes: Bytes,
    },
    /// In the job's arena on the receiver's node.
    Shared {
        /// How to read them.
        format: Format,
        /// The name under which they are kept there, chosen by who built them. What an executor gets is pinned for it once
        /// until it unpins this name; what it sends is published under it.
        object: ObjectId,
        /// Where.
        location: Location,
    },
}

/// How the bytes of a value are read. The types on both sides must agree; this catches when they do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Format {
    /// A serde value, by postcard.
    Serde,
    /// Bytes as they are.
    Bytes,
    /// A serde value, as JSON, from those who do not know its type.
    Json,
    /// Record batches of one schema: an Arrow IPC stream without compression, its buffers aligned to 64 bytes.
    Arrow,
}

impl Value {
    /// A value in a message.
    pub fn inline(format: Format, bytes: impl Into<Bytes>) -> Self {
        Self { body: Body::Inline { format, bytes: bytes.into() }, refs: Vec::new() }
    }

    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        match &self.body {
            Body::Inline { bytes, .. } => bytes.len() as u64,
            Body::Shared { location, .. } => location.length,
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How to read its bytes.
    pub fn format(&self) -> Format {
        match self.body {
            Body::Inline { format, .. } | Body::Shared { format, .. } => format,
        }
    }
}
