//! An executor for the tests of the runtime, which speaks the bare protocol. What it does at its start is in the variable
//! `TEST_DO`; afterwards it does what the functions it is called with say.

mod arena;
mod misdeeds;

use std::io::Write;

use tandem_actor_protocol::executor::{Run, ToExecutor};
use tandem_actor_protocol::node::{Hello, ToNode};
use tandem_actor_protocol::value::{Format, Value};
use tandem_actor_protocol::{MESSAGE_KIND, PROTOCOL, decode, encode, link_limits};
use tandem_frames::{Frame, FrameSender, Link, inherited};

use arena::Arena;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let stream = inherited().expect("started by a runtime");
    if let Ok(misdeed) = std::env::var("TEST_DO") {
        misdeeds::at_start(&misdeed, &stream);
    }
    let Link { sender, mut receiver, writer } = Link::start(stream, link_limits()).expect("a link");
    let hello =
        Hello { protocol: PROTOCOL, version: "test".to_owned(), pid: std::process::id(), functions: Vec::new() };
    say(&sender, ToNode::Hello(hello)).await;
    let mut arena = Arena::new(sender.clone());
    while let Some(frame) = receiver.recv().await.expect("a sound link") {
        match decode(&frame.payload).expect("a message") {
            ToExecutor::Run(call) => run(&sender, &mut arena, call).await,
            ToExecutor::Extent { extent, bytes, writable } => arena.map(extent, bytes, writable, frame.descriptors),
            ToExecutor::Space(lease) => arena.put(lease.expect("room")).await,
            ToExecutor::Shutdown if std::env::var_os("TEST_STAY").is_none() => break,
            _ => {}
        }
    }
    drop(arena);
    drop(sender);
    writer.close().await.expect("all is written");
}

async fn say(sender: &FrameSender, message: ToNode) {
    sender.send(Frame::new(MESSAGE_KIND, encode(&message))).await.expect("an open link");
}

async fn run(sender: &FrameSender, arena: &mut Arena, run: Run) {
    say(sender, ToNode::Began(run.call)).await;
    let args: Vec<String> = run.args.iter().map(|arg| arena.text(arg)).collect();
    let sum = |value| arena.bytes(value).iter().map(|byte| u64::from(*byte)).sum::<u64>();
    let result = match run.function.as_str() {
        "echo" => args.join(" "),
        "sum" => run.args.iter().map(sum).sum::<u64>().to_string(),
        "print" => {
            print!("{}", args.join(" "));
            std::io::stdout().flush().expect("an open pipe");
            String::new()
        }
        "complain" => {
            eprintln!("{}", args.join(" "));
            String::new()
        }
        "environment" => {
            let mut all: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
            all.push(format!("cwd={}", std::env::current_dir().expect("a folder").display()));
            all.sort();
            all.join("\n")
        }
        other => misdeeds::in_call(other, &args),
    };
    let outcome = Ok(vec![Value::inline(Format::Bytes, result.into_bytes())]);
    say(sender, ToNode::Done { call: run.call, attempt: run.attempt, outcome }).await;
}
