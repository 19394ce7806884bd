//! Submitted jobs.

use std::process::Stdio;

use crate::support::{ENDLESS_JOB, Finished, Sandbox, signal, wait_for};

fn submit(sandbox: &Sandbox, extra: &[&str]) -> String {
    let mut args = vec!["job", "submit", "sales", "--set", "output=out", "--no-wait"];
    args.extend_from_slice(extra);
    let submitted = sandbox.run(&args).succeeded();
    submitted.stdout.trim().to_owned()
}

#[test]
fn a_submitted_job_can_be_followed_and_seen() {
    let sandbox = Sandbox::with_cluster(2);
    let id = submit(&sandbox, &["--name", "mine"]);
    let wait = sandbox.run(&["job", "wait", &id]).succeeded();
    assert_eq!(wait.stdout, "");
    assert!(wait.stderr.contains("SUCCEEDED"), "{}", wait.stderr);
    let waited = sandbox.run(&["job", "wait", &id, "-o", "json"]).succeeded().json();
    assert_eq!((&waited["id"], &waited["state"]), (&id.as_str().into(), &"SUCCEEDED".into()));

    let job = sandbox.run(&["job", "get", &id, "-o", "json"]).succeeded().json();
    assert_eq!((&job["state"], &job["name"]), (&"SUCCEEDED".into(), &"mine".into()));
    let jobs = sandbox.run(&["job", "list", "-o", "json"]).succeeded().json();
    assert_eq!(jobs[0]["id"], id);
    let tasks = sandbox.run(&["job", "tasks", &id, "-o", "json"]).succeeded().json();
    let tasks = tasks.as_array().unwrap();
    assert!(!tasks.is_empty());
    assert!(tasks.iter().all(|task| task["state"] == "SUCCEEDED"), "{tasks:?}");
    let plan = sandbox.run(&["job", "explain", &id]).succeeded();
    assert!(plan.stdout.contains("stage 1: "), "{}", plan.stdout);
    sandbox.run(&["job", "stop", &id]).succeeded();
}

#[test]
fn submit_follows_the_job_unless_told_not_to() {
    let sandbox = Sandbox::with_cluster(1);
    let submitted = sandbox.run(&["job", "submit", "sales", "--set", "output=out", "-o", "json"]).succeeded();
    assert_eq!(submitted.json()["state"], "SUCCEEDED");
    assert!(submitted.stderr.contains("SUCCEEDED"), "{}", submitted.stderr);
    assert!(sandbox.read("out/spark_output.json").contains("product_B"));
}

#[test]
fn a_job_that_is_not_there_exits_with_3() {
    let sandbox = Sandbox::with_cluster(1);
    for verb in ["get", "tasks", "stop", "wait", "explain", "logs"] {
        sandbox.run(&["job", verb, "j000000000000002a"]).ended_with(3).tells(&["j000000000000002a"]);
    }
}

#[test]
fn a_job_that_cannot_be_planned_is_refused() {
    let sandbox = Sandbox::with_cluster(1);
    let input = ["job", "submit", "sales", "--set", "output=out", "--set", "input=missing.csv"];
    sandbox.run(&input).ended_with(2).tells(&["missing.csv"]);
    sandbox.run(&["job", "submit", "sales", "--set", "outputt=out"]).ended_with(2).tells(&["outputt"]);
}

fn state_of(sandbox: &Sandbox, id: &str) -> String {
    let job = sandbox.run(&["job", "get", id, "-o", "json"]).succeeded().json();
    job["state"].as_str().unwrap().to_owned()
}

fn submit_endless(sandbox: &Sandbox) -> String {
    sandbox.write("endless.toml", ENDLESS_JOB);
    let id = sandbox.run(&["job", "submit", "endless.toml", "--no-wait"]).succeeded().stdout.trim().to_owned();
    wait_for("the start of the job", || state_of(sandbox, &id) == "RUNNING");
    id
}

#[test]
fn a_running_job_can_be_stopped() {
    let sandbox = Sandbox::with_cluster(1);
    let id = submit_endless(&sandbox);
    let stopped = sandbox.run(&["job", "stop", &id, "-o", "json"]).succeeded().json();
    assert_eq!(stopped["state"], "STOPPED");
    sandbox.run(&["job", "wait", &id]).ended_with(1).tells(&[&id, "was stopped"]);
    assert!(!sandbox.work().join("out").exists());
}

#[test]
fn waiting_can_time_out_and_leaves_the_job_alone() {
    let sandbox = Sandbox::with_cluster(1);
    let id = submit_endless(&sandbox);
    sandbox.run(&["job", "wait", &id, "--timeout", "200ms"]).ended_with(6).tells(&["200 ms"]);
    assert_eq!(state_of(&sandbox, &id), "RUNNING");
    sandbox.run(&["job", "stop", &id]).succeeded();
}

#[test]
fn a_submitted_job_outlives_its_client_and_ctrl_c_stops_it() {
    // A slot each: a join in the middle of a batch keeps its slot for a while after it was told to stop.
    let sandbox = Sandbox::with_cluster(2);
    sandbox.write("endless.toml", ENDLESS_JOB);
    let follow = || {
        let mut command = sandbox.command(&["job", "submit", "endless.toml"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let running = || {
        let jobs = sandbox.run(&["job", "list", "-o", "json"]).succeeded().json();
        let running = jobs.as_array().unwrap().iter().filter(|job| job["state"] == "RUNNING");
        running.map(|job| job["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut killed = follow();
    wait_for("the start of the job", || !running().is_empty());
    killed.kill().unwrap();
    killed.wait().unwrap();
    let id = running().pop().expect("the job goes on");
    sandbox.run(&["job", "stop", &id]).succeeded();

    let interrupted = follow();
    wait_for("the start of the job", || !running().is_empty());
    let id = running().pop().unwrap();
    signal("INT", interrupted.id());
    Finished::from(interrupted.wait_with_output().unwrap()).ended_with(130);
    assert_eq!(state_of(&sandbox, &id), "STOPPED");
}

#[test]
fn jobs_survive_the_coordinator() {
    let sandbox = Sandbox::with_cluster(2);
    let id = submit_endless(&sandbox);
    let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    let wait = sandbox.command(&["job", "wait", &id]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    signal("KILL", &status["processes"]["coordinator"]);
    wait_for("another coordinator", || {
        let now = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
        now["term"].as_u64() > status["term"].as_u64() && now["nodes_ready"] == 2
    });
    assert_eq!(state_of(&sandbox, &id), "RUNNING");
    sandbox.run(&["job", "stop", &id]).succeeded();
    // Whoever waited was told by the new coordinator.
    Finished::from(wait.wait_with_output().unwrap()).ended_with(1).tells(&[&id, "was stopped"]);
}
