//! The program behind `tandem self-test`: pi by throwing points, and which worker threw how many.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use tandem::prelude::*;

/// How far the estimate may be off.
const TOLERANCE: f64 = 0.01;

/// How many of `samples` random points of a square are inside of its circle, and the worker that threw them.
#[tandem::task(retries = 3)]
fn throw(ctx: Context, seed: u64, samples: u64) -> (u64, String) {
    // SplitMix64 (Steele, Lea, Flood 2014).
    let mut state = seed;
    let mut unit = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    let inside = (0..samples).filter(|_| unit().powi(2) + unit().powi(2) <= 1.0).count();
    (inside as u64, ctx.worker_name().to_owned())
}

/// Runs so many tasks, of so many samples each.
pub(super) async fn run(ctx: &Context, args: &Args) -> Result<()> {
    let (tasks, samples): (u64, u64) = (args.parse(1)?, args.parse(2)?);
    let thrown: Vec<_> = (0..tasks).map(|task| throw::submit(ctx, task << 32, samples)).collect();
    let mut inside = 0;
    let mut workers: BTreeMap<String, u64> = BTreeMap::new();
    for (hits, worker) in ctx.get_all(&thrown).await? {
        inside += hits;
        *workers.entry(worker).or_default() += 1;
    }
    let estimate = 4.0 * inside as f64 / (tasks * samples) as f64;
    println!("pi is about {estimate:.5}");
    workers.iter().for_each(|(worker, tasks)| println!("{worker} ran {tasks} tasks"));
    // Five standard deviations of a mean of so many samples, when these are few.
    let chance = 5.0 * (PI * (4.0 - PI) / (tasks * samples) as f64).sqrt();
    tandem::ensure!((estimate - PI).abs() <= TOLERANCE.max(chance), "{estimate} is not pi");
    Ok(())
}
