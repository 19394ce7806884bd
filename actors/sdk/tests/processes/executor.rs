//! One process of the program, as its node sees it.

use std::os::fd::OwnedFd;
use std::process::Stdio;

use tandem_actor_protocol::executor::{Role, Run, ToExecutor, Welcome};
use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::node::{Hello, ToNode};
use tandem_actor_protocol::value::{Format, Value};
use tandem_actor_protocol::{
    CallId, JobId, MESSAGE_KIND, ObjectId, PROTOCOL, ProcessNumber, WorkerId, decode, encode, link_limits,
};
use tandem_frames::{Frame, FrameReceiver, FrameSender, FrameWriter, Link, pair};
use tokio::process::{Child, Command};

pub(crate) const WORKER: WorkerId = WorkerId(7);

pub(crate) struct Executor {
    pub(crate) child: Child,
    pub(crate) hello: Hello,
    pub(crate) voice: Voice,
    pub(crate) receiver: FrameReceiver,
}

/// What is said to a process.
pub(crate) struct Voice {
    sender: FrameSender,
    _writer: FrameWriter,
}

impl Executor {
    /// Starts a process, hears its hello and welcomes it.
    pub(crate) async fn start(number: u32, role: Role) -> Self {
        let (own, end) = pair().expect("a pair");
        let mut command = Command::new(std::env::current_exe().expect("the path of this test"));
        command.args(["--exact", "executor_process", "--nocapture"]).env("TANDEM_EXECUTOR", "1");
        let child = command.stdin(end).stdout(Stdio::null()).kill_on_drop(true).spawn().expect("a child");
        drop(command);
        let Link { sender, mut receiver, writer } = Link::start(own, link_limits()).expect("a link");
        let ToNode::Hello(hello) = hear(&mut receiver).await.expect("a message") else { panic!("no hello") };
        let executor = Self { child, hello, voice: Voice { sender, _writer: writer }, receiver };
        executor.voice.say(ToExecutor::Welcome(welcome(number, role))).await;
        executor
    }

    pub(crate) async fn say(&self, message: ToExecutor) {
        self.voice.say(message).await;
    }

    /// The next message; none at the end.
    pub(crate) async fn hear(&mut self) -> Option<ToNode> {
        hear(&mut self.receiver).await
    }

    /// How the next call ends, whatever is said before.
    pub(crate) async fn done(&mut self) -> (CallId, Result<Vec<Value>, Failure>) {
        loop {
            if let ToNode::Done { call, outcome, .. } = self.hear().await.expect("the process lives") {
                return (call, outcome);
            }
        }
    }

    /// Runs a function and gives how it ends.
    pub(crate) async fn run(&mut self, function: &str, args: Vec<Value>) -> Result<Vec<Value>, Failure> {
        self.say(ToExecutor::Run(run(1, function, args))).await;
        let (call, outcome) = self.done().await;
        assert_eq!(call, CallId(1));
        outcome
    }

    /// The process and the halves of its link.
    pub(crate) fn into_parts(self) -> (Child, Voice, FrameReceiver) {
        (self.child, self.voice, self.receiver)
    }

    /// Waits for the end of the process.
    pub(crate) async fn ended(&mut self) -> std::process::ExitStatus {
        self.child.wait().await.expect("our child")
    }
}

impl Voice {
    pub(crate) async fn say(&self, message: ToExecutor) {
        self.say_with(message, None).await;
    }

    pub(crate) async fn say_with(&self, message: ToExecutor, file: Option<OwnedFd>) {
        let frame =
            Frame { kind: MESSAGE_KIND, payload: encode(&message).into(), descriptors: file.into_iter().collect() };
        // A process that has ended hears nothing; who waits for its answer sees that.
        let _ = self.sender.send(frame).await;
    }
}

pub(crate) async fn hear(receiver: &mut FrameReceiver) -> Option<ToNode> {
    let frame = receiver.recv().await.ok().flatten()?;
    Some(decode(&frame.payload).expect("a message"))
}

fn welcome(number: u32, role: Role) -> Welcome {
    Welcome {
        protocol: PROTOCOL,
        job: JobId(1),
        job_name: "test".to_owned(),
        worker: WORKER,
        worker_name: "worker-7".to_owned(),
        process: ProcessNumber(number),
        role,
    }
}

/// An attempt to be sent, with one result.
pub(crate) fn run(call: u128, function: &str, args: Vec<Value>) -> Run {
    Run {
        call: CallId(call),
        attempt: 0,
        function: function.to_owned(),
        actor: None,
        args,
        returns: 1,
        timeout_ms: 0,
        environment: Default::default(),
    }
}

/// A value as postcard writes it.
pub(crate) fn value<T: serde::Serialize>(value: &T) -> Value {
    Value::inline(Format::Serde, postcard::to_allocvec(value).expect("it can be written"))
}

/// The value that postcard reads.
pub(crate) fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    let tandem_actor_protocol::value::Body::Inline { bytes, .. } = &value.body else { panic!("a shared value") };
    postcard::from_bytes(bytes).expect("it can be read")
}

/// The only value of a call that ended well.
pub(crate) fn only<T: serde::de::DeserializeOwned>(outcome: Result<Vec<Value>, Failure>) -> T {
    let values = outcome.expect("a value");
    assert_eq!(values.len(), 1);
    read(&values[0])
}

/// An id that the process itself did not make.
pub(crate) fn foreign_object(number: u64) -> ObjectId {
    ProcessNumber(99).object(WORKER, number)
}
