//! How both sides set up the link.

use tandem_frames::Limits;

/// The largest message, in bytes: a call with a thousand arguments of the size that still travels in messages.
pub const MAX_MESSAGE_BYTES: u32 = 64 << 20;

/// Limits of the link between a worker and an executor, the same on both sides. One descriptor goes with
/// [`ToExecutor::Extent`](crate::executor::ToExecutor::Extent), none the other way.
pub fn link_limits() -> Limits {
    Limits { payload_bytes: MAX_MESSAGE_BYTES, descriptors: 1, ..Limits::default() }
}
