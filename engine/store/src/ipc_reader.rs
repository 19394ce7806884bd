//! Reads outputs as one Arrow IPC stream, for another worker or a client.
//! Spilled batches pass as the bytes they are in the file; those in memory are encoded. Both happen on blocking
//! threads, one step ahead of the receiver, so a slow receiver holds up nothing and little memory.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{FutureExt, Stream};
use tandem_ipc::{BodyCompression, END_OF_STREAM, Encoder, PIECE_BYTES};
use tokio::task::JoinHandle;

use crate::cursor::{Cursor, Next, RangeReader, STEP_BYTES};
use crate::error::StoreError;
use crate::output::{Located, TaskOutput};

type Step = (Worker, Result<Bytes, StoreError>);

/// A stream of pieces of at most [`PIECE_BYTES`] bytes, which together are one Arrow IPC stream. Ends with an error
/// when one of the outputs is dropped meanwhile.
#[derive(Debug)]
pub struct IpcReader {
    cursor: Cursor,
    /// Idle while a step runs: the step has it.
    worker: Option<Worker>,
    step: Option<JoinHandle<Step>>,
    data: Bytes,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Batches,
    End,
    Finished,
}

/// What a step works with, kept from step to step.
#[derive(Debug)]
struct Worker {
    compression: BodyCompression,
    encoder: Option<Encoder>,
    files: RangeReader,
}

impl IpcReader {
    pub(crate) fn new(outputs: Vec<Arc<TaskOutput>>, partitions: Range<usize>, compression: BodyCompression) -> Self {
        let encoder = outputs.first().map(|output| Encoder::new(output.schema(), compression));
        let schema = encoder.as_ref().map(|encoder| Bytes::copy_from_slice(encoder.schema_message()));
        Self {
            cursor: Cursor::new(outputs, partitions),
            worker: Some(Worker { compression, encoder, files: RangeReader::default() }),
            step: None,
            data: schema.unwrap_or_default(),
            state: State::Batches,
        }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StoreError>> {
        loop {
            if self.state == State::Batches && self.step.is_none() {
                self.start_step()?;
            }
            if !self.data.is_empty() {
                let len = self.data.len().min(PIECE_BYTES);
                return Poll::Ready(Ok(Some(self.data.split_to(len))));
            }
            match self.state {
                State::Finished => return Poll::Ready(Ok(None)),
                State::End => {
                    self.state = State::Finished;
                    return Poll::Ready(Ok(Some(Bytes::from_static(&END_OF_STREAM))));
                }
                State::Batches => ready!(self.poll_step(context))?,
            }
        }
    }

    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        let Some(step) = &mut self.step else { return Poll::Ready(Ok(())) };
        let (worker, data) = ready!(step.poll_unpin(context)).map_err(|_| StoreError::ShuttingDown)?;
        self.step = None;
        self.worker = Some(worker);
        self.data = data?;
        Poll::Ready(Ok(()))
    }

    /// Begins to produce the next bytes, or notes that there are none.
    fn start_step(&mut self) -> Result<(), StoreError> {
        let batches = self.next_batches()?;
        let Some(mut worker) = self.worker.take_if(|_| !batches.is_empty()) else {
            self.state = State::End;
            return Ok(());
        };
        self.step = Some(tokio::task::spawn_blocking(move || {
            let data = worker.produce(batches);
            (worker, data)
        }));
        Ok(())
    }

    fn next_batches(&mut self) -> Result<Vec<Next>, StoreError> {
        let mut batches = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.cursor.next_if(|next| bytes == 0 || bytes + next.bytes() <= STEP_BYTES)? {
            bytes += next.bytes();
            batches.push(next);
        }
        Ok(batches)
    }
}

impl Worker {
    fn produce(&mut self, batches: Vec<Next>) -> Result<Bytes, StoreError> {
        let mut out = Vec::new();
        let mut batches = batches.into_iter().peekable();
        while let Some(Next { output, located }) = batches.next() {
            match located {
                Located::Memory(batch, _) => {
                    let new_encoder = || Encoder::new(output.schema(), self.compression);
                    let encoder = self.encoder.get_or_insert_with(new_encoder);
                    let key = output.key();
                    encoder.encode_compact(&batch, &mut out).map_err(|source| StoreError::Arrow { key, source })?;
                }
                Located::File(file, mut range) => {
                    // Ranges that follow each other in the file are one read.
                    while let Some(Next { located: Located::File(..), .. }) = batches.next_if(|next| {
                        matches!(&next.located, Located::File(other, next)
                            if Arc::ptr_eq(other, &file) && next.offset == range.offset + range.len)
                        .then(|| range.len += next.bytes())
                        .is_some()
                    }) {}
                    self.files.read(output.key(), &file, range, &mut out)?;
                }
            }
        }
        Ok(Bytes::from(out))
    }
}

impl Stream for IpcReader {
    type Item = Result<Bytes, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.poll_piece(context)).transpose();
        if !matches!(item, Some(Ok(_))) {
            self.state = State::Finished;
            self.step = None;
            self.data = Bytes::new();
        }
        Poll::Ready(item)
    }
}
