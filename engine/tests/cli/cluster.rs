//! The local cluster and its nodes.

use serde_json::Value;

use crate::support::{Finished, Sandbox, files_below, signal, wait_for};

fn node_names(sandbox: &Sandbox) -> Vec<String> {
    let nodes = sandbox.run(&["node", "list", "-o", "json"]).succeeded().json();
    let mut names: Vec<String> = nodes
        .as_array()
        .unwrap()
        .iter()
        .filter(|node| node["state"] == "READY")
        .map(|node| node["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn up_status_scale_down() {
    let sandbox = Sandbox::with_cluster(2);
    let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    assert_eq!(status["nodes_ready"], 2);
    assert_eq!(node_names(&sandbox), ["worker-1", "worker-2"]);
    sandbox.run(&["cluster", "up"]).ended_with(2).tells(&["already running", "tandem cluster scale"]);
    assert_eq!(sandbox.run(&["verify", "--min-nodes", "2"]).succeeded().stdout, "");
    assert_eq!(sandbox.run(&["verify", "-o", "json"]).succeeded().json()["nodes_ready"], 2);
    sandbox.run(&["verify", "--min-nodes", "3"]).ended_with(1).tells(&["2 workers ready, 3 needed"]);

    sandbox.run(&["cluster", "scale", "3"]).succeeded();
    assert_eq!(node_names(&sandbox), ["worker-1", "worker-2", "worker-3"]);
    sandbox.run(&["cluster", "scale", "1"]).succeeded();
    assert_eq!(node_names(&sandbox), ["worker-1"]);

    sandbox.run(&["cluster", "down"]).succeeded();
    wait_for("the end of all processes", || sandbox.processes().is_empty());
    let left = files_below(&sandbox.state());
    assert!(
        left.iter().all(|file| !file.contains("spill") && !file.contains("sock") && file != "cluster.json"),
        "{left:?}"
    );
    sandbox.run(&["cluster", "status"]).ended_with(4);
}

#[test]
fn a_cluster_that_was_down_knows_nobody_of_before() {
    let sandbox = Sandbox::with_cluster(2);
    let before = sandbox.run(&["node", "list", "-o", "json"]).succeeded().json();
    sandbox.run(&["cluster", "down"]).succeeded();
    sandbox.run(&["cluster", "up", "--workers", "1", "--memory", "256MiB"]).succeeded();
    let after = sandbox.run(&["node", "list", "-o", "json"]).succeeded().json();
    let ids =
        |nodes: &Value| -> Vec<Value> { nodes.as_array().unwrap().iter().map(|node| node["id"].clone()).collect() };
    assert_eq!(ids(&after).len(), 1, "{after}");
    assert!(!ids(&before).contains(&ids(&after)[0]));
}

#[test]
fn what_dies_is_started_again() {
    let sandbox = Sandbox::with_cluster(2);
    let nodes = sandbox.run(&["node", "list", "-o", "json"]).succeeded().json();
    let killed = &nodes[0];
    signal("KILL", &killed["pid"]);
    wait_for("a new worker", || {
        let nodes = sandbox.run(&["node", "list", "-o", "json"]).succeeded().json();
        let ready =
            nodes.as_array().unwrap().iter().filter(|node| node["state"] == "READY" && node["id"] != killed["id"]);
        ready.count() == 2
    });
}

#[test]
fn two_state_folders_are_two_clusters() {
    let (first, second) = (Sandbox::with_cluster(1), Sandbox::with_cluster(1));
    let address = |sandbox: &Sandbox| {
        let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
        status["address"].as_str().unwrap().to_owned()
    };
    assert_ne!(address(&first), address(&second));
    // Knowing the address is not enough: the other cluster's token is another.
    second.run(&["--address", &address(&first), "node", "list"]).ended_with(5).tells(&["--token-file"]);
    let token = first.state().join("token");
    let args = ["--address", &address(&first), "--token-file", token.to_str().unwrap(), "node", "list"];
    second.run(&args).succeeded();
}

#[test]
fn a_supervisor_that_is_killed_takes_its_processes_along() {
    let sandbox = Sandbox::with_cluster(1);
    let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    signal("KILL", &status["supervisor_pid"]);
    wait_for("the end of all processes", || sandbox.processes().is_empty());
    sandbox.run(&["cluster", "status"]).ended_with(4).tells(&["no cluster is running"]);
    sandbox.run(&["cluster", "up", "--workers", "1", "--memory", "256MiB"]).succeeded();
}

#[test]
fn workers_that_cannot_start_are_a_failed_start() {
    let sandbox = Sandbox::new();
    let failed = sandbox.run(&["cluster", "up", "--workers", "1", "--memory", "1MiB"]).ended_with(1);
    failed.tells(&["worker-1 keeps failing", "memory limit", "help: logs are in"]);
    wait_for("the end of all processes", || sandbox.processes().is_empty());
}

#[test]
fn nodes_are_found_by_name_and_id() {
    let sandbox = Sandbox::with_cluster(2);
    let node = sandbox.run(&["node", "get", "worker-1", "-o", "json"]).succeeded().json();
    let by_id = sandbox.run(&["node", "get", node["id"].as_str().unwrap(), "-o", "json"]).succeeded().json();
    assert_eq!(by_id["name"], "worker-1");
    sandbox.run(&["node", "get", "worker-9"]).ended_with(3).tells(&["worker-9"]);
    sandbox.run(&["node", "drain", "worker-9"]).ended_with(3).tells(&["worker-9"]);
    sandbox.run(&["node", "drain", "worker-2"]).succeeded();
    wait_for("the end of the drained worker", || node_names(&sandbox) == ["worker-1"]);
}

#[test]
fn a_table_of_nodes_has_a_line_each() {
    let sandbox = Sandbox::with_cluster(2);
    let table = Finished::of(&mut sandbox.command(&["node", "list"])).succeeded();
    let lines: Vec<&str> = table.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", table.stdout);
    assert!(lines[0].starts_with("NAME"), "{}", lines[0]);
}
