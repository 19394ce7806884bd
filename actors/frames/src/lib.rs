//! The link between a worker and its executors: frames with open files over a Unix stream socket.
//! Each side owns its end. The other end may be broken or hostile: what it sends costs a bounded amount of memory and a
//! bounded number of descriptors, and ends the link with a typed error at worst.
//!
//!   send ─► queue (bounded) ─► writer task ─many frames per call─► socket ─► receiver ─► decoder ─► recv
#![deny(unsafe_code)]

mod attached;
mod batch;
mod decoder;
mod error;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod limits;
mod link;
mod listener;
mod pair;
mod queue;
mod receiver;
mod sender;
mod socket;
mod writer;

pub use decoder::{Decoded, Decoder, Position};
pub use error::{DecodeError, RecvError, SendError};
pub use frame::{Frame, HEADER_BYTES};
pub use limits::Limits;
pub use link::Link;
pub use listener::{BindError, Listener, Peer};
pub use pair::{ChildEnd, inherited, pair};
pub use receiver::FrameReceiver;
pub use sender::FrameSender;
pub use writer::FrameWriter;
