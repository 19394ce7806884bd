//! A program outside of the cluster and queries on the same workers: each gets its share, and no slot is booked twice.

use std::process::{Child, Stdio};

use serde_json::Value;

use crate::program;
use crate::support::{Finished, Sandbox};

const QUERY: &str = include_str!("../../../bench/queries/tpch/q05.sql");
const TABLES: [&str; 6] = ["customer", "lineitem", "nation", "orders", "region", "supplier"];

/// Refuses workers of which more is booked than they have. Returns how many slots are.
fn booked(sandbox: &Sandbox) -> u64 {
    let nodes = sandbox.run(&["node", "list", "-o", "json"]).succeeded().json();
    let number = |node: &Value, field: &str| node[field].as_u64().expect("a number");
    for node in nodes.as_array().expect("nodes") {
        assert!(number(node, "slots_used") <= number(node, "slots"), "{node}");
        let used = node["resources_used"].as_object().expect("amounts by name");
        let fits = |(name, used): (&String, &Value)| used.as_u64() <= node["resources"][name].as_u64();
        assert!(used.iter().all(fits), "{node}");
    }
    nodes.as_array().expect("nodes").iter().map(|node| number(node, "slots_used")).sum()
}

fn query(sandbox: &Sandbox) -> String {
    let tables: Vec<String> = TABLES.iter().map(|table| format!("{table}=tpch/{table}.parquet")).collect();
    let mut arguments = vec!["sql", "-e", QUERY, "-o", "csv"];
    arguments.extend(tables.iter().flat_map(|table| ["--table", table.as_str()]));
    sandbox.run(&arguments).succeeded().stdout
}

fn is_over(program: &mut Child) -> bool {
    program.try_wait().expect("it is ours").is_some()
}

#[test]
fn ten_thousand_tasks_and_queries_share_all_workers() {
    let sandbox = Sandbox::with_cluster(3);
    sandbox.run(&["data", "gen", "tpch", "--scale", "0.02", "--out", "tpch"]).succeeded();
    let expected = query(&sandbox);
    assert!(expected.lines().count() > 1, "{expected}");
    let mut command = sandbox.command_of(&program("pi"), &["10000", "20000"]);
    let mut pi = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let (mut queries, mut most) = (0, 0);
    while !is_over(&mut pi) {
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| query(&sandbox));
            while !asked.is_finished() {
                most = most.max(booked(&sandbox));
            }
            assert_eq!(asked.join().expect("an answer"), expected);
        });
        queries += 1;
    }
    let finished = Finished::from(pi.wait_with_output().expect("it ends")).succeeded();
    let ran: Vec<u64> = finished
        .stdout
        .lines()
        .filter_map(|line| line.strip_suffix(" tasks")?.split_once(" ran ")?.1.parse().ok())
        .collect();
    assert_eq!((ran.len(), ran.iter().sum()), (3, 10_000), "{}", finished.stdout);
    assert!(queries > 0 && most > 0, "{queries} queries, at most {most} slots");
}
