//! TPC-H by Apache Ballista: its scheduler and two of its executors, with the defaults of their command lines.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use ballista::prelude::{SessionConfigExt, SessionContextExt};
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;
use clap::{Parser, Subcommand};
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use engines::{Arguments, Cluster, Given, LOCALHOST, answer_all, as_part, as_program, free_ports};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the cluster may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug, Subcommand)]
enum Part {
    Scheduler(ballista_scheduler::config::Config),
    Executor(ballista_executor::config::Config),
}

fn main() -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    match Arguments::parse() {
        Arguments { part: Some(Part::Scheduler(config)), .. } => as_part(cores, schedule(config)),
        // It runs tasks on threads of their own, one for each slot.
        Arguments { part: Some(Part::Executor(config)), .. } => as_part(cores, execute(config)),
        Arguments { given: Some(given), .. } => as_program(given.threads, answer(given)),
        _ => bail!("nothing to do; see --help"),
    }
}

async fn schedule(config: ballista_scheduler::config::Config) -> anyhow::Result<()> {
    let address = (LOCALHOST, config.bind_port).into();
    let config: SchedulerConfig = config.try_into()?;
    let cluster = BallistaCluster::new_from_config(&config).await?;
    Ok(start_server(cluster, address, Arc::new(config)).await?)
}

async fn execute(config: ballista_executor::config::Config) -> anyhow::Result<()> {
    let config: ExecutorProcessConfig = config.try_into()?;
    Ok(start_executor_process(Arc::new(config)).await?)
}

async fn answer(given: Given) -> anyhow::Result<()> {
    let mut cluster = Cluster::new()?;
    let scheduler = start(&mut cluster, &given).await?;
    let config = SessionConfig::new_with_ballista().with_target_partitions(given.threads);
    let state = SessionStateBuilder::new().with_default_features().with_config(config).build();
    let context = SessionContext::remote_with_state(&format!("df://{LOCALHOST}:{scheduler}"), state).await?;
    for (name, path) in given.tables()? {
        context.register_parquet(name, path, ParquetReadOptions::default()).await?;
    }
    answer_all(&context).await
}

/// Starts the cluster, and returns the port of its scheduler.
async fn start(cluster: &mut Cluster, given: &Given) -> anyhow::Result<u16> {
    let host = LOCALHOST.to_string();
    let [scheduler] = free_ports()?;
    let port = scheduler.to_string();
    let executors = given.slots().count().to_string();
    cluster.start(&[
        "scheduler",
        "--bind-host",
        &host,
        "--external-host",
        &host,
        "--bind-port",
        &port,
        "--min-ready-executors",
        &executors,
    ])?;
    for (executor, slots) in given.slots().enumerate() {
        let folder = cluster.folder().join(executor.to_string());
        std::fs::create_dir(&folder)?;
        let [flight, grpc] = free_ports()?;
        cluster.start(&[
            "executor",
            "--scheduler-host",
            &host,
            "--scheduler-port",
            &port,
            "--scheduler-connect-timeout-seconds",
            &PATIENCE.as_secs().to_string(),
            "--bind-host",
            &host,
            "--external-host",
            &host,
            "--bind-port",
            &flight.to_string(),
            "--bind-grpc-port",
            &grpc.to_string(),
            "--work-dir",
            &folder.display().to_string(),
            "--vcores",
            &slots.to_string(),
        ])?;
    }
    let deadline = Instant::now() + PATIENCE;
    while !is_ready(scheduler).await {
        cluster.is_whole()?;
        ensure!(Instant::now() < deadline, "not every executor has registered");
        tokio::time::sleep(POLL).await;
    }
    Ok(scheduler)
}

/// Whether the scheduler says that all its executors are there.
async fn is_ready(scheduler: u16) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect((LOCALHOST, scheduler)).await?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await?;
        let mut said = String::new();
        stream.read_to_string(&mut said).await?;
        std::io::Result::Ok(said)
    };
    // Before it listens, nobody answers.
    asked.await.is_ok_and(|said| said.split(' ').nth(1) == Some("200"))
}
