//! Pools of actors whose processes are killed.

use std::fs;

use crate::start;
use crate::support::{Finished, Sandbox, signal, wait_for};

#[test]
fn a_pool_that_loses_an_actor_makes_its_calls_elsewhere() {
    let sandbox = Sandbox::with_cluster(3);
    let go = sandbox.work().join("go");
    let program = start(&sandbox, "pools", &[go.to_str().expect("a UTF-8 path")]);
    let jobs = || sandbox.run(&["job", "list", "-o", "json"]).succeeded().json();
    wait_for("the job", || jobs().as_array().is_some_and(|jobs| !jobs.is_empty()));
    let job = jobs()[0]["id"].as_str().expect("an id").to_owned();
    let printed = || sandbox.run(&["job", "logs", &job]).stdout;
    wait_for("calls that wait", || printed().lines().any(|line| line.ends_with("waiting")));
    let processes: Vec<u32> =
        printed().lines().filter_map(|line| line.split_once("actor in process ")?.1.trim().parse().ok()).collect();
    assert_eq!(processes.len(), 3, "{}", printed());
    signal("KILL", processes[1]);
    wait_for("the end of the process", || !sandbox.executors().contains(&processes[1]));
    fs::write(go, "").expect("a file");
    let finished = Finished::from(program.wait_with_output().expect("it ends")).succeeded();
    let lines: Vec<&str> = finished.stdout.lines().collect();
    assert_eq!(lines[lines.len() - 2..], ["2 actors are left", "right"], "{}", finished.stdout);
}
