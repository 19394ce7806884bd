//! What takes time and is not decided: publishing a job's files, removing what it staged, writing its report.
//! Each runs as a task of the owner and sends it a message when it is done.

use std::sync::Arc;
use std::time::Duration;

use tandem_exec::sink::{self, SinkCommit, SinkError};
use tandem_exec::storage::Storage;
use tandem_jobs::planned::PlannedJob;
use tandem_jobs::report::Summary;
use tandem_proto::JobId;
use tandem_scheduler::{JobView, StagedFile};
use tracing::{error, warn};

use crate::journal::Journal;
use crate::wire;

/// Waits before each further try to publish or remove.
const RETRIES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];
/// Further tries, and the waits before them, when some sinks of a job are published: the others should follow.
const PATIENT_RETRIES: usize = 60;
const PATIENT_WAIT: Duration = Duration::from_secs(10);

/// Publishes all files of a job, so that a restart at any moment either has not begun or carries on. No sink is touched
/// before all of them could be published.
pub(super) async fn commit(
    journal: &Journal,
    job: JobId,
    planned: &PlannedJob,
    files: Vec<StagedFile>,
) -> Result<(), String> {
    let storage = storage(planned);
    let staged: Vec<_> = files.iter().cloned().map(wire::staged_file).collect();
    let commits = planned.sinks.iter().map(|spec| SinkCommit { spec: spec.clone(), job, files: staged.clone() });
    let commits: Vec<_> = commits.collect();
    for commit in &commits {
        if let Err(error) = retrying(&RETRIES, || sink::check_commit(commit, &storage)).await {
            journal.withdraw(job);
            return Err(failed(commit, &error));
        }
    }
    journal.intend(job, files).await.map_err(|error| error.to_string())?;
    if let Err(error) = publish_all(&commits, &storage).await {
        journal.withdraw(job);
        return Err(error);
    }
    if let Err(error) = journal.committed(job).await {
        // The files are published; a restart would publish them again, which changes nothing.
        warn!(%job, %error, "the end of the commit is not in the journal yet");
    }
    Ok(())
}

/// Publishes one sink after the other. A failure names those that are published already.
async fn publish_all(commits: &[SinkCommit], storage: &Arc<Storage>) -> Result<(), String> {
    let patient: Vec<Duration> =
        RETRIES.into_iter().chain(std::iter::repeat_n(PATIENT_WAIT, PATIENT_RETRIES)).collect();
    for (place, commit) in commits.iter().enumerate() {
        let waits = if place == 0 { &RETRIES[..] } else { &patient };
        if let Err(error) = retrying(waits, || sink::publish(commit, storage)).await {
            let before: Vec<String> = commits[..place].iter().map(|done| format!("`{}`", done.spec.name)).collect();
            let told = failed(commit, &error);
            return Err(match before.as_slice() {
                [] => told,
                [one] => format!("{told}; sink {one} is published"),
                more => format!("{told}; sinks {} are published", more.join(", ")),
            });
        }
    }
    Ok(())
}

fn failed(commit: &SinkCommit, error: &SinkError) -> String {
    let (job, sink) = (commit.job, &commit.spec.name);
    error!(%job, sink, %error, "the files of the job could not be published");
    format!("sink `{sink}`: {error}")
}

/// Removes whatever attempts of a job have staged. What cannot be removed is left, and told.
pub(super) async fn clean_up(job: JobId, planned: &PlannedJob) {
    let storage = storage(planned);
    for spec in &planned.sinks {
        if let Err(error) = retrying(&RETRIES, || sink::abort(job, spec, &[], &storage)).await {
            warn!(%job, sink = spec.name, %error, "staged files of the job are left over");
        }
    }
}

/// How an ended job went.
pub(super) fn summary(view: &JobView, planned: &PlannedJob) -> Summary {
    Summary::new(&wire::job_status(view, &wire::JobFace::default(), false), &planned.report)
}

/// Puts the report where the job's files are, or tells why that is not possible: the job is over.
pub(super) async fn write_report(job: JobId, summary: &Summary, planned: &PlannedJob) -> Option<String> {
    let folder = planned.report.folder.as_ref()?;
    let error = summary.write_to(folder, &storage(planned)).await.err()?;
    warn!(%job, %error, "the report of the job could not be written");
    Some(error.to_string())
}

