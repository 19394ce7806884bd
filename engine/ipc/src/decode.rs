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

use crate::detach::{detach, detach_array};
use crate::verify;

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
    pub(crate) fn malformed(what: &str) -> Self {
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

    /// Whether it is between two messages.
    pub fn is_between_messages(&self) -> bool {
        matches!(self.state, State::Prefix) && self.gathered.is_empty()
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
        if let Some(values) = self.dictionaries.get_mut(&dictionary.id()) {
            *values = detach_array(values, &body);
        }
        Ok(())
    }

    fn read_batch(&self, message: Message<'_>, body: Bytes) -> Result<RecordBatch, DecodeError> {
        let batch =
            message.header_as_record_batch().ok_or(DecodeError::malformed("a batch message without a batch"))?;
        let schema = self.schema.clone().ok_or(DecodeError::malformed("a batch before the schema"))?;
        verify::record_batch(batch, &body, self.limits)?;
        let body = Buffer::from(body);
        let version = message.version();
        let decoder = RecordBatchDecoder::try_new(&body, batch, schema, &self.dictionaries, &version)?;
        Ok(detach(&decoder.read_record_batch()?, &body)?)
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

#[cfg(test)]
mod tests {
    use arrow::array::{DictionaryArray, Int64Array, ListBuilder, StringArray, StringViewArray, StringViewBuilder};
    use arrow::datatypes::Int32Type;
    use proptest::prelude::*;

    use super::*;
    use crate::{BodyCompression, END_OF_STREAM, Encoder};

    fn batch(rows: usize) -> RecordBatch {
        let text = |i: usize| format!("row {} of the batch", i % 7);
        let texts: Vec<_> = (0..rows).map(text).collect();
        let mut lists = ListBuilder::new(StringViewBuilder::new());
        texts.iter().for_each(|text| lists.append_value([Some(text), None]));
        RecordBatch::try_from_iter([
            ("i", Arc::new(Int64Array::from_iter((0..rows as i64).map(|i| (i % 3 > 0).then_some(i)))) as ArrayRef),
            ("s", Arc::new(StringArray::from(texts.clone()))),
            ("v", Arc::new(StringViewArray::from_iter_values(&texts))),
            ("d", Arc::new(texts.iter().map(String::as_str).collect::<DictionaryArray<Int32Type>>())),
            ("l", Arc::new(lists.finish())),
        ])
        .unwrap()
    }

    fn stream(batches: &[RecordBatch]) -> Vec<u8> {
        stream_with(batches, BodyCompression::Lz4)
    }

    fn stream_with(batches: &[RecordBatch], compression: BodyCompression) -> Vec<u8> {
        let mut encoder = Encoder::new(&batches[0].schema(), compression);
        let mut out = encoder.schema_message().to_vec();
        batches.iter().for_each(|batch| encoder.encode(batch, &mut out).unwrap());
        out.extend(END_OF_STREAM);
        out
    }

    fn decode(bytes: &[u8], piece: usize) -> Result<Vec<RecordBatch>, DecodeError> {
        let mut decoder = Decoder::new();
        let mut batches = Vec::new();
        for piece in bytes.chunks(piece.max(1)) {
            let mut piece = Bytes::copy_from_slice(piece);
            while let Some(batch) = decoder.decode(&mut piece)? {
                batches.push(batch);
            }
        }
        decoder.finish().map(|()| batches)
    }

    #[test]
    fn pieces_of_any_size_give_the_batches() {
        let batches = [batch(100), batch(1), batch(1000)];
        let bytes = stream(&batches);
        for piece in [1, 7, 8, 9, 1000, bytes.len()] {
            assert_eq!(decode(&bytes, piece).unwrap(), batches);
        }
        let plain = stream_with(&batches, BodyCompression::None);
        for piece in [1, 7, 1000, plain.len()] {
            assert_eq!(decode(&plain, piece).unwrap(), batches);
        }
    }

    #[test]
    fn a_decoded_column_holds_no_memory_of_others() {
        let noise = |i: i64| i.wrapping_mul(0x5851_F42D_4C95_7F2D).rotate_left(17);
        let columns: Vec<ArrayRef> =
            (0..8).map(|c| Arc::new(Int64Array::from_iter_values((0..1_000).map(|i| noise(i * 8 + c)))) as _).collect();
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let numbers = RecordBatch::try_from_iter(names.into_iter().zip(columns)).unwrap();
        // Noise does not compress, so that it is in the message as it is either way.
        for compression in [BodyCompression::None, BodyCompression::Lz4] {
            let bytes = stream_with(std::slice::from_ref(&numbers), compression);
            let decoded = decode(&bytes, bytes.len()).unwrap().remove(0);
            assert_eq!(decoded, numbers);
            let held = decoded.get_array_memory_size();
            assert!(held < 2 * 8 * 8_000, "{compression:?}: {held} bytes");
        }
    }

    #[test]
    fn a_stream_without_its_end_is_an_error_wherever_it_was_cut() {
        let bytes = stream(&[batch(10)]);
        for len in 0..bytes.len() {
            assert!(matches!(decode(&bytes[..len], bytes.len()), Err(DecodeError::Truncated)), "cut at {len}");
        }
    }

    #[test]
    fn a_large_batch_becomes_messages_of_bounded_size() {
        let wide = "x".repeat(1 << 20);
        let large =
            RecordBatch::try_from_iter([("s", Arc::new(StringArray::from(vec![wide; 20])) as ArrayRef)]).unwrap();
        let batches = decode(&stream(std::slice::from_ref(&large)), 1 << 20).unwrap();
        assert!(batches.len() > 1);
        assert_eq!(arrow::compute::concat_batches(&large.schema(), &batches).unwrap(), large);
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_allocated() {
        let claim = [CONTINUATION, (u32::MAX - 1).to_le_bytes()].concat();
        assert!(matches!(decode(&claim, 8), Err(DecodeError::TooLarge { .. })));
        let bytes = stream(&[batch(1000)]);
        for limits in [
            DecodeLimits { message_bytes: 100, ..DecodeLimits::default() },
            DecodeLimits { batch_bytes: 1000, ..DecodeLimits::default() },
        ] {
            let error = Decoder::with_limits(limits).decode(&mut Bytes::from(bytes.clone())).unwrap_err();
            assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
        }
    }

    #[test]
    fn nothing_is_accepted_after_an_error_or_the_end() {
        let mut decoder = Decoder::new();
        decoder.decode(&mut Bytes::from_static(b"not a stream at all")).unwrap_err();
        decoder.decode(&mut Bytes::from(stream(&[batch(1)]))).unwrap_err();
        let twice = [stream(&[batch(1)]), stream(&[batch(1)])].concat();
        assert!(matches!(decode(&twice, twice.len()), Err(DecodeError::Malformed { .. })));
    }

    proptest! {
        #[test]
        fn damaged_streams_end_without_a_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in prop::option::of(any::<prop::sample::Index>()),
            piece in 1_usize..5000,
            compression in prop::sample::select(vec![BodyCompression::None, BodyCompression::Lz4]),
        ) {
            let mut bytes = stream_with(&[batch(20), batch(3)], compression);
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
            // Whether it is an error depends on what was hit: a changed value is only another value.
            drop(decode(&bytes, piece));
        }

        #[test]
        fn random_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..2000), piece in 1_usize..100) {
            prop_assert!(decode(&bytes, piece).is_err());
        }

        #[test]
        fn random_messages_are_an_error(bytes in prop::collection::vec(any::<u8>(), 1..500)) {
            let framed = [&CONTINUATION[..], &(bytes.len() as u32).to_le_bytes(), &bytes].concat();
            prop_assert!(decode(&framed, framed.len()).is_err());
        }
    }
}
