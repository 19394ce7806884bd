//! A coordinator dies in the middle of three jobs and another takes them over: each ends with the right answer, and
//! what was finished is not run again.

use std::time::Instant;

use serde_json::Value;

use crate::support::{PAIRS, Sandbox, busy_query, signal, wait_for};

const PIECES: u32 = 24;

/// Groups that are soon made, and pairs that take a while to count.
fn job() -> String {
    let pairs = busy_query(PIECES);
    format!(
        r#"
name = "pairs"
[params]
output = "out"
[[step]]
name = "groups"
sql = "SELECT value % 300 AS k, count(*) AS n FROM generate_series(1, 30000) GROUP BY 1"
[[step]]
name = "pairs"
sql = """SELECT k, n, pairs FROM groups CROSS JOIN (SELECT sum(pairs) AS pairs FROM ({pairs}))"""
[[sink]]
from = "pairs"
path = "${{output}}"
format = "csv"
mode = "overwrite"
"#
    )
}

fn tasks(sandbox: &Sandbox, id: &str) -> Vec<Value> {
    let tasks = sandbox.run(&["job", "tasks", id, "-o", "json"]).succeeded().json();
    tasks.as_array().expect("tasks").clone()
}

/// The finished tasks of `tasks` whose whole stage is finished: which attempt counts, and who ran it.
fn of_finished_stages(tasks: &[Value]) -> Vec<[Value; 4]> {
    let whole =
        |stage: &Value| tasks.iter().filter(|task| task["stage"] == *stage).all(|task| task["state"] == "SUCCEEDED");
    let finished = tasks.iter().filter(|task| whole(&task["stage"]));
    let about = ["stage", "task", "attempt", "worker"];
    finished.map(|task| about.map(|key| task[key].clone())).collect()
}

#[test]
fn three_running_jobs_go_on_under_the_next_coordinator() {
    let sandbox = Sandbox::with_cluster(3);
    sandbox.write("pairs.toml", &job());
    let submit = |name: &str| {
        let output = format!("output={name}");
        let args = ["job", "submit", "pairs.toml", "--no-wait", "--name", name, "--set", &output];
        sandbox.run(&args).succeeded().stdout.trim().to_owned()
    };
    let ids = ["first", "second", "third"].map(submit);
    let mut finished = Vec::new();
    wait_for("a finished stage of each job", || {
        finished = ids.iter().map(|id| of_finished_stages(&tasks(&sandbox, id))).collect();
        finished.iter().all(|tasks| !tasks.is_empty())
    });
    let status = || sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    let before = status();
    assert_eq!(before["jobs_running"], 3, "the jobs are long enough for this test: {before}");

    let killed = Instant::now();
    signal("KILL", &before["processes"]["coordinator"]);
    let after = status();
    assert_eq!(after["term"].as_u64(), before["term"].as_u64().map(|term| term + 1));
    eprintln!("another coordinator answered after {} ms", killed.elapsed().as_millis());
    wait_for("the return of all workers", || status()["nodes_ready"] == 3);
    eprintln!("all workers were back after {} ms", killed.elapsed().as_millis());

    for (id, finished) in ids.iter().zip(finished) {
        sandbox.run(&["job", "wait", id]).succeeded();
        let tasks = tasks(&sandbox, id);
        let still = of_finished_stages(&tasks);
        let again: Vec<_> = finished.iter().filter(|task| !still.contains(task)).collect();
        assert!(again.is_empty(), "{id}: {again:?} became something else: {tasks:?}");
    }
    for name in ["first", "second", "third"] {
        let table = format!("t={name}");
        let sql = "SELECT count(*) AS k, sum(n) AS n, min(pairs) AS least, max(pairs) AS most FROM t";
        let found = sandbox.run(&["sql", "-e", sql, "--table", &table, "-o", "csv"]).succeeded().stdout;
        let pairs = u64::from(PIECES) * PAIRS;
        assert_eq!(found, format!("k,n,least,most\n300,30000,{pairs},{pairs}\n"), "{name}");
    }
}
