//! How numbers come about, and how they are told.

use std::time::{Duration, Instant};

use tandem::prelude::*;

/// How long each rate and each latency is measured.
const MEASURE: Duration = Duration::from_secs(2);

pub(crate) fn report(name: &str, value: f64, unit: &str) {
    println!("{}", serde_json::json!({ "name": name, "value": value, "unit": unit }));
}

/// Repeats what makes some calls and says how many, until time is over.
pub(crate) async fn rate<F: AsyncFnMut() -> Result<u64>>(name: &str, mut calls: F) -> Result<()> {
    calls().await?;
    let (start, mut made) = (Instant::now(), 0);
    while start.elapsed() < MEASURE {
        made += calls().await?;
    }
    report(name, made as f64 / start.elapsed().as_secs_f64(), "/s");
    Ok(())
}

/// The median of single calls.
pub(crate) async fn latency<F: AsyncFnMut() -> Result<()>>(name: &str, mut call: F) -> Result<()> {
    let (start, mut took) = (Instant::now(), Vec::new());
    while start.elapsed() < MEASURE {
        let before = Instant::now();
        call().await?;
        took.push(before.elapsed());
    }
    took.sort_unstable();
    let micros = |at: usize| took[at].as_secs_f64() * 1e6;
    report(&format!("{name}, p50"), micros(took.len() / 2), "us");
    report(&format!("{name}, p99"), micros(took.len() * 99 / 100), "us");
    Ok(())
}

/// The time that something takes which is done once.
pub(crate) async fn once<F: AsyncFnOnce() -> Result<()>>(name: &str, work: F) -> Result<()> {
    let start = Instant::now();
    work().await?;
    report(name, start.elapsed().as_secs_f64(), "s");
    Ok(())
}
