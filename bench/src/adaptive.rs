//! What each adaptation gains: the same query on the same cluster with it and without it, in turns.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::answer::rows_of;
use crate::cluster::{Cluster, Shape};
use crate::data;
use crate::process::signal;
use crate::report::{Line, Report, TANDEM, Unit};
use crate::tpch;

/// What a run without the adaptation is called.
const WITHOUT: &str = "without";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Scale factor of the TPC-H tables that are queried
    #[arg(long, default_value = "1")]
    scale: String,
    #[command(flatten)]
    shape: Shape,
    /// Rounds that count
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where data, state and results are kept
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
}

/// An adaptation, where it shows.
struct Case {
    /// What is measured.
    name: &'static str,
    sql: String,
    /// Settings of both runs.
    common: &'static [(&'static str, &'static str)],
    /// The setting that is off in one of them.
    switch: &'static str,
    /// A worker gets little processor time.
    slow_worker: bool,
}

/// Nine of ten lines have one key, and much is done with each pair of rows.
const SKEWED: &str = "SELECT sum(length(md5(l_comment || o_comment))) AS n \
    FROM (SELECT CASE WHEN l_linenumber < 6 THEN 1 ELSE l_orderkey END AS k, l_comment FROM lineitem) \
    JOIN orders ON k = o_orderkey";

/// Every partition takes as long.
const EVEN: &str = "SELECT count(DISTINCT md5(l_comment)) AS n FROM lineitem";

fn cases() -> anyhow::Result<Vec<Case>> {
    Ok(vec![
        Case {
            name: "q5: joins whose build side turns out small take over the stage of the probe side",
            sql: tpch::query_text(5)?,
            common: &[],
            switch: "tandem.fuse_joins",
            slow_worker: false,
        },
        Case {
            name: "q21: the join that drops most suppliers is made first",
            sql: tpch::query_text(21)?,
            common: &[],
            switch: "tandem.early_joins",
            slow_worker: false,
        },
        Case {
            name: "q21: rows without a partner are dropped before they are exchanged",
            sql: tpch::query_text(21)?,
            common: &[],
            switch: "tandem.prefilter_joins",
            slow_worker: false,
        },
        Case {
            name: "q16 in 64 partitions: those that turn out small share a task",
            sql: tpch::query_text(16)?,
            common: &[("datafusion.execution.target_partitions", "64")],
            switch: "tandem.divide_by_size",
            slow_worker: false,
        },
        Case {
            name: "a join on a key that most rows have: its partition is split",
            sql: SKEWED.to_owned(),
            common: &[
                ("datafusion.execution.target_partitions", "4"),
                ("datafusion.optimizer.hash_join_single_partition_threshold", "0"),
                ("datafusion.optimizer.hash_join_single_partition_threshold_rows", "0"),
                ("tandem.fuse_joins", "false"),
            ],
            switch: "tandem.split_skew",
            slow_worker: false,
        },
        Case {
            name: "a worker with a tenth of a core: its last task gets a second attempt",
            sql: EVEN.to_owned(),
            common: &[("datafusion.execution.target_partitions", "8")],
            switch: "tandem.race_stragglers",
            slow_worker: true,
        },
    ])
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let folder = data::folder(&arguments.folder)?;
    let mut report = Report::new("adaptive");
    report.version(WITHOUT, tandem::VERSION);
    let tables = tpch::tables(&data::tpch(&folder, &arguments.scale)?);
    let cluster = Cluster::start(&folder, &arguments.shape).await?;
    for case in cases()? {
        let slow = case.slow_worker.then(|| SlowProcess::start(worker_pid(&cluster)?)).transpose()?;
        let line = measure(&cluster, &tables, &case, arguments.rounds).await.context(case.name)?;
        drop(slow);
        eprintln!("{}: {:.0} ms, {:?}", line.name, line.tandem, line.peers);
        report.line(line);
    }
    report.publish(&folder)
}

async fn measure(cluster: &Cluster, tables: &[(String, String)], case: &Case, rounds: usize) -> anyhow::Result<Line> {
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut answer: Option<Vec<String>> = None;
    for round in 0..=rounds {
        for (who, value) in [(TANDEM, "true"), (WITHOUT, "false")] {
            let settings: Vec<_> = case.common.iter().copied().chain([(case.switch, value)]).collect();
            let start = Instant::now();
            let rows = rows_of(&cluster.query_with(&case.sql, tables, &settings).await?)?;
            if round > 0 {
                times.entry(who).or_default().push(start.elapsed().as_secs_f64() * 1e3);
            }
            ensure!(
                *answer.get_or_insert_with(|| rows.clone()) == rows,
                "{} = {value} changes the answer",
                case.switch
            );
        }
    }
    Line::of_medians(case.name, Unit::Ms, times)
}

fn worker_pid(cluster: &Cluster) -> anyhow::Result<u32> {
    let processes = cluster.processes()?;
    processes.get("worker-1").copied().context("worker-1 is not there")
}

/// A process that is stopped nine tenths of the time, until this is dropped.
struct SlowProcess {
    go_on: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SlowProcess {
    /// Short enough that its heartbeats are in time.
    const PERIOD: Duration = Duration::from_millis(100);

    fn start(pid: u32) -> anyhow::Result<Self> {
        signal("CONT", pid)?;
        let go_on = Arc::new(AtomicBool::new(true));
        let watched = go_on.clone();
        let thread = thread::spawn(move || {
            while watched.load(Ordering::Relaxed) && signal("STOP", pid).is_ok() {
                thread::sleep(Self::PERIOD / 10 * 9);
                if signal("CONT", pid).is_err() {
                    return;
                }
                thread::sleep(Self::PERIOD / 10);
            }
        });
        Ok(Self { go_on, thread: Some(thread) })
    }
}

impl Drop for SlowProcess {
    fn drop(&mut self) {
        self.go_on.store(false, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("a worker may still be stopped now and then");
        }
    }
}
