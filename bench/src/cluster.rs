//! A cluster of the real binary's processes, with a state folder of its own, gone when it is dropped.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use datafusion::arrow::record_batch::RecordBatch;
use serde::Deserialize;
use tandem::{Client, ClientSecurity, JobId, Submission, Token, v1};

/// A running cluster and a client of it.
pub(crate) struct Cluster {
    binary: PathBuf,
    state: PathBuf,
    client: Client,
}

#[derive(Deserialize)]
struct Status {
    address: String,
}

impl Cluster {
    /// Starts `workers` worker processes of one slot each; their state is below `folder`.
    pub(crate) async fn start(folder: &Path, workers: u32, memory: &str) -> anyhow::Result<Self> {
        let binary = binary()?;
        let state = folder.join("state");
        let workers = workers.to_string();
        call(&binary, &state, &["cluster", "up", "--workers", &workers, "--cpus", "1", "--memory", memory])?;
        let status: Status = serde_json::from_slice(&call(&binary, &state, &["cluster", "status", "-o", "json"])?)?;
        let token = Token::read(&state.join("tandem").join("token"))?;
        let client = Client::connect(&status.address, ClientSecurity { token: Some(token), ca_pem: None }).await?;
        Ok(Self { binary, state, client })
    }

    /// All rows of one statement over `tables` (name and path).
    pub(crate) async fn query(&self, sql: &str, tables: &[(String, String)]) -> anyhow::Result<Vec<RecordBatch>> {
        let tables = tables
            .iter()
            .map(|(name, path)| v1::Table { name: name.clone(), path: path.clone(), ..v1::Table::default() })
            .collect();
        let query = v1::Query { sql: sql.to_owned(), tables, ..v1::Query::default() };
        let spec = v1::JobSpec { work: Some(v1::job_spec::Work::Query(query)), ..v1::JobSpec::default() };
        let submission = Submission { spec, attached: true, submission_id: String::new() };
        let job = self.client.submit(submission).await?.job;
        let mut results = self.client.results(JobId(job)).await?;
        let mut batches = Vec::new();
        while let Some(batch) = results.next_batch().await? {
            batches.push(batch);
        }
        Ok(batches)
    }

    /// The most memory that each worker process ever had resident, in bytes.
    pub(crate) async fn peak_memory_bytes(&self) -> anyhow::Result<Vec<u64>> {
        let nodes = self.client.nodes().await?;
        nodes.iter().map(|node| peak_of(node.pid)).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = call(&self.binary, &self.state, &["cluster", "down"]) {
            eprintln!("the cluster in {} may still run: {error:#}", self.state.display());
        }
    }
}

fn peak_of(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("a process without VmHWM")?;
    let kib: u64 = peak.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// Runs the `tandem` binary and returns what it wrote to standard output.
pub(crate) fn call(binary: &Path, state: &Path, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = Command::new(binary)
        .args(arguments)
        .env("XDG_STATE_HOME", state)
        .output()
        .with_context(|| format!("{} cannot be started", binary.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`tandem {}` failed: {said}", arguments.join(" "));
    Ok(output.stdout)
}

/// The `tandem` binary of the same build.
pub(crate) fn binary() -> anyhow::Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("tandem");
    ensure!(beside.exists(), "{} does not exist: build it with `cargo build --release --bin tandem`", beside.display());
    Ok(beside)
}
