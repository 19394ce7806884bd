//! What goes wrong is one clear line and an exit code, and never a hang.

use std::net::TcpListener;

use crate::support::{Finished, Sandbox};

#[test]
fn wrong_statements_show_where() {
    let sandbox = Sandbox::with_cluster(1);
    sandbox.write("t.csv", "k,v\na,1\nb,2\n");
    sandbox.write("empty.csv", "");
    let query = |sql: &str, table: &str| sandbox.run(&["sql", "-e", sql, "--table", table]);
    query("SELECT k FROM t WHER v > 1", "t=t.csv").ended_with(2).tells(&["line 1, column 22"]);
    query("SELECT zz FROM t", "t=t.csv").ended_with(2).tells(&["zz", "line 1, column 8", "help: valid fields are"]);
    query("SELECT k + 1 FROM t", "t=t.csv").ended_with(2).tells(&["line 1, column 8"]);
    query("SELECT * FROM t", "t=empty.csv").ended_with(2).tells(&["empty", "empty.csv"]);
    query("SELECT 1; SELECT 2", "t=t.csv").ended_with(2).tells(&["more than one"]);
    query("INSERT INTO t VALUES ('c', 3)", "t=t.csv").ended_with(2).tells(&["help: "]);
}

#[test]
fn a_statement_that_fails_while_it_runs_exits_with_1() {
    let sandbox = Sandbox::with_cluster(1);
    sandbox.write("t.csv", "k,v\na,1\nb,0\n");
    let failed = sandbox.run(&["sql", "-e", "SELECT 1 / v AS x FROM t", "--table", "t=t.csv"]).ended_with(1);
    let failed = failed.tells(&["stage 1", "task", "worker worker-1", "help: ", "tandem job tasks"]);
    assert!(failed.stderr.to_lowercase().contains("divide by zero"), "{}", failed.stderr);
}

#[test]
fn storage_without_credentials_is_denied() {
    let sandbox = Sandbox::with_cluster(1);
    let args = ["sql", "-e", "SELECT * FROM t", "--table", "t=s3://bucket/t.csv"];
    sandbox.run(&args).ended_with(2).tells(&["s3://bucket", "AWS_ACCESS_KEY_ID"]);
}

#[test]
fn a_port_in_use_is_named() {
    let sandbox = Sandbox::new();
    sandbox.run(&["token", "create", "--out", "token"]).succeeded();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let args = ["coordinator", "--listen", &address, "--http", "127.0.0.1:0", "--token-file", "token"];
    sandbox.run(&args).ended_with(1).tells(&[&address, "help: "]);
}

#[test]
fn a_worker_with_the_wrong_token_is_denied() {
    let sandbox = Sandbox::with_cluster(1);
    sandbox.run(&["token", "create", "--out", "token"]).succeeded();
    let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    let address = status["address"].as_str().unwrap();
    let args = ["worker", "--coordinator", address, "--token-file", "token", "--memory", "256MiB", "--spill-dir", "s"];
    sandbox.run(&args).ended_with(5).tells(&[address, "token"]);
}

#[test]
fn listeners_refuse_who_shows_no_token() {
    let sandbox = Sandbox::with_cluster(1);
    let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    let node = sandbox.run(&["node", "get", "worker-1", "-o", "json"]).succeeded().json();
    let empty = sandbox.write("other-token", "0123456789abcdef0123456789abcdef");
    for address in [&status["address"], &node["data_address"]] {
        let address = address.as_str().unwrap();
        let args = ["--address", address, "--token-file", empty.to_str().unwrap(), "node", "list"];
        // The data port of a worker has no such service, but asks for the token before it says so.
        let refused = Finished::of(&mut sandbox.command(&args));
        assert_ne!(refused.code, Some(0), "{address}: {refused:?}");
    }
}
