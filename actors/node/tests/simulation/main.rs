//! Thousands of small clusters, each in one thread from one seed: whatever order things come in, whatever dies, programs end with the right
//! results, nothing is booked twice, and nothing is left over.
//!
//! `TANDEM_SIM_SEEDS` sets how many seeds each test takes, `TANDEM_SIM_SEED` runs one, `TANDEM_SIM_TRACE` prints every event.

mod coordinator;
mod memory;
mod plan;
mod process;
mod random;
mod world;

use plan::Kinds;
use random::Random;
use world::{Faults, World};

const PLAIN: Kinds =
    Kinds { nested: true, large: true, fails: true, actors: true, cancels: true, groups: false, streams: false };

const STREAMS: Kinds = Kinds { streams: true, ..PLAIN };

fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    match number("TANDEM_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("TANDEM_SIM_SEEDS").unwrap_or(100)).collect(),
    }
}

fn run_all(workers: u64, kinds: Kinds, faults: Faults) {
    for seed in seeds() {
        let seeded = std::panic::AssertUnwindSafe(|| {
            let mut random = Random(seed);
            let mut world = World::new(seed, 1 + random.below(workers), 1 + random.below(3), kinds, faults);
            world.run();
            world.check_empty();
            world.end_job();
        });
        if std::panic::catch_unwind(seeded).is_err() {
            panic!("seed {seed} failed");
        }
    }
}

#[test]
fn one_worker() {
    run_all(1, PLAIN, Faults::default());
}

#[test]
fn several_workers() {
    run_all(4, PLAIN, Faults { revoked: 200, until: 20_000, ..Faults::default() });
}

#[test]
fn processes_die() {
    let faults = Faults { process_dies: 400, revoked: 500, start_fails: 50, until: 20_000, ..Faults::default() };
    run_all(4, Kinds { fails: false, ..PLAIN }, faults);
}

#[test]
fn workers_die() {
    let faults = Faults { process_dies: 600, worker_dies: 900, revoked: 500, until: 20_000, ..Faults::default() };
    run_all(5, Kinds { nested: false, fails: false, ..PLAIN }, faults);
}

#[test]
fn nothing_is_lost_with_workers_that_drain() {
    let faults = Faults { leaves: 100, revoked: 500, until: 20_000, ..Faults::default() };
    let mut left = 0;
    for seed in seeds() {
        let mut random = Random(seed);
        let mut world = World::new(seed, 2 + random.below(3), 1 + random.below(3), PLAIN, faults);
        world.run();
        assert_eq!(world.driver_attempt, 0, "seed {seed}");
        world.check_empty();
        world.end_job();
        left += world.left;
    }
    assert!(left > 0, "none has left");
}

#[test]
fn with_placement_groups() {
    let faults = Faults { process_dies: 500, revoked: 500, until: 20_000, ..Faults::default() };
    run_all(3, Kinds { fails: false, groups: true, ..PLAIN }, faults);
}

#[test]
fn workers_with_placement_groups_die() {
    let faults = Faults { worker_dies: 900, revoked: 500, until: 20_000, ..Faults::default() };
    run_all(5, Kinds { nested: false, fails: false, groups: true, ..PLAIN }, faults);
}

#[test]
fn streams() {
    run_all(3, STREAMS, Faults { revoked: 300, until: 20_000, ..Faults::default() });
}

#[test]
fn processes_that_yield_or_take_items_die() {
    let faults = Faults { process_dies: 300, revoked: 400, start_fails: 50, until: 20_000, ..Faults::default() };
    run_all(3, STREAMS, faults);
}

#[test]
fn workers_that_yield_or_have_items_die() {
    let faults = Faults { process_dies: 600, worker_dies: 600, revoked: 500, until: 20_000, ..Faults::default() };
    run_all(5, Kinds { nested: false, ..STREAMS }, faults);
}
