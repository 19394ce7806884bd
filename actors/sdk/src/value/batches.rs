//! Arrow record batches as a value: written as an IPC stream where others read it, and read in place.

use std::any::type_name;
use std::ops::Deref;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::MetadataVersion;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};
use tandem_actor_protocol::value::Format;

use super::{Data, Fetched, ValueBuilder, ValueError};

/// What buffers of batches are aligned to, so that they are read where they are.
const ALIGNMENT: usize = 64;

/// Record batches of one schema, which is there even if there are no rows.
///
/// As an argument, result or object they are written once into shared memory and read there by every other process of the
/// job on that worker, without being copied. Where [`Batches`] are expected, a `RecordBatch` can be passed too.
///
/// ```
/// use std::sync::Arc;
/// use tandem::Batches;
/// use tandem::arrow::{RecordBatch, array::Int64Array};
///
/// let column = Arc::new(Int64Array::from(vec![1, 2, 3]));
/// let batches = Batches::from(RecordBatch::try_from_iter([("n", column as _)])?);
/// assert_eq!(batches.num_rows(), 3);
/// for batch in &batches {
///     assert_eq!(batch.num_columns(), 1);
/// }
/// # Ok::<(), tandem::anyhow::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Batches {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Batches {
    /// Batches of `schema`.
    ///
    /// # Errors
    /// When one of them has another schema.
    pub fn try_new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Self, ArrowError> {
        match batches.iter().find(|batch| batch.schema_ref().fields() != schema.fields()) {
            None => Ok(Self { schema, batches }),
            Some(batch) => {
                let other = batch.schema_ref();
                Err(ArrowError::SchemaError(format!("a batch has the schema {other:?} among those of {schema:?}")))
            }
        }
    }

    /// Their columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows of all of them.
    pub fn num_rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The batches.
    pub fn into_vec(self) -> Vec<RecordBatch> {
        self.batches
    }
}

impl From<RecordBatch> for Batches {
    fn from(batch: RecordBatch) -> Self {
        Self { schema: batch.schema(), batches: vec![batch] }
    }
}

impl Deref for Batches {
    type Target = [RecordBatch];

    fn deref(&self) -> &[RecordBatch] {
        &self.batches
    }
}

impl IntoIterator for Batches {
    type Item = RecordBatch;
    type IntoIter = std::vec::IntoIter<RecordBatch>;

    fn into_iter(self) -> Self::IntoIter {
        self.batches.into_iter()
    }
}

impl<'a> IntoIterator for &'a Batches {
    type Item = &'a RecordBatch;
    type IntoIter = std::slice::Iter<'a, RecordBatch>;

    fn into_iter(self) -> Self::IntoIter {
        self.batches.iter()
    }
}

impl Data for Batches {
    fn write(&self, to: &mut ValueBuilder<'_>) -> Result<Format, ValueError> {
        let size = self.batches.iter().map(needed_bytes).sum::<usize>();
        let unwritable = |reason: String| ValueError::Unwritable { type_name: type_name::<Self>(), reason };
        // A guess that saves moving.
        if size > tandem_actor_protocol::INLINE_BYTES {
            to.reserve(size + size / 8).map_err(|error| unwritable(error.to_string()))?;
        }
        write_stream(to, &self.schema, &self.batches).map_err(|error| unwritable(error.to_string()))?;
        Ok(Format::Arrow)
    }

    fn read(from: Fetched) -> Result<Self, ValueError> {
        if from.format != Format::Arrow {
            return Err(ValueError::Format { found: from.format, expected: "record batches" });
        }
        let malformed = |reason: String| ValueError::Malformed { type_name: type_name::<Self>(), reason };
        let mut buffer = Buffer::from(from.bytes);
        let mut decoder = StreamDecoder::new();
        let mut batches = Vec::new();
        while let Some(batch) = decoder.decode(&mut buffer).map_err(|error| malformed(error.to_string()))? {
            batches.push(batch);
        }
        let schema = decoder.schema().ok_or_else(|| malformed("it has no schema".to_owned()))?;
        decoder.finish().map_err(|error| malformed(error.to_string()))?;
        Ok(Self { schema, batches })
    }
}

/// Bytes of the rows of `batch`, whatever they are a part of: batches that were read from one value share all of its memory.
fn needed_bytes(batch: &RecordBatch) -> usize {
    let of_column = |column: &ArrayRef| {
        let data = column.to_data();
        let texts = match column.data_type() {
            // They are written as they are.
            DataType::Utf8View | DataType::BinaryView => data.buffers().iter().skip(1).map(Buffer::len).sum(),
            _ => 0,
        };
        texts + data.get_slice_memory_size().unwrap_or_default()
    };
    batch.columns().iter().map(of_column).sum()
}

fn write_stream(to: &mut ValueBuilder<'_>, schema: &Schema, batches: &[RecordBatch]) -> Result<(), ArrowError> {
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
    let mut writer = StreamWriter::try_new_with_options(to, schema, options)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, StringViewArray};
    use bytes::Bytes;

    use super::*;

    #[test]
    fn batches_of_one_value_need_no_more_than_it_has() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100_000));
        let texts: ArrayRef =
            Arc::new(StringViewArray::from_iter_values((0..100_000).map(|n| format!("number {n:010}"))));
        for column in [numbers, texts] {
            let whole = RecordBatch::try_from_iter([("c", column)]).unwrap();
            let parts: Vec<RecordBatch> = (0..10).map(|part| whole.slice(part * 10_000, 10_000)).collect();
            let mut stream = Vec::new();
            let mut writer = StreamWriter::try_new(&mut stream, &whole.schema()).unwrap();
            parts.iter().for_each(|part| writer.write(part).unwrap());
            writer.finish().unwrap();
            let (mut buffer, mut decoder) = (Buffer::from(Bytes::from(stream.clone())), StreamDecoder::new());
            let read = std::iter::from_fn(|| decoder.decode(&mut buffer).unwrap());
            let needed: usize = read.map(|batch| needed_bytes(&batch)).sum();
            assert!(needed >= 800_000 && needed * 100 <= stream.len() * 110, "{needed} of {}", stream.len());
        }
    }
}
