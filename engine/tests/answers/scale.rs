//! A cluster grows and shrinks while a statement runs: new workers get its tasks, and leaving ones lose nothing.

use std::process::Stdio;

use serde_json::Value;

use crate::support::{Finished, PAIRS, Sandbox, busy_query, wait_for};

const TASKS: u32 = 60;

fn nodes(sandbox: &Sandbox) -> Vec<(String, String)> {
    let nodes = sandbox.run(&["node", "list", "-o", "json"]).succeeded().json();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    nodes.as_array().expect("nodes").iter().map(|node| (text(&node["name"]), text(&node["state"]))).collect()
}

fn tasks(sandbox: &Sandbox) -> Vec<Value> {
    let jobs = sandbox.run(&["job", "list", "-o", "json"]).succeeded().json();
    let Some(id) = jobs[0]["id"].as_str() else { return Vec::new() };
    sandbox.run(&["job", "tasks", id, "-o", "json"]).succeeded().json().as_array().expect("tasks").clone()
}

#[test]
fn new_workers_get_tasks_and_leaving_ones_lose_nothing() {
    let sandbox = Sandbox::with_cluster(2);
    let sql = format!("SELECT sum(pairs) AS pairs FROM ({})", busy_query(TASKS));
    let args = ["sql", "-e", &sql, "-o", "csv"];
    let statement =
        sandbox.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let has_task = |worker: &str| tasks(&sandbox).iter().any(|task| task["worker"] == worker);
    wait_for("the start of the statement", || has_task("worker-1") && has_task("worker-2"));

    sandbox.run(&["cluster", "scale", "5"]).succeeded();
    for worker in ["worker-3", "worker-4", "worker-5"] {
        wait_for("a task for every new worker", || has_task(worker));
    }
    let jobs = sandbox.run(&["job", "list", "-o", "json"]).succeeded().json();
    assert_eq!(jobs[0]["state"], "RUNNING", "the statement is long enough for this test");
    sandbox.run(&["cluster", "scale", "2"]).succeeded();
    let left = nodes(&sandbox);
    let stayed = ["worker-1", "worker-2"].map(|name| (name.to_owned(), "READY".to_owned()));
    assert_eq!(left, stayed, "who left in order is not missing");

    let statement = Finished::from(statement.wait_with_output().expect("it ends")).succeeded();
    assert_eq!(statement.stdout, format!("pairs\n{}\n", u64::from(TASKS) * PAIRS));
    // What nobody has read when the patience with a leaving worker ends is made again where it stays.
    let moved = |task: &Value| task["message"] == "its worker drains";
    let tasks = tasks(&sandbox);
    let lost: Vec<_> = tasks.iter().filter(|task| task["state"] != "SUCCEEDED" && !moved(task)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}
