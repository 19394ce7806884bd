//! Record batches as an Arrow IPC stream, and back: what travels between workers and to clients, and lies in spill files.
//! A stream is a schema message, then for each batch its dictionaries and the batch, with or without LZ4 bodies, then the end
//! mark. A batch repeats its dictionaries, so that any run of batches is a valid stream after the schema.

mod compact;
mod decode;
mod detach;
mod encode;
#[doc(hidden)]
pub mod fuzz;
mod schema;
mod stream;
mod verify;

pub use compact::compact;
pub use decode::{DecodeError, DecodeLimits, Decoder};
pub use encode::{BodyCompression, END_OF_STREAM, Encoder};
pub use schema::{decode_schema, encode_schema};
pub use stream::BatchStream;

/// Largest piece of a stream that is handed out; fits a transport message with room to spare.
pub const PIECE_BYTES: usize = 1 << 20;
