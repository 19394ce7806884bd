//! Rows that a source could not read, written as JSON lines and published with the job.
//! Owned by the scan that met them; one writer per scanned partition.

use bytes::Bytes;
use serde::Serialize;
use tandem_proto::JobId;

use super::spec::{SinkFormat, SinkMode, SinkSpec};
use super::staging::{FilePlace, StagedOutput};
use super::target::Target;
use crate::error::{PlanError, TaskError};
use crate::scope::TaskScope;

/// Encoded rejects kept before they are written out.
const BUFFER_BYTES: usize = 1 << 20;

/// One row that a source could not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reject<'a> {
    /// The file it is in.
    pub file: &'a str,
    /// The line it starts on, counted from 1.
    pub line: u64,
    /// The column that could not be read; none when the row as a whole is broken.
    pub column: Option<&'a str>,
    /// What is wrong with it.
    pub reason: &'a str,
    /// Its text.
    pub raw: &'a str,
}

/// The sink that publishes the rejects folder `path`, which each run replaces. The job's planner adds one for each such
/// folder, whether one source or several reject into it, so that rejects are committed with everything else.
pub fn rejects_sink(path: &str) -> SinkSpec {
    let mut spec = SinkSpec::new(format!("rejects in {path}"), path, SinkFormat::Jsonl);
    spec.mode = SinkMode::Overwrite;
    spec
}

/// Writes the rejects of one partition of one source. No file is made as long as nothing is rejected.
#[derive(Debug)]
pub struct RejectWriter {
    source: String,
    spec: SinkSpec,
    partition: u32,
    buffer: Vec<u8>,
    rows: u64,
    output: Option<StagedOutput>,
}

impl RejectWriter {
    /// A writer of rejects of `source` to the folder `path`.
    pub fn new(source: &str, path: &str, partition: u32) -> Self {
        Self {
            source: source.to_owned(),
            spec: rejects_sink(path),
            partition,
            buffer: Vec::new(),
            rows: 0,
            output: None,
        }
    }

    /// Adds a reject. Follow a batch of these with [`RejectWriter::drain`], which bounds the memory they take.
    pub fn push(&mut self, reject: &Reject<'_>) -> Result<(), TaskError> {
        serde_json::to_writer(&mut self.buffer, reject)
            .map_err(|error| TaskError::Fatal(format!("a reject of {} cannot be written: {error}", reject.file)))?;
        self.buffer.push(b'\n');
        self.rows += 1;
        Ok(())
    }

    /// Rejects so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes out what is buffered if it is much.
    pub async fn drain(&mut self, scope: &TaskScope) -> Result<(), TaskError> {
        if self.buffer.len() >= BUFFER_BYTES { self.write_out(scope).await } else { Ok(()) }
    }

    /// Stages the file for the job's commit. Counting rejects is up to the source.
    pub async fn finish(mut self, scope: &TaskScope) -> Result<(), TaskError> {
        if !self.buffer.is_empty() {
            self.write_out(scope).await?;
        }
        if let Some(output) = self.output.take() {
            scope.add_file(output.finish(self.rows).await?);
        }
        Ok(())
    }

    async fn write_out(&mut self, scope: &TaskScope) -> Result<(), TaskError> {
        let data = Bytes::from(std::mem::take(&mut self.buffer));
        let output = match &mut self.output {
            Some(output) => output,
            None => self.output.insert(create(&self.spec, &self.source, self.partition, scope).await?),
        };
        Ok(output.write(data).await?)
    }
}

async fn create(spec: &SinkSpec, source: &str, partition: u32, scope: &TaskScope) -> Result<StagedOutput, TaskError> {
    let target = Target::open(spec, &scope.storage).map_err(|error: PlanError| TaskError::Fatal(error.to_string()))?;
    // Two sources may share a folder of rejects, so the name tells them apart.
    let name = format!("rejects-{:08x}-{partition:05}-{}.jsonl", fingerprint(source), scope.unique_name());
    let place = FilePlace {
        sink: spec.name.clone(),
        job: JobId(scope.attempt.job),
        final_path: name.clone(),
        unique_name: name,
    };
    Ok(StagedOutput::create(&target, place).await?)
}

/// A short number for a name that may hold any character (FNV-1a).
fn fingerprint(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
