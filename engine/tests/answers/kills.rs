//! Processes are killed at random moments of `events` and of TPC-H query 21: the answers stay right, nothing is left
//! over, and only what was lost runs again. `TANDEM_KILLS=50` kills more often, `TANDEM_SEED` starts at another seed.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::tpch;
use crate::support::{Sandbox, files_below, number_from, signal, wait_for};

const WORKERS: u32 = 3;
/// The sink of query 21 as a job.
const Q21_SINK: &str = "
[[sink]]
from = \"answer\"
path = \"${output}\"
format = \"csv\"
mode = \"overwrite\"
";

/// A job, and how to read what it wrote to a folder.
struct Subject {
    name: &'static str,
    submit: Vec<String>,
    answer: fn(&Sandbox, &str) -> Vec<String>,
    expected: Vec<String>,
    /// How long it takes undisturbed.
    duration: Duration,
}

impl Subject {
    /// Runs it undisturbed.
    fn new(sandbox: &Sandbox, name: &'static str, submit: &[&str], answer: fn(&Sandbox, &str) -> Vec<String>) -> Self {
        let submit = submit.iter().map(|argument| (*argument).to_owned()).collect();
        let mut subject = Self { name, submit, answer, expected: Vec::new(), duration: Duration::ZERO };
        let start = Instant::now();
        let finished = subject.start(sandbox, name).wait_with_output().expect("it ends");
        assert!(finished.status.success(), "{finished:?}");
        subject.duration = start.elapsed();
        subject.expected = answer(sandbox, name);
        subject
    }

    fn start(&self, sandbox: &Sandbox, name: &str) -> Child {
        let output = format!("output={name}");
        let mut args = vec!["job", "submit", "--name", name, "--set", &output];
        args.extend(self.submit.iter().map(String::as_str));
        sandbox.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs")
    }
}

fn events(sandbox: &Sandbox) -> Subject {
    sandbox.run(&["data", "gen", "events", "--rows", "60000", "--dirty", "0.01", "--out", "data"]).succeeded();
    let submit = ["events", "--set", "input=data/events.csv", "--set", "products=data/products.csv"];
    Subject::new(sandbox, "events", &submit, |sandbox, name| {
        let query = |sql: &str, table: &str| {
            let table = format!("t={name}/{table}");
            sandbox.run(&["sql", "-e", sql, "-o", "csv", "--table", &table]).succeeded().stdout
        };
        vec![
            sandbox.read(&format!("{name}/totals.json")),
            sandbox.read(&format!("{name}/top_products.json")),
            query("SELECT * FROM t ORDER BY event_id", "curated"),
            query("SELECT * FROM t ORDER BY event_date, category", "aggregates"),
            query("SELECT line, \"column\" FROM t ORDER BY line", "rejects"),
        ]
    })
}

fn query_21(sandbox: &Sandbox) -> Subject {
    sandbox.run(&["data", "gen", "tpch", "--scale", "0.1", "--out", "tpch"]).succeeded();
    let mut job = "name = \"q21\"\n[params]\noutput = \"\"\n".to_owned();
    for table in ["supplier", "lineitem", "orders", "nation"] {
        job.push_str(&format!("[[source]]\nname = \"{table}\"\npath = \"tpch/{table}.parquet\"\n"));
    }
    let sql = tpch::query(21);
    job.push_str(&format!("[[step]]\nname = \"answer\"\nsql = '''\n{sql}'''\n{Q21_SINK}"));
    sandbox.write("q21.toml", &job);
    let subject = Subject::new(sandbox, "q21", &["q21.toml"], |sandbox, name| {
        let files = files_below(&sandbox.work().join(name));
        let parts = files.iter().filter(|file| file.ends_with(".csv"));
        let mut rows: Vec<String> =
            parts.flat_map(|file| tpch::rows(&sandbox.read(&format!("{name}/{file}")))).collect();
        rows.sort();
        rows
    });
    assert_eq!(subject.expected, tpch::expect(&sandbox.work(), &sql));
    subject
}

fn processes(sandbox: &Sandbox) -> BTreeMap<String, u64> {
    let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    serde_json::from_value(status["processes"].clone()).expect("process ids by name")
}

/// Kills one process at a moment of the job that `seed` draws, and compares.
fn kill_once(sandbox: &Sandbox, subject: &Subject, seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let processes = processes(sandbox);
    let (victim, pid) = processes.iter().nth(rng.random_range(0..processes.len())).expect("processes");
    let delay = subject.duration.mul_f64(rng.random_range(0.0..1.0));
    let name = format!("{}-{seed}", subject.name);
    eprintln!("seed {seed}: {victim} is killed after {} ms of {}", delay.as_millis(), subject.name);

    let job = subject.start(sandbox, &name);
    thread::sleep(delay);
    signal("KILL", pid);
    let finished = job.wait_with_output().expect("it ends");
    assert!(finished.status.success(), "seed {seed}: {}", String::from_utf8_lossy(&finished.stderr));
    assert!((subject.answer)(sandbox, &name) == subject.expected, "seed {seed}: another answer");
    check_attempts(sandbox, &name, victim, seed);
    let left: Vec<String> = files_below(&sandbox.work())
        .into_iter()
        .filter(|file| file.contains("staging") || file.contains(".tandem"))
        .collect();
    assert!(left.is_empty(), "seed {seed} left {left:?}");
    wait_for("the return of all workers", || {
        let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
        status["nodes_ready"] == WORKERS
    });
}

/// What ran again had been on the worker that was killed, or read from it.
fn check_attempts(sandbox: &Sandbox, name: &str, victim: &str, seed: u64) {
    let jobs = sandbox.run(&["job", "list", "-o", "json"]).succeeded().json();
    let job = jobs.as_array().expect("jobs").iter().find(|job| job["name"] == name).expect("the job");
    let tasks = sandbox.run(&["job", "tasks", job["id"].as_str().expect("an id"), "-o", "json"]).succeeded().json();
    let ended = tasks.as_array().expect("tasks").iter().filter(|task| task["state"] != "SUCCEEDED");
    let unexplained: Vec<&Value> = ended.filter(|task| task["worker"] != victim && task["state"] != "FAILED").collect();
    assert!(unexplained.is_empty(), "seed {seed}: {victim} was killed, yet {unexplained:?}");
}

#[test]
fn answers_stay_right_under_random_kills() {
    let sandbox = Sandbox::with_cluster(WORKERS);
    let subjects = [events(&sandbox), query_21(&sandbox)];
    let (first, kills) = (number_from("TANDEM_SEED", 1), number_from("TANDEM_KILLS", 3));
    for seed in first..first + kills {
        kill_once(&sandbox, &subjects[(seed % 2) as usize], seed);
    }
    sandbox.run(&["cluster", "down"]).succeeded();
    wait_for("the end of all processes", || sandbox.processes().is_empty());
    assert_eq!(files_below(&sandbox.state().join("spill")), Vec::<String>::new());
}
