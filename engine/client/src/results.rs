//! The rows of a query in partition order, read from the workers while later partitions still run.
//! Owned by the reader; dropping it ends the reader's lease on the query.
//! Always holds: every partition is given exactly once, from one attempt; a partition that must be read again after
//! some of its rows were given is read again from the same attempt, or the read fails.
//!
//!   status names partition ─► opened (up to [`WINDOW`] ahead) ─► batches ─► next partition
//!                                 └────── gone ───────┴─► wait for a status or a moment, open again

use std::pin::Pin;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, Stream, StreamExt};
use tandem_ipc::{DecodeError, decode_schema};
use tandem_proto::v1::{JobFailure, JobState, JobStatus, ResultPartition};
use tokio::time::Instant;
use tonic::Status;

use crate::client::Client;
use crate::error::ClientError;
use crate::follow::{Follow, is_final};
use crate::partition_rows::PartitionRows;
use crate::worker_reads::{Piece, Pieces, ReadFailure, WorkerReads};

/// Partitions opened ahead of the one being read.
const WINDOW: usize = 4;
/// How long a partition may stay unreadable while the job still runs.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same once the job has ended and nothing will be made again.
const PATIENCE_AFTER_END: Duration = Duration::from_millis(500);
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What a query has new.
#[derive(Debug)]
pub enum ResultEvent {
    /// The job's status changed.
    Status(Box<JobStatus>),
    /// The next rows.
    Batch(RecordBatch),
}

/// The result of one query.
pub struct Results {
    follow: Follow,
    reads: WorkerReads,
    status: JobStatus,
    schema: Option<SchemaRef>,
    opening: FuturesOrdered<BoxFuture<'static, Opened>>,
    /// The first partition that is not in `opening` and not read.
    next_to_open: u32,
    reading: Option<PartitionRead>,
    retry: Option<Retry>,
}

struct Opened {
    partition: ResultPartition,
    pieces: Result<Pieces, ReadFailure>,
}

struct PartitionRead {
    partition: ResultPartition,
    pieces: Pieces,
    rows: PartitionRows,
    /// When an earlier read of the same attempt broke.
    broken_since: Option<Instant>,
}

/// A partition that could not be read and is tried again.
struct Retry {
    partition: ResultPartition,
    rows_given: usize,
    since: Instant,
    next: Pin<Box<tokio::time::Sleep>>,
    reason: String,
}

impl Results {
    pub(crate) fn new(client: Client, follow: Follow) -> Self {
        let reads = WorkerReads::new(client, follow.job());
        Self {
            follow,
            reads,
            status: JobStatus::default(),
            schema: None,
            opening: FuturesOrdered::new(),
            next_to_open: 0,
            reading: None,
            retry: None,
        }
    }

    /// The job's latest status.
    pub fn status(&self) -> &JobStatus {
        &self.status
    }

