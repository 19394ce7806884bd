//! One file of a sink: encodes batches and hands the bytes to the staged output in large pieces.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use tandem_proto::v1::StagedFile;

use super::encode::{self, Encoder, OutputBuffer};
use super::spec::SinkSpec;
use super::staging::{FilePlace, StagedOutput};
use super::target::Target;
use crate::error::TaskError;

/// Encoded bytes that are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// A file that is being written.
pub(super) struct FileWriter {
    encoder: Box<dyn Encoder>,
    buffer: OutputBuffer,
    output: StagedOutput,
    rows: u64,
    written_bytes: u64,
}

impl FileWriter {
    /// Begins the file at `place`.
    pub(super) async fn create(
        spec: &SinkSpec,
        schema: &SchemaRef,
        target: &Target,
        place: FilePlace,
    ) -> Result<Self, TaskError> {
        let buffer = OutputBuffer::default();
        let encoder = encode::open(spec, schema, buffer.clone())?;
        let output = StagedOutput::create(target, place).await?;
        Ok(Self { encoder, buffer, output, rows: 0, written_bytes: 0 })
    }

    /// Adds the rows of `batch`.
    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<(), TaskError> {
        self.encoder.write(batch)?;
        self.rows += batch.num_rows() as u64;
        if self.buffer.len() >= WRITE_BYTES { self.write_out().await } else { Ok(()) }
    }

    /// Bytes this file holds in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.encoder.memory_bytes() + self.buffer.len()
    }

    /// How large the file would be if it ended now, roughly.
    pub(super) fn size_bytes(&self) -> u64 {
        self.written_bytes + (self.buffer.len() + self.encoder.pending_bytes()) as u64
    }

    /// Writes out what is in memory.
    pub(super) async fn relieve(&mut self) -> Result<(), TaskError> {
        self.encoder.relieve()?;
        self.write_out().await
    }

    async fn write_out(&mut self) -> Result<(), TaskError> {
        let data = self.buffer.take();
        self.written_bytes += data.len() as u64;
        if data.is_empty() { Ok(()) } else { Ok(self.output.write(data).await?) }
    }

    /// Ends the file and makes it durable.
    pub(super) async fn finish(mut self) -> Result<StagedFile, TaskError> {
        let ended = self.encoder.finish();
        let rest = self.buffer.take();
        let written = match ended {
            Ok(()) if rest.is_empty() => Ok(()),
            Ok(()) => self.output.write(rest).await.map_err(TaskError::from),
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            discard(self.output).await;
            return Err(error);
        }
        Ok(self.output.finish(self.rows).await?)
    }

    /// Removes the file.
    pub(super) async fn discard(self) {
        discard(self.output).await;
    }
}

/// Removes a file after a failure that is reported already. What cannot be removed now is removed when the job ends.
async fn discard(output: StagedOutput) {
    if let Err(error) = output.discard().await {
        tracing::warn!(%error, "a staged file stays until its job ends");
    }
}
