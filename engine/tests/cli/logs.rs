//! What is known of a job when its processes are gone.

use std::collections::BTreeSet;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{ENDLESS_JOB, Finished, Sandbox, signal, wait_for};

fn submit(sandbox: &Sandbox) -> String {
    let submitted = sandbox.run(&["job", "submit", "sales", "--set", "output=out", "--no-wait"]).succeeded();
    submitted.stdout.trim().to_owned()
}

fn logs(sandbox: &Sandbox, id: &str, extra: &[&str]) -> Finished {
    let mut args = vec!["job", "logs", id];
    args.extend_from_slice(extra);
    sandbox.run(&args)
}

fn objects(finished: &Finished) -> Vec<Value> {
    finished.stdout.lines().map(|line| serde_json::from_str(line).expect("an object per line")).collect()
}

#[test]
fn logs_say_what_became_of_the_tasks_of_a_job() {
    let sandbox = Sandbox::with_cluster(1);
    let other = submit(&sandbox);
    let id = submit(&sandbox);
    let followed = logs(&sandbox, &id, &["--follow"]).succeeded();
    let tasks = sandbox.run(&["job", "tasks", &id, "-o", "json"]).succeeded().json();
    let tasks = tasks.as_array().expect("tasks");
    let first = format!("{}/{}", tasks[0]["stage"], tasks[0]["task"]);
    let about = format!(" {first}| attempt 0 finished: ");
    let line = followed.stdout.lines().find(|line| line.contains(&about)).expect("a line of the first task");
    assert!(line.starts_with("worker-"), "{line}");

    let all = objects(&logs(&sandbox, &id, &["-o", "json"]).succeeded());
    assert_eq!(all.len(), tasks.len(), "{all:?}");
    assert!(all.iter().all(|line| line["job"] == id && line["stream"] == "worker"), "{all:?}");
    assert!(all.is_sorted_by_key(|line| line["sequence"].as_u64()), "{all:?}");
    let one = objects(&logs(&sandbox, &id, &["--task", &first, "-o", "jsonl"]).succeeded());
    assert_eq!(one, all.iter().filter(|line| line["task"] == *first).cloned().collect::<Vec<_>>());
    assert_eq!(one.len(), 1);

    for task in ["99/0", "1/99"] {
        logs(&sandbox, &other, &["--task", task]).ended_with(3).tells(&[&other, task, "help: `tandem job tasks"]);
    }
    assert_eq!(logs(&sandbox, &other, &["--task", "no_function"]).succeeded().stdout, "", "no line is of that name");
    assert_eq!(logs(&sandbox, &id, &["--driver", "-f"]).succeeded().stdout, "", "it has no main program");
    logs(&sandbox, &id, &["-o", "csv"]).ended_with(2).tells(&["csv", "help: use -o json"]);
}

#[test]
fn logs_are_there_when_the_processes_are_not() {
    let sandbox = Sandbox::with_cluster(1);
    let id = submit(&sandbox);
    logs(&sandbox, &id, &["-f"]).succeeded();
    let before = logs(&sandbox, &id, &["-o", "json"]).succeeded().stdout;
    assert!(!before.is_empty());
    let nodes = sandbox.run(&["node", "list", "-o", "json"]).succeeded().json();
    signal("KILL", &nodes[0]["pid"]);
    kill_coordinator(&sandbox);
    assert_eq!(logs(&sandbox, &id, &["-o", "json"]).succeeded().stdout, before);
}

#[test]
fn who_follows_misses_nothing_while_the_coordinator_is_away() {
    let sandbox = Sandbox::with_cluster(1);
    sandbox.write("endless.toml", ENDLESS_JOB);
    let id = sandbox.run(&["job", "submit", "endless.toml", "--no-wait"]).succeeded().stdout.trim().to_owned();
    let mut follow = sandbox.command(&["job", "logs", &id, "-f", "-o", "json"]);
    let follow = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    kill_coordinator(&sandbox);
    let running = || sandbox.run(&["job", "get", &id, "-o", "json"]).succeeded().json()["state"] == "RUNNING";
    wait_for("the start of the job", running);
    sandbox.run(&["job", "stop", &id]).succeeded();
    let followed = Finished::from(follow.wait_with_output().expect("an end")).succeeded();
    let lines = objects(&followed);
    let numbers: BTreeSet<_> = lines.iter().map(|line| line["sequence"].as_u64()).collect();
    assert_eq!(numbers.len(), lines.len(), "{lines:?}");
    wait_for("the worker's last words", || {
        logs(&sandbox, &id, &[]).succeeded().stdout.contains("| attempt 0 was cancelled")
    });
}

/// Returns when there is another one.
fn kill_coordinator(sandbox: &Sandbox) {
    let is_coordinator = |pid: &u32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.split(|byte| *byte == 0).nth(1) == Some(b"coordinator".as_slice())
    };
    let pid = sandbox.processes().into_iter().find(is_coordinator).expect("a coordinator");
    signal("KILL", pid);
    wait_for("the coordinator's return", || {
        let back = sandbox.processes().iter().any(|other| *other != pid && is_coordinator(other));
        back && sandbox.run(&["cluster", "status"]).code == Some(0)
    });
}
