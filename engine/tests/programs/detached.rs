//! Actors that outlive the job that made them, and are called by other jobs.

use crate::support::{Sandbox, signal, wait_for};
use crate::{program, submit};

/// The state of the job that is the actor, the last one of that name.
fn state(sandbox: &Sandbox) -> Option<String> {
    let jobs = sandbox.run(&["job", "list", "-o", "json"]).succeeded().json();
    let named = jobs.as_array().expect("jobs").iter().filter(|job| job["name"] == "shop/stock");
    named.map(|job| job["state"].as_str().expect("a state").to_owned()).next_back()
}

fn sold(sandbox: &Sandbox, item: &str, left: u64) {
    let sold = submit(sandbox, "shop", &["sell", item, "300000"]).succeeded();
    assert_eq!(sold.stdout, format!("{left} of {item} left\nReturned: no plum left\n"));
}

#[test]
fn a_detached_actor_is_called_by_other_jobs_until_it_is_ended() {
    let sandbox = Sandbox::with_cluster(2);
    let nobody = submit(&sandbox, "shop", &["sell", "apple", "1"]).ended_with(1);
    assert!(nobody.stderr.contains("nobody is called stock in shop"), "{}", nobody.stderr);
    let opened = submit(&sandbox, "shop", &["open"]).succeeded();
    assert!(opened.stdout.starts_with("9 apples on worker-"), "{}", opened.stdout);
    assert_eq!(state(&sandbox).as_deref(), Some("RUNNING"));
    sold(&sandbox, "apple", 5);
    // A program outside of the cluster is a job like any.
    let outside = crate::support::Finished::of(&mut sandbox.command_of(&program("shop"), &["sell", "pear", "100"]));
    assert_eq!(outside.succeeded().stdout, "6 of pear left\nReturned: no plum left\n");
    // The one that is there will do.
    let opened = submit(&sandbox, "shop", &["open"]).succeeded();
    assert!(opened.stdout.starts_with("4 apples on worker-"), "{}", opened.stdout);
    sold(&sandbox, "apple", 0);
    submit(&sandbox, "shop", &["close"]).succeeded();
    wait_for("the end of the actor's job", || state(&sandbox).as_deref() == Some("SUCCEEDED"));
    wait_for("the end of its process", || sandbox.executors().is_empty());
    submit(&sandbox, "shop", &["sell", "apple", "1"]).ended_with(1);
}

#[test]
fn a_detached_actor_whose_worker_is_lost_starts_anew_and_is_found_again() {
    let sandbox = Sandbox::with_cluster(2);
    let opened = submit(&sandbox, "shop", &["open"]).succeeded();
    let place = opened.stdout.trim_end().rsplit_once(' ').expect("a worker").1.to_owned();
    let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    signal("KILL", status["processes"][&place].as_u64().expect("its process"));
    wait_for("the actor", || submit(&sandbox, "shop", &["sell", "pear", "1"]).code == Some(0));
    sold(&sandbox, "apple", 6);
    // A coordinator that starts anew knows it.
    let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    signal("KILL", status["processes"]["coordinator"].as_u64().expect("its process"));
    sold(&sandbox, "apple", 2);
    submit(&sandbox, "shop", &["close"]).succeeded();
    wait_for("the end of the actor's job", || state(&sandbox).as_deref() == Some("SUCCEEDED"));
}
