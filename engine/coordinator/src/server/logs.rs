//! Log lines on their way from workers to the store, and from there to clients.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use tandem_proto::v1::{LogAck, LogBatch, LogChunk, LogLine, LogStream, ReadLogsRequest};
use tandem_proto::{JobId, WorkerId};
use tandem_scheduler::JobView;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::follow::is_over;
use super::message::{ClusterHandle, Stopping};
use crate::logs::{Extent, LogStore, START};

/// What `driver` is called in lines.
const DRIVER: &str = "driver";
/// A driver ends when its lines are here. Those of others may still be on their way, and are waited for so long.
const LATE: Duration = Duration::from_millis(500);

/// What says which lines are kept.
pub(super) type AckStream = Pin<Box<dyn Stream<Item = Result<LogAck, Status>> + Send>>;
/// Lines for a client.
pub(super) type ChunkStream = Pin<Box<dyn Stream<Item = Result<LogChunk, Status>> + Send>>;

/// What both ways need.
#[derive(Debug, Clone)]
pub(crate) struct Logs {
    pub(crate) store: Arc<LogStore>,
    pub(crate) handle: ClusterHandle,
    /// Ends all streams.
    pub(crate) stopping: CancellationToken,
}

impl Logs {
    /// Keeps what a worker sends, one batch at a time.
    pub(super) fn keep(self, batches: Streaming<LogBatch>) -> AckStream {
        let stopping = self.stopping.clone().cancelled_owned();
        let acks = stream::try_unfold((self, batches), |(logs, mut batches)| async move {
            let Some(batch) = batches.message().await? else { return Ok(None) };
            let ack = logs.keep_batch(batch).await?;
            Ok(Some((ack, (logs, batches))))
        });
        Box::pin(acks.take_until(stopping))
    }

    /// Lines of jobs that are not known are dropped. The owner passes them on, so that none come after it has forgotten their job.
    async fn keep_batch(&self, batch: LogBatch) -> Result<LogAck, Status> {
        let sequence = batch.lines.last().map_or(0, |line| line.sequence);
        let mut of_jobs: HashMap<JobId, Vec<LogLine>> = HashMap::new();
        for line in batch.lines {
            of_jobs.entry(JobId(line.job)).or_default().push(line);
        }
        let (worker, store) = (WorkerId(batch.worker), Arc::clone(&self.store));
        let kept = self
            .handle
            .look(move |seen| {
                of_jobs.retain(|job, _| seen.jobs.get(*job).is_some());
                store.append(worker, of_jobs)
            })
            .await?;
        kept.await.map_err(|_| Stopping)?;
        Ok(LogAck { sequence })
    }

    /// The lines that a client asks for; none when there is no such job.
    pub(super) async fn read(&self, request: ReadLogsRequest) -> Result<Option<ChunkStream>, Status> {
        let (job, store) = (JobId(request.job), Arc::clone(&self.store));
        let found = self.handle.look(move |seen| {
            let ended = is_over(seen.cluster.job(job)?.state);
            Some((ended, seen.jobs.get(job)?.watch(), store.watch(job)))
        });
        let Some((ended, views, extent)) = found.await? else { return Ok(None) };
        let extent = extent.await.map_err(|_| Stopping)?.map_err(|error| unreadable(job, &error))?;
        let goes_on = request.follow && !ended;
        let reading = Reading {
            store: Arc::clone(&self.store),
            job,
            // A copy that does not change ends where it is.
            extent: if goes_on { extent } else { watch::Sender::new(*extent.borrow()).subscribe() },
            end: JobEnd::Awaited { views, grace: if request.driver { Duration::ZERO } else { LATE } },
            wanted: Wanted { task: request.task, driver: request.driver },
            place: START,
            dropped: 0,
            stopping: self.stopping.clone(),
        };
        let chunks = stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.next().await?.map(|chunk| (chunk, reading)))
        });
        Ok(Some(Box::pin(chunks)))
    }
}

/// Which lines a client wants.
struct Wanted {
    /// Any if empty.
    task: String,
    driver: bool,
}

impl Wanted {
    fn takes(&self, line: &LogLine) -> bool {
        let printed = matches!(line.stream(), LogStream::Stdout | LogStream::Stderr);
        let of_task = self.task.is_empty() || self.task == line.task || self.task == line.task_name;
        of_task && (!self.driver || (printed && line.task == DRIVER))
    }
}

/// One client's way through the log of a job.
struct Reading {
    store: Arc<LogStore>,
    job: JobId,
    extent: watch::Receiver<Extent>,
    end: JobEnd,
    wanted: Wanted,
    /// What comes next.
    place: u64,
    /// How many dropped lines the client was told of.
    dropped: u64,
    stopping: CancellationToken,
}

/// Until when lines come.
enum JobEnd {
    Awaited { views: watch::Receiver<Option<Arc<JobView>>>, grace: Duration },
    Reached { until: Instant },
}

impl Reading {
    /// The next lines, or none after the last.
    async fn next(&mut self) -> Result<Option<LogChunk>, Status> {
        loop {
            let Extent { end, dropped } = *self.extent.borrow_and_update();
            let lines = if self.place < end { self.page(end).await? } else { Vec::new() };
            if !lines.is_empty() || dropped > self.dropped {
                self.dropped = dropped;
                return Ok(Some(LogChunk { lines, dropped }));
            }
            if self.place >= end && !self.grows().await? {
                return Ok(None);
            }
        }
    }

    async fn page(&mut self, end: u64) -> Result<Vec<LogLine>, Status> {
        let (store, job, place) = (Arc::clone(&self.store), self.job, self.place);
        let read = tokio::task::spawn_blocking(move || store.read(job, place, end)).await;
        let read = read.map_err(|error| Status::internal(error.to_string()))?;
        let (mut lines, next) = read.map_err(|error| unreadable(job, &error))?;
        self.place = next;
        lines.retain(|line| self.wanted.takes(line));
        Ok(lines)
    }

    /// Waits until there is more; false when nothing more comes.
    async fn grows(&mut self) -> Result<bool, Status> {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => Err(Stopping.into()),
            changed = self.extent.changed() => Ok(changed.is_ok()),
            // What came before the end is taken, also when it came just now.
            () = self.end.passed() => Ok(self.extent.has_changed().unwrap_or(false)),
        }
    }
}

impl JobEnd {
    /// May be dropped while waiting.
    async fn passed(&mut self) {
        if let Self::Awaited { views, grace } = self {
            let over = |view: &Option<Arc<JobView>>| view.as_ref().is_some_and(|view| is_over(view.state));
            // A job that is forgotten has ended.
            let _ = views.wait_for(over).await;
            *self = Self::Reached { until: Instant::now() + *grace };
        }
        if let Self::Reached { until } = self {
            tokio::time::sleep_until(*until).await;
        }
    }
}

fn unreadable(job: JobId, error: &io::Error) -> Status {
    match error.kind() {
        io::ErrorKind::NotFound => Status::not_found(format!("the log of job {job} is gone")),
        _ => Status::failed_precondition(format!("the log of job {job} cannot be read: {error}")),
    }
}
