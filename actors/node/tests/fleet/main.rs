//! The fleet of `examples/fleet.rs` at a size for every test run: programs end, nothing of what has finished stays, and the coordinator
//! hears no more when tasks are shorter.

mod world;

use world::{Fleet, Load, Size, Traffic};

const SIZE: Size = Size { workers: 20, slots: 4, programs: 2 };

/// What the coordinator hears, says and decides in ten seconds of a fleet that is busy all the time, and how many tasks run in these.
fn busy(work_us: u64) -> ([u64; 4], u64) {
    // So many that more leases are wanted than a node asks for: with fewer, the coordinator hears now and then how many it is.
    let load = Load { tasks: u64::MAX, ahead: 5_000, batch: 20, work_us, ..Load::default() };
    let mut fleet = Fleet::new(SIZE, load);
    let count = |fleet: &Fleet| {
        let Traffic { beats, to_coordinator, from_coordinator, .. } = fleet.traffic;
        [beats, to_coordinator, from_coordinator, fleet.decisions().events]
    };
    fleet.run_for(2_000_000);
    assert_eq!(fleet.alive.tasks, 80, "every slot is used");
    let (before, done) = (count(&fleet), fleet.tasks_done);
    fleet.run_for(10_000_000);
    let after = count(&fleet);
    (std::array::from_fn(|at| after[at] - before[at]), fleet.tasks_done - done)
}

#[test]
fn the_coordinator_hears_no_more_when_tasks_are_shorter() {
    let ((long, few), (short, many)) = (busy(1_000_000), busy(20_000));
    assert!(many > 40 * few, "{many} short tasks, {few} long ones");
    assert_eq!((&long[..3], &short[..3]), (&[400, 0, 0][..], &[400, 0, 0][..]), "heartbeats only");
    assert!(short[3].abs_diff(long[3]) < 50, "{} decisions, and {} with long tasks", short[3], long[3]);
}

#[test]
fn workers_meet_with_one_message_and_not_one_for_each_other_worker() {
    let meet = |workers: u64| {
        let tasks = 4 * workers;
        let load = Load { tasks, ahead: tasks, batch: tasks, work_us: 1_000_000, ..Load::default() };
        let mut fleet = Fleet::new(Size { workers, programs: 1, ..SIZE }, load);
        fleet.run_to_end();
        fleet.traffic.between_nodes / workers
    };
    assert!(meet(80) <= 2 * meet(20), "{} messages for each of 80 workers, {} of 20", meet(80), meet(20));
}

#[test]
fn nothing_stays_of_what_has_finished() {
    let load = Load {
        parts: 10,
        light_actors: 30,
        process_actors: 2,
        calls: 2,
        tasks: 200,
        ahead: 100,
        batch: 20,
        work_us: 30_000,
        timeout_ms: 60_000,
    };
    let mut fleet = Fleet::new(SIZE, load);
    fleet.run_to_end();
    assert_eq!((fleet.most.light_actors, fleet.most.process_actors, fleet.tasks_done), (600, 40, 4_000));
    assert!(fleet.most.tasks >= 70, "{:?}", fleet.most);
    fleet.run_for(70_000_000);
    fleet.assert_nothing_lives();
    fleet.close();
    fleet.assert_nothing_is_left();
}

#[test]
fn actors_that_are_gone_are_not_kept_for_ever() {
    let mut fleet = Fleet::new(SIZE, Load { light_actors: 2_000, calls: 1, ..Load::default() });
    fleet.run_to_end();
    fleet.run_for(60_000_000);
    assert_eq!(fleet.known().gone_actors, 2 * world::GONE_ACTORS);
    assert_eq!(fleet.traffic.to_coordinator, 0, "light actors take no leases");
    fleet.assert_nothing_lives();
}

#[test]
fn one_timer_watches_the_time_of_all_tasks_of_a_process() {
    let load =
        Load { tasks: 5_000, ahead: 1_000, batch: 100, work_us: 10_000, timeout_ms: 3_600_000, ..Load::default() };
    let mut fleet = Fleet::new(SIZE, load);
    fleet.run_to_end();
    assert!(fleet.known().timers < 1_000, "{:?}", fleet.known());
}
