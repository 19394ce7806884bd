//! The command line: what users can type, and where each command lives. One file per group of commands; this one only
//! names them and turns how they end into an exit code.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic when nobody reads")]

mod attached;
mod cert;
mod check_gpu;
mod cluster;
mod completion;
mod config;
mod coordinator;
mod data;
mod doctor;
mod explain;
mod failure;
mod job;
mod job_spec;
mod logging;
mod new;
mod node;
mod resources;
mod run;
mod self_test;
mod session;
mod sql;
mod state;
mod token;
mod verify;
mod worker;

use std::future::Future;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use failure::{Exit, Failure};

use crate::config::{GlobalArgs, Settings, SettingsError};
use session::Session;

/// SQL jobs over worker processes that may die at any moment.
#[derive(Debug, Parser)]
#[command(name = "tandem", version, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a cluster of this command's own, run a job on it, report, stop it
    Run(run::RunArgs),
    /// The local cluster: up, down, status, scale
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Be the coordinator of a cluster
    Coordinator(coordinator::CoordinatorArgs),
    /// Be a worker of a cluster
    Worker(worker::WorkerArgs),
    /// Submit jobs and see what becomes of them
    #[command(subcommand)]
    Job(job::JobCommand),
    /// Run one SQL statement
    Sql(sql::SqlArgs),
    /// Show a statement's plan, cut into stages
    Explain(explain::ExplainArgs),
    /// Make test data
    #[command(subcommand)]
    Data(data::DataCommand),
    /// The workers of a cluster
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Tasks of programs and calls of their actors
    #[command(subcommand)]
    Task(state::TaskCommand),
    /// Actors of programs
    #[command(subcommand)]
    Actor(state::ActorCommand),
    /// Objects of programs
    #[command(subcommand)]
    Object(state::ObjectCommand),
    /// Placement groups of programs
    #[command(subcommand)]
    Pg(state::GroupCommand),
    /// Tasks, actors or objects, counted
    #[command(subcommand)]
    Summary(state::SummaryCommand),
    /// Which objects take memory, who made them, and who keeps them
    Memory(state::OfJob),
    /// Write when which task ran where, as a trace for a browser
    Timeline(state::TimelineArgs),
    /// Check that a cluster answers queries
    Verify(verify::VerifyArgs),
    /// Run tasks on all workers of a cluster, and count who ran how many
    SelfTest(self_test::SelfTestArgs),
    /// Check that a device of this machine computes what the CPU does
    CheckGpu(check_gpu::CheckGpuArgs),
    /// Check this machine and the local cluster
    Doctor,
    /// Make a package with a task and an actor to start from
    New(new::NewArgs),
    /// The settings of this command line
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Tokens that clusters ask for
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Certificates for clusters beyond this machine
    #[command(subcommand)]
    Cert(cert::CertCommand),
    /// Print a script that completes commands in a shell
    Completion(completion::CompletionArgs),
}

/// Parses the command line, runs the command, and says how it ended.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output, errors to standard error; if neither can be written nobody can be told.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(Exit::Usage as u8) } else { ExitCode::SUCCESS };
        }
    };
    match cli.execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

impl Cli {
    fn execute(self) -> Result<(), Failure> {
        let Self { global, command } = self;
        let settings = Settings::resolve(&global, |name| std::env::var(name).ok())?;
        match command {
            Command::Coordinator(args) => return coordinator::execute(args, &settings),
            Command::Worker(args) => return worker::execute(args, &settings),
            Command::Cluster(cluster::ClusterCommand::Supervise(args)) => return cluster::supervise(args),
            _ => logging::for_command(global.verbose, settings.color()),
        }
        let session = Session { settings };
        match command {
            Command::Run(args) => block_on(run::execute(args, &session)),
            Command::Cluster(command) => block_on(session.in_time(cluster::execute(command, &session))),
            Command::Job(command) => block_on(session.in_time(job::execute(command, &session))),
            Command::Sql(args) => block_on(sql::execute(args, &session)),
            Command::Explain(args) => block_on(explain::execute(args, &session)),
            Command::Data(command) => data::execute(command, session.format()),
            Command::Node(command) => block_on(session.in_time(node::execute(command, &session))),
            Command::Task(command) => block_on(session.in_time(state::task(command, &session))),
            Command::Actor(command) => block_on(session.in_time(state::actor(command, &session))),
            Command::Object(command) => block_on(session.in_time(state::object(command, &session))),
            Command::Pg(command) => block_on(session.in_time(state::group(command, &session))),
            Command::Summary(command) => block_on(session.in_time(state::summary(command, &session))),
            Command::Memory(job) => block_on(session.in_time(state::memory(job, &session))),
            Command::Timeline(args) => block_on(session.in_time(state::timeline(args, &session))),
            Command::SelfTest(args) => block_on(session.in_time(self_test::execute(&args, &session))),
            Command::Verify(args) => block_on(session.in_time(verify::execute(&args, &session))),
            Command::CheckGpu(args) => check_gpu::execute(&args, &session),
            Command::Doctor => block_on(doctor::execute(&session)),
            Command::New(args) => new::execute(args),
            Command::Config(command) => config::execute(&command, &session),
            Command::Token(command) => token::execute(command),
            Command::Cert(command) => cert::execute(&command),
            Command::Completion(args) => completion::execute::<Cli>(&args),
            Command::Coordinator(_) | Command::Worker(_) => Ok(()),
        }
    }
}

/// Runs a command of a client. One thread does: it also keeps children of a private cluster from losing their parent
/// thread.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(command)
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        let failure = Self::usage(error.message);
        match error.help {
            Some(help) => failure.with_help(help),
            None => failure,
        }
    }
}
