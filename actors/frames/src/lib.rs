//! The link between a worker and its executors: frames with open files over a Unix stream socket.
//! Each side owns its end. The other end may be broken or hostile: what it sends costs a bounded amount of memory and a
//! bounded number of descriptors, and ends the link with a typed error at worst.
//!
//!   send ─► queue (bounded) ─► writer task ─many frames per call─► socket ─► receiver ─► decoder ─► recv
//!
//! Why so, as ratios of what `examples/transports` measured with both processes sharing one busy core:
//! - A round trip takes a third of the time of a gRPC call over the same kind of socket, and three quarters of that of a
//!   message each way on open gRPC streams. One way, frames of 64 bytes are 90 times as many a second as such calls, frames
//!   of 4 KiB 25 times. Batches on a gRPC stream carry three times as many messages of 64 bytes, for what they leave out, as
//!   each frame passes through the queue by itself, and half as many of 4 KiB.
//! - A task on a runtime of one thread or of many makes no difference (5 %). One thread on each side that blocks in `read`
//!   and batches by itself halves the round trip and triples the small frames a second, but takes a thread for each link
//!   and direction. A worker has many links and does other things, so links are tasks; an executor that wants the other
//!   way has it over the same bytes, with [`BlockingReceiver`] and [`frame_header`].
//! - Spinning makes a round trip a thousand times as long once the two sides share a core, which nobody can rule out.
#![deny(unsafe_code)]

mod attached;
mod batch;
mod blocking;
mod decoder;
mod error;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod incoming;
mod limits;
mod link;
mod listener;
mod pair;
mod queue;
mod receiver;
mod sender;
mod socket;
mod sync;
mod writer;

pub use blocking::BlockingReceiver;
pub use decoder::{Decoded, Decoder, Position};
pub use error::{DecodeError, RecvError, SendError};
pub use frame::{Frame, HEADER_BYTES, frame_header};
pub use limits::Limits;
pub use link::Link;
pub use listener::{BindError, Listener, Peer};
pub use pair::{ChildEnd, inherited, pair};
pub use receiver::FrameReceiver;
pub use sender::FrameSender;
pub use writer::FrameWriter;
