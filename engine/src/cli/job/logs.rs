//! `tandem job logs`: what the processes of a job printed and what workers said about its tasks, as the coordinator keeps it.

use std::future::Future;
use std::io::{BufWriter, Write};
use std::pin::pin;
use std::time::Duration;

use serde::Serialize;
use tandem_client::{Client, Logs, line_text};
use tandem_proto::JobId;
use tandem_proto::v1::{JobStatus, LogLine, LogStream, ReadLogsRequest, StageStatus};

use super::super::attached::Interrupts;
use super::super::session::Session;
use super::super::{Exit, Failure};
use crate::output::units::format_count;
use crate::output::{OutputFormat, tell, tell_with};

/// How long a command waits for what a job printed when the job has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(in super::super) struct LogsArgs {
    #[command(flatten)]
    job: super::IdArg,
    /// Go on until the job has ended
    #[arg(short, long)]
    follow: bool,
    /// Only this task or actor: STAGE/TASK, an id, or the name of its function or class
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Only what the job's main program printed, as it printed it
    #[arg(long, conflicts_with = "task")]
    driver: bool,
}

pub(super) async fn execute(args: &LogsArgs, session: &Session) -> Result<(), Failure> {
    let (job, follow, format) = (args.job.id, args.follow, session.format());
    let client = session.connect().await?;
    let mut interrupts = Interrupts::new()?;
    if args.driver && format == OutputFormat::Table {
        return interrupts.guard(stream_driver(&client, job, follow)).await;
    }
    let form = Form::new(format)?;
    let task = args.task.clone().unwrap_or_default();
    interrupts.guard(check_task(&client, job, &task)).await?;
    let request = ReadLogsRequest { job: job.0, task, follow, driver: args.driver };
    interrupts.guard(async { copy(client.logs(request).await?, |lines| form.print(lines)).await }).await
}

/// Whether the job has this task, if it is named by its place: of tasks and actors of programs it is not known for long who they were.
async fn check_task(client: &Client, job: JobId, named: &str) -> Result<(), Failure> {
    let number = |text: &str| text.parse::<u32>().ok();
    let place = named.split_once('/').and_then(|(stage, task)| number(stage).zip(number(task)));
    let Some((stage, task)) = place else { return Ok(()) };
    let has = |other: &StageStatus| other.stage == stage && task < other.tasks;
    if client.get(job).await?.stages.iter().any(has) {
        return Ok(());
    }
    let failure = Failure::new(Exit::NotFound, format!("job {job} has no task {named}"));
    Err(failure.with_help(format!("`tandem job tasks {job}` lists those it has")))
}

/// Copies what the driver of a job prints to standard output and standard error; with `follow`, until the job has ended.
pub(in super::super) async fn stream_driver(client: &Client, job: JobId, follow: bool) -> Result<(), Failure> {
    let request = ReadLogsRequest { job: job.0, follow, driver: true, ..ReadLogsRequest::default() };
    copy(client.logs(request).await?, print_as_printed).await
}

/// Follows a program while what its driver prints is copied here. How the job ended is told after its last words.
pub(in super::super) async fn beside(
    client: &Client,
    job: JobId,
    follow: impl Future<Output = Result<JobStatus, Failure>>,
) -> Result<JobStatus, Failure> {
    let mut printing = pin!(stream_driver(client, job, true));
    let mut follow = pin!(follow);
    let ended = tokio::select! {
        printed = &mut printing => {
            printed?;
            return follow.await;
        }
        ended = &mut follow => ended,
    };
    // The rest is kept and can be read again.
    tokio::time::timeout(LAST_WORDS, printing).await.unwrap_or(Ok(()))?;
    ended
}

/// Prints all lines, and says how many are missing.
async fn copy(mut logs: Logs, print: impl Fn(&[LogLine]) -> Result<(), Failure>) -> Result<(), Failure> {
    while let Some(lines) = logs.next_lines().await? {
        print(&lines)?;
    }
    if logs.dropped() > 0 {
        let dropped = format_count(logs.dropped());
        tell!("{dropped} more lines were not kept: the job has printed more than the coordinator keeps");
    }
    Ok(())
}

/// Each line to where it was printed to, in order.
fn print_as_printed(lines: &[LogLine]) -> Result<(), Failure> {
    for lines in lines.chunk_by(|one, next| one.stream() == next.stream()) {
        match lines.first().map(LogLine::stream) {
            Some(LogStream::Stderr) => tell_with(|out| print_to(out, lines)),
            _ => print_to(std::io::stdout().lock(), lines)?,
        }
    }
    Ok(())
}

fn print_to(out: impl Write, lines: &[LogLine]) -> std::io::Result<()> {
    let mut out = BufWriter::new(out);
    lines.iter().try_for_each(|line| writeln!(out, "{}", line.text))?;
    out.flush()
}

/// How lines are printed.
#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    Json,
}

/// All that is known about a line. Its names are a contract.
#[derive(Debug, Serialize)]
struct LineView<'a> {
    time_ms: i64,
    job: String,
    worker: &'a str,
    stream: &'static str,
    task: &'a str,
    task_name: &'a str,
    sequence: u64,
    text: &'a str,
}

impl Form {
    fn new(format: OutputFormat) -> Result<Self, Failure> {
        match format {
            OutputFormat::Table => Ok(Self::Text),
            OutputFormat::Json | OutputFormat::Jsonl => Ok(Self::Json),
            OutputFormat::Csv | OutputFormat::Arrow => {
                Err(Failure::usage(format!("logs cannot be had as {format}")).with_help("use -o json"))
            }
        }
    }

    fn print(self, lines: &[LogLine]) -> Result<(), Failure> {
        let mut out = BufWriter::new(std::io::stdout().lock());
        for line in lines {
            let text = match self {
                Self::Text => line_text(line),
                Self::Json => serde_json::to_string(&LineView::from(line))
                    .map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?,
            };
            writeln!(out, "{text}")?;
        }
        Ok(out.flush()?)
    }
}

impl<'a> From<&'a LogLine> for LineView<'a> {
    fn from(line: &'a LogLine) -> Self {
        let stream = match line.stream() {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
            LogStream::Worker => "worker",
            LogStream::Unspecified => "",
        };
        Self {
            time_ms: line.time_ms,
            job: JobId(line.job).to_string(),
            worker: &line.worker,
            stream,
            task: &line.task,
            task_name: &line.task_name,
            sequence: line.sequence,
            text: &line.text,
        }
    }
}