fn storage(planned: &PlannedJob) -> Arc<Storage> {
    let environment = planned.environment.iter().chain(&planned.secrets);
    Arc::new(Storage::new(environment.map(|(key, value)| (key.clone(), value.clone())).collect()))
}

async fn retrying<T, F>(waits: &[Duration], attempt: impl Fn() -> F) -> Result<T, SinkError>
where
    F: Future<Output = Result<T, SinkError>>,
{
    for wait in waits {
        match attempt().await {
            Err(error) if error.retryable() => warn!(%error, "a sink is not ready, trying again"),
            done => return done,
        }
        tokio::time::sleep(*wait).await;
    }
    attempt().await
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tandem_exec::sink::{SinkFormat, SinkMode, SinkSpec};
    use tempfile::TempDir;

    use super::*;

    const JOB: JobId = JobId(7);

    /// A job with a sink per name, each with one staged file.
    fn job(folder: &Path, names: &[&str]) -> (PlannedJob, Vec<StagedFile>) {
        let sink = |name: &&str| SinkSpec {
            mode: SinkMode::Error,
            ..SinkSpec::new(*name, folder.join(name).to_string_lossy(), SinkFormat::Csv)
        };
        let stage = |name: &&str| {
            let staged = folder.join(format!(".{name}.tandem-{:016x}/staged", JOB.0));
            std::fs::create_dir_all(&staged).unwrap();
            std::fs::write(staged.join("part"), "a\n1\n").unwrap();
            StagedFile {
                sink: (*name).to_owned(),
                staged_path: staged.join("part").to_string_lossy().into_owned(),
                final_path: "part.csv".to_owned(),
                rows: 1,
                bytes: 4,
                multipart_id: String::new(),
                parts: Vec::new(),
            }
        };
        let planned = PlannedJob { sinks: names.iter().map(sink).collect(), ..PlannedJob::default() };
        (planned, names.iter().map(stage).collect())
    }

    #[tokio::test]
    async fn a_sink_that_cannot_be_published_leaves_those_before_it_as_they_were() {
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        let (journal, _) = Journal::open(&folder.path().join("data")).unwrap();
        let (planned, files) = job(&out, &["first", "second"]);
        std::fs::create_dir(out.join("second")).unwrap();
        std::fs::write(out.join("second/foreign.csv"), "x").unwrap();
        let error = commit(&journal, JOB, &planned, files.clone()).await.unwrap_err();
        assert!(error.contains("sink `second`"), "{error}");
        assert!(!out.join("first").exists(), "the first sink was published");

        std::fs::remove_file(out.join("second/foreign.csv")).unwrap();
        commit(&journal, JOB, &planned, files).await.unwrap();
        assert!(out.join("first/part.csv").exists() && out.join("second/part.csv").exists());
    }

    #[tokio::test]
    async fn a_sink_that_fails_after_others_were_published_tells_of_them() {
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        let (planned, files) = job(&out, &["first", "second", "third"]);
        std::fs::create_dir(out.join("third")).unwrap();
        std::fs::write(out.join("third/foreign.csv"), "x").unwrap();
        let staged: Vec<_> = files.into_iter().map(wire::staged_file).collect();
        let commit = |spec: &SinkSpec| SinkCommit { spec: spec.clone(), job: JOB, files: staged.clone() };
        let commits: Vec<_> = planned.sinks.iter().map(commit).collect();
        let error = publish_all(&commits, &storage(&planned)).await.unwrap_err();
        assert!(error.starts_with("sink `third`: "), "{error}");
        assert!(error.ends_with("; sinks `first`, `second` are published"), "{error}");
    }

    #[tokio::test]
    async fn a_commit_that_was_cut_off_between_two_sinks_is_carried_on() {
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        let (journal, _) = Journal::open(&folder.path().join("data")).unwrap();
        let (planned, files) = job(&out, &["first", "second"]);
        let first = PlannedJob { sinks: planned.sinks[..1].to_vec(), ..planned.clone() };
        commit(&journal, JOB, &first, files.clone()).await.unwrap();
        assert!(out.join("first/part.csv").exists() && !out.join("second").exists());
        commit(&journal, JOB, &planned, files).await.unwrap();
        assert!(out.join("second/part.csv").exists());
    }
}