    /// The result's columns, once the job's status has told them: at the latest before the first batch, also when
    /// there is no row.
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }

    /// The next rows, or none after the last.
    pub async fn next_batch(&mut self) -> Result<Option<RecordBatch>, ClientError> {
        loop {
            match self.next_event().await? {
                Some(ResultEvent::Batch(batch)) => return Ok(Some(batch)),
                Some(ResultEvent::Status(_)) => {}
                None => return Ok(None),
            }
        }
    }

    /// The batches as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<RecordBatch, ClientError>> + Send {
        futures::stream::try_unfold(self, |mut results| async move {
            Ok(results.next_batch().await?.map(|batch| (batch, results)))
        })
    }

    /// The next rows or the next status, whatever comes first; none when the job has ended and every row was given.
    /// May be dropped while waiting.
    pub async fn next_event(&mut self) -> Result<Option<ResultEvent>, ClientError> {
        loop {
            self.open_ahead();
            if let Some(batch) = self.decoded_batch()? {
                return Ok(Some(ResultEvent::Batch(batch)));
            }
            let idle = self.reading.is_none() && self.opening.is_empty() && self.retry.is_none();
            if idle && is_final(self.status.state()) {
                return self.end().map(|()| None);
            }
            let ended = is_final(self.status.state());
            tokio::select! {
                biased;
                piece = next_piece(&mut self.reading) => self.took_piece(piece)?,
                Some(opened) = self.opening.next(), if self.reading.is_none() => self.opened(opened)?,
                () = retry_time(&mut self.retry) => self.try_again()?,
                status = self.follow.next_status(), if !ended => {
                    if let Some(status) = status? {
                        self.took_status(status.clone())?;
                        return Ok(Some(ResultEvent::Status(Box::new(status))));
                    }
                }
            }
        }
    }

    fn took_status(&mut self, status: JobStatus) -> Result<(), ClientError> {
        if self.schema.is_none() && !status.result_schema.is_empty() {
            self.schema = Some(decode_schema(&status.result_schema).map_err(malformed)?);
        }
        self.status = status;
        match self.status.state() {
            JobState::Failed | JobState::Stopped => self.end(),
            _ => Ok(()),
        }
    }

    /// How the finished job ended, as an error unless it went well.
    fn end(&self) -> Result<(), ClientError> {
        let job = self.follow.job();
        match self.status.state() {
            JobState::Failed => {
                let failure = self.status.failure.clone().unwrap_or_else(|| JobFailure {
                    cause: "the cluster gave no cause".to_owned(),
                    ..JobFailure::default()
                });
                Err(ClientError::JobFailed { job, failure: Box::new(failure) })
            }
            JobState::Stopped => {
                let reason = self.status.failure.as_ref().map(|failure| failure.cause.clone()).unwrap_or_default();
                Err(ClientError::JobStopped { job, reason })
            }
            _ => Ok(()),
        }
    }

    /// Starts reads of the next partitions whose place is known, in order.
    fn open_ahead(&mut self) {
        if self.retry.is_some() || self.opening.len() >= WINDOW {
            return;
        }
        while self.opening.len() < WINDOW {
            let Some(place) = self.place_of(self.next_to_open).cloned() else { break };
            self.opening.push_back(open(self.reads.clone(), self.status.result_stage, place));
            self.next_to_open += 1;
        }
    }

    fn place_of(&self, partition: u32) -> Option<&ResultPartition> {
        // Partitions are listed in order, at first with gaps.
        let listed = &self.status.results;
        let at = listed.partition_point(|result| result.partition < partition);
        listed.get(at).filter(|result| result.partition == partition)
    }

    fn opened(&mut self, opened: Opened) -> Result<(), ClientError> {
        let Opened { partition, pieces } = opened;
        let earlier = self.retry.take();
        let rows_given = earlier.as_ref().map_or(0, |retry| retry.rows_given);
        let broken_since = earlier.map(|retry| retry.since);
        match pieces {
            Ok(pieces) => {
                let rows = PartitionRows::new(rows_given);
                self.reading = Some(PartitionRead { partition, pieces, rows, broken_since });
                Ok(())
            }
            Err(failure) => self.lost(partition, rows_given, broken_since, failure),
        }
    }

    fn decoded_batch(&mut self) -> Result<Option<RecordBatch>, ClientError> {
        match &mut self.reading {
            Some(read) => read.rows.next_batch().map_err(malformed),
            None => Ok(None),
        }
    }

    fn took_piece(&mut self, piece: Option<Result<Piece, Status>>) -> Result<(), ClientError> {
        match piece {
            Some(Ok(piece)) => {
                if let Some(read) = &mut self.reading {
                    read.rows.push(piece);
                }
                Ok(())
            }
            None => match self.reading.take() {
                Some(read) => read.rows.finish().or_else(|cut| self.broke(read, ReadFailure::Gone(cut.to_string()))),
                None => Ok(()),
            },
            Some(Err(status)) => match self.reading.take() {
                Some(read) => {
                    let failure = self.reads.judge(&read.partition.data_address, &status);
                    self.broke(read, failure)
                }
                None => Ok(()),
            },
        }
    }

    fn broke(&mut self, read: PartitionRead, failure: ReadFailure) -> Result<(), ClientError> {
        // Patience starts anew only when this read got further than the one before.
        let since = read.broken_since.filter(|_| !read.rows.made_progress());
        self.lost(read.partition, read.rows.known(), since, failure)
    }

    /// Forgets what was opened ahead and plans to read `partition` again, first of all.
    fn lost(
        &mut self,
        partition: ResultPartition,
        rows_given: usize,
        since: Option<Instant>,
        failure: ReadFailure,
    ) -> Result<(), ClientError> {
        let reason = match failure {
            ReadFailure::Gone(reason) => reason,
            ReadFailure::Final(error) => return Err(error),
        };
        self.opening = FuturesOrdered::new();
        self.next_to_open = partition.partition;
        let since = since.unwrap_or_else(Instant::now);
        if since.elapsed() > PATIENCE {
            return Err(ClientError::ResultLost { job: self.follow.job(), reason });
        }
        let next = Box::pin(tokio::time::sleep(RETRY_AFTER));
        self.retry = Some(Retry { partition, rows_given, since, next, reason });
        Ok(())
    }

    /// Opens the lost partition where it is said to be now.
    fn try_again(&mut self) -> Result<(), ClientError> {
        let Some(partition) = self.retry.as_ref().map(|retry| retry.partition.partition) else { return Ok(()) };
        let place = self.place_of(partition).cloned();
        let ended = is_final(self.status.state());
        let Some(retry) = &mut self.retry else { return Ok(()) };
        let same = place.as_ref().is_some_and(|place| place.attempt == retry.partition.attempt);
        let mixes_attempts = retry.rows_given > 0 && !same;
        let hopeless = same && ended && retry.since.elapsed() > PATIENCE_AFTER_END;
        if mixes_attempts || hopeless || retry.since.elapsed() > PATIENCE {
            return Err(ClientError::ResultLost { job: self.follow.job(), reason: retry.reason.clone() });
        }
        match place {
            Some(place) => {
                self.next_to_open = place.partition + 1;
                self.opening.push_back(open(self.reads.clone(), self.status.result_stage, place));
                // Not due again before the answer is here.
                retry.next = Box::pin(tokio::time::sleep(PATIENCE));
            }
            None => retry.next = Box::pin(tokio::time::sleep(RETRY_AFTER)),
        }
        Ok(())
    }
}

fn malformed(error: DecodeError) -> ClientError {
    ClientError::Protocol(error.to_string())
}

fn open(reads: WorkerReads, stage: u32, partition: ResultPartition) -> BoxFuture<'static, Opened> {
    async move { Opened { pieces: reads.open(stage, partition.clone()).await, partition } }.boxed()
}

async fn next_piece(reading: &mut Option<PartitionRead>) -> Option<Result<Piece, Status>> {
    match reading {
        Some(read) => read.pieces.next().await,
        None => std::future::pending().await,
    }
}

async fn retry_time(retry: &mut Option<Retry>) {
    match retry {
        Some(retry) => retry.next.as_mut().await,
        None => std::future::pending().await,
    }
}
