//! Processes are killed in the middle of programs whose right answer is known. `TANDEM_ROUNDS=1000` goes on for longer.

use std::thread;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::start;
use crate::support::{Sandbox, kill_if_there, number_from, signal, wait_for};

/// Runs `mixed`, and `fault` again and again while it does.
fn disturb(sandbox: &Sandbox, rounds: u64, pause: Duration, mut fault: impl FnMut(&Sandbox)) {
    let mut job = start(sandbox, "mixed", &[&rounds.to_string(), "20"]);
    while job.try_wait().expect("it is ours").is_none() {
        thread::sleep(pause);
        fault(sandbox);
    }
    let finished = job.wait_with_output().expect("it ends");
    let (out, err) = (String::from_utf8_lossy(&finished.stdout), String::from_utf8_lossy(&finished.stderr));
    assert!(finished.status.success() && out.lines().last() == Some("right"), "{out}\n{err}");
    wait_for("the end of the job's processes", || sandbox.executors().is_empty());
}

#[test]
fn programs_end_right_when_their_processes_are_killed() {
    let sandbox = Sandbox::with_cluster(3);
    let mut rng = SmallRng::seed_from_u64(number_from("TANDEM_SEED", 1));
    disturb(&sandbox, number_from("TANDEM_ROUNDS", 20), Duration::from_millis(300), |sandbox| {
        let processes = sandbox.executors();
        if !processes.is_empty() {
            kill_if_there(processes[rng.random_range(0..processes.len())]);
        }
    });
}

#[test]
fn programs_end_right_when_workers_are_killed() {
    let sandbox = Sandbox::with_cluster(3);
    let mut rng = SmallRng::seed_from_u64(number_from("TANDEM_SEED", 1));
    let mut kills = 0;
    disturb(&sandbox, number_from("TANDEM_ROUNDS", 20), Duration::from_millis(2_000), |sandbox| {
        if kills == number_from("TANDEM_KILLS", 2) {
            return;
        }
        kills += 1;
        let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
        let processes = status["processes"].as_object().expect("processes by name");
        let workers: Vec<_> = processes.iter().filter(|(name, _)| name.starts_with("worker")).collect();
        signal("KILL", workers[rng.random_range(0..workers.len())].1);
    });
}

#[test]
fn a_coordinator_that_is_killed_disturbs_no_task() {
    let sandbox = Sandbox::with_cluster(3);
    let mut kills = 0;
    disturb(&sandbox, number_from("TANDEM_ROUNDS", 20), Duration::from_millis(1_000), |sandbox| {
        if kills == number_from("TANDEM_KILLS", 2) {
            return;
        }
        kills += 1;
        let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
        signal("KILL", status["processes"]["coordinator"].as_u64().expect("its process"));
    });
}
