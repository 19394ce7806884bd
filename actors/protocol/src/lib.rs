//! What a worker says to its executors, they to it, and workers to each other about tasks, actors and objects.
//! Plain data: no clock, no I/O. Both sides are of one version of the messages or of two neighbouring ones.
//!
//! ```text
//!   executor ──ToNode──▶ node of its worker ──PeerMessage──▶ node of another worker
//!            ◀──ToExecutor──                ◀──PeerMessage──
//! ```
//!
//! Order: messages of one direction of one link arrive in the order they were sent. So whoever holds an object may pass it on and
//! forget it at once: the message that passes it on comes before the one that releases it.
//! Evolution: messages are encoded by position, so a new field goes to the end of a message of its own, and a new message to the
//! end of its enum; [`PROTOCOL`] counts up with each change, and a worker serves this one and the one before.
#![deny(unsafe_code)]

pub mod call;
mod codec;
pub mod executor;
pub mod failure;
mod id;
mod link;
pub mod node;
pub mod peer;
mod piece;
pub mod placement;
pub mod resources;
pub mod value;

pub use codec::{DecodeError, MESSAGE_KIND, decode, encode, encode_onto};
pub use id::{ActorId, CallId, PlacementGroupId, ProcessNumber, object_owner};
pub use link::{MAX_MESSAGE_BYTES, link_limits};
pub use piece::{NoPiece, PIECE_BYTES, PIECE_KIND, Piece};
pub use tandem_arena::{ExecutorId, ExtentId, Lease as SpaceLease, LeaseId as SpaceLeaseId, Location, ObjectId};
pub use tandem_proto::{JobId, WorkerId};

/// Version of these messages, sent in [`node::Hello`].
pub const PROTOCOL: u16 = 3;

/// Every program that has our SDK in it has this text, [`PROTOCOL`] at its end, so that what has not is refused before it runs.
pub const SDK_MARK: &str = "tandem-sdk-protocol:3;";

/// Values up to this many bytes travel in messages, larger ones through shared memory.
pub const INLINE_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_names_the_protocol() {
        assert_eq!(SDK_MARK, format!("tandem-sdk-protocol:{PROTOCOL};"));
    }
}
