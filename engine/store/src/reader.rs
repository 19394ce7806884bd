//! Reads an output on the worker that holds it: batches in memory by pointer, spilled ones from the file.
//! File reads run on blocking threads, one step ahead of the decoder.
//! Invariant: batches come in the order they were written within each output partition.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use bytes::Bytes;
use futures::{FutureExt, Stream};
use tandem_ipc::{Decoder, encode_schema};
use tokio::task::JoinHandle;

use crate::cursor::{Cursor, Next, RangeReader, STEP_BYTES};
use crate::error::StoreError;
use crate::key::OutputKey;
use crate::output::{Located, TaskOutput};
use crate::spill_file::{FileRange, SpillFile};

type FileStep = (RangeReader, Result<VecDeque<Bytes>, StoreError>);

/// A stream of the batches in a range of output partitions. Ends with [`StoreError::NotFound`] when the output is
/// dropped meanwhile.
#[derive(Debug)]
pub struct OutputReader {
    key: OutputKey,
    schema: SchemaRef,
    cursor: Cursor,
    /// Idle while a step runs: the step has it.
    files: Option<RangeReader>,
    step: Option<JoinHandle<FileStep>>,
    encoded: VecDeque<Bytes>,
    decoder: Option<Decoder>,
    done: bool,
}

impl OutputReader {
    pub(crate) fn new(output: Arc<TaskOutput>, partitions: Range<usize>) -> Self {
        Self {
            key: output.key(),
            schema: SchemaRef::clone(output.schema()),
            cursor: Cursor::new(vec![output], partitions),
            files: Some(RangeReader::default()),
            step: None,
            encoded: VecDeque::new(),
            decoder: None,
            done: false,
        }
    }

    /// The schema of the batches: the writer's, with all columns nullable.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn poll_batch(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<RecordBatch>, StoreError>> {
        loop {
            if let Some(batch) = self.decode_next()? {
                return Poll::Ready(Ok(Some(batch)));
            }
            if let Some(step) = &mut self.step {
                let (files, encoded) = ready!(step.poll_unpin(context)).map_err(|_| StoreError::ShuttingDown)?;
                self.step = None;
                self.files = Some(files);
                self.encoded = encoded?;
                self.start_step()?;
                continue;
            }
            match self.cursor.next_if(|next| matches!(next.located, Located::Memory(..)))? {
                Some(Next { located: Located::Memory(batch, _), .. }) => return Poll::Ready(Ok(Some(batch))),
                Some(Next { located: Located::File(..), .. }) | None => {}
            }
            if !self.start_step()? {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// Begins to read what comes next, when that is in a file.
    fn start_step(&mut self) -> Result<bool, StoreError> {
        let Some((spill, ranges)) = self.next_ranges()? else { return Ok(false) };
        let key = self.key;
        let mut files = self.files.take().unwrap_or_default();
        self.step = Some(tokio::task::spawn_blocking(move || {
            let encoded = files.read_all(key, &spill, &ranges);
            (files, encoded)
        }));
        Ok(true)
    }

    fn next_ranges(&mut self) -> Result<Option<(Arc<SpillFile>, Vec<FileRange>)>, StoreError> {
        let mut ranges = Vec::new();
        let mut file = None;
        let mut bytes = 0;
        let fits = |bytes: u64, next: &Next| {
            matches!(next.located, Located::File(..)) && (bytes == 0 || bytes + next.bytes() <= STEP_BYTES)
        };
        while let Some(next) = self.cursor.next_if(|next| fits(bytes, next))? {
            bytes += next.bytes();
            if let Located::File(spill, range) = next.located {
                file = Some(spill);
                ranges.push(range);
            }
        }
        Ok(file.map(|file| (file, ranges)))
    }

    /// One batch of what was read.
    fn decode_next(&mut self) -> Result<Option<RecordBatch>, StoreError> {
        let key = self.key;
        while let Some(piece) = self.encoded.front_mut() {
            let decoder = self.decoder.get_or_insert_with(Decoder::new);
            if decoder.schema().is_none() {
                let mut schema = Bytes::copy_from_slice(&encode_schema(&self.schema));
                decoder.decode(&mut schema).map_err(|error| damaged(key, error))?;
            }
            if let Some(batch) = decoder.decode(piece).map_err(|error| damaged(key, error))? {
                // The schema that was read back is equal, but not the one that consumers compare by pointer.
                let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                let schema = SchemaRef::clone(&self.schema);
                return RecordBatch::try_new_with_options(schema, batch.columns().to_vec(), &options)
                    .map(Some)
                    .map_err(|error| damaged(key, error));
            }
            if !decoder.is_between_messages() {
                return Err(damaged(key, "a spilled batch ends early"));
            }
            self.encoded.pop_front();
        }
        Ok(None)
    }
}

fn damaged(key: OutputKey, error: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged { key, reason: error.to_string() }
}

impl Stream for OutputReader {
    type Item = Result<RecordBatch, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        let item = ready!(self.poll_batch(context)).transpose();
        if !matches!(item, Some(Ok(_))) {
            self.done = true;
            self.files = None;
            self.step = None;
        }
        Poll::Ready(item)
    }
}
