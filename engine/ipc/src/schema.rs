//! A schema alone: the first message of a stream.

use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;

use crate::{BodyCompression, DecodeError, Decoder, Encoder};

/// The message for `schema`.
pub fn encode_schema(schema: &Schema) -> Vec<u8> {
    Encoder::new(schema, BodyCompression::None).schema_message().to_vec()
}

/// The schema in `message`, which has nothing else.
pub fn decode_schema(message: &[u8]) -> Result<SchemaRef, DecodeError> {
    let mut decoder = Decoder::new();
    let batch = decoder.decode(&mut Bytes::copy_from_slice(message))?;
    if batch.is_some() || !decoder.is_between_messages() {
        return Err(DecodeError::Truncated);
    }
    decoder.schema().cloned().ok_or(DecodeError::Truncated)
}
