//! How soon actors and placement groups are there, and what a light actor takes.

use tandem::prelude::*;

use crate::measure::{latency, rate, report};

/// Light actors that are there at once when their memory is measured.
const LIGHT_ACTORS: u64 = 10_000;

/// Knows where it is.
struct Resident;

#[tandem::actor]
impl Resident {
    fn new() -> Self {
        Self
    }

    fn process(&self) -> u32 {
        std::process::id()
    }
}

pub(crate) async fn measure(ctx: &Context) -> Result<()> {
    groups(ctx).await?;
    latency("process actor, ready", async || {
        Resident::spawn(ctx).await?.kill();
        Ok(())
    })
    .await?;
    // As long as there is one, their process stays.
    let first = Resident::spawn(ctx).light().await?;
    let mut actors = Vec::new();
    latency("light actor, ready", async || {
        actors.push(Resident::spawn(ctx).light().await?);
        Ok(())
    })
    .await?;
    drop(actors);
    light_memory(ctx, first.process().await?).await
}

/// What the process that they share and the worker have more of with many light actors.
async fn light_memory(ctx: &Context, process: u32) -> Result<()> {
    let worker = std::os::unix::process::parent_id();
    let held = || Ok::<_, tandem::anyhow::Error>(resident_bytes(process)? + resident_bytes(worker)?);
    let before = held()?;
    let actors: Vec<_> = (0..LIGHT_ACTORS).map(|_| Resident::spawn(ctx).light().start()).collect();
    let started: Vec<_> = actors.iter().map(ActorHandle::started).collect();
    ctx.get_all(&started).await?;
    report("light actor, memory", held()?.saturating_sub(before) as f64 / LIGHT_ACTORS as f64 / 1024.0, "KiB");
    Ok(())
}

/// Memory that a process has.
fn resident_bytes(process: u32) -> Result<u64> {
    const PAGE_BYTES: u64 = 4096;
    let text = std::fs::read_to_string(format!("/proc/{process}/statm"))?;
    let pages = text.split_whitespace().nth(1).unwrap_or_default();
    Ok(pages.parse::<u64>()? * PAGE_BYTES)
}

async fn groups(ctx: &Context) -> Result<()> {
    rate("placement group create and remove", async || {
        let groups: Vec<_> = (0..100).map(|_| ctx.placement_group([cpus(0.001)], Strategy::Pack).start()).collect();
        let reserved: Vec<_> = groups.iter().map(PlacementGroup::reserved).collect();
        ctx.get_all(&reserved).await?;
        groups.iter().for_each(PlacementGroup::remove);
        Ok(groups.len() as u64)
    })
    .await
}
