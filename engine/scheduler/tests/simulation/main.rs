//! The real state machine among virtual workers, clients and a coordinator process that crashes, from a seed.
//!
//! `TANDEM_SIM_SEEDS=10000 cargo nextest run -p tandem-scheduler --test simulation` runs more seeds than the usual 500;
//! `TANDEM_SIM_SEED=42` runs one and prints everything that happens.

mod checks;
mod clients;
mod groups;
mod journal;
mod machines;
mod names;
mod network;
mod node;
mod plans;
mod rng;
mod shell;
mod trouble;
mod worker;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use world::{Tally, World};

const USUAL_SEEDS: u64 = 500;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_seed_ends_well() {
    if let Some(seed) = variable("TANDEM_SIM_SEED") {
        let tally = World::new(seed, true).run().unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
        println!("{tally:#?}");
        return;
    }
    let seeds = variable("TANDEM_SIM_SEEDS").unwrap_or(USUAL_SEEDS);
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let total = std::thread::scope(|scope| {
        let runners: Vec<_> = (0..threads).map(|_| scope.spawn(|| run_until(&next, seeds))).collect();
        runners
            .into_iter()
            .map(|runner| runner.join())
            .try_fold(Tally::default(), |sum, tally| tally.map(|tally| sum.and(tally)))
    });
    let total = total.unwrap_or_else(|_| panic!("a seed failed; its number is above"));
    println!("{seeds} seeds: {total:#?}");
    assert!(total.succeeded > seeds && total.failed > 0 && total.stopped > 0, "jobs end in every way: {total:?}");
    assert!(total.raced > 0, "stragglers get second attempts: {total:?}");
    assert!(total.leases > seeds && total.revoked > 0 && total.refused > 0, "leases come and go: {total:?}");
    assert!(total.named > seeds, "actors have names: {total:?}");
    assert!(
        total.reserved > seeds && total.in_bundles > seeds / 2 && total.failed_groups > 0,
        "so do groups: {total:?}"
    );
    assert!(total.demanding > seeds, "tasks get more than a slot: {total:?}");
    assert!(total.rejected > 0, "workers that were given up start anew: {total:?}");
    assert!(total.workers_lost > 0 && total.outputs_lost > 0 && total.restarts > 0 && total.released > 0, "{total:?}");
}

fn run_until(next: &AtomicU64, seeds: u64) -> Tally {
    let mut sum = Tally::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds {
            return sum;
        }
        let run = std::panic::catch_unwind(|| World::new(seed, false).run());
        match run {
            Ok(Ok(tally)) => sum = sum.and(tally),
            Ok(Err(fault)) => panic!("seed {seed} (TANDEM_SIM_SEED={seed} shows all of it): {fault}"),
            Err(_) => panic!("seed {seed} panicked (TANDEM_SIM_SEED={seed} shows all of it)"),
        }
    }
}

impl Tally {
    fn and(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            succeeded: self.succeeded + other.succeeded,
            failed: self.failed + other.failed,
            stopped: self.stopped + other.stopped,
            vanished: self.vanished + other.vanished,
            workers_lost: self.workers_lost + other.workers_lost,
            restarts: self.restarts + other.restarts,
            outputs_lost: self.outputs_lost + other.outputs_lost,
            raced: self.raced + other.raced,
            released: self.released + other.released,
            rejected: self.rejected + other.rejected,
            leases: self.leases + other.leases,
            revoked: self.revoked + other.revoked,
            refused: self.refused + other.refused,
            named: self.named + other.named,
            reserved: self.reserved + other.reserved,
            failed_groups: self.failed_groups + other.failed_groups,
            in_bundles: self.in_bundles + other.in_bundles,
            demanding: self.demanding + other.demanding,
        }
    }
}
