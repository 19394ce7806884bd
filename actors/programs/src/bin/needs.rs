//! Tasks that take something special: `needs RESOURCE AMOUNT TASKS`. Prints how many of them each worker ran, or why none did.

use std::collections::BTreeMap;

use tandem::prelude::*;

/// The worker that it ran on.
#[tandem::task]
fn place(ctx: Context) -> String {
    ctx.worker_name().to_owned()
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let (resource, amount, tasks): (String, f64, usize) = (args.parse(0)?, args.parse(1)?, args.parse(2)?);
    let needs = || cpus(0.1).custom(&resource, amount);
    let places: Vec<_> = (0..tasks).map(|_| place::with(&ctx).resources(needs()).submit()).collect();
    let mut workers: BTreeMap<String, usize> = BTreeMap::new();
    for place in &places {
        match place.await {
            Ok(worker) => *workers.entry(worker).or_default() += 1,
            Err(failure) => {
                println!("{:?}: {failure}", failure.kind);
                return Ok(());
            }
        }
    }
    workers.iter().for_each(|(worker, tasks)| println!("{worker} ran {tasks} tasks"));
    Ok(())
}
