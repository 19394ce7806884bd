//! One process after the other is killed at random while `events` and TPC-H q21 run in turn. Every answer must be right,
//! and at the end nothing may be left over.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use tandem::JobId;

use super::Arguments;
use super::worker::attempts_again;
use crate::answer::{Digest, parquet, rows_of};
use crate::cluster::Cluster;
use crate::data;
use crate::process::{living_in, signal};
use crate::report::{Line, Report, Unit, median};
use crate::tpch;

/// Names of the jobs.
pub(super) const EVENTS: &str = "events";
const Q21: &str = "q21";
const CURATED: [&str; 4] = ["event_id", "event_time", "user_id", "revenue"];
const AGGREGATES: [&str; 5] = ["event_date", "category", "orders", "users", "revenue"];
const WAITING: [&str; 2] = ["s_name", "numwait"];

pub(super) async fn run(folder: &Path, arguments: &Arguments, kills: u64, report: &mut Report) -> anyhow::Result<()> {
    let shared_memory = entries(Path::new("/dev/shm"))?;
    let works = Works::prepare(folder, arguments).await?;
    let cluster = Cluster::start(folder, &arguments.shape).await?;
    let mut calm = Vec::new();
    for work in &works.0 {
        calm.push(work.undisturbed(&cluster).await?);
    }
    println!(
        "| kill | job | killed | after | job took | undisturbed | attempts again |\n|---|---|---|---|---|---|---|"
    );
    let (mut slow_down, mut again) = (Vec::new(), 0);
    for kill in arguments.first..arguments.first + kills {
        let mut random = Random::new(arguments.seed, kill);
        let at = kill as usize % works.0.len();
        let (work, undisturbed) = (&works.0[at], calm[at]);
        let processes: Vec<(String, u32)> = cluster.processes()?.into_iter().collect();
        let (name, pid) = &processes[random.below(processes.len() as u64) as usize];
        let after = undisturbed * random.below(1_000) as f64 / 1e3;
        let killed = work.disturb(&cluster, *pid, after).await;
        let seed = arguments.seed;
        let (seconds, job) = killed.with_context(|| {
            format!("kill {kill}: {name} after {after:.3} s of {}; again: --seed {seed} --first {kill}", work.name)
        })?;
        // The coordinator may have been killed at the end of the job, and not be back.
        cluster.ready(arguments.shape.workers).await?;
        let attempts = attempts_again(cluster.client(), job).await?;
        println!(
            "| {kill} | {} | {name} | {after:.3} s | {seconds:.2} s | {undisturbed:.2} s | {attempts} |",
            work.name
        );
        slow_down.push(seconds / undisturbed);
        again += attempts;
    }
    let state = cluster.stop()?;
    nothing_left(&state, &works, &shared_memory)?;
    report.line(Line::of("kills, each with a right answer", Unit::Count, kills as f64));
    report.line(Line::of("attempts made again, all kills together", Unit::Count, again as f64));
    report.note(format!(
        "Seed {}. A job with a kill in it took {:.2} times as long as one without, in the median. Nothing was left over: no \
         process, state, spill, staging or shared memory.",
        arguments.seed,
        median(slow_down)?
    ));
    Ok(())
}

/// The jobs that are disturbed, and what they must answer.
pub(super) struct Works(Vec<Work>);

pub(super) struct Work {
    pub(super) name: &'static str,
    /// What `tandem job submit` takes.
    arguments: Vec<String>,
    out: PathBuf,
    right: Answer,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Events { curated: Digest, aggregates: Vec<String> },
    Rows(Vec<String>),
}

impl Works {
    /// Makes data and job files and has single-process DataFusion answer q21. What `events` must answer is what it first does;
    /// `bench etl` holds that against DuckDB.
    pub(super) async fn prepare(folder: &Path, arguments: &Arguments) -> anyhow::Result<Self> {
        let events = data::events(folder, arguments.rows, 0.01)?;
        let tables = tpch::tables(&data::tpch(folder, &arguments.scale)?);
        let out = |name: &str| folder.join("out").join(name);
        let job = folder.join("q21.toml");
        let sql = tpch::query_text(21)?;
        std::fs::write(&job, job_file(&tables, &sql))?;
        let single = tpch::single_process(&tables, arguments.shape.slots() as usize).await?;
        let q21 = Work {
            name: Q21,
            arguments: submission(&job.display().to_string(), &[("output", out(Q21).as_path())]),
            out: out(Q21),
            right: Answer::Rows(rows_of(&single.sql(&sql).await?.collect().await?)?),
        };
        let (input, products) = (events.join("events.csv"), events.join("products.csv"));
        let params: [(&str, &Path); 3] = [("input", &input), ("products", &products), ("output", &out(EVENTS))];
        let mut events = Work {
            name: EVENTS,
            arguments: submission(EVENTS, &params),
            out: out(EVENTS),
            right: Answer::Rows(Vec::new()),
        };
        let calm = Cluster::start(folder, &arguments.shape).await?;
        events.run(&calm, None).await?;
        events.right = events.answer().await?;
        Ok(Self(vec![events, q21]))
    }

    pub(super) fn get(&self, name: &str) -> anyhow::Result<&Work> {
        self.0.iter().find(|work| work.name == name).with_context(|| format!("there is no job {name}"))
    }
}

impl Work {
    /// Seconds without a kill, the median of three after one that warms up.
    pub(super) async fn undisturbed(&self, cluster: &Cluster) -> anyhow::Result<f64> {
        let mut times = Vec::new();
        for round in 0..=3 {
            let (seconds, _) = self.run(cluster, None).await?;
            self.check().await?;
            if round > 0 {
                times.push(seconds);
            }
        }
        median(times)
    }

