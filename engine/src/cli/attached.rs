//! Following a job on a terminal: progress while it runs, Ctrl-C, and what its end means for the exit code.

use std::future::Future;
use std::time::Duration;

use tandem_client::{Client, ClientError, Follow, Submission, ended};
use tandem_proto::JobId;
use tandem_proto::v1::{self, JobState, JobStatus};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::{Exit, Failure};
use crate::output::Progress;

/// How long a job that was asked to stop may take before the command leaves it to the cluster.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// What Ctrl-C does to the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnInterrupt {
    /// Asks it to stop.
    Stop,
    /// Nothing: only this command ends.
    Leave,
}

/// Ctrl-C, a polite kill, and the end of the terminal.
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    /// None when the command is to outlive its terminal.
    hangup: Option<Signal>,
}

impl Interrupts {
    pub(super) fn new() -> Result<Self, Failure> {
        let hangup = (!ignores_hangup()).then(|| signal(SignalKind::hangup())).transpose()?;
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hangup })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            Some(_) = async { self.hangup.as_mut()?.recv().await } => {}
        }
    }

    /// Gives up on `work` when one comes.
    pub(super) async fn guard<T>(&mut self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            outcome = work => outcome,
            () = self.next() => Err(Failure::new(Exit::Interrupted, "interrupted")),
        }
    }
}

/// Whether this process was started to outlive its terminal, as by `nohup`.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// A job to submit, and whether it ends with this command.
pub(super) fn submission(spec: v1::JobSpec, attached: bool) -> Submission {
    Submission { spec, attached, submission_id: format!("{:016x}", rand::random::<u64>()) }
}

/// After so long without another status the last one is shown, if it has not been.
const WITHOUT_NEWS: Duration = Duration::from_secs(1);

/// Shows the job's progress until it has ended, and fails unless it ended well.
pub(super) async fn follow(
    client: &Client,
    job: JobId,
    interrupts: &mut Interrupts,
    on_interrupt: OnInterrupt,
) -> Result<JobStatus, Failure> {
    let mut follow = client.follow(job).await?;
    let mut progress = Progress::new();
    let mut last = JobStatus::default();
    let mut give_up_at = None;
    loop {
        tokio::select! {
            status = next_status(&mut follow, &mut progress, &last) => match status? {
                Some(status) => {
                    progress.update(&status);
                    last = status;
                }
                None => break,
            },
            () = interrupts.next() => {
                if on_interrupt == OnInterrupt::Leave || give_up_at.is_some() {
                    return Err(interrupted(job));
                }
                client.stop(job, "interrupted by the user").await?;
                give_up_at = Some(Instant::now() + STOP_PATIENCE);
            }
            () = tokio::time::sleep_until(give_up_at.unwrap_or_else(Instant::now)), if give_up_at.is_some() => {
                return Err(interrupted(job));
            }
        }
    }
    progress.clear();
    if give_up_at.is_some() && last.state() == JobState::Stopped {
        return Err(interrupted(job));
    }
    Ok(ended(last)?)
}

/// The next status. Meanwhile the last one is shown, which may have come too soon after another.
async fn next_status(
    follow: &mut Follow,
    progress: &mut Progress,
    last: &JobStatus,
) -> Result<Option<JobStatus>, ClientError> {
    let next = follow.next_status();
    tokio::pin!(next);
    loop {
        tokio::select! {
            status = &mut next => return status,
            () = tokio::time::sleep(WITHOUT_NEWS) => progress.update(last),
        }
    }
}

/// The end of a command whose job the user interrupted.
pub(super) fn interrupted(job: JobId) -> Failure {
    Failure::new(Exit::Interrupted, format!("interrupted: job {job}"))
}
