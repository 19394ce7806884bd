//! Submitted jobs.

use crate::support::Sandbox;

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
fn logs_of_a_job_are_about_that_job() {
    let sandbox = Sandbox::with_cluster(1);
    let id = submit(&sandbox, &[]);
    sandbox.run(&["job", "wait", &id]).succeeded();
    let logs = sandbox.run(&["job", "logs", &id]).succeeded();
    assert!(!logs.stdout.is_empty());
    assert!(logs.stdout.lines().all(|line| line.contains(&id)), "{}", logs.stdout);
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
