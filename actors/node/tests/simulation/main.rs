//! Thousands of small clusters, each in one thread from one seed: whatever order things come in, whatever dies, programs end with the right
//! results, nothing is booked twice, and nothing is left over.
//!
//! `TANDEM_SIM_SEEDS` sets how many seeds each test takes, `TANDEM_SIM_SEED` runs one, `TANDEM_SIM_TRACE` prints every event.

mod coordinator;
mod counts;
mod disk;
mod memory;
mod plan;
mod process;
mod random;
mod world;

use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};

use plan::Kinds;
use random::Random;
use world::{Disk, Faults, World};

const PLAIN: Kinds = Kinds {
    nested: true,
    large: true,
    large_bytes: 70_000,
    fails: true,
    actors: true,
    cancels: true,
    groups: false,
    extents: 0,
    lossy: false,
    streams: false,
    cuts: false,
    circles: false,
    losses: false,
    readers: 0,
    counts: false,
    tasks_count: false,
};
/// In an arena that is soon full.
const CRAMPED: Kinds = Kinds { large_bytes: 300_000, extents: 3, ..PLAIN };
/// Actors count, and their callers see that each call is counted once.
const COUNTS: Kinds = Kinds { counts: true, nested: false, fails: false, cancels: false, ..PLAIN };
const STREAMS: Kinds = Kinds { streams: true, ..PLAIN };
const CIRCLES: Kinds = Kinds { circles: true, ..PLAIN };
/// One large object goes to all workers.
const BROADCAST: Kinds = Kinds { readers: 10, ..PLAIN };

fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    match number("TANDEM_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("TANDEM_SIM_SEEDS").unwrap_or(100)).collect(),
    }
}

/// Runs a world of each seed to the end of its program, with a number of workers in `workers`, and holds `check` against it.
fn each_seed(workers: RangeInclusive<u64>, kinds: Kinds, faults: Faults, mut check: impl FnMut(&mut World)) {
    for seed in seeds() {
        let seeded = AssertUnwindSafe(|| {
            let mut random = Random(seed);
            let count = workers.start() + random.below(workers.end() - workers.start() + 1);
            let mut world = World::new(seed, count, 1 + random.below(3), kinds, faults);
            world.run();
            world.check_empty();
            check(&mut world);
        });
        if catch_unwind(seeded).is_err() {
            panic!("seed {seed} failed");
        }
    }
}

