//! Drivers as the tasks that they are to the coordinator: an attempt is one run of the job's main program.

use std::time::Duration;

use tandem_actor_protocol::decode;
use tandem_actor_protocol::failure::{Failure, FailureKind as Kind};
use tandem_exec::error::TaskError;
use tandem_proto::JobId;
use tandem_proto::v1::{DriverPlace, Program, TaskFinished};
use tandem_runtime::RuntimeHandle;
use tracing::debug;

use super::logs::Logs;

/// How long the end of a driver waits until what was printed is kept by the coordinator.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs drivers.
#[derive(Debug, Clone)]
pub(crate) struct Drivers {
    runtime: RuntimeHandle,
    logs: Logs,
}

impl Drivers {
    pub(super) fn new(runtime: RuntimeHandle, logs: Logs) -> Self {
        Self { runtime, logs }
    }

    /// Runs a driver to its end. Dropping the future ends it.
    ///
    /// # Errors
    /// As the driver or its process ended.
    pub(crate) async fn run(&self, job: JobId, attempt: u32, program: &Program) -> Result<TaskFinished, TaskError> {
        let (place, args) = (program.driver(), program.args.clone());
        let ended = match place {
            DriverPlace::Unspecified if !program.actor.is_empty() => match decode(&program.actor) {
                Ok(actor) => self.runtime.drive_actor(job, attempt, actor).await,
                Err(error) => return Err(TaskError::Fatal(format!("the actor of the job is none: {error}"))),
            },
            DriverPlace::Unspecified => self.runtime.drive(job, attempt, args).await,
            DriverPlace::Client => self.runtime.drive_at_client(job, attempt, args).await,
        };
        if tokio::time::timeout(FLUSH_TIMEOUT, self.logs.flushed()).await.is_err() {
            debug!(%job, "a driver has ended before all its lines were kept");
        }
        match ended {
            // Its one output is empty.
            Ok(()) => Ok(TaskFinished { partition_sizes: vec![0], ..TaskFinished::default() }),
            Err(failure) => Err(error(&failure, place)),
        }
    }
}

/// What the coordinator does next: what a driver says itself is final, what happened to it may go better again. A client does
/// not come twice.
fn error(failure: &Failure, place: DriverPlace) -> TaskError {
    let message = failure.to_string();
    if place == DriverPlace::Client {
        return TaskError::Fatal(message);
    }
    match failure.kind {
        Kind::ProcessLost | Kind::WorkerLost | Kind::TimedOut | Kind::Cancelled => TaskError::Retry(message),
        Kind::MemoryLimit | Kind::StoreFull => TaskError::Resources(message),
        Kind::Returned
        | Kind::Panicked
        | Kind::Dependency
        | Kind::ActorGone
        | Kind::TooManyPending
        | Kind::ObjectLost
        | Kind::Unschedulable
        | Kind::NotFound
        | Kind::Mismatch
        | Kind::Deadlock
        | Kind::NameTaken => TaskError::Fatal(message),
    }
}
