//! TPC-H by datafusion-distributed: two of its workers, and a session with its planner that knows them.

use std::io::{BufRead, BufReader};

use anyhow::bail;
use clap::{Parser, Subcommand};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use datafusion_distributed::{DistributedExt, SessionStateBuilderExt, Worker, WorkerResolver};
use engines::{Arguments, Cluster, Given, LOCALHOST, answer_all, as_part, as_program};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use url::Url;

#[derive(Debug, Subcommand)]
enum Part {
    Worker {
        #[arg(long)]
        slots: usize,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse() {
        Arguments { part: Some(Part::Worker { slots }), .. } => as_part(slots, work()),
        Arguments { given: Some(given), .. } => as_program(given.threads, answer(given)),
        _ => bail!("nothing to do; see --help"),
    }
}

/// Serves, and says where.
async fn work() -> anyhow::Result<()> {
    let listener = TcpListener::bind((LOCALHOST, 0)).await?;
    println!("http://{}", listener.local_addr()?);
    let server = Server::builder().add_service(Worker::default().into_worker_server());
    Ok(server.serve_with_incoming(TcpIncoming::from(listener)).await?)
}

async fn answer(given: Given) -> anyhow::Result<()> {
    let mut cluster = Cluster::new()?;
    let workers = start(&mut cluster, &given)?;
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_config(SessionConfig::new().with_target_partitions(given.threads))
        .with_distributed_planner()
        .with_distributed_worker_resolver(workers)
        .build();
    let context = SessionContext::new_with_state(state);
    for (name, path) in given.tables()? {
        context.register_parquet(name, path, ParquetReadOptions::default()).await?;
    }
    answer_all(&context).await
}

fn start(cluster: &mut Cluster, given: &Given) -> anyhow::Result<Workers> {
    let start = |slots: usize| {
        let mut said = String::new();
        BufReader::new(cluster.start(&["worker", "--slots", &slots.to_string()])?).read_line(&mut said)?;
        Ok(Url::parse(said.trim_end())?)
    };
    Ok(Workers(given.slots().map(start).collect::<anyhow::Result<_>>()?))
}

/// They stay the same.
struct Workers(Vec<Url>);

impl WorkerResolver for Workers {
    fn get_urls(&self) -> Result<Vec<Url>, DataFusionError> {
        Ok(self.0.clone())
    }
}
