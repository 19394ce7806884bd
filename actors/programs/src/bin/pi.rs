//! Estimates pi with tasks that ask for more tasks: `pi TASKS SAMPLES`. Prints the estimate, and how many tasks each worker ran.

use std::collections::BTreeMap;

use tandem::prelude::*;

/// Points inside of the circle, and the worker that threw them.
#[tandem::task]
fn inside(ctx: Context, seed: u64, samples: u64) -> (u64, String) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut unit = || {
        // Xorshift, Marsaglia 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let hits = (0..samples).filter(|_| unit().powi(2) + unit().powi(2) <= 1.0).count();
    (hits as u64, ctx.worker_name().to_owned())
}

/// Sums what some tasks of its own have found.
#[tandem::task]
async fn some(ctx: Context, first: u64, count: u64, samples: u64) -> Result<(u64, BTreeMap<String, u64>)> {
    let found: Vec<_> = (first..first + count).map(|seed| inside::submit(&ctx, seed, samples)).collect();
    let mut workers = BTreeMap::new();
    let mut hits = 0;
    for (inside, worker) in ctx.get_all(&found).await? {
        hits += inside;
        *workers.entry(worker).or_default() += 1;
    }
    Ok((hits, workers))
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let (tasks, samples): (u64, u64) = (args.parse(0)?, args.parse(1)?);
    let group = tasks.div_ceil(4).max(1);
    let firsts = (0..tasks).step_by(group as usize);
    let groups: Vec<_> = firsts.map(|first| some::submit(&ctx, first, group.min(tasks - first), samples)).collect();
    let mut workers: BTreeMap<String, u64> = BTreeMap::new();
    let mut hits = 0;
    for (inside, ran) in ctx.get_all(&groups).await? {
        hits += inside;
        ran.into_iter().for_each(|(worker, tasks)| *workers.entry(worker).or_default() += tasks);
    }
    println!("pi is about {:.4}", 4.0 * hits as f64 / (tasks * samples) as f64);
    for (worker, tasks) in workers {
        println!("{worker} ran {tasks} tasks");
    }
    Ok(())
}
