//! Processes are killed in the middle of programs and jobs whose right answers are known. `TANDEM_ROUNDS=1000` goes on for longer,
//! `TANDEM_KILLS` sets how often a worker or the coordinator is killed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::start;
use crate::support::{Sandbox, kill_if_there, number_from, signal, wait_for};

/// Runs a program that knows what is right, and `fault` again and again while it does.
fn disturb(sandbox: &Sandbox, program: &str, rounds: u64, pause: Duration, mut fault: impl FnMut(&Sandbox)) {
    let mut job = start(sandbox, program, &[&rounds.to_string(), "20"]);
    while job.try_wait().expect("it is ours").is_none() {
        thread::sleep(pause);
        fault(sandbox);
    }
    let finished = job.wait_with_output().expect("it ends");
    let (out, err) = (String::from_utf8_lossy(&finished.stdout), String::from_utf8_lossy(&finished.stderr));
    assert!(finished.status.success() && out.lines().last() == Some("right"), "{out}\n{err}");
    wait_for("the end of the job's processes", || sandbox.executors().is_empty());
}

/// Kills one process of a program, if there is one.
fn kill_executor(sandbox: &Sandbox, rng: &mut SmallRng) {
    let processes = sandbox.executors();
    if !processes.is_empty() {
        kill_if_there(processes[rng.random_range(0..processes.len())]);
    }
}

/// Kills the process of an actor, if there is one: a driver may not be lost as often.
fn kill_actor(sandbox: &Sandbox, rng: &mut SmallRng) {
    let listed = sandbox.command(&["actor", "list", "-o", "json"]).output().expect("the binary runs");
    // A worker that has just been killed does not answer.
    let actors: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
    let pids = actors.as_array().into_iter().flatten().filter_map(|actor| actor["pid"].as_u64());
    let pids: Vec<u32> = pids.filter(|pid| *pid > 0).map(|pid| u32::try_from(pid).expect("a pid")).collect();
    if !pids.is_empty() {
        kill_if_there(pids[rng.random_range(0..pids.len())]);
    }
}

fn kill_worker(sandbox: &Sandbox, rng: &mut SmallRng) {
    let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    let processes = status["processes"].as_object().expect("processes by name");
    let workers: Vec<_> = processes.iter().filter(|(name, _)| name.starts_with("worker")).collect();
    signal("KILL", workers[rng.random_range(0..workers.len())].1);
}

/// Runs the job `events`, and returns what it wrote.
fn events(sandbox: &Sandbox, name: &str) -> Vec<String> {
    let output = format!("output={name}");
    let inputs = ["--set", "input=data/events.csv", "--set", "products=data/products.csv"];
    sandbox.run(&[&["job", "submit", "events", "--set", &output], &inputs[..]].concat()).succeeded();
    let query = |sql: &str, table: &str| {
        let table = format!("t={name}/{table}");
        sandbox.run(&["sql", "-e", sql, "-o", "csv", "--table", &table]).succeeded().stdout
    };
    vec![
        sandbox.read(&format!("{name}/totals.json")),
        query("SELECT * FROM t ORDER BY event_id", "curated"),
        query("SELECT line, \"column\" FROM t ORDER BY line", "rejects"),
    ]
}

