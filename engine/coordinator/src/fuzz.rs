//! What must hold of the decoders of this crate whatever bytes they meet. Property tests run these, and by hand the
//! targets in `engine/fuzz`.

use prost::Message;
use tandem_proto::{WorkerId, v1};

pub use crate::journal::fuzz::{journal_record, journal_records};
use crate::wire;

/// Decodes `bytes` as something that a worker says.
pub fn worker_message(bytes: &[u8]) {
    let Ok(message) = v1::WorkerMessage::decode(bytes) else { return };
    if let Some(v1::worker_message::Message::Register(register)) = message.message.clone() {
        drop(wire::registration(register));
    }
    drop(wire::worker_event(WorkerId(1), message));
}
