//! Placement groups: `groups TIMEOUT_MS STRATEGY CPUS…` reserves a bundle of so many processors each, runs one actor in each, and
//! prints on how many workers they are; or why there is no such group within that time.

use std::time::Duration;

use tandem::prelude::*;

/// Knows where it is.
struct Resident;

#[tandem::actor]
impl Resident {
    fn new() -> Self {
        Self
    }

    fn place(&self, ctx: Context) -> String {
        ctx.worker_name().to_owned()
    }
}

/// The worker that it ran on.
#[tandem::task]
fn place(ctx: Context) -> String {
    ctx.worker_name().to_owned()
}

fn strategy(name: &str) -> Result<Strategy> {
    Ok(match name {
        "pack" => Strategy::Pack,
        "spread" => Strategy::Spread,
        "strict-pack" => Strategy::StrictPack,
        "strict-spread" => Strategy::StrictSpread,
        other => tandem::bail!("there is no strategy {other}"),
    })
}

/// One actor in each bundle, and a task beside it. The actors live on, and end with the group.
async fn live_in(ctx: &Context, group: &PlacementGroup) -> Result<Vec<String>> {
    let mut workers = Vec::new();
    for bundle in (0..group.bundles()).map(|index| group.bundle(index)) {
        let resident = Resident::spawn(ctx).resources(cpus(0.25)).in_bundle(bundle).await?;
        let worker = resident.place().await?;
        let beside = place::with(ctx).resources(cpus(0.25)).in_bundle(bundle).submit().await?;
        tandem::ensure!(beside == worker, "the actor is on {worker}, and the task ran on {beside}");
        workers.push(worker);
    }
    workers.sort_unstable();
    workers.dedup();
    Ok(workers)
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let timeout = Duration::from_millis(args.parse(0)?);
    let strategy = strategy(&args.parse::<String>(1)?)?;
    let bundles = (2..args.len()).map(|at| Ok(cpus(args.parse(at)?))).collect::<Result<Vec<_>>>()?;
    let group = || ctx.placement_group(bundles.clone(), strategy).named("residents");
    let first = match group().timeout(timeout).await {
        Ok(first) => first,
        Err(failure) => {
            println!("{:?}: {}", failure.kind, failure.message);
            return Ok(());
        }
    };
    println!("{} workers", live_in(&ctx, &first).await?.len());
    let second = group().start();
    let fits = ctx.wait(&[second.reserved()], 1, Duration::from_millis(300)).await.pending.is_empty();
    println!("another {}", if fits { "fits" } else { "waits" });
    first.remove();
    second.reserved().await?;
    let late = place::with(&ctx).in_bundle(first.bundle(0)).submit().await;
    println!("{}", late.expect_err("the group is gone").message);
    // The last one who has it lets go.
    drop(second);
    group().await?;
    println!("given back");
    Ok(())
}
