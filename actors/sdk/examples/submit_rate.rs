//! How many tasks a program submits and actor calls it makes in a second, and how long one takes there and back, with a node
//! on the other side that answers at once without running anything.
//!
//! ```text
//! cargo run --release -p tandem-sdk --example submit_rate
//! ```

use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use tandem::prelude::*;
use tandem_actor_protocol::executor::{Role, ToExecutor, Welcome};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Format, Value};
use tandem_actor_protocol::{
    JobId, MESSAGE_KIND, ObjectId, PROTOCOL, ProcessNumber, WorkerId, decode, encode_onto, link_limits,
};
use tandem_frames::{Frame, Link};

extern crate tandem_sdk as tandem;

const CALLS: u32 = 1_000_000;
const ROUND_TRIPS: u32 = 20_000;

#[tandem::task]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

struct Counter {
    count: u64,
}

#[tandem::actor]
impl Counter {
    fn new() -> Self {
        Self { count: 0 }
    }

    fn add(&mut self, n: u64) -> u64 {
        self.count += n;
        self.count
    }
}

#[tandem::main]
async fn program(ctx: Context) -> Result<()> {
    let start = Instant::now();
    let sums: Vec<ObjectRef<u64>> = (0..u64::from(CALLS)).map(|n| add::submit(&ctx, n, 1)).collect();
    report("tasks submitted", CALLS, start);
    ctx.get_all(&sums).await?;
    report("tasks submitted and their results read", CALLS, start);
    let start = Instant::now();
    drop(sums);
    report("refs dropped", CALLS, start);

    let counter = Counter::spawn(&ctx).await?;
    let start = Instant::now();
    let counts: Vec<ObjectRef<u64>> = (0..u64::from(CALLS)).map(|n| counter.add(n)).collect();
    report("actor calls made", CALLS, start);
    ctx.get_all(&counts).await?;
    report("actor calls made and their results read", CALLS, start);
    drop(counts);

    let mut times = Vec::new();
    for n in 0..u64::from(ROUND_TRIPS) {
        let start = Instant::now();
        add::submit(&ctx, n, 1).await?;
        times.push(start.elapsed());
    }
    times.sort();
    println!("{:>12.1} µs a task there and back, median", times[times.len() / 2].as_secs_f64() * 1e6);
    Ok(())
}

fn report(what: &str, count: u32, start: Instant) {
    println!("{:>12.0} {what} a second", f64::from(count) / start.elapsed().as_secs_f64());
}

fn main() -> ExitCode {
    if std::env::var_os("TANDEM_EXECUTOR").is_some() {
        return program();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(node());
    ExitCode::SUCCESS
}

/// Answers all that is asked for with one number.
async fn node() {
    let (own, end) = tandem_frames::pair().expect("a pair");
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    let mut child = command.env("TANDEM_EXECUTOR", "1").stdin(end).stdout(Stdio::inherit()).spawn().expect("a child");
    drop(command);
    let Link { sender, mut receiver, writer: _writer } = Link::start(own, link_limits()).expect("a link");
    // What a call returns is a number, what a start returns is nothing.
    let mut started = None;
    while let Ok(Some(frame)) = receiver.recv().await {
        let answers = match decode(&frame.payload).expect("a message") {
            ToNode::Hello(_) => vec![ToExecutor::Welcome(welcome())],
            ToNode::Watch { objects, .. } => {
                objects.into_iter().map(|object| value(object, started == Some(object))).collect()
            }
            ToNode::Spawn(actor) => {
                started = Some(ObjectId(actor.actor.0));
                vec![]
            }
            ToNode::DriverDone(outcome) => {
                outcome.expect("it ends well");
                vec![ToExecutor::Shutdown]
            }
            _ => vec![],
        };
        for answer in answers {
            let frame = Frame::new(MESSAGE_KIND, encode_onto(&answer, Vec::with_capacity(64)));
            sender.send(frame).await.expect("an open link");
        }
    }
    child.wait().expect("our child");
}

fn value(object: ObjectId, nothing: bool) -> ToExecutor {
    let bytes: &'static [u8] = if nothing { &[] } else { &[1] };
    ToExecutor::Value { object, outcome: Ok(Value::inline(Format::Serde, bytes)) }
}

fn welcome() -> Welcome {
    Welcome {
        protocol: PROTOCOL,
        job: JobId(1),
        job_name: "submit rate".to_owned(),
        worker: WorkerId(1),
        worker_name: "worker-1".to_owned(),
        process: ProcessNumber(1),
        role: Role::Driver { args: vec![] },
    }
}
