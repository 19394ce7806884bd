//! The client of a query is killed in the middle of it: how long the workers go on for nobody.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::Arguments;
use crate::cluster::Cluster;
use crate::data;
use crate::process::{cpu_ticks, signal};
use crate::report::{Line, Report, Unit, median};
use crate::tpch;

const QUERY: u32 = 21;
const POLL: Duration = Duration::from_millis(5);
/// Workers that used no processor for so long are idle.
const QUIET: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(folder: &Path, arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let tables = tpch::tables(&data::tpch(folder, &arguments.scale)?);
    let cluster = Cluster::start(folder, &arguments.shape).await?;
    let sql = tpch::query_text(QUERY)?;
    let mut query = cluster.command(&["sql", "-o", "csv", "-e", &sql])?;
    for (name, path) in &tables {
        query.args(["--table", &format!("{name}={path}")]);
    }
    query.stdout(Stdio::null()).stderr(Stdio::null());
    let mut undisturbed = Duration::ZERO;
    for _ in 0..2 {
        let start = Instant::now();
        ensure!(query.status()?.success(), "q21 failed");
        undisturbed = start.elapsed();
    }
    let (mut freed, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        let mut client = query.spawn()?;
        tokio::time::sleep(undisturbed / 2).await;
        ensure!(cluster.client().cluster().await?.slots_used > 0, "q21 was not running when its client was killed");
        let start = Instant::now();
        signal("KILL", client.id())?;
        client.wait()?;
        let (slots, processors) = tokio::try_join!(wait_for_free_slots(&cluster), rest(&cluster, start))?;
        freed.push(slots.duration_since(start).as_secs_f64() * 1e3);
        idle.push(processors.as_secs_f64() * 1e3);
    }
    report.line(Line::of("the client of q21 killed in the middle: until every slot is free", Unit::Ms, median(freed)?));
    report.line(Line::of("… until the workers use no processor", Unit::Ms, median(idle)?));
    Ok(())
}

/// When no slot was used any more.
async fn wait_for_free_slots(cluster: &Cluster) -> anyhow::Result<Instant> {
    let deadline = Instant::now() + PATIENCE;
    while cluster.client().cluster().await?.slots_used > 0 {
        ensure!(Instant::now() < deadline, "the slots are not freed");
        tokio::time::sleep(POLL).await;
    }
    Ok(Instant::now())
}

/// How long after `start` a worker last used the processor.
async fn rest(cluster: &Cluster, start: Instant) -> anyhow::Result<Duration> {
    let workers: Vec<u32> = cluster.client().nodes().await?.iter().map(|node| node.pid).collect();
    let used = || workers.iter().filter_map(|pid| cpu_ticks(*pid)).sum::<u64>();
    let (mut before, mut last) = (used(), Instant::now());
    // A heartbeat now and then costs a tick, too: two within one poll are work.
    while last.elapsed() < QUIET {
        ensure!(start.elapsed() < PATIENCE, "the workers do not come to rest");
        tokio::time::sleep(10 * POLL).await;
        let now = used();
        if now > before + 1 {
            last = Instant::now();
        }
        before = now;
    }
    Ok(last.duration_since(start))
}
