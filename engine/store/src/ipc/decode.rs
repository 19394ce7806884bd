//! Decodes an IPC stream that arrives in pieces of any size, from a peer that may be broken or hostile.
//! Invariants: memory grows only with bytes that did arrive, by no more than LZ4 can expand them; no bytes make it
//! panic; after an error or the end it accepts nothing more.
//!
//!   Prefix ─► Metadata ─► Body ─► Prefix …        any ─error─► Failed
//!      └──end mark──► Finished

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow_ipc::convert::{MessageBuffer, fb_to_schema};
use arrow_ipc::reader::{RecordBatchDecoder, read_dictionary};
use arrow_ipc::{Message, MessageHeader};
use bytes::{Bytes, BytesMut};

use super::verify;

const PREFIX_BYTES: usize = 8;
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Metadata is some 32 bytes a column and buffer, a schema some hundred bytes a column.
const MAX_METADATA_BYTES: u64 = 16 << 20;
/// How far ahead of the bytes that arrived memory is reserved.
const RESERVE_BYTES: usize = 1 << 20;

/// Why bytes are not a valid stream.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes break the format.
    #[error("malformed record batch stream: {what}")]
    Malformed {
        /// What was met.
        what: String,
    },
    /// A message is larger than it may be.
    #[error("record batch stream has a message of {bytes} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The bytes ended before the stream did.
    #[error("record batch stream ended early")]
    Truncated,
    /// Arrow refused a message.
    #[error("record batch stream cannot be decoded: {0}")]
    Arrow(#[from] ArrowError),
}

impl DecodeError {
    pub(super) fn malformed(what: &str) -> Self {
        Self::Malformed { what: what.to_owned() }
    }
}

/// What one message may take.
#[derive(Debug, Clone, Copy)]
pub struct DecodeLimits {
    /// Bytes of a message body as it is sent. Default 2 GiB.
    pub message_bytes: u64,
    /// Bytes of a batch when it is decompressed. Default 4 GiB.
    pub batch_bytes: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { message_bytes: 2 << 30, batch_bytes: 4 << 30 }
    }
}

/// Turns pieces of a stream into batches. One decoder reads one stream.
#[derive(Debug, Default)]
pub struct Decoder {
    limits: DecodeLimits,
    state: State,
    /// The part of a metadata or body block that came with earlier pieces.
    gathered: BytesMut,
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Prefix,
    Metadata {
        len: usize,
    },
    Body {
        message: MessageBuffer,
        len: usize,
    },
    Finished,
    Failed,
}

impl Decoder {
    /// A decoder with the default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder with other limits.
    pub fn with_limits(limits: DecodeLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The schema, once it was read.
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }

    /// Takes bytes from `piece` until a batch is complete or `piece` is empty.
    pub fn decode(&mut self, piece: &mut Bytes) -> Result<Option<RecordBatch>, DecodeError> {
        let result = self.advance(piece);
        if result.is_err() {
            self.state = State::Failed;
            self.gathered = BytesMut::new();
        }
        result
    }