/// Says so when it is dropped, in a test that fails too.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn programs_and_jobs_side_by_side_end_right_when_processes_are_killed() {
    let sandbox = Sandbox::with_cluster(3);
    sandbox.run(&["data", "gen", "events", "--rows", "20000", "--dirty", "0.01", "--out", "data"]).succeeded();
    let expected = events(&sandbox, "undisturbed");
    let mut rng = SmallRng::seed_from_u64(number_from("TANDEM_SEED", 1));
    let over = AtomicBool::new(false);
    let jobs = thread::scope(|scope| {
        let jobs = scope.spawn(|| {
            let mut jobs = 0_u64;
            while !over.load(Ordering::Relaxed) {
                assert!(events(&sandbox, &format!("disturbed-{jobs}")) == expected, "job {jobs} wrote something else");
                jobs += 1;
            }
            jobs
        });
        let ends = Over(&over);
        let (mut seconds, workers) = (0, number_from("TANDEM_KILLS", 2));
        disturb(&sandbox, "mixed", number_from("TANDEM_ROUNDS", 20), Duration::from_millis(1_000), |sandbox| {
            seconds += 1;
            kill_executor(sandbox, &mut rng);
            // One worker for ten executors, or as many as asked for.
            if seconds % 10 == 2 && seconds / 10 < workers {
                kill_worker(sandbox, &mut rng);
            }
        });
        drop(ends);
        jobs.join().expect("every job is right")
    });
    assert!(jobs > 0);
    eprintln!("{jobs} jobs were right beside the program");
}

#[test]
fn programs_end_right_when_their_processes_are_killed() {
    let sandbox = Sandbox::with_cluster(3);
    let mut rng = SmallRng::seed_from_u64(number_from("TANDEM_SEED", 1));
    disturb(&sandbox, "mixed", number_from("TANDEM_ROUNDS", 20), Duration::from_millis(300), |sandbox| {
        kill_executor(sandbox, &mut rng);
    });
}

#[test]
fn calls_of_an_actor_with_checkpoints_happen_once_when_processes_and_workers_are_killed() {
    let sandbox = Sandbox::with_cluster(3);
    let mut rng = SmallRng::seed_from_u64(number_from("TANDEM_SEED", 1));
    let (mut faults, workers) = (0, number_from("TANDEM_KILLS", 2));
    disturb(&sandbox, "counted", number_from("TANDEM_ROUNDS", 20), Duration::from_millis(400), |sandbox| {
        faults += 1;
        match faults % 8 {
            4 if faults / 8 < workers => kill_worker(sandbox, &mut rng),
            _ => kill_actor(sandbox, &mut rng),
        }
    });
}

#[test]
fn programs_end_right_when_workers_are_killed() {
    let sandbox = Sandbox::with_cluster(3);
    let mut rng = SmallRng::seed_from_u64(number_from("TANDEM_SEED", 1));
    let mut kills = 0;
    disturb(&sandbox, "mixed", number_from("TANDEM_ROUNDS", 20), Duration::from_millis(2_000), |sandbox| {
        if kills == number_from("TANDEM_KILLS", 2) {
            return;
        }
        kills += 1;
        kill_worker(sandbox, &mut rng);
    });
}

#[test]
fn a_coordinator_that_is_killed_disturbs_no_task() {
    let sandbox = Sandbox::with_cluster(3);
    let mut kills = 0;
    disturb(&sandbox, "mixed", number_from("TANDEM_ROUNDS", 20), Duration::from_millis(1_000), |sandbox| {
        if kills == number_from("TANDEM_KILLS", 2) {
            return;
        }
        kills += 1;
        let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
        signal("KILL", status["processes"]["coordinator"].as_u64().expect("its process"));
    });
}

#[test]
fn tasks_that_must_not_run_twice_and_an_actor_go_on_without_their_coordinator() {
    let sandbox = Sandbox::with_cluster(3);
    // All of them are there at once.
    let mut job = start(&sandbox, "steady", &[&number_from("TANDEM_TASKS", 10_000).to_string(), "1"]);
    wait_for("tasks that run", || !sandbox.executors().is_empty());
    let mut kills = 0;
    while job.try_wait().expect("it is ours").is_none() {
        if kills < 3 {
            let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
            signal("KILL", status["processes"]["coordinator"].as_u64().expect("its process"));
            kills += 1;
        }
        thread::sleep(Duration::from_millis(700));
    }
    let finished = job.wait_with_output().expect("it ends");
    let (out, err) = (String::from_utf8_lossy(&finished.stdout), String::from_utf8_lossy(&finished.stderr));
    assert!(finished.status.success() && out.lines().last() == Some("right"), "{out}\n{err}");
    assert!(kills > 0);
}
