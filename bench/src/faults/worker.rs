//! A worker is killed in the middle of TPC-H q21: once with nobody to start it again, so that one slot is left, and once
//! as it is for users, whose supervisor does.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tandem::v1::NodeState;
use tandem::{Client, JobId};

use super::Arguments;
use crate::answer::rows_of;
use crate::cluster::{Cluster, Shape};
use crate::data;
use crate::process::signal;
use crate::report::{Line, Report, Unit, median};
use crate::tpch;

const QUERY: u32 = 21;
const VICTIM: &str = "worker-1";
const POLL: Duration = Duration::from_millis(2);

pub(super) async fn run(folder: &Path, arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let tables = tpch::tables(&data::tpch(folder, &arguments.scale)?);
    let sql = tpch::query_text(QUERY)?;
    let threads = arguments.shape.slots() as usize;
    let want = rows_of(&tpch::single_process(&tables, threads).await?.sql(&sql).await?.collect().await?)?;
    let scene = Scene { tables, sql, want, rounds: arguments.rounds, workers: arguments.shape.workers };
    let one_less = Shape { workers: arguments.shape.workers - 1, ..arguments.shape.clone() };
    ensure!(one_less.workers > 0, "a worker must be left: give more with --workers");

    let left = scene.undisturbed(&Cluster::start(folder, &one_less).await?).await?;
    let cluster = Cluster::start(folder, &arguments.shape).await?;
    let all = scene.undisturbed(&cluster).await?;
    let held = scene.disturbed(&cluster, all, true).await?;
    let supervised = scene.disturbed(&cluster, all, false).await?;

    let scale = &arguments.scale;
    report.line(Line::of(format!("q21 at scale {scale}, nothing killed, all slots"), Unit::Seconds, all));
    report.line(Line::of("the same on the slots that a killed worker leaves", Unit::Seconds, left));
    report.line(Line::of("a worker killed in the middle, not started again", Unit::Seconds, held.seconds));
    report.line(Line::of("… until it gets no more tasks", Unit::Ms, held.suspected_ms));
    report.line(Line::of("… until its tasks start elsewhere", Unit::Ms, held.lost_ms));
    report.line(Line::of("… attempts made again", Unit::Count, held.again));
    report.line(Line::of("a worker killed in the middle, started again", Unit::Seconds, supervised.seconds));
    report.line(Line::of("… attempts made again", Unit::Count, supervised.again));
    report.note(format!(
        "With a worker killed and not started again, q21 takes {:.2} times as long as undisturbed on the slots left. The \
         answer was the same each time.",
        held.seconds / left
    ));
    Ok(())
}

struct Scene {
    tables: Vec<(String, String)>,
    sql: String,
    want: Vec<String>,
    rounds: usize,
    workers: u32,
}

/// Medians over the rounds.
struct Disturbed {
    seconds: f64,
    suspected_ms: f64,
    lost_ms: f64,
    again: f64,
}

impl Scene {
    /// How long the query takes when nothing happens.
    async fn undisturbed(&self, cluster: &Cluster) -> anyhow::Result<f64> {
        let mut times = Vec::new();
        for round in 0..=self.rounds {
            let start = Instant::now();
            let got = cluster.query(&self.sql, &self.tables).await?;
            if round > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
            ensure!(rows_of(&got)? == self.want, "q21 gives another answer than DataFusion");
        }
        median(times)
    }

    /// How long it takes when a worker is killed in the middle; `hold` keeps the supervisor from starting another.
    async fn disturbed(&self, cluster: &Cluster, undisturbed: f64, hold: bool) -> anyhow::Result<Disturbed> {
        let mut rounds = Vec::new();
        for _ in 0..self.rounds {
            rounds.push(self.kill(cluster, undisturbed, hold).await?);
            cluster.ready(self.workers).await?;
        }
        Ok(Disturbed {
            seconds: median(rounds.iter().map(|round| round.seconds))?,
            suspected_ms: median(rounds.iter().map(|round| round.suspected_ms))?,
            lost_ms: median(rounds.iter().map(|round| round.lost_ms))?,
            again: median(rounds.iter().map(|round| round.again))?,
        })
    }

    async fn kill(&self, cluster: &Cluster, undisturbed: f64, hold: bool) -> anyhow::Result<Disturbed> {
        let nodes = cluster.client().nodes().await?;
        let ready = |node: &&tandem::v1::NodeStatus| node.name == VICTIM && node.state() == NodeState::Ready;
        let victim = nodes.iter().find(ready).with_context(|| format!("{VICTIM} is not there"))?;
        let held = hold.then(|| Held::new(cluster.supervisor_pid())).transpose()?;
        let start = Instant::now();
        let job = cluster.submit(&self.sql, &self.tables).await?;
        let killing = async {
            tokio::time::sleep(Duration::from_secs_f64(undisturbed / 2.0)).await;
            signal("KILL", victim.pid)?;
            noticed(cluster.client(), victim.worker).await
        };
        let (rows, noticed) = tokio::try_join!(cluster.rows(job), killing)?;
        let seconds = start.elapsed().as_secs_f64();
        ensure!(rows_of(&rows)? == self.want, "q21 with a killed worker gives another answer");
        let again = attempts_again(cluster.client(), job).await?;
        drop(held);
        Ok(Disturbed { seconds, suspected_ms: noticed.0, lost_ms: noticed.1, again: again as f64 })
    }
}

/// Milliseconds until the worker gets no more tasks, and until it is given up.
async fn noticed(client: &Client, worker: u64) -> anyhow::Result<(f64, f64)> {
    let start = Instant::now();
    let mut suspected = None;
    loop {
        let nodes = client.nodes().await?;
        let state = nodes.iter().find(|node| node.worker == worker).map_or(NodeState::Lost, |node| node.state());
        let now = start.elapsed().as_secs_f64() * 1e3;
        if state != NodeState::Ready {
            suspected.get_or_insert(now);
        }
        if state == NodeState::Lost {
            return Ok((suspected.unwrap_or(now), now));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// How many attempts of a job were not the first of their task.
pub(super) async fn attempts_again(client: &Client, job: JobId) -> anyhow::Result<usize> {
    let tasks = client.tasks(job).await?;
    let started = tasks.iter().filter(|task| task.started_ms > 0);
    let mut tasks: Vec<(u32, u32)> =
        started.filter_map(|task| task.attempt.as_ref()).map(|attempt| (attempt.stage, attempt.task)).collect();
    let attempts = tasks.len();
    tasks.sort_unstable();
    tasks.dedup();
    Ok(attempts - tasks.len())
}

/// A stopped process that goes on when this is dropped.
struct Held(u32);

impl Held {
    fn new(pid: u32) -> anyhow::Result<Self> {
        signal("STOP", pid)?;
        Ok(Self(pid))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Err(error) = signal("CONT", self.0) {
            eprintln!("process {} may still be stopped: {error:#}", self.0);
        }
    }
}