fn run_all(workers: u64, kinds: Kinds, faults: Faults) -> Disk {
    let mut disk = Disk::default();
    each_seed(1..=workers, kinds, faults, |world| {
        world.end_job();
        disk.add(&world.disk);
    });
    disk
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
    each_seed(2..=4, PLAIN, faults, |world| {
        assert_eq!(world.driver_attempt, 0);
        world.end_job();
        left += world.left;
    });
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
fn objects_go_to_disk_and_come_back() {
    let disk = run_all(3, CRAMPED, Faults { revoked: 300, until: 20_000, ..Faults::default() });
    assert!(disk.written > 0 && disk.read > 0, "{disk:?}");
}

#[test]
fn processes_die_while_objects_go_to_disk() {
    let faults = Faults { process_dies: 400, revoked: 500, write_fails: 5, until: 20_000, ..Faults::default() };
    let disk = run_all(3, Kinds { fails: false, ..CRAMPED }, faults);
    assert!(disk.written > 0 && disk.read > 0 && disk.failed > 0, "{disk:?}");
}

#[test]
fn workers_die_while_objects_go_to_disk() {
    let faults = Faults { worker_dies: 900, process_dies: 600, write_fails: 20, until: 20_000, ..Faults::default() };
    let disk = run_all(4, Kinds { nested: false, fails: false, ..CRAMPED }, faults);
    assert!(disk.written > 0 && disk.read > 0, "{disk:?}");
}

#[test]
fn files_that_cannot_be_read_are_no_end() {
    let faults = Faults { read_fails: 3, write_fails: 10, process_dies: 800, until: 20_000, ..Faults::default() };
    let disk = run_all(3, Kinds { lossy: true, ..CRAMPED }, faults);
    assert!(disk.damaged > 0 && disk.lent > 0, "{disk:?}");
}

#[test]
fn items_go_to_disk_and_come_back() {
    let faults = Faults { process_dies: 600, revoked: 400, write_fails: 20, until: 20_000, ..Faults::default() };
    let disk = run_all(3, Kinds { streams: true, cuts: true, ..CRAMPED }, faults);
    assert!(disk.written > 0 && disk.read > 0, "{disk:?}");
}

#[test]
fn items_whose_files_cannot_be_read_are_no_end() {
    let faults = Faults { read_fails: 3, process_dies: 800, until: 20_000, ..Faults::default() };
    let disk = run_all(3, Kinds { lossy: true, streams: true, cuts: true, ..CRAMPED }, faults);
    assert!(disk.damaged > 0, "{disk:?}");
}

#[test]
fn workers_that_have_items_on_disk_die() {
    let faults = Faults { worker_dies: 900, process_dies: 600, write_fails: 20, until: 20_000, ..Faults::default() };
    let disk = run_all(4, Kinds { nested: false, streams: true, cuts: true, ..CRAMPED }, faults);
    assert!(disk.written > 0 && disk.read > 0, "{disk:?}");
}

#[test]
fn a_job_ends_while_its_objects_go_to_disk() {
    let mut busy = 0;
    for seed in seeds() {
        let mut world = World::new(seed, 2, 2, CRAMPED, Faults::default());
        let steps = Random(seed ^ 3).below(1_500);
        busy += u64::from(world.run_until_disk(steps));
        world.end_job();
        assert_eq!(world.disk.files(), 0, "seed {seed}");
    }
    assert!(busy > 0, "no job has ended meanwhile");
}

#[test]
fn streams() {
    run_all(3, STREAMS, Faults { revoked: 300, until: 20_000, ..Faults::default() });
}

#[test]
fn processes_that_yield_or_take_items_die() {
    let faults = Faults { process_dies: 300, revoked: 400, start_fails: 50, until: 20_000, ..Faults::default() };
    run_all(3, Kinds { cuts: true, ..STREAMS }, faults);
}

#[test]
fn workers_that_yield_or_have_items_die() {
    let faults = Faults { process_dies: 600, worker_dies: 600, revoked: 500, until: 20_000, ..Faults::default() };
    run_all(5, Kinds { nested: false, cuts: true, ..STREAMS }, faults);
}

#[test]
fn calls_that_wait_in_circles_are_told_and_no_others() {
    let faults = Faults { revoked: 300, until: 20_000, ..Faults::default() };
    for kinds in [CIRCLES, Kinds { streams: true, ..CIRCLES }] {
        let mut told = 0;
        each_seed(2..=4, kinds, faults, |world| {
            world.end_job();
            told += world.circles_told;
        });
        assert!(told > 0, "no circle went over two workers");
    }
}

#[test]
fn what_waits_in_circles_is_lost() {
    let faults = Faults { process_dies: 400, worker_dies: 900, revoked: 500, until: 20_000, ..Faults::default() };
    run_all(5, Kinds { nested: false, fails: false, losses: true, ..CIRCLES }, faults);
}

#[test]
fn one_object_goes_to_many_workers() {
    run_all(8, BROADCAST, Faults { revoked: 300, until: 20_000, ..Faults::default() });
}

#[test]
fn workers_die_that_have_or_get_a_copy_of_one_object() {
    let faults = Faults { worker_dies: 400, process_dies: 500, revoked: 500, until: 20_000, ..Faults::default() };
    run_all(8, Kinds { nested: false, fails: false, ..BROADCAST }, faults);
}

#[test]
fn workers_drain_that_have_or_get_a_copy_of_one_object() {
    let faults = Faults { leaves: 100, revoked: 500, until: 20_000, ..Faults::default() };
    run_all(8, BROADCAST, faults);
}

#[test]
fn one_object_goes_to_many_workers_while_it_goes_to_disk() {
    let faults = Faults { worker_dies: 900, write_fails: 20, until: 20_000, ..Faults::default() };
    // What blocked tasks have read stays in memory, also when all of them are on the last worker.
    let kinds = Kinds { nested: false, fails: false, readers: 6, extents: 5, ..CRAMPED };
    let disk = run_all(6, kinds, faults);
    assert!(disk.lent > 0, "{disk:?}");
}

fn count_all(workers: u64, kinds: Kinds, faults: Faults) {
    let (mut counted, mut restarts, mut covered, mut streams) = (0, 0, 0, 0);
    each_seed(1..=workers, kinds, faults, |world| {
        counted += world.counts.check();
        restarts += world.restored;
        covered += world.covered;
        streams += world.covered_streams;
    });
    assert!(counted > 0 && restarts > 0, "{counted} calls were counted, {restarts} actors have gone on");
    assert_eq!(covered > 0, kinds.tasks_count, "callers on other workers are told of checkpoints by the owner");
    assert_eq!(streams > 0, kinds.tasks_count && kinds.streams, "and of those of their streams");
}

#[test]
fn calls_are_counted_once_while_processes_die() {
    let faults = Faults { process_dies: 80, revoked: 400, spares_driver: true, until: 20_000, ..Faults::default() };
    count_all(1, COUNTS, faults);
    count_all(4, COUNTS, faults);
}

#[test]
fn calls_are_counted_once_while_workers_die() {
    let faults = Faults {
        process_dies: 150,
        worker_dies: 300,
        revoked: 500,
        spares_driver: true,
        until: 20_000,
        ..Faults::default()
    };
    count_all(6, COUNTS, faults);
}

#[test]
fn calls_of_callers_that_die_too_are_counted_once() {
    let faults = Faults { process_dies: 150, worker_dies: 400, revoked: 500, until: 20_000, ..Faults::default() };
    count_all(6, Kinds { tasks_count: true, ..COUNTS }, faults);
    count_all(6, Kinds { tasks_count: true, ..COUNTS }, Faults { spares_driver: true, ..faults });
}

#[test]
fn calls_are_counted_once_beside_streams() {
    let kinds = Kinds { streams: true, cuts: true, ..COUNTS };
    let processes = Faults { process_dies: 150, revoked: 500, spares_driver: true, until: 20_000, ..Faults::default() };
    count_all(4, kinds, processes);
    let workers = Faults { worker_dies: 300, ..processes };
    count_all(6, Kinds { tasks_count: true, ..kinds }, workers);
}
