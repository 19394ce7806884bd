//! Arrow IPC as it comes from the network: pieces of bytes in, record batches out.

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::Schema;
use arrow_ipc::reader::StreamDecoder;
use bytes::Bytes;

use crate::error::ClientError;

/// Decodes one IPC stream. Pieces may end anywhere.
#[derive(Default)]
pub(crate) struct IpcPieces {
    decoder: StreamDecoder,
    rest: Buffer,
}

impl IpcPieces {
    /// Adds the next piece. Call only when [`Self::next_batch`] gave none.
    pub(crate) fn push(&mut self, piece: Bytes) {
        debug_assert!(self.rest.is_empty(), "the last piece is not used up");
        self.rest = Buffer::from(piece);
    }

    /// The next whole batch in what was pushed so far.
    pub(crate) fn next_batch(&mut self) -> Result<Option<RecordBatch>, ClientError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.decoder.decode(&mut self.rest).map_err(|error| ClientError::Protocol(error.to_string()))
    }
}

/// The schema in `JobStatus.result_schema`.
pub(crate) fn decode_schema(message: &[u8]) -> Result<Schema, ClientError> {
    arrow_ipc::convert::try_schema_from_ipc_buffer(message)
        .or_else(|_| arrow_ipc::convert::try_schema_from_flatbuffer_bytes(message))
        .map_err(|error| ClientError::Protocol(format!("the schema of the result: {error}")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field};
    use arrow_ipc::writer::StreamWriter;
    use proptest::prelude::*;

    use super::*;

    fn batches() -> Vec<RecordBatch> {
        let schema =
            Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false), Field::new("s", DataType::Utf8, true)]));
        (0..3)
            .map(|part| {
                let numbers = Int64Array::from_iter_values(part * 10..part * 10 + 5);
                let texts: StringArray = (0..5).map(|i| (i % 2 == 0).then(|| format!("{part}-{i}"))).collect();
                RecordBatch::try_new(schema.clone(), vec![Arc::new(numbers), Arc::new(texts)]).unwrap()
            })
            .collect()
    }

    proptest! {
        #[test]
        fn batches_survive_any_cut(sizes in proptest::collection::vec(1usize..200, 1..50)) {
            let expected = batches();
            let mut writer = StreamWriter::try_new(Vec::new(), &expected[0].schema()).unwrap();
            for batch in &expected {
                writer.write(batch).unwrap();
            }
            let mut rest = Bytes::from(writer.into_inner().unwrap());
            let mut pieces = IpcPieces::default();
            let mut found = Vec::new();
            let mut sizes = sizes.into_iter().cycle();
            while !rest.is_empty() {
                let size = sizes.next().unwrap().min(rest.len());
                pieces.push(rest.split_to(size));
                while let Some(batch) = pieces.next_batch().unwrap() {
                    found.push(batch);
                }
            }
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn garbage_is_an_error_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut pieces = IpcPieces::default();
            pieces.push(Bytes::from(bytes.clone()));
            while let Ok(Some(_)) = pieces.next_batch() {}
            let _ = decode_schema(&bytes);
        }
    }
}
