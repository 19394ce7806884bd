//! Prints how many ratings a second training takes in, for 20 and for 100 factors, on each path of the processor.
//!
//! ```sh
//! cargo run --release -p tandem-kernels --example mf_throughput -- [small|large] [THREADS]
//! ```
//!
//! `small` (the default) has 6,040 users, 3,706 items and 900,000 ratings, so that factors fit a cache; `large` has
//! 162,541 users, 59,047 items and 7,200,000 ratings, so that they do not. The time is that of the fastest of five
//! epochs; preparing (dealing ids, cutting and sorting blocks, starting rows) is timed by itself.

use std::time::Instant;

use tandem_kernels::Cpu;
use tandem_kernels::funk::{Rating, RowShape, TrainOptions, Trainer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (users, items, count) = match args.next().as_deref() {
        None | Some("small") => (6_040, 3_706, 900_000),
        Some("large") => (162_541, 59_047, 7_200_000),
        Some(other) => return Err(format!("unknown size {other}, expected small or large").into()),
    };
    let threads = args.next().map_or(Ok(1), |threads| threads.parse())?;
    let ratings = generate(count, users, items);
    for factors in [20, 100] {
        let bytes = (users + items) * RowShape::new(factors).stride() * 4;
        println!("k = {factors}: {count} ratings, {:.1} MB of factors, {threads} threads", bytes as f64 / 1e6);
        for cpu in Cpu::all().into_iter().skip(1) {
            let start = Instant::now();
            let options = TrainOptions { learning_rate: 0.01, ..TrainOptions::surprise(factors) };
            let mut trainer = Trainer::new(cpu, &ratings, users, items, &options)?;
            let prepared = start.elapsed().as_secs_f64();
            let (mut fastest, mut rmse) = (f64::INFINITY, 0.0);
            for _ in 0..5 {
                let start = Instant::now();
                rmse = trainer.epoch(threads)?;
                fastest = fastest.min(start.elapsed().as_secs_f64());
            }
            println!(
                "  {:6}  {:6.1} M updates/s  epoch {:.4} s  prepared in {prepared:.2} s  training RMSE {rmse:.4}",
                cpu.name(),
                count as f64 / fastest / 1e6,
                fastest
            );
        }
    }
    Ok(())
}

/// Ratings of 1 to 5 where few items and users have most of the ratings.
fn generate(count: usize, users: usize, items: usize) -> Vec<Rating> {
    let mut state = 42_u64;
    let mut unit = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    let rating = |_| {
        let user = (users as f64 * unit().powf(1.8)) as u32;
        let item = (items as f64 * unit().powf(3.0)) as u32;
        let value = 3.0 + 0.5 * (user as f64).sin() + 0.5 * (item as f64).sin() + unit() * 2.0 - 1.0;
        Rating { user, item, value: value as f32 }
    };
    (0..count).map(rating).collect()
}
