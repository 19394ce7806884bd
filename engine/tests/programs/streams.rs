//! Tasks that yield items one by one: across workers, with processes that are killed, and from outside of the cluster.

use std::process::{Child, Stdio};

use crate::support::{Finished, Sandbox, signal, wait_for};
use crate::{program, start, submit};

/// Starts a worker that alone has the resource that the tasks ask for.
pub(crate) fn special(sandbox: &Sandbox) -> Child {
    let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    let address = status["address"].as_str().expect("an address").to_owned();
    let args = ["worker", "--coordinator", &address, "--name", "special", "--cpus", "2", "--memory", "256MiB"];
    let mut worker = sandbox.command(&args);
    worker.args(["--resource", "custom_worker=1"]).arg("--token-file").arg(sandbox.state().join("token"));
    worker.arg("--spill-dir").arg(sandbox.work().join("spill"));
    worker.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a worker")
}

#[test]
fn items_of_another_worker_come_once_and_in_order_though_their_process_is_killed() {
    let sandbox = Sandbox::with_cluster(2);
    // The driver runs before the worker is there that its task needs.
    let job = start(&sandbox, "streams", &["killed", "100", "custom_worker"]);
    wait_for("the driver", || !sandbox.executors().is_empty());
    let mut special = special(&sandbox);
    let ended = job.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "100 items of special\n", "{ended:?}");
    let mut from_outside = sandbox.command_of(&program("streams"), &["killed", "40", "custom_worker"]);
    assert_eq!(Finished::of(&mut from_outside).succeeded().stdout, "40 items of special\n");
    signal("TERM", special.id());
    assert!(special.wait().expect("it ends").success());
}

#[test]
fn a_task_waits_for_its_consumer_and_ends_with_it() {
    let sandbox = Sandbox::with_cluster(2);
    let all = submit(&sandbox, "streams", &["all", "200"]).succeeded();
    assert!(all.stdout.starts_with("200 items of worker-"), "{}", all.stdout);
    for count in ["1", "7"] {
        let left = submit(&sandbox, "streams", &["early", count]).succeeded();
        assert_eq!(left.stdout, format!("left {count} items of 20 tasks\n"));
    }
    let mut from_outside = sandbox.command_of(&program("streams"), &["early", "3"]);
    assert_eq!(Finished::of(&mut from_outside).succeeded().stdout, "left 3 items of 20 tasks\n");
    wait_for("the end of all that was started", || sandbox.executors().is_empty());
}
