//! Workers that drain in the middle of programs: nothing is lost, and what was printed there can still be read.

use std::fs;
use std::process::Child;

use serde_json::Value;

use crate::start;
use crate::support::{Finished, Sandbox, signal, wait_for};

/// A program that keeps what it has made on three workers until the file `go` is there.
struct Keep<'a> {
    sandbox: &'a Sandbox,
    program: Child,
    job: String,
}

impl<'a> Keep<'a> {
    fn start(sandbox: &'a Sandbox, more: &[&str]) -> Self {
        let go = sandbox.work().join("go");
        let args = [&[go.to_str().expect("a UTF-8 path")], more].concat();
        let program = start(sandbox, "keep", &args);
        wait_for("the job", || !list(sandbox, "job").is_empty());
        let job = text(&list(sandbox, "job")[0], "id");
        let keep = Self { sandbox, program, job };
        wait_for("what it makes", || keep.printed().contains("made, "));
        keep
    }

    fn printed(&self) -> String {
        self.sandbox.run(&["job", "logs", &self.job]).stdout
    }

    /// The workers beside that of the driver.
    fn others(&self) -> Vec<Value> {
        let tasks = self.sandbox.run(&["job", "tasks", &self.job, "-o", "json"]).succeeded().json();
        let mut nodes = list(self.sandbox, "node");
        nodes.retain(|node| node["name"] != tasks[0]["worker"]);
        assert_eq!(nodes.len(), 2, "{tasks}");
        nodes
    }

    fn finish(self) {
        fs::write(self.sandbox.work().join("go"), "").expect("a file");
        let finished = Finished::from(self.program.wait_with_output().expect("it ends")).succeeded();
        assert_eq!(finished.stdout.lines().last(), Some("right"), "{}", finished.stdout);
    }
}

fn list(sandbox: &Sandbox, what: &str) -> Vec<Value> {
    let listed = sandbox.run(&[what, "list", "-o", "json"]).succeeded().json();
    listed.as_array().expect("a list").clone()
}

fn text(of: &Value, field: &str) -> String {
    of[field].as_str().expect("a text").to_owned()
}

/// Whether a worker is there and takes part.
fn state(sandbox: &Sandbox, id: &str) -> Option<String> {
    list(sandbox, "node").iter().find(|node| node["id"] == id).map(|node| text(node, "state"))
}

#[test]
fn drained_workers_leave_what_they_made_and_what_was_printed_there() {
    let sandbox = Sandbox::with_cluster(3);
    let keep = Keep::start(&sandbox, &[]);
    for node in keep.others() {
        let id = text(&node, "id");
        sandbox.run(&["node", "drain", &id]).succeeded();
        wait_for("the end of the drained worker", || state(&sandbox, &id).is_none_or(|state| state == "LOST"));
        let printed = keep.printed();
        assert!(printed.contains(&format!("is made on {}", text(&node, "name"))), "{printed}");
    }
    keep.finish();
}

#[test]
fn workers_told_to_end_stay_for_what_only_they_have() {
    let sandbox = Sandbox::with_cluster(3);
    let keep = Keep::start(&sandbox, &["PUT"]);
    let others = keep.others();
    for node in &others {
        signal("TERM", node["pid"].as_u64().expect("a process"));
        let id = text(node, "id");
        wait_for("the drain", || state(&sandbox, &id).as_deref() == Some("DRAINING"));
    }
    keep.finish();
    for node in &others {
        let id = text(node, "id");
        wait_for("the end of the worker", || state(&sandbox, &id).is_none_or(|state| state != "DRAINING"));
    }
}
