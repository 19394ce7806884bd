//! Programs outside of the cluster: their main function runs where they are started, all else in the cluster.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use tandem::Token;

use crate::program;
use crate::support::{Finished, Sandbox, signal, wait_for};

/// A program, started by hand.
fn client(sandbox: &Sandbox, name: &str, args: &[&str]) -> Finished {
    Finished::of(&mut sandbox.command_of(&program(name), args))
}

/// The same in the background, once it has printed `line`.
fn started(sandbox: &Sandbox, name: &str, args: &[&str], line: &str) -> Child {
    let mut command = sandbox.command_of(&program(name), args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut printed = BufReader::new(child.stdout.as_mut().expect("a pipe"));
    let mut first = String::new();
    printed.read_line(&mut first).expect("a line");
    assert_eq!(first.trim_end(), line);
    child
}

/// The only job of a cluster.
fn job(sandbox: &Sandbox) -> serde_json::Value {
    let jobs = sandbox.run(&["job", "list", "-o", "json"]).succeeded().json();
    assert_eq!(jobs.as_array().map(Vec::len), Some(1), "{jobs}");
    jobs[0].clone()
}

/// Waits until the only job has ended, and is in this state.
fn wait_for_end(sandbox: &Sandbox, state: &str) {
    wait_for("the end of the job", || job(sandbox)["state"] == state);
    wait_for("the end of the job's processes", || sandbox.executors().is_empty());
}

#[test]
fn a_program_outside_uses_all_workers_and_is_a_job_like_any() {
    let sandbox = Sandbox::with_cluster(3);
    let finished = client(&sandbox, "pi", &["60", "200000"]).succeeded();
    assert!(finished.stdout.starts_with("pi is about 3.1"), "{}", finished.stdout);
    assert_eq!(finished.stdout.lines().filter(|line| line.contains(" ran ")).count(), 3, "{}", finished.stdout);
    let job = job(&sandbox);
    assert_eq!((job["name"].as_str(), job["state"].as_str()), (Some("pi"), Some("SUCCEEDED")), "{job}");
    let id = job["id"].as_str().expect("an id");
    let tasks = sandbox.run(&["job", "tasks", id, "-o", "json"]).succeeded().json();
    assert_eq!(tasks.as_array().map(Vec::len), Some(1), "the driver: {tasks}");
    wait_for("the end of the job's processes", || sandbox.executors().is_empty());
}

#[test]
fn a_program_outside_that_fails_says_why() {
    let sandbox = Sandbox::with_cluster(1);
    let failed = client(&sandbox, "pi", &["no number", "5"]).ended_with(1);
    failed.tells(&["job ", " failed: the main program failed on worker-1", "no number"]);
    assert_eq!(job(&sandbox)["state"], "FAILED");
}

#[test]
fn large_values_go_both_ways() {
    let sandbox = Sandbox::new();
    sandbox.run(&["cluster", "up", "--workers", "2", "--memory", "512MiB"]).succeeded();
    let finished = client(&sandbox, "carry", &["100000000"]).succeeded();
    assert_eq!(finished.stdout, "right\n");
    let too_large = client(&sandbox, "carry", &["300000000"]).ended_with(1);
    too_large.tells(&["300000000 bytes are more than an arena of 268435456 can hold"]);
    assert_eq!(client(&sandbox, "carry", &["65537"]).succeeded().stdout, "right\n");
}

#[test]
fn a_program_outside_queries_files_and_objects() {
    let sandbox = Sandbox::with_cluster(2);
    let sql = "SELECT value FROM generate_series(1, 100000)";
    sandbox.run(&["sql", "--local", "-e", sql, "--output", "numbers.parquet"]).succeeded();
    let path = sandbox.work().join("numbers.parquet");
    let finished = client(&sandbox, "tables", &[path.to_str().expect("a UTF-8 path")]).succeeded();
    let squares: i64 = (1..=33_333).map(|n| 9 * n * n).sum();
    let lines: Vec<&str> = finished.stdout.lines().collect();
    assert_eq!(lines[0], format!("33333 rows, {squares}"));
    assert!(lines[1].contains("No field named nothing"), "{}", lines[1]);
}

#[test]
fn actors_tasks_and_names_work_from_outside() {
    let sandbox = Sandbox::with_cluster(2);
    assert_eq!(client(&sandbox, "mixed", &["2"]).succeeded().stdout, "right\n");
}

#[test]
fn a_job_ends_with_its_client() {
    let sandbox = Sandbox::with_cluster(2);
    let mut child = started(&sandbox, "carry", &["1000000", "WAIT"], "waiting");
    wait_for("a task that runs", || !sandbox.executors().is_empty());
    child.kill().expect("it runs");
    child.wait().expect("it was killed");
    wait_for_end(&sandbox, "FAILED");
    let id = job(&sandbox)["id"].as_str().expect("an id").to_owned();
    let told = sandbox.run(&["job", "wait", &id]).ended_with(1);
    assert!(told.stderr.contains("its client is gone"), "{}", told.stderr);
    wait_for("the end of its objects", || shared_memory(&sandbox).is_empty());
}

#[test]
fn ctrl_c_stops_the_job() {
    let sandbox = Sandbox::with_cluster(1);
    let child = started(&sandbox, "carry", &["10", "WAIT"], "waiting");
    signal("INT", child.id());
    let finished = Finished::from(child.wait_with_output().expect("it ends")).ended_with(130);
    assert!(finished.stderr.contains("error: interrupted: job "), "{}", finished.stderr);
    wait_for_end(&sandbox, "STOPPED");
}

#[test]
fn a_stopped_job_ends_its_client() {
    let sandbox = Sandbox::with_cluster(1);
    let child = started(&sandbox, "carry", &["10", "WAIT"], "waiting");
    let id = job(&sandbox)["id"].as_str().expect("an id").to_owned();
    sandbox.run(&["job", "stop", &id]).succeeded();
    let finished = Finished::from(child.wait_with_output().expect("it ends")).ended_with(1);
    assert!(finished.stderr.contains("was stopped: stopped by `tandem job stop`"), "{}", finished.stderr);
}

#[test]
fn a_client_hears_of_the_end_of_its_worker() {
    let sandbox = Sandbox::with_cluster(1);
    let child = started(&sandbox, "carry", &["10", "WAIT"], "waiting");
    let nodes = sandbox.run(&["node", "list", "-o", "json"]).succeeded().json();
    signal("KILL", nodes[0]["pid"].as_u64().expect("a process"));
    let finished = Finished::from(child.wait_with_output().expect("it ends")).ended_with(1);
    let error = finished.stderr.lines().find(|line| line.starts_with("error: ")).expect("an error");
    assert!(error.contains("lost"), "{error}");
    wait_for("the end of the job", || job(&sandbox)["state"] != "RUNNING");
    wait_for("the end of the job's processes", || sandbox.executors().is_empty());
}

#[test]
fn a_client_does_not_notice_a_new_coordinator() {
    let sandbox = Sandbox::with_cluster(2);
    let mut command = sandbox.command_of(&program("mixed"), &["3", "200"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    wait_for("tasks that run", || sandbox.executors().len() > 1);
    let coordinator = sandbox.processes().into_iter().find(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == b"coordinator")
    });
    signal("KILL", coordinator.expect("a coordinator"));
    let finished = Finished::from(child.wait_with_output().expect("it ends")).succeeded();
    assert_eq!(finished.stdout, "right\n");
    assert_eq!(job(&sandbox)["state"], "SUCCEEDED");
}

#[test]
fn without_a_cluster_or_its_token_nothing_runs() {
    let sandbox = Sandbox::new();
    client(&sandbox, "pi", &["1", "1"]).ended_with(4).tells(&["no cluster is running", "tandem cluster up"]);
    let nobody = [("TANDEM_ADDRESS".to_owned(), "127.0.0.1:1".to_owned())];
    let sandbox = sandbox.with_environment(nobody);
    client(&sandbox, "pi", &["1", "1"]).ended_with(4).tells(&["cannot reach the coordinator: 127.0.0.1:1"]);

    let cluster = Sandbox::with_cluster(1);
    let status = cluster.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    let address = status["address"].as_str().expect("an address").to_owned();
    let wrong = cluster.work().join("wrong");
    Token::generate().write(&wrong).expect("a token");
    let with = |token: &std::path::Path| {
        let token = token.to_str().expect("a UTF-8 path").to_owned();
        let environment = [("TANDEM_ADDRESS".to_owned(), address.clone()), ("TANDEM_TOKEN_FILE".to_owned(), token)];
        client(&Sandbox::new().with_environment(environment), "pi", &["4", "1000"])
    };
    with(&wrong).ended_with(5).tells(&["denied by the cluster", "TANDEM_TOKEN_FILE"]);
    with(&cluster.state().join("token")).succeeded();
}

/// A process of a cluster that is ended with its test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(command: &mut Command) -> Server {
    Server(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs"))
}

#[test]
fn a_program_outside_speaks_tls() {
    let sandbox = Sandbox::new();
    sandbox.run(&["cert", "create", "--out", "tls", "--host", "127.0.0.1"]).succeeded();
    Token::generate().write(&sandbox.work().join("token")).expect("a token");
    // Free until it is closed.
    let port = || TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").to_string();
    let (address, http) = (port(), port());
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let environment = [
        variable("TANDEM_ADDRESS", &address),
        variable("TANDEM_TOKEN_FILE", "token"),
        variable("TANDEM_TLS_CA", "tls/ca.pem"),
    ];
    // Before the processes, which must end before it does.
    let sandbox = sandbox.with_environment(environment);
    let tls = ["--tls-cert", "tls/cert.pem", "--tls-key", "tls/key.pem", "--tls-ca", "tls/ca.pem"];
    let own = ["--token-file", "token", "--http"];
    let coordinator = [&["coordinator", "--listen", &address][..], &tls, &own, &[http.as_str()]].concat();
    let worker = [&["worker", "--coordinator", &address, "--cpus", "1"][..], &tls, &own, &["127.0.0.1:0"]].concat();
    let _coordinator = serve(&mut sandbox.command(&coordinator));
    let _workers: Vec<Server> = (0..2).map(|_| serve(&mut sandbox.command(&worker))).collect();
    wait_for("two workers", || {
        let nodes = sandbox.run(&["node", "list", "-o", "json"]);
        nodes.code == Some(0) && nodes.json().as_array().map(Vec::len) == Some(2)
    });
    assert_eq!(client(&sandbox, "carry", &["300000"]).succeeded().stdout, "right\n");
}

/// Shared memory that the workers of a sandbox still have.
fn shared_memory(sandbox: &Sandbox) -> Vec<String> {
    let files = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = sandbox.processes().into_iter().flat_map(files).filter_map(|entry| entry.path().read_link().ok());
    let names = links.map(|link| link.display().to_string());
    names.filter(|name| name.contains("tandem-arena")).collect()
}
