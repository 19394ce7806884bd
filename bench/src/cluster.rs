//! A cluster of the real binary's processes, with a state folder of its own, gone when it is dropped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use datafusion::arrow::record_batch::RecordBatch;
use serde::Deserialize;
use tandem::{Client, ClientSecurity, JobId, Submission, Token, v1};

use crate::process::peak_resident_bytes;

/// How long to wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);

/// How large a cluster is.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Shape {
    /// Worker processes
    #[arg(long, default_value_t = 2)]
    pub(crate) workers: u32,
    /// Slots of each worker: tasks it runs at once
    #[arg(long, default_value_t = 1)]
    pub(crate) cpus: u32,
    /// Memory limit of each worker
    #[arg(long, default_value = "4GiB")]
    pub(crate) memory: String,
}

impl Shape {
    /// Tasks that run at once.
    pub(crate) fn slots(&self) -> u32 {
        self.workers * self.cpus
    }

    /// As `tandem` takes it.
    pub(crate) fn arguments(&self) -> [String; 6] {
        let Self { workers, cpus, memory } = self;
        let words = ["--workers", &workers.to_string(), "--cpus", &cpus.to_string(), "--memory", memory];
        words.map(ToOwned::to_owned)
    }
}

/// A running cluster and a client of it.
pub(crate) struct Cluster {
    state: PathBuf,
    client: Client,
    supervisor_pid: u32,
    settings: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Status {
    address: String,
    supervisor_pid: u32,
    processes: BTreeMap<String, u32>,
}

impl Cluster {
    /// Starts the processes; their state is below `folder`.
    pub(crate) async fn start(folder: &Path, shape: &Shape) -> anyhow::Result<Self> {
        let state = folder.join("state");
        output(command(&state, &["cluster", "up"])?.args(shape.arguments()))?;
        let status = status(&state)?;
        let token = Token::read(&state.join("tandem").join("token"))?;
        let client = Client::connect(&status.address, ClientSecurity { token: Some(token), ca_pem: None }).await?;
        Ok(Self { state, client, supervisor_pid: status.supervisor_pid, settings: Vec::new() })
    }

    /// Gives every query these settings.
    pub(crate) fn with_settings(mut self, settings: Vec<(String, String)>) -> Self {
        self.settings = settings;
        self
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The process that starts the others again.
    pub(crate) fn supervisor_pid(&self) -> u32 {
        self.supervisor_pid
    }

    /// `tandem` with these arguments, as a client of this cluster.
    pub(crate) fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        command(&self.state, arguments)
    }

    /// What the program of that name beside this one prints when it runs as a job.
    pub(crate) fn run_program(&self, name: &str, arguments: &[&str]) -> anyhow::Result<String> {
        output(self.command(&["job", "submit"])?.arg(beside(name)?).arg("--").args(arguments))
    }

    /// What it prints as a program outside of the cluster.
    pub(crate) fn run_outside(&self, name: &str, arguments: &[&str]) -> anyhow::Result<String> {
        output(Command::new(beside(name)?).args(arguments).env("XDG_STATE_HOME", &self.state))
    }

    /// Coordinator and workers by name.
    pub(crate) fn processes(&self) -> anyhow::Result<BTreeMap<String, u32>> {
        Ok(status(&self.state)?.processes)
    }

    /// All rows of one statement over `tables` (name and path).
    pub(crate) async fn query(&self, sql: &str, tables: &[(String, String)]) -> anyhow::Result<Vec<RecordBatch>> {
        self.query_with(sql, tables, &[]).await
    }

    /// The same with further settings.
    pub(crate) async fn query_with(
        &self,
        sql: &str,
        tables: &[(String, String)],
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Vec<RecordBatch>> {
        let job = self.submit_spec(self.query_spec(sql, tables, settings)).await?;
        self.rows(job).await
    }

    /// Starts one statement that ends with its client.
    pub(crate) async fn submit(&self, sql: &str, tables: &[(String, String)]) -> anyhow::Result<JobId> {
        self.submit_spec(self.query_spec(sql, tables, &[])).await
    }

    async fn submit_spec(&self, spec: v1::JobSpec) -> anyhow::Result<JobId> {
        let submission = Submission { spec, attached: true, submission_id: String::new() };
        Ok(JobId(self.client.submit(submission).await?.job))
    }

    fn query_spec(&self, sql: &str, tables: &[(String, String)], settings: &[(&str, &str)]) -> v1::JobSpec {
        let tables = tables
            .iter()
            .map(|(name, path)| v1::Table { name: name.clone(), path: path.clone(), ..v1::Table::default() })
            .collect();
        let further = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let settings = self.settings.iter().cloned().chain(further).collect();
        let query = v1::Query { sql: sql.to_owned(), tables, settings, ..v1::Query::default() };
        v1::JobSpec { work: Some(v1::job_spec::Work::Query(query)), ..v1::JobSpec::default() }
    }

    pub(crate) async fn rows(&self, job: JobId) -> anyhow::Result<Vec<RecordBatch>> {
        let mut results = self.client.results(job).await?;
        let mut batches = Vec::new();
        while let Some(batch) = results.next_batch().await? {
            batches.push(batch);
        }
        Ok(batches)
    }

    /// How many stages a statement has.
    pub(crate) async fn stages(&self, sql: &str) -> anyhow::Result<usize> {
        Ok(self.client.explain(self.query_spec(sql, &[], &[])).await?.len())
    }

    /// Waits until `workers` workers are ready.
    pub(crate) async fn ready(&self, workers: u32) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        // The coordinator may be on its way, too.
        while !self.client.cluster().await.is_ok_and(|cluster| cluster.nodes_ready == workers) {
            ensure!(Instant::now() < deadline, "there are not {workers} workers again");
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// The most memory that each worker process ever had resident, in bytes.
    pub(crate) async fn peak_worker_bytes(&self) -> anyhow::Result<Vec<u64>> {
        let nodes = self.client.nodes().await?;
        // Workers of an earlier cluster may still be expected back.
        nodes.iter().filter(|node| node.pid != 0).map(|node| peak_resident_bytes(node.pid)).collect()
    }

    /// Takes the cluster down, and says what it left.
    pub(crate) fn stop(self) -> anyhow::Result<PathBuf> {
        let state = self.state.clone();
        call(&state, &["cluster", "down"])?;
        Ok(state)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = call(&self.state, &["cluster", "down"]) {
            eprintln!("the cluster in {} may still run: {error:#}", self.state.display());
        }
    }
}

fn status(state: &Path) -> anyhow::Result<Status> {
    Ok(serde_json::from_str(&call(state, &["cluster", "status", "-o", "json"])?)?)
}

/// `tandem` with these arguments and a state folder.
pub(crate) fn command(state: &Path, arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(arguments).env("XDG_STATE_HOME", state);
    Ok(command)
}

/// Runs `tandem` and returns what it wrote to standard output.
fn call(state: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    output(&mut command(state, arguments)?)
}

/// Runs a program to its end, which must be a good one, and returns what it wrote to standard output.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{command:?} cannot be started"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

/// The `tandem` binary of the same build.
pub(crate) fn binary() -> anyhow::Result<PathBuf> {
    beside("tandem")
}

/// A program of the same build.
pub(crate) fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name(name);
    ensure!(beside.exists(), "{} does not exist: build it with `cargo build --release --bin {name}`", beside.display());
    Ok(beside)
}
