//! How a link fails, split by what its owner does next.

use std::io;

/// What the other side sent is not a sequence of frames. It is broken or hostile: end the link and the process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A payload is longer than the reader takes.
    #[error("frame of kind {kind} has a payload of {bytes} bytes, more than the {limit} allowed")]
    TooLong {
        /// The kind that the header names.
        kind: u16,
        /// The length that the header names.
        bytes: u32,
        /// The reader's limit.
        limit: u32,
    },
    /// A frame comes with more descriptors than the reader takes.
    #[error("frame of kind {kind} comes with {count} descriptors, more than the {limit} allowed")]
    TooManyDescriptors {
        /// The kind that the header names.
        kind: u16,
        /// The count that the header names.
        count: u8,
        /// The reader's limit.
        limit: u8,
    },
    /// The header's last byte, which has no meaning yet, is set.
    #[error("frame of kind {kind} has a reserved byte of {byte}")]
    Reserved {
        /// The kind that the header names.
        kind: u16,
        /// What was met.
        byte: u8,
    },
    /// Descriptors came that no frame's header names, or a frame came without those that its header names.
    #[error("{came} descriptors came where {named} were named")]
    Descriptors {
        /// How many there are.
        came: usize,
        /// How many there should be.
        named: usize,
    },
    /// The system dropped descriptors: too many came at once, or this process has no room for more open files.
    #[error("descriptors were lost on the way: too many at once, or too many files are open here")]
    DescriptorsLost,
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
}

/// Why no frame can be received any more.
#[derive(Debug, thiserror::Error)]
pub enum RecvError {
    /// The other side broke the format.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The socket failed. A peer that died before it read all that was written to it shows as a reset connection.
    #[error("cannot receive from the link: {0}")]
    Io(#[from] io::Error),
}

/// Why a frame was not taken for sending.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The link was closed here or has failed; what failed is the writer's result.
    #[error("the link is closed")]
    Closed,
    /// The queue has no room now; only `try_send` says so.
    #[error("the link's queue is full")]
    Full,
    /// The payload is longer than the link's limit. A bug of the caller.
    #[error("payload of {bytes} bytes is longer than the {limit} that the link allows")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: u32,
    },
    /// There are more descriptors than the link's limit. A bug of the caller.
    #[error("{count} descriptors are more than the {limit} that the link allows with a frame")]
    TooManyDescriptors {
        /// How many there are.
        count: usize,
        /// The limit.
        limit: u8,
    },
}

impl SendError {
    /// Whether the same frame may be taken later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Full => true,
            Self::Closed | Self::TooLong { .. } | Self::TooManyDescriptors { .. } => false,
        }
    }
}
