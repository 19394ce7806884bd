//! What takes time and is not decided: publishing a job's files, removing what it staged, writing its report.
//! Each runs as a task of the owner and sends it a message when it is done.

use std::sync::Arc;
use std::time::Duration;

use tandem_exec::sink::{self, SinkCommit, SinkError};
use tandem_exec::storage::Storage;
use tandem_jobs::planned::PlannedJob;
use tandem_jobs::report::Summary;
use tandem_proto::JobId;
use tracing::{error, warn};

use crate::journal::Journal;
use crate::state::{JobView, StagedFile};
use crate::wire;

/// Waits before each further try to publish or remove.
const RETRIES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];

/// Publishes all files of a job, so that a restart at any moment either has not begun or carries on.
pub(super) async fn commit(
    journal: &Journal,
    job: JobId,
    planned: &PlannedJob,
    files: Vec<StagedFile>,
) -> Result<(), String> {
    journal.intend(job, files.clone()).await.map_err(|error| error.to_string())?;
    let storage = storage(planned);
    let files: Vec<_> = files.into_iter().map(wire::staged_file).collect();
    for spec in &planned.sinks {
        let commit = SinkCommit { spec: spec.clone(), job, files: files.clone() };
        if let Err(error) = retrying(|| sink::publish(&commit, &storage)).await {
            error!(%job, sink = spec.name, %error, "the files of the job could not be published");
            journal.withdraw(job);
            return Err(format!("sink `{}`: {error}", spec.name));
        }
    }
    if let Err(error) = journal.committed(job).await {
        // The files are published; a restart would publish them again, which changes nothing.
        warn!(%job, %error, "the end of the commit is not in the journal yet");
    }
    Ok(())
}

/// Removes whatever attempts of a job have staged. What cannot be removed is left, and told.
pub(super) async fn clean_up(job: JobId, planned: &PlannedJob) {
    let storage = storage(planned);
    for spec in &planned.sinks {
        if let Err(error) = retrying(|| sink::abort(job, spec, &[], &storage)).await {
            warn!(%job, sink = spec.name, %error, "staged files of the job are left over");
        }
    }
}

/// How an ended job went.
pub(super) fn summary(view: &JobView, planned: &PlannedJob) -> Summary {
    Summary::new(&wire::job_status(view, &wire::JobFace::default(), false), &planned.report)
}

/// Puts the report where the job's files are. It is told in the log when that is not possible: the job is over.
pub(super) async fn write_report(job: JobId, summary: &Summary, planned: &PlannedJob) {
    let Some(folder) = &planned.report.folder else { return };
    if let Err(error) = summary.write_to(folder, &storage(planned)).await {
        warn!(%job, %error, "the report of the job could not be written");
    }
}

fn storage(planned: &PlannedJob) -> Arc<Storage> {
    let environment = planned.environment.iter().chain(&planned.secrets);
    Arc::new(Storage::new(environment.map(|(key, value)| (key.clone(), value.clone())).collect()))
}

async fn retrying<T, F>(attempt: impl Fn() -> F) -> Result<T, SinkError>
where
    F: Future<Output = Result<T, SinkError>>,
{
    for wait in RETRIES {
        match attempt().await {
            Err(error) if error.retryable() => warn!(%error, "a sink is not ready, trying again"),
            done => return done,
        }
        tokio::time::sleep(wait).await;
    }
    attempt().await
}
