//! Arrow IPC files.

use arrow::datatypes::SchemaRef;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use arrow::record_batch::RecordBatch;

use super::schema::{plain_batch, plain_schema};
use super::{Encoder, OutputBuffer, fatal};
use crate::error::TaskError;
use crate::sink::spec::Compression;

pub(super) struct IpcEncoder {
    writer: FileWriter<OutputBuffer>,
    schema: SchemaRef,
}

impl IpcEncoder {
    pub(super) fn new(schema: &SchemaRef, compression: Compression, output: OutputBuffer) -> Result<Self, TaskError> {
        let schema = plain_schema(schema);
        let codec = (compression == Compression::Lz4).then_some(CompressionType::LZ4_FRAME);
        let options = IpcWriteOptions::default().try_with_compression(codec).map_err(fatal)?;
        let writer = FileWriter::try_new_with_options(output, &schema, options).map_err(fatal)?;
        Ok(Self { writer, schema })
    }
}

impl Encoder for IpcEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TaskError> {
        let batch = plain_batch(batch, &self.schema).map_err(fatal)?;
        self.writer.write(&batch).map_err(fatal)
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn pending_bytes(&self) -> usize {
        0
    }

    fn relieve(&mut self) -> Result<(), TaskError> {
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), TaskError> {
        self.writer.finish().map_err(fatal)
    }
}
