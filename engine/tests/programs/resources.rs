//! Tasks run only where there is what they take.

use std::process::Stdio;

use crate::support::{Sandbox, signal, wait_for};
use crate::{start, submit};

#[test]
fn a_resource_of_one_worker_draws_all_tasks_there() {
    let sandbox = Sandbox::with_cluster(2);
    let status = || sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    let address = status()["address"].as_str().expect("an address").to_owned();
    // Without a worker that has it, the tasks wait, and the job with them.
    let waiting = start(&sandbox, "needs", &["custom_worker", "0.5", "20"]);
    wait_for("the driver", || !sandbox.executors().is_empty());
    let token = sandbox.state().join("token");
    let args = ["worker", "--coordinator", &address, "--name", "special", "--cpus", "1", "--memory", "256MiB"];
    let mut special = sandbox.command(&args);
    special.args(["--resource", "custom_worker=1"]).arg("--token-file").arg(token);
    special.arg("--spill-dir").arg(sandbox.work().join("spill"));
    let mut special = special.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a worker");
    let waited = waiting.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&waited.stdout), "special ran 20 tasks\n", "{waited:?}");
    let again = submit(&sandbox, "needs", &["custom_worker", "1", "5"]).succeeded();
    assert_eq!(again.stdout, "special ran 5 tasks\n");
    signal("TERM", special.id());
    assert!(special.wait().expect("it ends").success());
}

#[test]
fn actors_are_spread_or_near() {
    let sandbox = Sandbox::new();
    sandbox.run(&["cluster", "up", "--workers", "3", "--cpus", "2", "--memory", "256MiB"]).succeeded();
    for share in ["0", "0.5"] {
        for (how, workers) in [("spread", "3 workers\n"), ("near", "1 workers\n")] {
            assert_eq!(submit(&sandbox, "places", &[how, "3", share]).succeeded().stdout, workers, "{how}, {share}");
        }
    }
}
