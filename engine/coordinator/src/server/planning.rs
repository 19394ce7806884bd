//! Planning jobs on threads of their own, so that a busy planner never delays a heartbeat.

use std::io;

use tandem_exec::error::PlanError;
use tandem_exec::nesting::STACK_BYTES;
use tandem_jobs::planned::PlannedJob;
use tandem_jobs::planner::{self, ClusterShape};
use tandem_proto::v1::JobSpec;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tonic::Status;

const THREADS: usize = 2;
/// Reading schemas of local files blocks; threads for it come and go.
const MAX_BLOCKING_THREADS: usize = 16;
/// Jobs that are planned at once; more wait.
const CONCURRENCY: usize = 8;

/// The planner's runtime.
pub(crate) struct Planner {
    /// Present until the planner is dropped.
    runtime: Option<Runtime>,
    permits: Semaphore,
    /// Jobs are planned for at least so many slots.
    expected_slots: u32,
}

impl Planner {
    /// Starts the threads. Workers with `expected_slots` slots will join.
    pub(crate) fn start(expected_slots: u32) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(MAX_BLOCKING_THREADS)
            .thread_name("planner")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()?;
        Ok(Self { runtime: Some(runtime), permits: Semaphore::new(CONCURRENCY), expected_slots })
    }

    /// Plans `spec` for a cluster that has so many slots now. When the caller goes away, planning stops.
    pub(crate) async fn plan(&self, spec: JobSpec, slots: u32) -> Result<PlannedJob, PlanFailure> {
        let _permit = self.permits.acquire().await.map_err(|_| PlanFailure::Stopping)?;
        let runtime = self.runtime.as_ref().ok_or(PlanFailure::Stopping)?;
        let shape = ClusterShape { slots: slots.max(self.expected_slots).max(1) };
        let mut planning = tokio::task::JoinSet::new();
        planning.spawn_on(async move { planner::plan(&spec, &shape).await }, runtime.handle());
        match planning.join_next().await {
            Some(Ok(planned)) => Ok(planned?),
            Some(Err(error)) if error.is_panic() => Err(PlanFailure::Panicked),
            Some(Err(_)) | None => Err(PlanFailure::Stopping),
        }
    }
}

impl Drop for Planner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanFailure {
    /// The job is wrong.
    #[error(transparent)]
    Wrong(#[from] PlanError),
    /// The planner met a bug; the job may be right.
    #[error("the planner broke down on this job; the coordinator's log says where")]
    Panicked,
    /// The coordinator is stopping.
    #[error("the coordinator is stopping")]
    Stopping,
}

impl From<PlanFailure> for Status {
    fn from(failure: PlanFailure) -> Self {
        let message = failure.to_string();
        match failure {
            PlanFailure::Wrong(PlanError::Invalid { help, .. }) => Self::invalid_argument(with_help(message, help)),
            PlanFailure::Wrong(PlanError::Storage(_) | PlanError::DataFusion(_)) | PlanFailure::Panicked => {
                Self::invalid_argument(message)
            }
            PlanFailure::Stopping => Self::unavailable(message),
        }
    }
}

/// A message and what to do about it, as clients take them apart.
pub(super) fn with_help(message: String, help: Option<String>) -> String {
    match help {
        Some(help) => format!("{message}\nhelp: {help}"),
        None => message,
    }
}
