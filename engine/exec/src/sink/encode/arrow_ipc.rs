//! Arrow IPC files.

use std::io::Write;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use arrow::record_batch::RecordBatch;

use super::schema::{plain_batch, plain_schema};
use super::{Encoder, OutputBuffer, fatal};
use crate::error::TaskError;
use crate::sink::spec::Compression;

/// Writes one Arrow IPC file that every reader understands.
pub struct ArrowFileWriter<W: Write> {
    writer: FileWriter<W>,
    schema: SchemaRef,
}

impl<W: Write> ArrowFileWriter<W> {
    /// A file for batches of `schema`. Of compressions, it knows LZ4.
    ///
    /// # Errors
    /// What `output` says.
    pub fn try_new(schema: &Schema, compression: Compression, output: W) -> Result<Self, ArrowError> {
        // In a file, unlike in a stream, a dictionary cannot change from batch to batch.
        let schema = plain_schema(schema);
        let codec = (compression == Compression::Lz4).then_some(CompressionType::LZ4_FRAME);
        let options = IpcWriteOptions::default().try_with_compression(codec)?;
        Ok(Self { writer: FileWriter::try_new_with_options(output, &schema, options)?, schema })
    }

    /// Adds the rows of `batch`.
    ///
    /// # Errors
    /// What the output says.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.writer.write(&plain_batch(batch, &self.schema)?)
    }

    /// Writes the end of the file.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(&mut self) -> Result<(), ArrowError> {
        self.writer.finish()?;
        Ok(self.writer.get_mut().flush()?)
    }
}

pub(super) struct IpcEncoder {
    writer: ArrowFileWriter<OutputBuffer>,
}

impl IpcEncoder {
    pub(super) fn new(schema: &SchemaRef, compression: Compression, output: OutputBuffer) -> Result<Self, TaskError> {
        Ok(Self { writer: ArrowFileWriter::try_new(schema, compression, output).map_err(fatal)? })
    }
}

impl Encoder for IpcEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TaskError> {
        self.writer.write(batch).map_err(fatal)
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn finish(mut self: Box<Self>) -> Result<(), TaskError> {
        self.writer.finish().map_err(fatal)
    }
}
