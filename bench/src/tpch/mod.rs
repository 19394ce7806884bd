//! TPC-H: the same Parquet files, the same queries, Tandem's worker processes beside single-process DataFusion in this one
//! and other engines in theirs. Rounds alternate between them; each query's first round warms up and does not count.

mod others;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use tandem::v1::TaskStatus;

use crate::answer::rows_of;
use crate::cluster::{Cluster, Shape};
use crate::data;
use crate::peers::{Peer, Peers};
use crate::process::{Sampler, peak_resident_bytes};
use crate::report::{Line, Report, TANDEM, Unit, median, mib};
use others::Others;

/// The peer that every answer is compared with.
const DATAFUSION: &str = "DataFusion";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Scale factor; 1 is about 1 GB of raw data
    #[arg(long, default_value = "1")]
    scale: String,
    #[command(flatten)]
    shape: Shape,
    /// Rounds that count
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Engines to compare with, beside single-process DataFusion
    #[arg(long, value_delimiter = ',', default_value = "duckdb")]
    peers: Vec<Peer>,
    /// Only these queries, such as 1,6,21
    #[arg(long, value_delimiter = ',')]
    queries: Vec<u32>,
    /// A setting of every query, such as tandem.fuse_joins=false
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// Where data, state and results are kept
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
}

fn setting(text: &str) -> anyhow::Result<(String, String)> {
    let (key, value) = text.split_once('=').context("KEY=VALUE is expected")?;
    Ok((key.to_owned(), value.to_owned()))
}

const TABLES: [&str; 8] = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let folder = data::folder(&arguments.folder)?;
    let threads = arguments.shape.slots();
    let mut report = Report::new("tpch");
    report.version(DATAFUSION, datafusion::DATAFUSION_VERSION);
    let peers = Peers::prepare("tpch", &arguments.peers, &mut report)?;
    let data = data::tpch(&folder, &arguments.scale)?;
    let tables = tables(&data);
    let mut bench = Bench {
        single: single_process(&tables, threads as usize).await?,
        cluster: Cluster::start(&folder, &arguments.shape).await?.with_settings(arguments.settings),
        others: Others::start(&peers, &data, threads)?,
        tables,
        rounds: arguments.rounds,
        busy: Busy::default(),
    };
    let sampler = Sampler::start(bench.cluster.supervisor_pid());
    let queries = if arguments.queries.is_empty() { (1..=22).collect() } else { arguments.queries.clone() };
    let mut lines = Vec::new();
    for query in queries {
        let line = bench.measure(query).await?;
        eprintln!("{}: {:.0} ms, {:?}", line.name, line.tandem, line.peers);
        lines.push(line);
    }
    let held = sampler.stop()?;
    let totals = totals(&lines);
    report.note(worst(&lines)?);
    report.note(bench.busy.note(threads));
    bench.others.failures().for_each(|failure| report.note(failure));
    lines.into_iter().chain(totals).for_each(|line| report.line(line));
    overhead(&bench, &mut report).await?;
    let workers = bench.cluster.peak_worker_bytes().await?;
    let peaks = bench.peak_bytes(&workers)?;
    report.line(Line::among("most memory ever resident in one process", Unit::MiB, peaks)?);
    report.line(Line::of("most memory of all processes at once (PSS)", Unit::MiB, mib(held)));
    report.publish(&folder)
}

/// Names and paths of the tables in `data`.
pub(crate) fn tables(data: &Path) -> Vec<(String, String)> {
    let path = |table: &str| data.join(format!("{table}.parquet")).display().to_string();
    TABLES.iter().map(|table| ((*table).to_owned(), path(table))).collect()
}

/// DataFusion alone in this process.
pub(crate) async fn single_process(tables: &[(String, String)], partitions: usize) -> anyhow::Result<SessionContext> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions));
    for (name, path) in tables {
        context.register_parquet(name.as_str(), path, ParquetReadOptions::default()).await?;
    }
    Ok(context)
}

/// Where the text of a query is.
fn query_file(query: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("queries/tpch/q{query:02}.sql"))
}

/// The text of a query.
pub(crate) fn query_text(query: u32) -> anyhow::Result<String> {
    let path = query_file(query);
    std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))
}

struct Bench {
    single: SessionContext,
    cluster: Cluster,
    others: Others,
    tables: Vec<(String, String)>,
    rounds: usize,
    busy: Busy,
}

/// How busy the slots were between the start of a query's first task and the end of its last.
#[derive(Debug, Default)]
struct Busy {
    tasks_ms: i64,
    queries_ms: i64,
}

impl Busy {
    fn add(&mut self, tasks: &[TaskStatus]) {
        let ended = || tasks.iter().filter(|task| task.started_ms > 0 && task.ended_ms >= task.started_ms);
        self.tasks_ms += ended().map(|task| task.ended_ms - task.started_ms).sum::<i64>();
        let first = ended().map(|task| task.started_ms).min().unwrap_or_default();
        let last = ended().map(|task| task.ended_ms).max().unwrap_or_default();
        self.queries_ms += last - first;
    }

    fn note(&self, slots: u32) -> String {
        let share = self.tasks_ms as f64 / (self.queries_ms * i64::from(slots)).max(1) as f64;
        format!(
            "Of the slots' time between the start of a query's first task and the end of its last, {:.0} % were tasks; the \
             rest waited for other tasks of a stage.",
            share * 100.0
        )
    }
}

