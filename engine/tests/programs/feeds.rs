//! Actors that yield items one by one: across workers, with an actor that is killed in the middle, and from outside of the cluster.

use crate::streams::special;
use crate::support::{Finished, Sandbox, signal, wait_for};
use crate::{program, start, submit};

#[test]
fn a_stream_ends_with_the_actor_that_is_killed_and_the_one_behind_it_begins_anew() {
    let sandbox = Sandbox::with_cluster(2);
    // The driver runs before the worker is there that its actor needs.
    let job = start(&sandbox, "feeds", &["killed", "30", "custom_worker"]);
    wait_for("the driver", || !sandbox.executors().is_empty());
    let mut special = special(&sandbox);
    let ended = job.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "lost in the middle, then 30 items\n", "{ended:?}");
    let mut from_outside = sandbox.command_of(&program("feeds"), &["killed", "20", "custom_worker"]);
    assert_eq!(Finished::of(&mut from_outside).succeeded().stdout, "lost in the middle, then 20 items\n");
    let across = submit(&sandbox, "feeds", &["all", "50", "custom_worker"]).succeeded();
    assert_eq!(across.stdout, "50 items of special\n");
    signal("TERM", special.id());
    assert!(special.wait().expect("it ends").success());
}

#[test]
fn an_actor_waits_for_its_consumer_and_is_free_again_when_that_leaves() {
    let sandbox = Sandbox::with_cluster(2);
    let all = submit(&sandbox, "feeds", &["all", "100"]).succeeded();
    assert!(all.stdout.starts_with("100 items of worker-"), "{}", all.stdout);
    for count in ["1", "7"] {
        let left = submit(&sandbox, "feeds", &["early", count]).succeeded();
        assert_eq!(left.stdout, format!("left 20 streams after {count} items\n"));
    }
    let mut from_outside = sandbox.command_of(&program("feeds"), &["early", "3"]);
    assert_eq!(Finished::of(&mut from_outside).succeeded().stdout, "left 20 streams after 3 items\n");
    wait_for("the end of all that was started", || sandbox.executors().is_empty());
}
