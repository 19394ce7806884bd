//! Tasks, actors and objects: the program `micro` on a cluster of one worker with two slots, beside Ray's own microbenchmark of
//! the same calls; `handover`, which passes a large result of SQL to actors; and what an idle cluster and a first result take.

mod known;
mod numbers;
mod ray;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::cluster::{self, Cluster, Shape};
use crate::data;
use crate::peers::{Peer, Peers};
use crate::process::{first_line, proportional_bytes};
use crate::report::{Report, Unit, mib};
use known::{RELEASE, beside_ray};
use numbers::Numbers;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What is measured
    #[arg(long, value_delimiter = ',', value_parser = PARTS, default_values = PARTS)]
    parts: Vec<String>,
    /// Slots of the one worker that runs `micro`
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Memory limit of each worker; objects take half of it at most
    #[arg(long, default_value = "8GiB")]
    memory: String,
    /// Rows of 32 bytes that are handed over
    #[arg(long, default_value_t = 31_250_000)]
    rows: u64,
    /// Rounds that count
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// What to compare with; one round of it takes 12 minutes
    #[arg(long, value_delimiter = ',', default_value = "ray")]
    peers: Vec<Peer>,
    /// Where state and results are kept
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
}

/// Sections of `micro`, and others.
const PARTS: [&str; 10] =
    ["start", "tasks", "actors", "starts", "small", "large", "refs", "limits", "outside", "handover"];
const OTHERS: [&str; 3] = ["start", "outside", "handover"];

impl Arguments {
    fn want(&self, part: &str) -> bool {
        self.parts.iter().any(|wanted| wanted == part)
    }
}

/// What has just started does nothing any more after this time.
const SETTLING: Duration = Duration::from_secs(2);

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let folder = data::folder(&arguments.folder)?;
    let mut report = Report::new("programs");
    let peers = Peers::prepare("programs", &arguments.peers, &mut report)?;
    let mut numbers = Numbers::default();
    for _ in 0..arguments.rounds {
        if arguments.want("start") {
            let mut command = cluster::command(&folder.join("state"), &["run"])?;
            let seconds = first_line(command.arg(cluster::beside("hello")?))?;
            numbers.add("from nothing to a cluster's first result".to_owned(), Unit::Seconds, seconds);
        }
        calls(&arguments, &folder, &mut numbers).await?;
        if arguments.want("handover") {
            let shape = Shape { workers: 2, cpus: 1, memory: arguments.memory.clone() };
            let cluster = Cluster::start(&folder, &shape).await?;
            numbers.add_printed("", &cluster.run_program("handover", &[&arguments.rows.to_string()])?)?;
        }
    }
    let ray = if peers.found().contains(&Peer::Ray) { microbenchmark(&peers, &mut report) } else { BTreeMap::new() };
    report.version(RELEASE, Peer::Ray.version());
    numbers.lines()?.into_iter().for_each(|line| report.line(beside_ray(line, &ray)));
    report.publish(&folder)
}

/// One round of `micro`, in the cluster and outside of it.
async fn calls(arguments: &Arguments, folder: &Path, numbers: &mut Numbers) -> anyhow::Result<()> {
    let sections: Vec<&str> =
        arguments.parts.iter().map(String::as_str).filter(|part| !OTHERS.contains(part)).collect();
    let shape = Shape { workers: 1, cpus: arguments.cpus, memory: arguments.memory.clone() };
    let cluster = Cluster::start(folder, &shape).await?;
    tokio::time::sleep(SETTLING).await;
    for (name, pid) in cluster.processes()? {
        let what = if name == "coordinator" { "coordinator" } else { "worker" };
        let bytes = proportional_bytes(pid).with_context(|| format!("{name} is gone"))?;
        numbers.add(format!("idle {what} (PSS)"), Unit::MiB, mib(bytes));
    }
    if !sections.is_empty() {
        numbers.add_printed("", &cluster.run_program("micro", &sections)?)?;
    }
    if arguments.want("outside") {
        numbers.add_printed("outside: ", &cluster.run_outside("micro", &["small"])?)?;
    }
    Ok(())
}

/// Ray's rates by name; none if it cannot run here.
fn microbenchmark(peers: &Peers, report: &mut Report) -> BTreeMap<String, f64> {
    eprintln!("Ray's microbenchmark takes about 12 minutes");
    match cluster::output(&mut peers.command(Peer::Ray, "programs", 1)) {
        Ok(printed) => ray::parse(&printed),
        Err(error) => {
            eprintln!("skipped: Ray: {error:#}");
            report.note("skipped: Ray");
            BTreeMap::new()
        }
    }
}
