//! The fleet of `examples/scale.rs` at a size for every test run: everything finishes, and the work of the state machine grows with
//! the number of events, not with the size of the cluster.

mod fleet;

use fleet::{Fleet, Size};

#[test]
fn a_wide_job_finishes_on_many_workers() {
    let size = Size { workers: 50, slots: 16, stages: 12, tasks: 200 };
    let mut events = 0u64;
    let fleet = Fleet::new(size).run(|handle| {
        handle();
        events += 1;
    });
    assert!(fleet.repeated_tasks() > 0, "lost workers cost something");
    // One report per task, two heartbeats a second per worker, and little else.
    let heartbeats = 2 * u64::from(size.workers) * (fleet.elapsed_ms() / 1_000 + 1);
    let reports = size.all_tasks() + fleet.repeated_tasks();
    assert!(events < 2 * (heartbeats + reports), "{events} events for {reports} reports and {heartbeats} heartbeats");
    // A stage that finishes again is written again.
    assert!(fleet.journal_bytes < 100 * reports, "{} bytes of journal", fleet.journal_bytes);
}
