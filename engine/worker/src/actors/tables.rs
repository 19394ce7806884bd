//! Rows as the bytes of objects: Arrow IPC streams whose buffers are aligned, so that executors read them in place. They are put
//! together where the object is, so that rows are copied once.

use arrow::buffer::Buffer;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::writer::{IpcWriteOptions, StreamEncoder};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use tandem_ipc::{DecodeError, Decoder};

/// What readers of Arrow values expect, to read them where they are.
const ALIGNMENT: usize = 64;

/// Rows of one schema.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) schema: SchemaRef,
    pub(super) batches: Vec<RecordBatch>,
}

/// The parts of one stream. Those that have rows are the buffers of these.
///
/// # Errors
/// When Arrow refuses.
pub(super) fn encode(schema: &Schema, batches: &[RecordBatch]) -> Result<Vec<Bytes>, ArrowError> {
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
    let mut encoder = StreamEncoder::try_new_with_options(schema, options)?;
    let mut parts = Vec::new();
    for batch in batches {
        parts.extend(encoder.encode(batch)?);
    }
    parts.extend(encoder.finish()?);
    Ok(parts.into_iter().map(|part| Bytes::from_owner(Part(part))).collect())
}

struct Part(Buffer);

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// The rows that a stream of an executor has, which may be broken or hostile.
///
/// # Errors
/// When they are none.
pub(super) fn decode(mut bytes: Bytes) -> Result<Table, DecodeError> {
    let mut decoder = Decoder::new();
    let mut batches = Vec::new();
    while let Some(batch) = decoder.decode(&mut bytes)? {
        batches.push(batch);
    }
    decoder.finish()?;
    let schema = decoder.schema().cloned().ok_or(DecodeError::Truncated)?;
    Ok(Table { schema, batches })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow::array::{Int64Array, StringArray};

    #[test]
    fn rows_come_back() {
        let numbers = Arc::new(Int64Array::from_iter_values(0..1000));
        let texts = Arc::new(StringArray::from_iter((0..1000).map(|i| (i % 7 > 0).then(|| format!("row {i}")))));
        let batch = RecordBatch::try_from_iter_with_nullable([("n", numbers as _, false), ("t", texts as _, true)]);
        let batch = batch.unwrap();
        for batches in [vec![], vec![batch.clone()], vec![batch.slice(3, 10), batch.clone()]] {
            let parts = encode(&batch.schema(), &batches).unwrap();
            let decoded = decode(parts.concat().into()).unwrap();
            assert_eq!((decoded.schema, decoded.batches), (batch.schema(), batches));
        }
        assert!(decode(Bytes::from_static(b"rows")).is_err());
        assert!(decode(Bytes::new()).is_err());
    }
}
