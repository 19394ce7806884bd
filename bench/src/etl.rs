//! A dirty CSV file to Parquet: `tandem run`, with its whole cluster from start to end, beside programs that do the same
//! work by the same rules. Each is a cold start of processes over a file in the page cache, and what they wrote must be equal.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::ValueEnum;
use serde::Deserialize;

use crate::answer::{Digest, parquet, rows_of};
use crate::cluster::{self, Shape};
use crate::contest::Contest;
use crate::data;
use crate::peers::{Peer, Peers};
use crate::process::{self, Ran};
use crate::report::{Report, TANDEM, Unit};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What is done to the events
    #[arg(long, value_enum, default_value = "events")]
    job: Job,
    /// Rows of the CSV file; 57,700,000 are 4.8 GB
    #[arg(long, default_value_t = 5_000_000)]
    rows: u64,
    /// Fraction of rows with a flaw
    #[arg(long, default_value_t = 0.01)]
    dirty: f64,
    #[command(flatten)]
    shape: Shape,
    /// Rounds that count
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Engines to compare with
    #[arg(long, value_delimiter = ',', default_value = "duckdb,polars")]
    peers: Vec<Peer>,
    /// Where data, state and results are kept
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
}

/// Columns of `events`' curated rows, without the date they are parted by.
const CURATED: [&str; 14] = [
    "event_id",
    "event_time",
    "user_id",
    "product_id",
    "product_name",
    "category",
    "quantity",
    "unit_price",
    "country",
    "status",
    "revenue",
    "event_date",
    "event_hour",
    "is_high_value",
];
const AGGREGATES: [&str; 7] = ["event_date", "category", "orders", "users", "units", "revenue", "mean_basket"];
/// Columns of what `clean` writes.
const CLEAN: [&str; 6] = ["event_date", "category", "country", "orders", "units", "revenue"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Job {
    /// The built-in job: clean, deduplicate, enrich, write every row, aggregate
    Events,
    /// Clean, join, aggregate: nothing is kept but the result
    Clean,
}

impl Job {
    fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Clean => "clean",
        }
    }

    /// What `tandem run` takes.
    fn source(self) -> String {
        match self {
            Self::Events => "events".to_owned(),
            Self::Clean => concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/clean.toml").to_owned(),
        }
    }

    /// What was written to `out`, in a form that can be compared.
    async fn answer(self, out: &Path, aggregates: &str) -> anyhow::Result<Answer> {
        let columns: &[&str] = if self == Self::Events { &CURATED } else { &CLEAN };
        let curated = Digest::of(parquet(&out.join("curated"), columns, Some("event_date")).await?).await?;
        let aggregates = match self {
            Self::Events => rows_of(&parquet(&out.join(aggregates), &AGGREGATES, None).await?.collect().await?)?,
            Self::Clean => Vec::new(),
        };
        Ok(Answer { curated, aggregates })
    }
}

struct Answer {
    curated: Digest,
    aggregates: Vec<String>,
}

/// What every program says it did, in its last line or its summary.
#[derive(Debug, Deserialize)]
struct Counts {
    written: u64,
    /// Polars has no rejects.
    rejected: Option<u64>,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let folder = data::folder(&arguments.folder)?;
    let mut report = Report::new(&format!("etl-{}", arguments.job.name()));
    let peers = Peers::prepare("events", &arguments.peers, &mut report)?;
    let data = data::events(&folder, arguments.rows, arguments.dirty)?;
    let bytes = data::warm(&data.join("events.csv"))?;
    let bench = Bench { folder: &folder, data: &data, peers: &peers, arguments: &arguments };
    let mut contest = Contest::default();
    for _ in 0..arguments.rounds {
        contest.ran(TANDEM, bench.tandem()?);
        for peer in peers.found() {
            contest.ran(peer.name(), bench.peer(*peer)?);
        }
    }
    bench.compare(&contest).await?;
    report.line(contest.time("time")?);
    report.line(contest.rate("rows", Unit::RowsPerSecond, arguments.rows as f64)?);
    report.line(contest.rate("bytes", Unit::MbPerSecond, bytes as f64 / 1e6)?);
    report.line(contest.memory("most memory of all processes at once (PSS)")?);
    report.note(format!(
        "{} rows, {} MB of CSV, {} of the rows flawed; what the programs wrote is equal.",
        arguments.rows,
        bytes / 1_000_000,
        arguments.dirty
    ));
    report.publish(&folder)
}

struct Bench<'a> {
    folder: &'a Path,
    data: &'a Path,
    peers: &'a Peers,
    arguments: &'a Arguments,
}

impl Bench<'_> {
    fn out(&self, name: &str) -> PathBuf {
        self.folder.join("out").join(name)
    }

    fn tandem(&self) -> anyhow::Result<Ran> {
        let out = self.out(TANDEM);
        data::empty(&out)?;
        let set = |name: &str, path: &Path| format!("{name}={}", path.display());
        let job = self.arguments.job.source();
        let mut command = cluster::command(&self.folder.join("state"), &["run", &job, "-o", "json"])?;
        command.args(self.arguments.shape.arguments());
        command.arg("--set").arg(set("input", &self.data.join("events.csv")));
        command.arg("--set").arg(set("products", &self.data.join("products.csv")));
        command.arg("--set").arg(set("output", &out));
        process::run(&mut command)
    }

    fn peer(&self, peer: Peer) -> anyhow::Result<Ran> {
        let out = self.out(peer.name());
        data::empty(&out)?;
        let mut command = self.peers.command(peer, "events", self.arguments.shape.slots());
        command.args(["--job", self.arguments.job.name()]);
        command.arg("--events").arg(self.data.join("events.csv"));
        command.arg("--products").arg(self.data.join("products.csv"));
        command.arg("--out").arg(out);
        process::run(&mut command)
    }

    /// Refuses to report on programs that did not do the same.
    async fn compare(&self, contest: &Contest) -> anyhow::Result<()> {
        let job = self.arguments.job;
        let ours = job.answer(&self.out(TANDEM), "aggregates").await?;
        let counts = tandem_counts(contest.said(TANDEM)?)?;
        ensure!(job != Job::Events || counts.written == ours.curated.rows, "tandem reports {counts:?}");
        for peer in self.peers.found() {
            let name = peer.name();
            let theirs = job.answer(&self.out(name), "aggregates.parquet").await?;
            ours.curated.must_equal(&theirs.curated, &format!("curated rows of tandem and {name}"))?;
            ensure!(ours.aggregates == theirs.aggregates, "aggregates of tandem and {name} differ");
            let their_counts: Counts = serde_json::from_str(contest.said(name)?)?;
            ensure!(their_counts.written == counts.written, "{name} counts {their_counts:?}, tandem {counts:?}");
            let rejected = their_counts.rejected.or(counts.rejected);
            ensure!(rejected == counts.rejected, "{name} counts {their_counts:?}, tandem {counts:?}");
        }
        Ok(())
    }
}

/// Of the flow of events, from `summary.json`.
fn tandem_counts(summary: &str) -> anyhow::Result<Counts> {
    #[derive(Deserialize)]
    struct Summary {
        rows: Counts,
    }
    let summary: Summary = serde_json::from_str(summary)?;
    Ok(summary.rows)
}
