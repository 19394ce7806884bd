//! Steps of job files whose functions take GPUs or other resources: they run where these are, share them, and say what they wait for.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::program;
use crate::support::{Finished, Sandbox, signal, wait_for};

const JOB: &str = r#"
name = "NAME"
package = "PACKAGE"
[[source]]
name = "numbers"
path = "numbers.parquet"
[[step]]
name = "even"
sql = "SELECT value % 50 AS value, count(*) AS n FROM numbers GROUP BY value % 50"
[[step]]
name = "placed"
run = "whereabouts"
input = "even"
like = "even"
schema = "worker string, gpus string"
args = { until = "GO" }
batch_rows = 5
RESOURCES
[[sink]]
from = "placed"
path = "NAME-out"
format = "parquet"
mode = "overwrite"
"#;

/// One call for all rows, so that a job has one task that takes a half.
const HALF: &str = "whole = true\nresources = { gpus = 0.5 }";

/// Two workers of two slots without anything else, and more workers when a test wants them.
struct Cluster {
    sandbox: Sandbox,
    more: Vec<Child>,
}

impl Cluster {
    fn start() -> Self {
        let sandbox = Sandbox::new();
        let up = ["cluster", "up", "--workers", "2", "--cpus", "2", "--memory", "256MiB"];
        sandbox.run(&up).succeeded();
        let sql = "SELECT value FROM generate_series(1, 1000)";
        sandbox.run(&["sql", "--local", "-e", sql, "--output", "numbers.parquet"]).succeeded();
        Self { sandbox, more: Vec::new() }
    }

