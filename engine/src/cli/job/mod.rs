//! `tandem job …`: submitting jobs and seeing what becomes of them.

pub(super) mod logs;

use std::io::Write;

use clap::Subcommand;
use tandem_proto::v1::JobStatus;
use tandem_proto::{JobId, ParseIdError};

use super::attached::{self, Interrupts, OnInterrupt};
use super::job_spec::JobArgs;
use super::session::Session;
use super::{Exit, Failure, explain};
use crate::output::{JobView, OutputFormat, StageView, TaskView, print_list, print_one, print_summary, tell};

#[derive(Debug, Subcommand)]
pub(super) enum JobCommand {
    /// Submit a job and follow it; it goes on when this command dies
    Submit(SubmitArgs),
    /// All jobs the coordinator knows
    List,
    /// One job
    Get(IdArg),
    /// What a job's processes printed, and what workers said about its tasks
    Logs(logs::LogsArgs),
    /// Every attempt of every task
    Tasks(IdArg),
    /// Ask a job to stop and wait until it has
    Stop(IdArg),
    /// Wait for the end of a job; fails if the job did
    Wait(IdArg),
    /// A job's plan, cut into stages, with what each operator did so far
    Explain(IdArg),
}

#[derive(Debug, clap::Args)]
pub(super) struct SubmitArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Call the job this
    #[arg(long)]
    name: Option<String>,
    /// Return when the job is accepted
    #[arg(long, alias = "detach")]
    no_wait: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct IdArg {
    /// The job's id
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: JobId,
}

fn parse_id(text: &str) -> Result<JobId, ParseIdError> {
    text.parse()
}

pub(super) async fn execute(command: JobCommand, session: &Session) -> Result<(), Failure> {
    let format = session.format();
    match command {
        JobCommand::Submit(args) => submit(args, session).await,
        JobCommand::Logs(args) => logs::execute(&args, session).await,
        JobCommand::List => {
            let jobs: Vec<JobView> = session.connect().await?.list().await?.into_iter().map(JobView::from).collect();
            print_list(format, &jobs)
        }
        JobCommand::Get(IdArg { id }) => get(session, id).await,
        JobCommand::Tasks(IdArg { id }) => {
            let tasks: Vec<TaskView> =
                session.connect().await?.tasks(id).await?.into_iter().map(TaskView::from).collect();
            print_list(format, &tasks)
        }
        JobCommand::Stop(IdArg { id }) => stop(session, id).await,
        JobCommand::Wait(IdArg { id }) => {
            let client = session.connect().await?;
            let status = attached::follow(&client, id, &mut Interrupts::new()?, OnInterrupt::Leave).await?;
            print_end(status, format)
        }
        JobCommand::Explain(IdArg { id }) => {
            let status = session.connect().await?.get(id).await?;
            explain::print_stages(format, status.stages, status.started_ms > 0)
        }
    }
}

async fn submit(args: SubmitArgs, session: &Session) -> Result<(), Failure> {
    let job = args.job.checked(args.name.as_deref())?;
    let client = session.connect().await?;
    let submitted = job.submit(&client, false).await?;
    let id = JobId(submitted.job);
    if args.no_wait {
        return accepted(session, id, submitted.status.unwrap_or_default());
    }
    tell!("submitted {} as job {id}", job.name());
    let status = job.follow(&client, id, &mut Interrupts::new()?).await?;
    print_end(status, session.format())
}

/// What became of a job, for people; as data too, in the other forms.
fn print_end(status: JobStatus, format: OutputFormat) -> Result<(), Failure> {
    print_summary(&status);
    match format {
        OutputFormat::Table => Ok(()),
        format => print_one(format, &JobView::from(status)),
    }
}

/// The id alone, so that a script can take it.
fn accepted(session: &Session, id: JobId, status: JobStatus) -> Result<(), Failure> {
    tell!("`tandem job wait {id}` waits for its end");
    match session.format() {
        OutputFormat::Table => Ok(writeln!(std::io::stdout(), "{id}")?),
        format => print_one(format, &JobView::from(status)),
    }
}

async fn get(session: &Session, id: JobId) -> Result<(), Failure> {
    let status = session.connect().await?.get(id).await?;
    let format = session.format();
    let stages: Vec<StageView> = status.stages.iter().cloned().map(StageView::from).collect();
    print_one(format, &JobView::from(status))?;
    if format == OutputFormat::Table {
        writeln!(std::io::stdout())?;
        print_list(format, &stages)?;
    }
    Ok(())
}

async fn stop(session: &Session, id: JobId) -> Result<(), Failure> {
    let client = session.connect().await?;
    client.stop(id, "stopped by `tandem job stop`").await?;
    let last = client.follow(id).await?.last_status().await?;
    let last = last.ok_or_else(|| Failure::new(Exit::Failed, format!("job {id} has no status")))?;
    print_one(session.format(), &JobView::from(last))
}
