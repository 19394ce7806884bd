//! Runs task attempts on threads of their own, so that a busy query never delays a heartbeat.
//! Owned by [`crate::control`], which alone starts and cancels.
//!
//! Invariant: every started attempt ends in exactly one [`TaskEnd`], also when it panics; when a cancelled one says so, its
//! plan and its unfinished output are already gone. One that has more than a slot says so when nothing that it called runs any more.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use tandem_exec::error::TaskError;
use tandem_exec::nesting::STACK_BYTES;
use tandem_exec::task::{TaskEnvironment, TaskProgress, run_task};
use tandem_proto::v1::{FailureKind, TaskFailed, TaskFinished, TaskMetrics};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::actors::{Drivers, ExecutorFunctions, Logs};
use crate::error::WorkerError;
use crate::metrics::Metrics;
use crate::stages::{StageCache, Work};
use crate::state::{AttemptId, Launch, TaskEnd, cancelled};

/// How long the process waits for its task threads when it ends.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The task threads and all that tasks share.
pub(crate) struct Runner {
    threads: TaskThreads,
    shared: Arc<Shared>,
}

struct Shared {
    environment: TaskEnvironment,
    functions: Arc<ExecutorFunctions>,
    stages: Arc<StageCache>,
    drivers: Drivers,
    logs: Logs,
    metrics: Arc<Metrics>,
    ends: mpsc::Sender<TaskEnd>,
}

/// A running attempt. Dropping it stops the attempt without a word.
pub(crate) struct RunningTask {
    cancel: CancellationToken,
    progress: Arc<TaskProgress>,
    _task: AbortOnDropHandle<()>,
}

impl RunningTask {
    /// Asks it to end. It does, soon, and tells.
    pub(crate) fn cancel(&self) {
        self.cancel.cancel();
        self.progress.stop();
    }

    /// Rows and bytes put out so far.
    pub(crate) fn progress(&self) -> (u64, u64) {
        self.progress.totals()
    }
}

impl Drop for RunningTask {
    fn drop(&mut self) {
        self.progress.stop();
    }
}

impl Runner {
    /// A runner on `threads` that tells `ends` of each attempt's end.
    pub(crate) fn new(
        threads: TaskThreads,
        environment: TaskEnvironment,
        stages: Arc<StageCache>,
        (drivers, functions, logs): (Drivers, Arc<ExecutorFunctions>, Logs),
        metrics: Arc<Metrics>,
        ends: mpsc::Sender<TaskEnd>,
    ) -> Self {
        Self { threads, shared: Arc::new(Shared { environment, functions, stages, drivers, logs, metrics, ends }) }
    }

    /// Starts one attempt.
    pub(crate) fn start(&self, launch: Launch) -> RunningTask {
        let cancel = CancellationToken::new();
        let progress = Arc::new(TaskProgress::default());
        let task = &launch.id.task;
        let span =
            info_span!("task", job = %task.job, stage = %task.stage, task = task.index, attempt = %launch.id.attempt);
        let run = run_to_end(Arc::clone(&self.shared), launch, cancel.clone(), Arc::clone(&progress));
        let task = self.threads.spawn(run.instrument(span));
        RunningTask { cancel, progress, _task: task }
    }

    /// Waits a moment for the threads, so that nobody uses the spill folder when it is deleted.
    pub(crate) async fn stop(self) {
        let threads = self.threads;
        if let Err(error) = tokio::task::spawn_blocking(move || threads.stop()).await {
            warn!(%error, "task threads did not stop in order");
        }
    }
}

async fn run_to_end(shared: Arc<Shared>, launch: Launch, cancel: CancellationToken, progress: Arc<TaskProgress>) {
    debug!(partitions = ?launch.work.partitions, inputs_version = launch.inputs_version, "task attempt started");
    let calls = OnceLock::new();
    let outcome = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(cancelled()),
        // What fails because it was told to stop has not failed by itself.
        outcome = AssertUnwindSafe(run(&shared, &launch, &progress, &calls)).catch_unwind() => match judge(outcome) {
            Err(_) if cancel.is_cancelled() => Err(cancelled()),
            outcome => outcome,
        },
    };
    if let Some(calls) = calls.get() {
        calls.finish().await;
    }
    log(&outcome);
    let AttemptId { task, attempt } = &launch.id;
    let named = format!("{}/{}", task.stage, task.index);
    shared.logs.note(task.job, &named, &format!("attempt {attempt} {}", describe(&outcome)));
    shared.metrics.task_ended(&outcome);
    let end = TaskEnd { id: launch.id, outputs: launch.work.outputs(), outcome };
    if shared.ends.send(end).await.is_err() {
        debug!("the worker stopped before this attempt could be reported");
    }
}