impl Bench {
    async fn measure(&mut self, query: u32) -> anyhow::Result<Line> {
        let sql = query_text(query)?;
        let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for round in 0..=self.rounds {
            let start = Instant::now();
            let job = self.cluster.submit(&sql, &self.tables).await.with_context(|| format!("query {query}"))?;
            let got = self.cluster.rows(job).await.with_context(|| format!("query {query}"))?;
            let tandem_ms = ms_since(start);
            if round > 0 {
                self.busy.add(&self.cluster.client().tasks(job).await?);
            }
            let start = Instant::now();
            let want = self.single.sql(&sql).await?.collect().await?;
            let mut round_times = vec![(TANDEM, tandem_ms), (DATAFUSION, ms_since(start))];
            round_times.extend(self.others.round(query, want.iter().map(|batch| batch.num_rows()).sum()));
            if round == 0 {
                ensure!(rows_of(&got)? == rows_of(&want)?, "query {query} gives another answer than DataFusion");
            } else {
                round_times.into_iter().for_each(|(name, ms)| times.entry(name).or_default().push(ms));
            }
        }
        // A peer that failed in one round is not compared.
        times.retain(|_, rounds| rounds.len() == self.rounds);
        Line::of_medians(&format!("q{query}"), Unit::Ms, times)
    }

    /// The most that was ever resident in a worker, in this process (which also holds our answers), in each peer.
    fn peak_bytes(&self, workers: &[u64]) -> anyhow::Result<BTreeMap<String, f64>> {
        let worker = workers.iter().copied().max().unwrap_or_default();
        let mut peaks = BTreeMap::from([
            (TANDEM.to_owned(), mib(worker)),
            (DATAFUSION.to_owned(), mib(peak_resident_bytes(std::process::id())?)),
        ]);
        peaks.extend(self.others.peak_bytes().map(|(name, bytes)| (name.to_owned(), mib(bytes))));
        Ok(peaks)
    }
}

fn ms_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// The sums over all queries, and for each peer that failed some of them, over those that it answers.
fn totals(lines: &[Line]) -> Vec<Line> {
    let answers = |line: &&Line, peer: &str| line.peers.contains_key(peer);
    let peers: BTreeSet<&str> = lines.iter().flat_map(|line| line.peers.keys().map(String::as_str)).collect();
    let (all, some): (Vec<_>, Vec<_>) =
        peers.into_iter().partition(|peer| lines.iter().all(|line| answers(&line, peer)));
    let mut totals = vec![total("total".to_owned(), lines.iter(), &all)];
    for peer in some {
        let answered = lines.iter().filter(|line| answers(line, peer));
        totals.push(total(format!("total of what {peer} answers"), answered, &[peer]));
    }
    totals
}

fn total<'a>(name: String, lines: impl Iterator<Item = &'a Line> + Clone, peers: &[&str]) -> Line {
    let sum = |peer: &str| lines.clone().filter_map(|line| line.peers.get(peer)).sum::<f64>();
    let peers = peers.iter().map(|peer| ((*peer).to_owned(), sum(peer))).collect();
    Line { peers, ..Line::of(name, Unit::Ms, lines.map(|line| line.tandem).sum()) }
}

fn worst(lines: &[Line]) -> anyhow::Result<String> {
    let ratio = |line: &Line| line.ratio(DATAFUSION).unwrap_or(f64::NAN);
    let worst = lines.iter().max_by(|a, b| ratio(a).total_cmp(&ratio(b))).context("no queries")?;
    Ok(format!("No query takes more than {:.2} times as long as in {DATAFUSION} ({}).", ratio(worst), worst.name))
}

/// What a query costs that has nothing to compute, and what each further stage of it adds.
async fn overhead(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    const ROUNDS: usize = 50;
    const ONE_STAGE: &str = "SELECT 1";
    const SEVERAL_STAGES: &str = "SELECT n, count(*) FROM (SELECT m AS n, count(*) FROM (SELECT value % 7 AS m, count(*) \
        FROM generate_series(1, 10) GROUP BY value % 7) GROUP BY m) GROUP BY n";
    let mut medians = Vec::new();
    for sql in [ONE_STAGE, SEVERAL_STAGES] {
        let (mut tandem, mut single) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let start = Instant::now();
            bench.cluster.query(sql, &[]).await?;
            tandem.push(ms_since(start));
            let start = Instant::now();
            bench.single.sql(sql).await?.collect().await?;
            single.push(ms_since(start));
        }
        medians.push((median(tandem)?, median(single)?, bench.cluster.stages(sql).await?));
    }
    let [(one, one_single, one_stages), (several, several_single, stages)] = medians[..] else { return Ok(()) };
    let peers = BTreeMap::from([(DATAFUSION.to_owned(), one_single)]);
    report.line(Line { peers, ..Line::of(format!("`{ONE_STAGE}`, {one_stages} stage"), Unit::Ms, one) });
    if stages > one_stages {
        let more = (stages - one_stages) as f64;
        let peers = BTreeMap::from([(DATAFUSION.to_owned(), (several_single - one_single) / more)]);
        let name = format!("each further stage, of {stages} stages over ten rows");
        report.line(Line { peers, ..Line::of(name, Unit::Ms, (several - one) / more) });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_failed_a_query_is_compared_on_the_others() {
        let line = |tandem, peers: &[(&str, f64)]| Line {
            peers: peers.iter().map(|(peer, ms)| ((*peer).to_owned(), *ms)).collect(),
            ..Line::of("query", Unit::Ms, tandem)
        };
        let totals = totals(&[line(1.0, &[("A", 2.0), ("B", 4.0)]), line(10.0, &[("A", 20.0)])]);
        let said: Vec<_> = totals.iter().map(|line| (line.name.as_str(), line.tandem, &line.peers)).collect();
        let of = |peer: &str, ms| BTreeMap::from([(peer.to_owned(), ms)]);
        assert_eq!(said, [("total", 11.0, &of("A", 22.0)), ("total of what B answers", 1.0, &of("B", 4.0))]);
    }
}
