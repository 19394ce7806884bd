//! The job of a client: submitted, attached to, watched while the driver runs, and seen to its end.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tandem_actor_protocol::failure::Failure;
use tandem_client::v1::job_spec::Work;
use tandem_client::v1::{self, LogStream, ReadLogsRequest};
use tandem_client::{
    Client, ClientError, ClusterFolder, Exit, Follow, JobId, Named, Submission, ended, inspect, line_text, program,
    program_name, storage_secrets,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use super::bridge;
use super::ended::Ended;

/// How long the end of a job may take when the driver is over, or was interrupted.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// How long the driver may go on when its job has ended.
const DRIVER_GRACE: Duration = Duration::from_secs(5);
/// How long a worker may take to end the job of a connection that it has lost.
const NEWS_PATIENCE: Duration = Duration::from_secs(2);
/// How long this process waits for what tasks printed when the job has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// See the module's header.
pub(super) struct Session {
    client: Client,
    job: JobId,
    follow: Follow,
    printing: JoinHandle<()>,
    interrupted: Arc<AtomicBool>,
}

impl Session {
    /// Submits this program with these arguments, and attaches to its worker. The other end of the stream is what the driver
    /// speaks over.
    pub(super) async fn open(args: Vec<String>) -> Result<(Self, UnixStream), Ended> {
        let target = Named::by_variables().target(ClusterFolder::of_user())?;
        let client = Client::connect(&target.address, target.security).await?;
        let executable = std::env::current_exe()?;
        let spec = bring(&client, &executable, args).await?;
        // The stream to the worker, not the one of the status, is what holds the job.
        let submitted = client.submit(Submission { spec, attached: false, submission_id: submission_id() }).await?;
        let job = JobId(submitted.job);
        let interrupted = stop_on_signals(client.clone(), job)?;
        let mut follow = client.follow(job).await?;
        let stream = match client.attach_driver(&mut follow).await {
            Ok(stream) => stream,
            Err(error) => {
                stop(&client, job, "its client could not attach").await;
                return Err(error.into());
            }
        };
        let printing = tokio::spawn(print_lines(client.clone(), job));
        tokio::spawn(end_with_job(client.clone(), job));
        Ok((Self { client, job, follow, printing, interrupted }, bridge::start(stream)?))
    }

    /// Does not return when the user has interrupted this process: who heard it ends the process.
    async fn leave_to_signal(&self) {
        if self.interrupted.load(Ordering::Acquire) {
            std::future::pending().await
        }
    }

    /// Ends a job whose worker cannot be heard any more. The cluster may know why; else it is for this `failure`.
    pub(super) async fn lost(mut self, failure: Failure) -> Result<(), Ended> {
        self.leave_to_signal().await;
        if let Ok(Ok(status)) = tokio::time::timeout(NEWS_PATIENCE, self.follow.last_status()).await {
            return Ok(ended(status.unwrap_or_default()).map(drop)?);
        }
        stop(&self.client, self.job, "its client has lost its worker").await;
        Err(failure.into())
    }

    /// Sees the job to its end, which is what counts; `outcome` is what the driver made of it.
    pub(super) async fn end(mut self, outcome: Result<(), Failure>) -> Result<(), Ended> {
        self.leave_to_signal().await;
        let status = tokio::time::timeout(END_PATIENCE, self.follow.last_status()).await;
        let _ = tokio::time::timeout(LAST_WORDS, self.printing).await;
        match (status, outcome) {
            (Ok(Ok(status)), _) => Ok(ended(status.unwrap_or_default()).map(drop)?),
            (_, Err(failure)) => Err(failure.into()),
            (Ok(Err(error)), Ok(())) => Err(error.into()),
            (Err(_), Ok(())) => Err(ClientError::TimedOut(self.client.address().to_owned()).into()),
        }
    }
}

/// Names the submission of this process, so that it is taken once when it is repeated.
fn submission_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:08x}-{:x}", std::process::id(), now.as_nanos())
}

/// Brings this executable to the cluster.
async fn bring(client: &Client, executable: &Path, args: Vec<String>) -> Result<v1::JobSpec, Ended> {
    // How large it may be is the coordinator's to say.
    let package = inspect(executable, u64::MAX)?;
    client.bring_package(executable, &package, |_| {}).await?;
    let mut program = program(executable, &package, args)?;
    program.set_driver(v1::DriverPlace::Client);
    Ok(v1::JobSpec {
        name: program_name(executable),
        work: Some(Work::Program(program)),
        secrets: storage_secrets().collect(),
        ..v1::JobSpec::default()
    })
}

async fn stop(client: &Client, job: JobId, reason: &str) {
    // It may have ended, and a cluster that is away ends it later by itself.
    let _ = tokio::time::timeout(NEWS_PATIENCE, client.stop(job, reason)).await;
}

/// Ctrl-C, or a polite kill, stops the job and ends this process, whatever the driver does. What is returned is set then.
fn stop_on_signals(client: Client, job: JobId) -> Result<Arc<AtomicBool>, Ended> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let interrupted = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&interrupted);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        heard.store(true, Ordering::Release);
        let stopped = async {
            stop(&client, job, "interrupted by the user").await;
            client.follow(job).await?.last_status().await
        };
        let _ = tokio::time::timeout(END_PATIENCE, stopped).await;
        Ended::new(Exit::Interrupted, format!("interrupted: job {job}")).exit();
    });
    Ok(interrupted)
}

/// Ends this process when the job has ended without its driver, and the driver goes on nevertheless.
async fn end_with_job(client: Client, job: JobId) {
    let Ok(mut follow) = client.follow(job).await else { return };
    let Ok(status) = follow.last_status().await else { return };
    tokio::time::sleep(DRIVER_GRACE).await;
    if let Err(error) = ended(status.unwrap_or_default()) {
        Ended::from(error).exit();
    }
}

/// Prints what tasks and actors print, on standard error: standard output is the driver's.
async fn print_lines(client: Client, job: JobId) {
    let request = ReadLogsRequest { job: job.0, follow: true, ..ReadLogsRequest::default() };
    let Ok(mut logs) = client.logs(request).await else { return };
    while let Ok(Some(lines)) = logs.next_lines().await {
        let printed = |line: &&v1::LogLine| matches!(line.stream(), LogStream::Stdout | LogStream::Stderr);
        lines.iter().filter(printed).for_each(|line| eprintln!("{}", line_text(line)));
    }
}
