//! A real Prometheus scrapes every process, and its counters are those of the job's summary.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{Sandbox, http, wait_for};

/// A Prometheus server of this test's own.
struct Prometheus {
    process: Child,
    address: String,
}

impl Prometheus {
    /// Scrapes `targets` with the sandbox's token.
    fn start(sandbox: &Sandbox, targets: &[String]) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
        let token = sandbox.state().join("token");
        let config = format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\n\
             scrape_configs:\n\
             - job_name: tandem\n\
             \x20 authorization: {{credentials_file: '{}'}}\n\
             \x20 static_configs: [{{targets: {targets:?}}}]\n",
            token.display()
        );
        let config = sandbox.write("prometheus.yml", &config);
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", sandbox.work().join("tsdb").display()))
            .arg(format!("--web.listen-address={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let server = Self { process, address: port.to_string() };
        wait_for("the start of Prometheus", || std::net::TcpStream::connect(&server.address).is_ok());
        Some(server)
    }

    /// The one value of an expression without spaces; none when there is no series.
    fn value(&self, expression: &str) -> Option<u64> {
        let escaped: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = http::get(&self.address, &format!("/api/v1/query?query={escaped}"), None)?;
        let answer: Value = serde_json::from_str(answer.body.trim()).ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("the Prometheus of this test keeps running: {error}");
        }
    }
}

/// Where the processes of the cluster show their metrics.
fn targets(sandbox: &Sandbox) -> Vec<String> {
    let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    let nodes = sandbox.run(&["node", "list", "-o", "json"]).succeeded().json();
    let workers = nodes.as_array().expect("nodes").iter().map(|node| &node["http_address"]);
    workers.chain([&status["http_address"]]).map(|address| address.as_str().expect("an address").to_owned()).collect()
}

/// What the summary says, and the series that say the same, of workers and of the coordinator.
fn counts(summary: &Value) -> Vec<(u64, String)> {
    let mut counts = Vec::new();
    let mut add = |count: &Value, series: &str, labels: &str| {
        let count = count.as_u64().expect("a count");
        counts
            .extend(["worker", "coordinator"].map(|role| (count, format!("sum(tandem_{role}_{series}{{{labels}}})"))));
    };
    for source in summary["sources"].as_array().expect("sources") {
        let name = &source["name"];
        add(&source["rows_read"], "source_rows_total", &format!("source={name},outcome=\"read\""));
        add(&source["bytes_read"], "source_bytes_total", &format!("source={name}"));
        if source["rows_rejected"] != 0 {
            add(&source["rows_rejected"], "source_rows_total", &format!("source={name},outcome=\"rejected\""));
        }
    }
    for sink in summary["sinks"].as_array().expect("sinks") {
        let name = &sink["name"];
        add(&sink["rows_written"], "sink_rows_total", &format!("sink={name}"));
        add(&sink["bytes_written"], "sink_bytes_total", &format!("sink={name}"));
    }
    counts
}

#[test]
fn prometheus_counts_what_the_summary_says() {
    let sandbox = Sandbox::with_cluster(3);
    let targets = targets(&sandbox);
    let Some(prometheus) = Prometheus::start(&sandbox, &targets) else {
        return eprintln!("skipped: there is no prometheus here");
    };
    sandbox.run(&["data", "gen", "events", "--rows", "20000", "--dirty", "0.01", "--out", "data"]).succeeded();
    let args = ["job", "submit", "events", "--set", "input=data/events.csv", "--set", "products=data/products.csv"];
    sandbox.run(&args).succeeded();
    wait_for("a scrape of every process", || prometheus.value("sum(up)") == Some(targets.len() as u64));

    let summary: Value = serde_json::from_str(&sandbox.read("out/events/summary.json")).expect("json");
    let counts = counts(&summary);
    assert!(counts.len() > 20 && counts.iter().all(|(count, _)| *count > 0), "{counts:?}");
    for (count, series) in counts {
        let mut found = None;
        let holds = || {
            found = prometheus.value(&series);
            found == Some(count)
        };
        wait_for(&format!("{series} = {count}"), holds);
    }
    let tasks = sandbox.run(&["job", "list", "-o", "json"]).succeeded().json()[0]["id"].clone();
    let tasks = sandbox.run(&["job", "tasks", tasks.as_str().expect("an id"), "-o", "json"]).succeeded().json();
    let tasks = Some(tasks.as_array().expect("tasks").len() as u64);
    assert_eq!(prometheus.value("sum(tandem_worker_tasks_total{outcome=\"finished\"})"), tasks);
    assert_eq!(prometheus.value("sum(tandem_coordinator_tasks_total{outcome=\"succeeded\"})"), tasks);
    assert_eq!(prometheus.value("sum(tandem_coordinator_jobs_ended_total{outcome=\"succeeded\"})"), Some(1));
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics_of_any_process() {
    let sandbox = Sandbox::with_cluster(1);
    sandbox.run(&["job", "submit", "sales"]).succeeded();
    let token = std::fs::read_to_string(sandbox.state().join("token")).expect("a token");
    for target in targets(&sandbox) {
        let metrics = http::get(&target, "/metrics", Some(&format!("Bearer {}", token.trim()))).expect("an answer");
        assert_eq!(metrics.status, 200);
        let promtool = Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).spawn();
        let Ok(mut promtool) = promtool else {
            return eprintln!("skipped: there is no promtool here");
        };
        std::io::Write::write_all(&mut promtool.stdin.take().expect("its input"), metrics.body.as_bytes())
            .expect("read");
        assert!(promtool.wait().expect("it ends").success(), "{}", metrics.body);
    }
}
