//! What users' code does wrong costs its own task, and the error says what it was. `TANDEM_HOARDS=100` takes memory more often.

use crate::submit;
use crate::support::{Sandbox, number_from, wait_for};

/// Has that many tasks do one wrong thing, and returns what became of them.
fn cause(sandbox: &Sandbox, kind: &str, count: usize) -> Vec<String> {
    let finished = submit(sandbox, "trouble", &[kind, &count.to_string()]).succeeded();
    let ends: Vec<String> = finished.stdout.lines().map(str::to_owned).collect();
    assert_eq!(ends.len(), count, "{}\n{}", finished.stdout, finished.stderr);
    ends
}

fn still_works(sandbox: &Sandbox) {
    let processes = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    submit(sandbox, "pi", &["8", "1000"]).succeeded();
    let after = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    assert_eq!(processes["processes"], after["processes"], "no worker was started again");
}

#[test]
fn failures_are_told_by_kind() {
    let sandbox = Sandbox::with_cluster(2);
    for (kind, words) in
        [("return", "Returned: "), ("panic", "Panicked: "), ("exit", "ProcessLost: "), ("abort", "ProcessLost: ")]
    {
        for end in cause(&sandbox, kind, 3) {
            assert!(end.starts_with(words) && end.contains("act"), "{kind}: {end}");
        }
    }
    still_works(&sandbox);
}

#[test]
fn tasks_that_hoard_memory_are_ended_and_told_why_beside_jobs_that_go_on() {
    let sandbox = Sandbox::with_cluster(2);
    let processes = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    std::thread::scope(|scope| {
        let hoards = scope.spawn(|| cause(&sandbox, "memory", number_from("TANDEM_HOARDS", 6) as usize));
        while !hoards.is_finished() {
            submit(&sandbox, "pi", &["40", "1000"]).succeeded();
        }
        for end in hoards.join().expect("they end") {
            for words in ["MemoryLimit: ", "act", " MiB of memory and may take ", "ask for more with `memory_bytes`"] {
                assert!(end.contains(words), "{words}: {end}");
            }
        }
    });
    let after = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    assert_eq!(processes["processes"], after["processes"], "no worker was started again");
}

#[test]
fn children_end_with_their_job() {
    let sandbox = Sandbox::with_cluster(1);
    assert_eq!(cause(&sandbox, "children", 2), ["value 5", "value 5"]);
    wait_for("the end of what tasks have started", || {
        sandbox.executors().is_empty() && sandbox.processes().iter().all(|pid| !is_sleep(*pid))
    });
}

fn is_sleep(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep")
}

#[test]
fn a_driver_that_exits_fails_its_job() {
    let sandbox = Sandbox::with_cluster(1);
    let finished = submit(&sandbox, "trouble", &["driver"]).ended_with(1);
    assert!(finished.stderr.contains("exit code 7"), "{}", finished.stderr);
}
