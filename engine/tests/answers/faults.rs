//! Processes are killed and stopped in the middle of `events`; its output stays the same, byte for byte where it has an
//! order, and nothing is left over.

use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::{Sandbox, files_below, signal};

/// A cluster of three workers, dirty data, and the output of an undisturbed run.
struct Scene {
    sandbox: Sandbox,
    undisturbed: Output,
}

/// What a run of `events` published.
#[derive(Debug, PartialEq, Eq)]
struct Output {
    totals: String,
    top_products: String,
    curated: String,
    aggregates: String,
}

impl Scene {
    fn set() -> Self {
        let sandbox = Sandbox::with_cluster(3);
        let rows = "150000";
        sandbox.run(&["data", "gen", "events", "--rows", rows, "--dirty", "0.01", "--out", "data"]).succeeded();
        let finished = start(&sandbox, "calm").wait_with_output().expect("the binary runs");
        assert!(finished.status.success(), "{finished:?}");
        let undisturbed = output(&sandbox, "calm");
        Self { sandbox, undisturbed }
    }

    /// Runs the job, does `fault` after `delay`, and compares.
    fn disturb(&self, name: &str, delay: Duration, fault: impl FnOnce(&Sandbox)) {
        let job = start(&self.sandbox, name);
        thread::sleep(delay);
        fault(&self.sandbox);
        let finished = job.wait_with_output().expect("the binary runs");
        assert!(finished.status.success(), "{name}: {}", String::from_utf8_lossy(&finished.stderr));
        assert_eq!(output(&self.sandbox, name), self.undisturbed, "{name}");
        let left: Vec<String> = files_below(&self.sandbox.work().join(name))
            .into_iter()
            .filter(|file| file.contains("staging") || file.contains(".tandem"))
            .collect();
        assert!(left.is_empty(), "{name} left {left:?}");
    }
}

fn start(sandbox: &Sandbox, name: &str) -> Child {
    let output = format!("output={name}");
    let arguments = [
        "job",
        "submit",
        "events",
        "--set",
        "input=data/events.csv",
        "--set",
        "products=data/products.csv",
        "--set",
        &output,
    ];
    sandbox.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs")
}

fn output(sandbox: &Sandbox, name: &str) -> Output {
    let query =
        |sql: &str, table: String| sandbox.run(&["sql", "-e", sql, "-o", "csv", "--table", &table]).succeeded().stdout;
    Output {
        totals: sandbox.read(&format!("{name}/totals.json")),
        top_products: sandbox.read(&format!("{name}/top_products.json")),
        curated: query("SELECT * FROM t ORDER BY event_id", format!("t={name}/curated")),
        aggregates: query("SELECT * FROM t ORDER BY event_date, category", format!("t={name}/aggregates")),
    }
}

/// Process ids of the cluster by name: `coordinator`, `worker-1`, …
fn pid(sandbox: &Sandbox, name: &str) -> String {
    sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json()["processes"][name].to_string()
}

#[test]
fn workers_killed_at_any_moment() {
    let scene = Scene::set();
    for (index, delay_ms) in [50, 400, 900, 1500].into_iter().enumerate() {
        let worker = format!("worker-{}", index % 3 + 1);
        scene.disturb(&format!("killed-{delay_ms}"), Duration::from_millis(delay_ms), |sandbox| {
            signal("KILL", pid(sandbox, &worker));
        });
    }
}

#[test]
fn the_coordinator_killed_at_any_moment() {
    let scene = Scene::set();
    for delay_ms in [20, 300, 800, 1400] {
        scene.disturb(&format!("resumed-{delay_ms}"), Duration::from_millis(delay_ms), |sandbox| {
            signal("KILL", pid(sandbox, "coordinator"));
        });
    }
}

#[test]
fn a_worker_that_stops_answering_and_comes_back() {
    let scene = Scene::set();
    let mut stopped = String::new();
    scene.disturb("stopped", Duration::from_millis(500), |sandbox| {
        stopped = pid(sandbox, "worker-2");
        signal("STOP", &stopped);
    });
    signal("CONT", &stopped);
}