/// `calls` is how functions are called, if the attempt has more than a slot.
async fn run(
    shared: &Shared,
    launch: &Launch,
    progress: &Arc<TaskProgress>,
    calls: &OnceLock<ExecutorFunctions>,
) -> Result<TaskFinished, TaskError> {
    let AttemptId { task, attempt } = launch.id;
    match shared.stages.get(task.job, task.stage, launch.inputs_version).await? {
        Work::Plan { stage, gpus_milli: None } => {
            run_task(&shared.environment, &stage, launch.id.into(), &launch.work, progress).await
        }
        Work::Plan { stage, gpus_milli: Some(gpus_milli) } => {
            let calls = calls.get_or_init(|| shared.functions.in_place(task.job, gpus_milli));
            let environment = TaskEnvironment { functions: Arc::new(calls.clone()), ..shared.environment.clone() };
            run_task(&environment, &stage, launch.id.into(), &launch.work, progress).await
        }
        Work::Driver(program) => shared.drivers.run(task.job, attempt.0, &program).await,
    }
}

/// A panic is the task's own failure: its worker and other tasks go on.
fn judge(outcome: Result<Result<TaskFinished, TaskError>, Box<dyn Any + Send>>) -> Result<TaskFinished, TaskFailed> {
    match outcome {
        Ok(Ok(finished)) => Ok(finished),
        Ok(Err(error)) => Err(failed(&error)),
        Err(panic) => Err(TaskFailed {
            kind: FailureKind::Retry.into(),
            message: format!("the task panicked: {}", panic_message(panic.as_ref())),
            ..TaskFailed::default()
        }),
    }
}

fn failed(error: &TaskError) -> TaskFailed {
    let mut failed = TaskFailed { kind: error.kind().into(), message: error.to_string(), ..TaskFailed::default() };
    if let TaskError::Lost { stage, partition, worker, .. } = error {
        failed.lost_stage = stage.0;
        failed.lost_partition = partition.0;
        failed.lost_worker = worker.0;
    }
    failed
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

fn log(outcome: &Result<TaskFinished, TaskFailed>) {
    match outcome {
        Ok(finished) => {
            let metrics = finished.metrics.clone().unwrap_or_default();
            info!(
                rows = metrics.output_rows,
                bytes = metrics.output_bytes,
                elapsed_ms = metrics.elapsed_ms,
                "task attempt finished"
            );
        }
        Err(failed) if failed.kind() == FailureKind::Cancelled => info!("task attempt cancelled"),
        Err(failed) => warn!(kind = failed.kind().as_str_name(), error = %failed.message, "task attempt failed"),
    }
}

/// The end of an attempt, for the log of its job.
fn describe(outcome: &Result<TaskFinished, TaskFailed>) -> String {
    match outcome {
        Ok(TaskFinished { metrics: Some(metrics), .. }) => {
            let TaskMetrics { output_rows, output_bytes, elapsed_ms, .. } = metrics;
            format!("finished: {output_rows} rows, {output_bytes} bytes in {elapsed_ms} ms")
        }
        Ok(TaskFinished { metrics: None, .. }) => "finished".to_owned(),
        Err(failed) if failed.kind() == FailureKind::Cancelled => "was cancelled".to_owned(),
        Err(failed) => format!("failed: {}", failed.message),
    }
}

/// A runtime that may be dropped anywhere: an ordinary one panics when it is dropped on an async thread.
pub(crate) struct TaskThreads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl TaskThreads {
    /// Starts so many threads.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(crate) fn start(slots: u32) -> Result<Self, WorkerError> {
        let threads = usize::try_from(slots).unwrap_or(usize::MAX);
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(threads).thread_name("tandem-task").thread_stack_size(STACK_BYTES);
        let runtime = builder.enable_all().build();
        let runtime = runtime.map_err(WorkerError::Threads)?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// For others that run on these threads too.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(self.handle.spawn(task))
    }

    fn stop(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(STOP_TIMEOUT);
        }
    }
}

impl Drop for TaskThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_proto::{PartitionId, StageId, WorkerId};

    #[test]
    fn the_outcome_says_what_the_coordinator_does_next() {
        let lost = TaskError::Lost {
            stage: StageId(2),
            partition: PartitionId(5),
            worker: WorkerId(9),
            reason: "connection refused".to_owned(),
        };
        let failed = judge(Ok(Err(lost))).unwrap_err();
        assert_eq!(failed.kind(), FailureKind::Fetch);
        assert_eq!((failed.lost_stage, failed.lost_partition, failed.lost_worker), (2, 5, 9));

        for panic in
            [Box::new("index out of bounds") as Box<dyn Any + Send>, Box::new("index out of bounds".to_owned())]
        {
            let failed = judge(Err(panic)).unwrap_err();
            assert_eq!(failed.kind(), FailureKind::Retry);
            assert!(failed.message.contains("index out of bounds"), "{}", failed.message);
        }
        assert!(judge(Ok(Ok(TaskFinished::default()))).is_ok());
    }

    #[tokio::test]
    async fn threads_may_be_dropped_on_an_async_thread() {
        drop(TaskThreads::start(1).unwrap());
    }
}