    /// One more worker, called `special`.
    fn join(&mut self, resources: &[&str]) {
        let status = self.sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
        let address = status["address"].as_str().expect("an address").to_owned();
        let args = ["worker", "--coordinator", &address, "--name", "special", "--cpus", "2", "--memory", "256MiB"];
        let mut worker = self.sandbox.command(&args);
        worker.args(resources).arg("--token-file").arg(self.sandbox.state().join("token"));
        let spill = format!("spill-{}", self.more.len());
        worker.arg("--spill-dir").arg(self.sandbox.work().join(spill));
        self.more.push(worker.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a worker"));
    }

    fn go(&self) -> String {
        self.sandbox.work().join("go").display().to_string()
    }

    fn let_go(&self) {
        fs::write(self.go(), "").expect("a file");
    }

    fn write(&self, name: &str, resources: &str) -> String {
        let text = JOB.replace("PACKAGE", &program("functions")).replace("GO", &self.go());
        let file = format!("{name}.toml");
        self.sandbox.write(&file, &text.replace("NAME", name).replace("RESOURCES", resources));
        file
    }

    /// What the client of a job has said.
    fn said(&self, name: &str) -> String {
        self.sandbox.read(&format!("{name}.err"))
    }

    /// Submits a job in the background.
    fn submit(&self, name: &str, resources: &str) -> Child {
        let file = self.write(name, resources);
        let mut command = self.sandbox.command(&["job", "submit", &file]);
        let said = fs::File::create(self.sandbox.work().join(format!("{name}.err"))).expect("a file");
        command.stdout(Stdio::piped()).stderr(said).spawn().expect("the binary runs")
    }

    fn job(&self, name: &str) -> Option<Value> {
        let jobs = self.sandbox.run(&["job", "list", "-o", "json"]).succeeded().json();
        jobs.as_array().expect("a list").iter().find(|job| job["name"] == name).cloned()
    }

    fn details(&self, name: &str) -> Value {
        let Some(job) = self.job(name) else { return Value::Null };
        let id = job["id"].as_str().expect("an id").to_owned();
        self.sandbox.run(&["job", "get", &id, "-o", "json"]).succeeded().json()
    }

    fn tasks(&self, name: &str) -> Vec<Value> {
        let Some(job) = self.job(name) else { return Vec::new() };
        let id = job["id"].as_str().expect("an id").to_owned();
        let tasks = self.sandbox.run(&["job", "tasks", &id, "-o", "json"]).succeeded().json();
        tasks.as_array().expect("a list").clone()
    }

    /// Those of the step.
    fn calling(&self, name: &str) -> Vec<Value> {
        let mut tasks = self.tasks(name);
        tasks.retain(|task| task["stage_name"] == "whereabouts");
        tasks
    }

    fn running(&self, name: &str) -> usize {
        self.calling(name).iter().filter(|task| task["state"] == "RUNNING").count()
    }

    /// Waits until the whole job waits, and this is why.
    fn waits(&self, name: &str, reason: &str) {
        wait_for(reason, || {
            let text = self.details(name)["pending_text"].as_str().unwrap_or_default().to_owned();
            text.contains(reason)
        });
    }

    /// Who made calls, and with which GPUs.
    fn places(&self, name: &str) -> Vec<String> {
        let sql =
            format!("SELECT worker || ': ' || gpus AS place, sum(n) AS n FROM './{name}-out' GROUP BY 1 ORDER BY 1");
        let found = self.sandbox.run(&["sql", "-e", &sql, "-o", "csv"]).succeeded();
        found.stdout.lines().skip(1).map(str::to_owned).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for worker in &mut self.more {
            // It may have ended.
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

fn finish(job: Child) -> Finished {
    Finished::from(job.wait_with_output().expect("it ends"))
}

#[test]
fn calls_run_where_the_resource_is_and_see_the_device() {
    let mut cluster = Cluster::start();
    cluster.join(&["--gpus", "2"]);
    cluster.let_go();
    wait_for("the worker", || {
        let nodes = cluster.sandbox.run(&["node", "list", "-o", "json"]).succeeded().json();
        nodes.as_array().is_some_and(|nodes| nodes.len() == 3)
    });
    finish(cluster.submit("whole", "resources = { gpus = 1 }")).succeeded();
    let places = cluster.places("whole");
    assert!(
        places.iter().all(|place| place.starts_with("special: 0,") || place.starts_with("special: 1,")),
        "{places:?}"
    );
    let total: u64 = places.iter().filter_map(|place| place.rsplit(',').next()?.parse::<u64>().ok()).sum();
    assert_eq!(total, 1_000);
    let calling = cluster.calling("whole");
    assert!(!calling.is_empty() && calling.iter().all(|task| task["worker"] == "special"), "{calling:?}");
    finish(cluster.submit("both", "resources = { gpus = 2 }")).succeeded();
    assert_eq!(cluster.places("both"), ["\"special: 0,1\",1000"]);
    finish(cluster.submit("plain", "resources = { cpus = 1, gpus = 0 }")).succeeded();
    let places = cluster.places("plain");
    assert!(places.iter().all(|place| place.contains(": ,")), "no process sees a GPU: {places:?}");
}

#[test]
fn two_jobs_share_a_device_and_a_third_waits_and_says_so() {
    let mut cluster = Cluster::start();
    cluster.join(&["--gpus", "1"]);
    let first = ["one", "two"].map(|name| cluster.submit(name, HALF));
    for name in ["one", "two"] {
        wait_for("a call", || cluster.running(name) == 1);
    }
    let third = cluster.submit("three", HALF);
    cluster.waits("three", "step `placed` needs gpus 0.5, and all of it is in use");
    let waiting = cluster.calling("three");
    assert!(waiting.iter().all(|task| task["pending_text"].as_str().is_some_and(|text| text.contains("`placed`"))));
    let id = cluster.job("three").expect("it is there")["id"].as_str().expect("an id").to_owned();
    let explained = cluster.sandbox.run(&["job", "explain", &id]).succeeded();
    for words in ["whereabouts", "1 task, each with gpus 0.5", "needs gpus 0.5"] {
        assert!(explained.stdout.contains(words), "{words} is not in {}", explained.stdout);
    }
    cluster.let_go();
    for job in first.into_iter().chain([third]) {
        finish(job).succeeded();
    }
    for name in ["one", "two", "three"] {
        assert_eq!(cluster.places(name), ["special: 0,1000"], "{name}");
    }
}

#[test]
fn a_job_waits_for_a_worker_that_has_it_also_when_the_last_one_is_killed() {
    let mut cluster = Cluster::start();
    let job = cluster.submit("patient", "resources = { fake_gpu = 1 }");
    let missing = "step `placed`: it needs 1 of `fake_gpu`, and no worker has more than 0";
    cluster.waits("patient", missing);
    wait_for("the client", || cluster.said("patient").contains(missing));
    let scanned: BTreeSet<String> = cluster.tasks("patient").iter().map(|task| task["state"].to_string()).collect();
    assert!(scanned.contains("\"SUCCEEDED\""), "other stages have run: {scanned:?}");
    cluster.join(&["--resource", "fake_gpu=1"]);
    wait_for("a call", || cluster.running("patient") == 1);
    signal("KILL", cluster.more[0].id());
    cluster.waits("patient", missing);
    cluster.join(&["--resource", "fake_gpu=2"]);
    wait_for("calls", || cluster.running("patient") > 0);
    cluster.let_go();
    finish(job).succeeded();
    let places = cluster.places("patient");
    assert_eq!(places, ["special: ,1000"]);
}
