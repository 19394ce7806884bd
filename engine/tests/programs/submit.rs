//! From `job submit EXECUTABLE -- ARGS` to what the program prints, and what is refused before anything runs.

use std::collections::BTreeSet;

use crate::support::{Sandbox, wait_for};
use crate::{program, start, submit, submit_with};

#[test]
fn a_program_uses_all_workers_and_prints_here() {
    let sandbox = Sandbox::with_cluster(3);
    let finished = submit(&sandbox, "pi", &["60", "200000"]).succeeded();
    let lines: Vec<&str> = finished.stdout.lines().collect();
    let estimate: f64 = lines[0].strip_prefix("pi is about ").expect("the estimate").parse().expect("a number");
    assert!((estimate - std::f64::consts::PI).abs() < 0.01, "{estimate}");
    let ran: Vec<(&str, u64)> = lines[1..]
        .iter()
        .map(|line| {
            let (worker, rest) = line.split_once(" ran ").expect("a worker");
            (worker, rest.strip_suffix(" tasks").expect("tasks").parse().expect("a count"))
        })
        .collect();
    assert_eq!(ran.len(), 3, "{lines:?}");
    assert_eq!(ran.iter().map(|(_, tasks)| tasks).sum::<u64>(), 60);
    wait_for("the end of the job's processes", || sandbox.executors().is_empty());
}

#[test]
fn a_program_runs_on_a_cluster_of_its_own() {
    let sandbox = Sandbox::new();
    let finished = sandbox.run(&["run", &program("pi"), "--workers", "2", "--", "8", "1000"]).succeeded();
    assert!(finished.stdout.starts_with("pi is about "), "{}", finished.stdout);
    assert!(sandbox.processes().is_empty());
}

#[test]
fn what_is_no_package_is_refused_at_once() {
    let sandbox = Sandbox::with_cluster(1);
    submit(&sandbox, "pi", &["no number", "5"]).ended_with(1);
    for (args, code, words) in [
        (
            vec!["job", "submit", "/bin/sh"],
            2,
            vec!["/bin/sh cannot be run: it is not built with the Tandem SDK", "tandem new"],
        ),
        (vec!["job", "submit", "nowhere"], 3, vec!["no such job file, program or built-in job: nowhere"]),
        (vec!["job", "submit", "sales", "--", "5"], 2, vec!["arguments after `--` are for programs", "--set"]),
    ] {
        sandbox.run(&args).ended_with(code).tells(&words);
    }
    let pi = program("pi");
    sandbox.run(&["job", "submit", &pi, "--set", "n=5"]).ended_with(2).tells(&["`--set n` is for job files"]);
    let jobs = sandbox.run(&["job", "list", "-o", "json"]).succeeded().json();
    assert_eq!(jobs.as_array().map(Vec::len), Some(1), "only the program that was a package");
}

#[test]
fn variables_reach_every_task_of_their_job_and_no_other() {
    let sandbox = Sandbox::new();
    let up = ["cluster", "up", "--workers", "3", "--memory", "256MiB", "--env", "MODE=of the worker"];
    sandbox.run(&up).succeeded();
    let sandbox = sandbox.with_environment([("KEY".to_owned(), "hunter2".to_owned())]);
    let options = ["--env", "MODE=of the job", "--secret", "KEY"];
    let with = submit_with(&sandbox, &options, "functions", &["60", "MODE", "KEY", "XDG_STATE_HOME"]).succeeded();
    let seen = |text: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        lines.map(|(_, value)| value.to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(with.stdout.lines().count(), 9, "{}", with.stdout);
    // The secret was there, and is masked wherever it would be shown.
    let expected = ["XDG_STATE_HOME is not set", "KEY=***", "MODE=of the job"].map(str::to_owned);
    assert_eq!(seen(&with.stdout), BTreeSet::from(expected), "{}", with.stderr);
    let without = submit(&sandbox, "functions", &["60", "MODE", "KEY"]).succeeded();
    let expected = ["KEY is not set", "MODE=of the worker"].map(str::to_owned);
    assert_eq!(seen(&without.stdout), BTreeSet::from(expected));
}

#[test]
fn a_job_that_is_stopped_leaves_no_process() {
    let sandbox = Sandbox::with_cluster(2);
    let job = start(&sandbox, "trouble", &["loop", "4"]);
    wait_for("tasks that run", || sandbox.executors().len() > 1);
    let jobs = sandbox.run(&["job", "list", "-o", "json"]).succeeded().json();
    sandbox.run(&["job", "stop", jobs[0]["id"].as_str().expect("an id")]).succeeded();
    assert_eq!(job.wait_with_output().expect("it ends").status.code(), Some(1));
    wait_for("the end of the job's processes", || sandbox.executors().is_empty());
}

#[test]
fn a_cluster_tests_itself() {
    let sandbox = Sandbox::with_cluster(2);
    let finished = sandbox.run(&["self-test", "--tasks", "20", "--samples", "20000"]).succeeded();
    let lines: Vec<&str> = finished.stdout.lines().collect();
    assert!(lines[0].starts_with("pi is about 3.1"), "{}", finished.stdout);
    assert!(lines[1].starts_with("worker-1 ran ") && lines[2].starts_with("worker-2 ran "), "{}", finished.stdout);
    sandbox.run(&["self-test", "--min-nodes", "3"]).ended_with(1).tells(&["2 workers ready, 3 needed"]);
}
