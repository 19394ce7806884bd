//! Prints how many ratings a second training takes in, for 20 and for 100 factors, on each path of the processor.
//!
//! ```sh
//! cargo run --release -p tandem-kernels --example mf_throughput -- [small|large] [THREADS]
//! ```
//!
//! `small` (the default) has the shape of MovieLens-1M, whose factors fit a cache; `large` that of MovieLens-25M with
//! fewer ratings, whose factors do not. The time is the mean of ten epochs: with one thread time on the processor, so that
//! a busy machine counts less, else wall time. Preparing (dealing ids, cutting and sorting blocks, starting rows) is wall
//! time.

use std::time::Instant;

use tandem_kernels::Cpu;
use tandem_kernels::funk::{Rating, RowShape, TrainOptions, Trainer};

const EPOCHS: u32 = 10;

struct Size {
    users: usize,
    items: usize,
    ratings: usize,
    /// Weight of the item of rank `r`: `(r + shift) ^ -exponent`.
    exponent: f64,
    shift: f64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let size = match args.next().as_deref() {
        None | Some("small") => Size { users: 6_040, items: 3_706, ratings: 900_000, exponent: 1.35, shift: 14.8 },
        Some("large") => Size { users: 162_541, items: 59_047, ratings: 7_200_000, exponent: 2.0, shift: 300.0 },
        Some(other) => return Err(format!("unknown size {other}, expected small or large").into()),
    };
    let Size { users, items, ratings: count, .. } = size;
    let threads = args.next().map_or(Ok(1), |threads| threads.parse())?;
    let ratings = generate(&size);
    for factors in [20, 100] {
        let bytes = (users + items) * RowShape::new(factors).stride() * 4;
        println!("k = {factors}: {count} ratings, {:.1} MB of factors, {threads} threads", bytes as f64 / 1e6);
        for cpu in Cpu::all().into_iter().skip(1) {
            let start = Instant::now();
            let options = TrainOptions { learning_rate: 0.01, ..TrainOptions::surprise(factors) };
            let mut trainer = Trainer::new(cpu, &ratings, users, items, &options)?;
            let prepared = start.elapsed().as_secs_f64();
            let (start, busy) = (Instant::now(), busy_seconds());
            let mut rmse = 0.0;
            for _ in 0..EPOCHS {
                rmse = trainer.epoch(threads)?;
            }
            let wall = start.elapsed().as_secs_f64() / f64::from(EPOCHS);
            let busy = busy.zip(busy_seconds()).map(|(before, after)| (after - before) / f64::from(EPOCHS));
            let took = if threads == 1 { busy.unwrap_or(wall) } else { wall };
            println!(
                "  {:6}  {:6.1} M updates/s  epoch {took:.4} s ({wall:.4} s of wall time)  prepared in {prepared:.2} s  training RMSE {rmse:.4}",
                cpu.name(),
                count as f64 / took / 1e6,
            );
        }
    }
    Ok(())
}

/// Seconds that the main thread has spent on a processor; none where the system does not tell.
fn busy_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    Some(stat.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}

/// Ratings with the shape of a log of film ratings: popularity falls by a power law (Zipf-Mandelbrot), activity is
/// log-normal with a floor, ids say nothing about either.
fn generate(size: &Size) -> Vec<Rating> {
    let mut state = 42_u64;
    let mut unit = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    let items = sums((0..size.items).map(|rank| (rank as f64 + size.shift).powf(-size.exponent)));
    let mut active = || 0.2 + (1.25 * ((0..12).map(|_| unit()).sum::<f64>() - 6.0)).exp();
    let users = sums((0..size.users).map(|_| active()));
    let draw = |sums: &[f64], unit: f64| sums.partition_point(|sum| *sum < unit * sums[sums.len() - 1]);
    let rating = |_| {
        let (user, item) = (draw(&users, unit()), draw(&items, unit()));
        let value = 3.0 + 0.5 * (user as f64).sin() + 0.5 * (item as f64).sin() + unit() * 2.0 - 1.0;
        Rating { user: user as u32, item: item as u32, value: value as f32 }
    };
    (0..size.ratings).map(rating).collect()
}

/// The sum up to and with each weight.
fn sums(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    let add = |sum: &mut f64, weight| {
        *sum += weight;
        Some(*sum)
    };
    weights.scan(0.0, add).collect()
}