    /// Starts the job and leaves it to the cluster.
    pub(super) fn submit(&self, cluster: &Cluster) -> anyhow::Result<JobId> {
        data::empty(&self.out)?;
        let mut command = self.command(cluster)?;
        let output = command.arg("--no-wait").output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        job_id(&output.stdout)
    }

    /// Refuses a wrong answer.
    pub(super) async fn check(&self) -> anyhow::Result<()> {
        let answer = self.answer().await?;
        if let (Answer::Events { curated, .. }, Answer::Events { curated: right, .. }) = (&answer, &self.right) {
            curated.must_equal(right, "curated rows")?;
        }
        ensure!(answer == self.right, "{} gives another answer", self.name);
        Ok(())
    }

    /// Kills a process so many seconds after the start. How long the job took.
    async fn disturb(&self, cluster: &Cluster, pid: u32, after: f64) -> anyhow::Result<(f64, JobId)> {
        let ran = self.run(cluster, Some((pid, after))).await?;
        self.check().await?;
        Ok(ran)
    }

    async fn run(&self, cluster: &Cluster, kill: Option<(u32, f64)>) -> anyhow::Result<(f64, JobId)> {
        data::empty(&self.out)?;
        let mut command = self.command(cluster)?;
        let start = Instant::now();
        let client = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some((pid, after)) = kill {
            tokio::time::sleep(Duration::from_secs_f64(after)).await;
            signal("KILL", pid)?;
        }
        let output = client.wait_with_output()?;
        let seconds = start.elapsed().as_secs_f64();
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok((seconds, job_id(&output.stdout)?))
    }

    fn command(&self, cluster: &Cluster) -> anyhow::Result<std::process::Command> {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        cluster.command(&arguments)
    }

    async fn answer(&self) -> anyhow::Result<Answer> {
        if self.name == Q21 {
            let rows = parquet(&self.out.join("rows"), &WAITING, None).await?.collect().await?;
            return Ok(Answer::Rows(rows_of(&rows)?));
        }
        let curated = parquet(&self.out.join("curated"), &CURATED, None).await?;
        let aggregates = parquet(&self.out.join("aggregates"), &AGGREGATES, None).await?.collect().await?;
        Ok(Answer::Events { curated: Digest::of(curated).await?, aggregates: rows_of(&aggregates)? })
    }
}

fn submission(job: &str, params: &[(&str, &Path)]) -> Vec<String> {
    let mut arguments: Vec<String> = ["job", "submit", job, "-o", "json"].map(ToOwned::to_owned).to_vec();
    for (name, path) in params {
        arguments.extend(["--set".to_owned(), format!("{name}={}", path.display())]);
    }
    arguments
}

/// A job file for one statement over Parquet tables.
fn job_file(tables: &[(String, String)], sql: &str) -> String {
    let sources: String =
        tables.iter().map(|(name, path)| format!("[[source]]\nname = \"{name}\"\npath = \"{path}\"\n")).collect();
    format!(
        "name = \"{Q21}\"\n[params]\noutput = \"\"\n{sources}[[step]]\nname = \"waiting\"\nsql = \"\"\"\n{sql}\"\"\"\n\
         [[sink]]\nfrom = \"waiting\"\npath = \"${{output}}/rows\"\nformat = \"parquet\"\nmode = \"overwrite\"\n"
    )
}

fn job_id(stdout: &[u8]) -> anyhow::Result<JobId> {
    let job: Value = serde_json::from_slice(stdout)?;
    Ok(job["id"].as_str().context("a job without an id")?.parse()?)
}

/// Refuses anything that outlives a cluster but its token, journal and logs.
fn nothing_left(state: &Path, works: &Works, shared_memory: &BTreeSet<String>) -> anyhow::Result<()> {
    let processes = living_in(state);
    ensure!(processes.is_empty(), "processes are left: {processes:?}");
    let state = state.join("tandem");
    // `private` is where each `tandem run` has a folder as long as it lives.
    let kept = ["lock", "token", "logs", "journal", "private", "private.lock"].map(ToOwned::to_owned).into();
    let mut left: Vec<String> = entries(&state)?.difference(&kept).cloned().collect();
    if state.join("private").exists() {
        left.extend(entries(&state.join("private"))?);
    }
    ensure!(left.is_empty(), "the state folder still has {left:?}");
    for work in &works.0 {
        let staged: Vec<String> = entries(&work.out)?.into_iter().filter(|name| name.contains(".tandem")).collect();
        ensure!(staged.is_empty(), "{} left {staged:?}", work.name);
    }
    let shared: Vec<String> = entries(Path::new("/dev/shm"))?.difference(shared_memory).cloned().collect();
    ensure!(shared.is_empty(), "shared memory is left: {shared:?}");
    Ok(())
}

fn entries(folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    let names = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

/// Numbers that a seed and a position decide (SplitMix64).
struct Random(u64);

impl Random {
    fn new(seed: u64, position: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ position.wrapping_mul(0xD1B5_4A32_D192_ED03))
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_position_decide_the_numbers() {
        let draw = |seed, position| {
            let mut random = Random::new(seed, position);
            [random.below(1_000), random.below(1_000), random.below(1_000)]
        };
        assert_eq!(draw(1, 7), draw(1, 7));
        assert_ne!(draw(1, 7), draw(1, 8));
        assert_ne!(draw(1, 7), draw(2, 7));
    }
}
