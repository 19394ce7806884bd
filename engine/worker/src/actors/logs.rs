//! Ships what processes print to the coordinator. While there is no room, those who print wait; when the coordinator stays away,
//! lines are lost rather than that jobs stand still, and how many is said in their place.
//! Owned by the worker; one task sends, anyone adds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tandem_proto::v1::{LogBatch, LogLine, LogStream};
use tandem_proto::{JobId, WorkerId};
use tandem_runtime::LINE_BYTES;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::debug;

use super::log_buffer::LogBuffer;
use crate::coordinator::CoordinatorCalls;

/// How long who prints waits for room.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// Batches on their way to the connection.
const BATCHES: usize = 2;

/// Adds lines.
#[derive(Debug, Clone)]
pub(crate) struct Logs {
    shared: Arc<Shared>,
}

/// The state is never locked while something is sent on a channel: what waits on these looks at the state.
#[derive(Debug)]
struct Shared {
    worker: WorkerId,
    worker_name: String,
    state: Mutex<State>,
    /// How many lines were added.
    added: watch::Sender<u64>,
    /// The last line that is kept there.
    kept: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    buffer: LogBuffer,
    /// Lines of each job that were lost since one was added.
    lost: Vec<(JobId, u64)>,
}

impl Logs {
    /// No lines yet, of this worker.
    pub(crate) fn new(worker: WorkerId, worker_name: String) -> Self {
        let shared = Shared {
            worker,
            worker_name,
            state: Mutex::default(),
            added: watch::Sender::new(0),
            kept: watch::Sender::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Adds lines; waits for room.
    pub(crate) async fn push(&self, lines: Vec<LogLine>) {
        let room = async {
            // The sender lives as long as this.
            let _ = self.shared.kept.subscribe().wait_for(|_| self.shared.lock().buffer.has_room()).await;
        };
        let has_room = tokio::time::timeout(PATIENCE, room).await.is_ok();
        let mut state = self.shared.lock();
        for line in lines {
            if has_room { self.add(&mut state, line) } else { state.lose(JobId(line.job)) }
        }
        self.announce(state);
    }

    /// Adds what the worker itself says about a job or, if one is named, one of its tasks, if there is room.
    pub(crate) fn note(&self, job: JobId, task: &str, text: &str) {
        let mut state = self.shared.lock();
        for text in text.lines() {
            if !state.buffer.has_room() {
                state.lose(job);
                continue;
            }
            let text = text[..text.floor_char_boundary(LINE_BYTES)].to_owned();
            let (time_ms, stream, task) = (now_ms(), LogStream::Worker.into(), task.to_owned());
            self.add(&mut state, LogLine { job: job.0, time_ms, stream, task, text, ..LogLine::default() });
        }
        self.announce(state);
    }

    /// Waits until all lines up to now are kept there.
    pub(crate) async fn flushed(&self) {
        let last = self.shared.lock().buffer.last();
        // The sender lives as long as this.
        let _ = self.shared.kept.subscribe().wait_for(|kept| *kept >= last).await;
    }

    /// Says that there are lines. Who hears it looks at the state, so that this must be free by then.
    fn announce(&self, state: MutexGuard<'_, State>) {
        let last = state.buffer.last();
        drop(state);
        self.shared.added.send_modify(|added| *added = last.max(*added));
    }

    fn add(&self, state: &mut State, line: LogLine) {
        for (job, lost) in std::mem::take(&mut state.lost) {
            let text = format!("{lost} lines were lost while the coordinator was away");
            let (time_ms, stream) = (now_ms(), LogStream::Worker.into());
            let line = LogLine { job: job.0, time_ms, stream, text, ..LogLine::default() };
            state.buffer.push(LogLine { worker: self.shared.worker_name.clone(), ..line });
        }
        state.buffer.push(LogLine { worker: self.shared.worker_name.clone(), ..line });
    }

    /// Sends what is added, for ever.
    pub(crate) async fn ship(self, coordinator: CoordinatorCalls) {
        loop {
            if let Err(status) = self.stream(&coordinator).await {
                debug!(%status, "log lines wait");
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    async fn stream(&self, coordinator: &CoordinatorCalls) -> Result<(), Status> {
        let mut added = self.shared.added.subscribe();
        // Without lines there is no stream.
        let something = added.wait_for(|added| *added > self.shared.lock().buffer.kept()).await;
        something.map_err(|_| Status::aborted("the worker is stopping"))?;
        let (batches, stream) = mpsc::channel(BATCHES);
        let mut acks = coordinator.ship_logs(ReceiverStream::new(stream)).await?;
        self.shared.lock().buffer.opened();
        loop {
            let lines = self.shared.lock().buffer.next();
            if !lines.is_empty() {
                let batch = LogBatch { worker: self.shared.worker.0, lines };
                batches.send(batch).await.map_err(|_| Status::unavailable("the stream is closed"))?;
                continue;
            }
            tokio::select! {
                changed = added.changed() => changed.map_err(|_| Status::aborted("the worker is stopping"))?,
                ack = acks.message() => match ack? {
                    Some(ack) => self.acknowledge(ack.sequence),
                    None => return Ok(()),
                },
            }
        }
    }

    fn acknowledge(&self, sequence: u64) {
        let mut state = self.shared.lock();
        state.buffer.acknowledge(sequence);
        let kept = state.buffer.kept();
        drop(state);
        self.shared.kept.send_replace(kept);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lose(&mut self, job: JobId) {
        match self.lost.iter_mut().find(|(known, _)| *known == job) {
            Some((_, lost)) => *lost += 1,
            None => self.lost.push((job, 1)),
        }
    }
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