    /// Whether the stream came to its end.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.state {
            State::Finished => Ok(()),
            State::Prefix | State::Metadata { .. } | State::Body { .. } | State::Failed => Err(DecodeError::Truncated),
        }
    }

    fn advance(&mut self, piece: &mut Bytes) -> Result<Option<RecordBatch>, DecodeError> {
        loop {
            self.state = match std::mem::replace(&mut self.state, State::Failed) {
                State::Prefix => match self.take(PREFIX_BYTES, piece) {
                    Some(prefix) => read_prefix(&prefix)?,
                    None => return Ok(self.wait(State::Prefix)),
                },
                State::Metadata { len } => match self.take(len, piece) {
                    Some(metadata) => read_metadata(metadata, self.limits)?,
                    None => return Ok(self.wait(State::Metadata { len })),
                },
                State::Body { message, len } => match self.take(len, piece) {
                    Some(body) => {
                        let batch = self.read_message(&message, body)?;
                        self.state = State::Prefix;
                        if batch.is_some() {
                            return Ok(batch);
                        }
                        State::Prefix
                    }
                    None => return Ok(self.wait(State::Body { message, len })),
                },
                State::Finished if piece.is_empty() => return Ok(self.wait(State::Finished)),
                State::Finished => return Err(DecodeError::malformed("bytes after the end")),
                State::Failed => return Err(DecodeError::malformed("bytes after an error")),
            };
        }
    }

    /// Goes on with `state` when more bytes come.
    fn wait(&mut self, state: State) -> Option<RecordBatch> {
        self.state = state;
        None
    }

    /// The next `len` bytes, without copying when one piece has them all; none until they are there.
    fn take(&mut self, len: usize, piece: &mut Bytes) -> Option<Bytes> {
        if self.gathered.is_empty() && piece.len() >= len {
            return Some(piece.split_to(len));
        }
        let missing = len - self.gathered.len();
        if self.gathered.capacity() < len {
            self.gathered.reserve(missing.min(RESERVE_BYTES.max(self.gathered.len())));
        }
        self.gathered.extend_from_slice(&piece.split_to(missing.min(piece.len())));
        (self.gathered.len() == len).then(|| std::mem::take(&mut self.gathered).freeze())
    }

    fn read_message(&mut self, message: &MessageBuffer, body: Bytes) -> Result<Option<RecordBatch>, DecodeError> {
        // Arrow checks most of what it reads; what it asserts instead must not take the worker down.
        catch_unwind(AssertUnwindSafe(|| self.apply_message(message.as_ref(), body)))
            .unwrap_or_else(|_| Err(DecodeError::malformed("a message that Arrow gave up on")))
    }

    fn apply_message(&mut self, message: Message<'_>, body: Bytes) -> Result<Option<RecordBatch>, DecodeError> {
        match message.header_type() {
            MessageHeader::Schema => self.read_schema(message).map(|()| None),
            MessageHeader::DictionaryBatch => self.read_dictionary(message, body).map(|()| None),
            MessageHeader::RecordBatch => self.read_batch(message, body).map(Some),
            _ => Err(DecodeError::malformed("an unknown kind of message")),
        }
    }

    fn read_schema(&mut self, message: Message<'_>) -> Result<(), DecodeError> {
        let schema = message.header_as_schema().ok_or(DecodeError::malformed("a schema message without a schema"))?;
        if self.schema.is_some() {
            return Err(DecodeError::malformed("a second schema"));
        }
        self.schema = Some(Arc::new(fb_to_schema(schema)));
        Ok(())
    }

    fn read_dictionary(&mut self, message: Message<'_>, body: Bytes) -> Result<(), DecodeError> {
        let dictionary = message.header_as_dictionary_batch();
        let dictionary = dictionary.ok_or(DecodeError::malformed("a dictionary message without a dictionary"))?;
        let schema = self.schema.as_ref().ok_or(DecodeError::malformed("a dictionary before the schema"))?;
        verify::dictionary(dictionary, &body, self.limits)?;
        let body = Buffer::from(body);
        read_dictionary(&body, dictionary, schema, &mut self.dictionaries, &message.version())?;
        Ok(())
    }

    fn read_batch(&self, message: Message<'_>, body: Bytes) -> Result<RecordBatch, DecodeError> {
        let batch = message.header_as_record_batch().ok_or(DecodeError::malformed("a batch message without a batch"))?;
        let schema = self.schema.clone().ok_or(DecodeError::malformed("a batch before the schema"))?;
        verify::record_batch(batch, &body, self.limits)?;
        let body = Buffer::from(body);
        let version = message.version();
        let decoder = RecordBatchDecoder::try_new(&body, batch, schema, &self.dictionaries, &version)?;
        Ok(decoder.read_record_batch()?)
    }
}

fn read_prefix(prefix: &[u8]) -> Result<State, DecodeError> {
    let len = match prefix.split_first_chunk::<4>() {
        Some((&CONTINUATION, &[a, b, c, d])) => u32::from_le_bytes([a, b, c, d]),
        _ => return Err(DecodeError::malformed("no message where one should start")),
    };
    match u64::from(len) {
        0 => Ok(State::Finished),
        bytes if bytes > MAX_METADATA_BYTES => Err(DecodeError::TooLarge { bytes, limit: MAX_METADATA_BYTES }),
        _ => Ok(State::Metadata { len: len as usize }),
    }
}

fn read_metadata(metadata: Bytes, limits: DecodeLimits) -> Result<State, DecodeError> {
    let message = MessageBuffer::try_new(Buffer::from(metadata))?;
    let claimed = message.as_ref().bodyLength();
    let bytes = u64::try_from(claimed).map_err(|_| DecodeError::malformed("a negative body length"))?;
    if bytes > limits.message_bytes {
        return Err(DecodeError::TooLarge { bytes, limit: limits.message_bytes });
    }
    Ok(State::Body { message, len: bytes as usize })
}
