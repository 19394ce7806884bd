//! What `task`, `actor`, `object`, `summary`, `memory` and `timeline` show while a program runs, and when it has ended.

use serde_json::Value;

use crate::start;
use crate::support::{Sandbox, wait_for};

fn json(sandbox: &Sandbox, args: &[&str]) -> Vec<Value> {
    let shown = sandbox.run(&[args, &["-o", "json"]].concat()).succeeded().json();
    shown.as_array().expect("a list").clone()
}

/// What `tasks` have in `field`, sorted.
fn fields(tasks: &[Value], field: &str) -> Vec<String> {
    let mut all: Vec<String> = tasks.iter().map(|task| task[field].as_str().unwrap_or_default().to_owned()).collect();
    all.sort();
    all
}

#[test]
fn what_a_program_does_and_holds_is_shown() {
    let sandbox = Sandbox::with_cluster(2);
    let file = sandbox.work().join("go");
    let program = start(&sandbox, "shown", &[file.to_str().expect("a UTF-8 path")]);
    let running = || json(&sandbox, &["task", "list", "--state", "running", "--function", "hold"]);
    wait_for("the task that holds", || !running().is_empty());

    let job =
        sandbox.run(&["job", "list", "-o", "json"]).succeeded().json()[0]["id"].as_str().expect("an id").to_owned();
    let held = &running()[0];
    assert!(held["worker"].as_str().expect("a worker").starts_with("worker-"), "{held}");
    assert!(sandbox.executors().contains(&(held["pid"].as_u64().expect("a process") as u32)), "{held}");
    let pending = json(&sandbox, &["task", "list", "--job", &job, "--state", "PENDING"]);
    assert_eq!(fields(&pending, "function"), ["shown::square"]);
    assert!(pending[0]["reason"].as_str().expect("a reason").starts_with("waits for arguments: "), "{pending:?}");
    let finished = json(&sandbox, &["task", "list", "--state", "finished", "--function", "shown::square"]);
    assert_eq!(finished.len(), 12);
    assert!(finished.iter().all(|task| task["ended_us"].as_i64() >= task["began_us"].as_i64()));
    let few = sandbox.run(&["task", "list", "--limit", "3"]).succeeded();
    assert!(few.stdout.lines().count() == 4 && few.stderr.contains("note: 3 of "), "{}\n{}", few.stdout, few.stderr);

    let failed = json(&sandbox, &["task", "list", "--state", "failed"]);
    assert_eq!(fields(&failed, "function"), ["shown::breaks"]);
    let attempts = json(&sandbox, &["task", "get", failed[0]["id"].as_str().expect("an id")]);
    assert_eq!(attempts.iter().map(|attempt| attempt["attempt"].as_u64()).collect::<Vec<_>>(), [Some(0), Some(1)]);
    assert!(attempts[1]["reason"].as_str().expect("why").contains("this one never works"), "{attempts:?}");

    let actors = json(&sandbox, &["actor", "get", "hits"]);
    assert_eq!(fields(&actors, "state"), ["READY"]);
    assert_eq!(fields(&actors, "class"), ["shown::Counter"]);
    assert!(sandbox.run(&["actor", "list", "--class", "Counter"]).succeeded().stdout.contains("hits"));

    let memory = json(&sandbox, &["memory", "--job", &job]);
    let large = memory.iter().find(|object| object["bytes"].as_u64() >= Some(1 << 20)).expect("the large object");
    assert!(large["made_by"].as_str().expect("who made it").starts_with("put by process "), "{large}");
    let one = json(&sandbox, &["object", "get", large["id"].as_str().expect("an id")]);
    assert_eq!(one[0]["processes"].as_u64(), Some(1), "{one:?}");
    let objects = json(&sandbox, &["summary", "objects"]);
    assert!(objects.iter().any(|kind| kind["bytes"].as_u64() >= Some(1 << 20)), "{objects:?}");

    std::fs::write(&file, "").expect("a file");
    let ended = program.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "49\n");

    // The end of the job changes nothing of what it did.
    let functions = json(&sandbox, &["summary", "tasks", "--job", &job]);
    let of = |name: &str| functions.iter().find(|sum| sum["function"].as_str() == Some(name)).expect("the function");
    assert_eq!(
        (of("shown::square")["finished"].as_u64(), of("shown::square")["pending"].as_u64()),
        (Some(13), Some(0))
    );
    assert_eq!((of("shown::breaks")["failed"].as_u64(), of("add")["finished"].as_u64()), (Some(2), Some(3)));
    let trace = sandbox.work().join("trace.json");
    sandbox.run(&["timeline", "--job", &job, "--out", trace.to_str().expect("a UTF-8 path")]).succeeded();
    let trace: Value = serde_json::from_str(&sandbox.read("trace.json")).expect("JSON");
    let bars: Vec<&Value> =
        trace["traceEvents"].as_array().expect("events").iter().filter(|event| event["ph"] == "X").collect();
    let named = |name: &str| bars.iter().filter(|bar| bar["name"] == name).count();
    assert_eq!((named("shown::square"), named("add"), named("driver")), (13, 3, 1));
    let held = bars.iter().find(|bar| bar["name"] == "shown::hold").expect("the task that held");
    assert!(held["dur"].as_i64() > Some(10_000), "{held}");
}

#[test]
fn what_is_not_there_is_not_found() {
    let sandbox = Sandbox::with_cluster(1);
    for (noun, id) in [("task", "t0"), ("actor", "nobody"), ("object", "o0")] {
        sandbox.run(&[noun, "get", id]).ended_with(3).tells(&[&format!("no such {noun}: {id}")]);
    }
    assert_eq!(json(&sandbox, &["task", "list"]), Vec::<Value>::new());
}
