//! The state machine at the size it is designed for: 1,000 virtual workers of 16 slots and one job of 200 stages and 200,000
//! tasks, with heartbeats, a lost worker now and then, and every message handled by the real `Cluster`.
//!
//! `cargo run -p tandem-scheduler --example scale [WORKERS STAGES TASKS_PER_STAGE]`

#[path = "../tests/scale/fleet.rs"]
mod fleet;

use std::time::Instant;

use fleet::{Fleet, Size};

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|text| text.parse().ok());
    let size = Size {
        workers: numbers.next().unwrap_or(1_000),
        slots: 16,
        stages: numbers.next().unwrap_or(200),
        tasks: numbers.next().unwrap_or(1_000),
    };
    let mut spent_ns: Vec<u32> = Vec::new();
    let begin = Instant::now();
    let fleet = Fleet::new(size).run(|handle| {
        let start = Instant::now();
        handle();
        spent_ns.push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
    });
    let wall = begin.elapsed();
    spent_ns.sort_unstable();
    let events = spent_ns.len();
    let total_ns: u64 = spent_ns.iter().map(|&ns| u64::from(ns)).sum();
    let at = |share: f64| f64::from(spent_ns[((events - 1) as f64 * share) as usize]) / 1_000.0;
    println!("{} workers x {} slots, {} stages x {} tasks", size.workers, size.slots, size.stages, size.tasks);
    println!(
        "events             {events} ({} s of cluster time, {:.1} s of wall time)",
        fleet.elapsed_ms() / 1_000,
        wall.as_secs_f64()
    );
    println!("per event, average {:.2} us", total_ns as f64 / events as f64 / 1_000.0);
    println!("p50 / p99 / p99.9  {:.1} / {:.1} / {:.1} us, longest {:.1} us", at(0.5), at(0.99), at(0.999), at(1.0));
    println!("actions            {}", fleet.actions);
    println!("tasks run again    {}", fleet.repeated_tasks());
    println!(
        "journal            {} bytes, {:.1} per task",
        fleet.journal_bytes,
        fleet.journal_bytes as f64 / size.all_tasks() as f64
    );
    println!("peak memory        {} MiB of this process, the fleet included", fleet::peak_memory_mib());
}
