//! `tandem cluster up | down | status | scale`, and the supervisor that `up` leaves behind.

use std::time::Duration;

use clap::Subcommand;
use tandem_client::{ClusterRecord, FolderLock, Occupancy};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot::Sender;

use super::resources::ResourceArgs;
use super::session::Session;
use super::{Exit, Failure, block_on, logging};
use crate::local::{
    Asked, ClusterFault, ClusterShape, ControlAnswer, ControlRequest, JobSpan, Launched, LocalCluster, StateFolder,
    ask, launch, serve_control, tell_launcher,
};
use crate::output::units::{format_counted, parse_bytes};
use crate::output::{ClusterView, print_one, tell};

const POLL: Duration = Duration::from_millis(3);
const LOCK_ATTEMPTS: u32 = 30;

#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Start the local cluster; returns when its workers are ready
    Up(UpArgs),
    /// Stop the local cluster and everything it started
    Down,
    /// Where the cluster is and how busy
    Status,
    /// Change the number of workers
    Scale {
        /// How many there shall be
        workers: u32,
    },
    /// Keep a local cluster running (started by `up`)
    #[command(hide = true)]
    Supervise(SuperviseArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct UpArgs {
    /// Worker processes
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    workers: Option<u32>,
    /// Slots of each worker: tasks it runs at once
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    cpus: Option<u32>,
    /// Memory of each worker, such as 2GiB
    #[arg(long, value_parser = parse_bytes)]
    memory: Option<u64>,
    #[command(flatten)]
    resources: ResourceArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct SuperviseArgs {
    #[arg(long)]
    workers: u32,
    #[arg(long)]
    cpus: u32,
    #[arg(long)]
    memory: u64,
    #[command(flatten)]
    resources: ResourceArgs,
}

pub(super) async fn execute(command: ClusterCommand, session: &Session) -> Result<(), Failure> {
    match command {
        ClusterCommand::Up(args) => {
            let environment = args.resources.environment();
            let resources = args.resources.amounts()?;
            let shape = session.shape(args.workers, args.cpus, args.memory);
            up(&ClusterShape { resources, environment, ..shape })
        }
        ClusterCommand::Down => down(&StateFolder::of_user()?).await,
        ClusterCommand::Status => status(session).await,
        ClusterCommand::Scale { workers } => scale(&StateFolder::of_user()?, workers).await,
        // Has a runtime of its own and never comes here.
        ClusterCommand::Supervise(_) => Ok(()),
    }
}

/// Starts the user's local cluster and returns when it is ready.
pub(super) fn up(shape: &ClusterShape) -> Result<(), Failure> {
    let folder = StateFolder::of_user()?;
    folder.create()?;
    if let Some(record) = folder.running()? {
        return Err(Failure::usage(format!("a local cluster is already running: {}", record.address))
            .with_help("`tandem cluster scale N` changes its size, `tandem cluster down` stops it"));
    }
    match launch(&folder, shape)? {
        Launched::Ready { address } => {
            let ClusterShape { workers, cpus, .. } = shape;
            let (workers, slots) = (format_counted(*workers, "worker"), format_counted(*cpus, "slot"));
            tell!("cluster is up at {address}: {workers} with {slots} each");
            Ok(())
        }
        Launched::Failed { message } => {
            let logs = folder.logs();
            Err(Failure::failed(message).with_help(format!("logs are in {}", logs.display())))
        }
    }
}

async fn down(folder: &StateFolder) -> Result<(), Failure> {
    if folder.running()?.is_none() {
        tell!("no local cluster is running");
        return Ok(());
    }
    request(folder, &ControlRequest::Down).await?;
    // The supervisor itself is the last to go.
    while matches!(folder.occupy()?, Occupancy::Taken) {
        tokio::time::sleep(POLL).await;
    }
    tell!("cluster is down");
    Ok(())
}

async fn status(session: &Session) -> Result<(), Failure> {
    let client = session.connect().await?;
    let mut view = ClusterView::new(client.address(), client.cluster().await?);
    // Without a folder there is no local cluster.
    if let Ok(folder) = StateFolder::of_user()
        && let Some(record) = folder.running()?.filter(|record| record.address == view.address)
    {
        view.supervisor_pid = Some(record.supervisor_pid);
        if let ControlAnswer::Processes(processes) = request(&folder, &ControlRequest::Processes).await? {
            view.processes = processes;
        }
    }
    print_one(session.format(), &view)
}

async fn scale(folder: &StateFolder, workers: u32) -> Result<(), Failure> {
    if folder.running()?.is_none() {
        return Err(Failure::new(Exit::Unreachable, "no local cluster is running")
            .with_help("start one with `tandem cluster up`"));
    }
    request(folder, &ControlRequest::Scale { workers }).await?;
    tell!("cluster has {}", format_counted(workers, "worker"));
    Ok(())
}

async fn request(folder: &StateFolder, request: &ControlRequest) -> Result<ControlAnswer, Failure> {
    match ask(folder, request).await? {
        ControlAnswer::Failed { message } => Err(Failure::failed(message)),
        answer => Ok(answer),
    }
}

/// Is the supervisor of the user's local cluster until it is told to stop.
pub(super) fn supervise(args: SuperviseArgs) -> Result<(), Failure> {
    logging::for_process();
    // A session of its own, so that closing the terminal does not end it.
    rustix::process::setsid().map_err(std::io::Error::from)?;
    let SuperviseArgs { workers, cpus, memory: memory_bytes, resources } = args;
    let environment = resources.environment();
    let shape = ClusterShape { workers, cpus, memory_bytes, resources: resources.amounts()?, environment };
    block_on(async {
        let outcome = supervise_in(&StateFolder::of_user()?, shape).await;
        if let Err(Failure::Told { message, .. }) = &outcome {
            tell_launcher(&Launched::Failed { message: message.clone() })?;
        }
        outcome
    })
}

async fn supervise_in(folder: &StateFolder, shape: ClusterShape) -> Result<(), Failure> {
    folder.create()?;
    let _lock = become_supervisor(folder).await?;
    folder.sweep()?;
    let workers = shape.workers;
    let cluster = LocalCluster::start(folder, shape, JobSpan::Folder)?;
    let outcome = serve(folder, &cluster, workers).await;
    cluster.stop().await;
    folder.sweep()?;
    if let Ok(Some(answer)) = outcome {
        // The command that asked has gone; the cluster is down all the same.
        let _ = answer.send(ControlAnswer::Done);
        // Its answer must be on its way before this process ends.
        tokio::task::yield_now().await;
        return Ok(());
    }
    outcome.map(drop)
}

/// Other commands hold the lock for a moment when they look whether a cluster is running.
async fn become_supervisor(folder: &StateFolder) -> Result<FolderLock, Failure> {
    for _ in 0..LOCK_ATTEMPTS {
        if let Occupancy::Free(lock) = folder.occupy()? {
            return Ok(lock);
        }
        tokio::time::sleep(POLL).await;
    }
    Err(Failure::failed("another local cluster is already running"))
}

/// Who waits for the end of the cluster.
type Farewell = Option<Sender<ControlAnswer>>;

async fn serve(folder: &StateFolder, cluster: &LocalCluster, workers: u32) -> Result<Farewell, Failure> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        ready = cluster.ready(workers) => ready?,
        _ = terminate.recv() => return Err(Failure::failed("told to stop before the cluster was ready")),
    }
    let address = cluster.address().to_owned();
    let mut questions = serve_control(folder)?;
    folder.write_record(&ClusterRecord { address: address.clone(), supervisor_pid: std::process::id() })?;
    tell_launcher(&Launched::Ready { address })?;
    loop {
        let question = tokio::select! {
            question = questions.recv() => question,
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
        };
        let Some((request, answer)) = question else { return Ok(None) };
        let reply = match request {
            ControlRequest::Down => return Ok(Some(answer)),
            ControlRequest::Processes => ControlAnswer::Processes(cluster.processes().await),
            ControlRequest::Scale { workers } => tokio::select! {
                scaled = cluster.scale(workers) => scaled.map_or_else(|fault| failed(&fault), |()| ControlAnswer::Done),
                // Leaving workers may take their time; the end of the cluster does not wait for them.
                Some(answer) = told_to_end(&mut questions) => return Ok(Some(answer)),
                _ = terminate.recv() => return Ok(None),
            },
        };
        // Who asked may have gone.
        let _ = answer.send(reply);
    }
}

/// Refuses everything but the end.
async fn told_to_end(questions: &mut Receiver<Asked>) -> Option<Sender<ControlAnswer>> {
    while let Some((request, answer)) = questions.recv().await {
        if matches!(request, ControlRequest::Down) {
            return Some(answer);
        }
        let message = "the cluster is being scaled".to_owned();
        // Who asked may have gone.
        let _ = answer.send(ControlAnswer::Failed { message });
    }
    None
}

fn failed(fault: &ClusterFault) -> ControlAnswer {
    ControlAnswer::Failed { message: fault.to_string() }
}
