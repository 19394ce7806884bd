//! Batches to the bytes of one file. Encoders do no I/O: they append to a buffer that the file's writer empties.

mod arrow_ipc;
mod csv;
mod json;
mod parquet;
mod schema;
mod text;

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

pub use self::arrow_ipc::ArrowFileWriter;
pub use self::csv::{csv_header, csv_rows};
pub use self::json::json_writer;
pub use self::parquet::{parquet_can_hold, parquet_writer};
pub(super) use self::schema::{check_format, file_schema, same_type};
use super::spec::{JsonShape, SinkFormat, SinkSpec};
use crate::error::TaskError;

/// Turns batches into one file of one format.
pub(super) trait Encoder: Send {
    /// Adds the rows of `batch`, whose columns are those of the file.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TaskError>;

    /// Bytes held back outside of the output buffer.
    fn memory_bytes(&self) -> usize;

    /// Estimate of what held-back rows will be when they are written; none are held back unless the format does so.
    fn pending_bytes(&self) -> usize {
        0
    }

    /// Gives held-back rows to the output buffer, at the price of a less compact file.
    fn relieve(&mut self) -> Result<(), TaskError> {
        Ok(())
    }

    /// Ends the file.
    fn finish(self: Box<Self>) -> Result<(), TaskError>;
}

/// An encoder of `spec`'s format for batches of `schema`, appending to `output`.
pub(super) fn open(spec: &SinkSpec, schema: &SchemaRef, output: OutputBuffer) -> Result<Box<dyn Encoder>, TaskError> {
    let compression = spec.effective_compression();
    Ok(match spec.format {
        SinkFormat::Parquet => Box::new(parquet::ParquetEncoder::new(schema, compression, output)?),
        SinkFormat::Arrow => Box::new(arrow_ipc::IpcEncoder::new(schema, compression, output)?),
        SinkFormat::Csv => Box::new(csv::CsvEncoder::new(schema, text::Packer::new(compression, output)?)?),
        SinkFormat::Jsonl => Box::new(json::LinesEncoder::new(text::Packer::new(compression, output)?)),
        SinkFormat::Json => {
            let packer = text::Packer::new(compression, output)?;
            match spec.shape {
                JsonShape::Array => Box::new(json::ArrayEncoder::new(packer)),
                JsonShape::Object => Box::new(json::ObjectEncoder::new(packer)),
            }
        }
    })
}

/// An encoding failure is in the data or its types, so it is the same on every worker.
fn fatal(error: impl std::fmt::Display) -> TaskError {
    TaskError::Fatal(format!("rows cannot be written: {error}"))
}

/// Encoded bytes on their way to the file; shared by an encoder, which appends, and a writer, which takes.
#[derive(Debug, Clone, Default)]
pub(super) struct OutputBuffer(Arc<Mutex<Vec<u8>>>);

impl OutputBuffer {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Everything that waits.
    pub(super) fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl Write for OutputBuffer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
