//! How many events a second one node decides on one core, and what a queued task takes of memory.
//!
//! `cargo run --release -p tandem-node --example node_rate -- 1000000`

use std::collections::VecDeque;
use std::time::Instant;

use tandem_actor_protocol::call::{Arg, TaskSpec};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::node::{Hello, ToNode};
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::value::{Format, Value};
use tandem_actor_protocol::{CallId, ExecutorId, JobId, PROTOCOL, ProcessNumber, WorkerId};
use tandem_node::{Action, DriverWork, Event, LeaseGrant, Node, NodeConfig, Timestamp};

const WORKER: WorkerId = WorkerId(1);
const JOB: JobId = JobId(1);
const SLOTS: u64 = 16;

fn main() {
    let tasks = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    queued(tasks);
    one_by_one(tasks);
}

/// All tasks are submitted before any runs.
fn queued(tasks: u64) {
    let mut shell = Shell::new();
    let (driver, process) = shell.launch();
    let before = resident_bytes();
    let start = Instant::now();
    for number in 0..tasks {
        shell.said(driver, ToNode::Submit(task(process, number)));
    }
    let submitted = start.elapsed();
    let bytes = resident_bytes().saturating_sub(before) / tasks;
    println!("{tasks} tasks queued: {:.0} events/s, {bytes} bytes each", tasks as f64 / submitted.as_secs_f64());
    shell.grant();
    let (start, events) = (Instant::now(), shell.events);
    shell.run();
    for number in 0..tasks {
        shell.said(driver, ToNode::Release(vec![call(process, number).object(0)]));
    }
    let rate = (shell.events - events) as f64 / start.elapsed().as_secs_f64();
    println!("run and released: {rate:.0} events/s");
    assert!(shell.node.tasks(None).next().is_none() && shell.node.objects(None).next().is_none(), "nothing is left");
}

/// Each task is submitted, watched, run and released before the next one.
fn one_by_one(tasks: u64) {
    let mut shell = Shell::new();
    let (driver, process) = shell.launch();
    shell.said(driver, ToNode::Submit(task(process, 0)));
    shell.grant();
    shell.run();
    let (start, events) = (Instant::now(), shell.events);
    for number in 1..tasks {
        shell.said(driver, ToNode::Submit(task(process, number)));
        let object = call(process, number).object(0);
        shell.said(driver, ToNode::Watch { objects: vec![object], fetch: true });
        shell.run();
        shell.said(driver, ToNode::Release(vec![object]));
    }
    let took = start.elapsed().as_secs_f64();
    let (events, tasks) = ((shell.events - events) as f64, (tasks - 1) as f64);
    println!("one by one: {:.0} tasks/s, {:.0} events/s", tasks / took, events / took);
}

/// What is around a node, as little of it as there can be.
struct Shell {
    node: Node,
    runs: VecDeque<(ExecutorId, CallId, u32)>,
    greet: VecDeque<ExecutorId>,
    events: u64,
}

impl Shell {
    fn new() -> Self {
        let node = Node::new(NodeConfig::new(WORKER, "here"));
        Self { node, runs: VecDeque::new(), greet: VecDeque::new(), events: 0 }
    }

    fn launch(&mut self) -> (ExecutorId, ProcessNumber) {
        self.event(Event::DriverLaunched { job: JOB, attempt: 0, driver: DriverWork::Program(Vec::new()) });
        self.run();
        (ExecutorId(1), ProcessNumber(1))
    }

    fn grant(&mut self) {
        for lease in 1..=SLOTS {
            self.event(Event::LeaseGranted(LeaseGrant {
                lease,
                job: JOB,
                owner: WORKER,
                owner_address: String::new(),
                host: WORKER,
                host_address: String::new(),
                shape: Shape::one_cpu(),
                bundle: None,
            }));
        }
    }

    fn said(&mut self, executor: ExecutorId, message: ToNode) {
        self.event(Event::FromExecutor { executor, message });
    }

    fn event(&mut self, event: Event) {
        self.events += 1;
        // Time goes on, so that timers come and go too.
        let now = Timestamp::from_ms(self.events / 500);
        for action in self.node.handle(now, event) {
            match action {
                Action::StartExecutor { executor, .. } => self.greet.push_back(executor),
                Action::Send { executor, message: ToExecutor::Run(run) } => {
                    self.runs.push_back((executor, run.call, run.attempt));
                }
                _ => {}
            }
        }
    }

    /// Every process does what it has.
    fn run(&mut self) {
        loop {
            if let Some(executor) = self.greet.pop_front() {
                let hello = Hello { protocol: PROTOCOL, version: String::new(), pid: 1, functions: Vec::new() };
                self.said(executor, ToNode::Hello(hello));
            } else if let Some((executor, call, attempt)) = self.runs.pop_front() {
                let outcome = Ok(vec![Value::inline(Format::Bytes, &b"result"[..])]);
                self.said(executor, ToNode::Done { call, attempt, outcome });
            } else {
                return;
            }
        }
    }
}

fn call(process: ProcessNumber, number: u64) -> CallId {
    CallId(process.object(WORKER, number).0)
}

fn task(process: ProcessNumber, number: u64) -> TaskSpec {
    TaskSpec {
        call: call(process, number),
        function: "example::double".into(),
        args: vec![Arg::Value(Value::inline(Format::Bytes, &b"12345678"[..]))],
        returns: 1,
        parent: None,
        options: None,
    }
}

/// Memory that this process has, in bytes.
fn resident_bytes() -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}
