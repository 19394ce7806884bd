//! Calls that wait for each other in a circle: the one that closes it is told, and nothing else ever is.

use std::collections::VecDeque;

use tandem_actor_protocol::call::{ActorCall, ActorOptions, ActorSpec, Arg, TaskOptions, TaskSpec};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::{Hello, ToNode};
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::value::{Format, Value};
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, JobId, ObjectId, PROTOCOL, ProcessNumber, WorkerId};
use tandem_node::{Action, Event, LeaseGrant, Node, NodeConfig, Timestamp};

const WORKER: WorkerId = WorkerId(1);
const JOB: JobId = JobId(1);
const DRIVER: ExecutorId = ExecutorId(1);

/// A node whose processes do what the test says.
struct Bench {
    node: Node,
    now: u64,
    told: VecDeque<(ExecutorId, ToExecutor)>,
    /// How many ids each process has made.
    made: u64,
}

impl Bench {
    fn new() -> Self {
        let mut bench =
            Self { node: Node::new(NodeConfig::new(WORKER, "here")), now: 0, told: VecDeque::new(), made: 0 };
        bench.feed(Event::DriverLaunched { job: JOB, attempt: 0, args: Vec::new() });
        for lease in 1..=4 {
            bench.feed(Event::LeaseGranted(LeaseGrant {
                lease,
                job: JOB,
                owner: WORKER,
                owner_address: String::new(),
                host: WORKER,
                host_address: String::new(),
                shape: Shape::one_cpu(),
            }));
        }
        bench
    }

    fn feed(&mut self, event: Event) {
        self.now += 1;
        for action in self.node.handle(Timestamp(self.now), event) {
            match action {
                Action::StartExecutor { executor, .. } => {
                    let hello = Hello { protocol: PROTOCOL, version: String::new(), pid: 1, functions: Vec::new() };
                    self.say(executor, ToNode::Hello(hello));
                }
                Action::Send { executor, message: ToExecutor::Start(start) } => {
                    let outcome = Ok(vec![Value::inline(Format::Bytes, &b"()"[..])]);
                    self.say(executor, ToNode::Done { call: start.actor.creation(), attempt: 0, outcome });
                }
                Action::Send { executor, message } => self.told.push_back((executor, message)),
                _ => {}
            }
        }
    }

    fn say(&mut self, executor: ExecutorId, message: ToNode) {
        self.feed(Event::FromExecutor { executor, message });
    }

    fn next_id(&mut self, executor: ExecutorId) -> CallId {
        self.made += 1;
        CallId(ProcessNumber(executor.0 as u32).object(WORKER, self.made).0)
    }

    /// An actor in a process that it shares with others.
    fn spawn(&mut self, class: &str, concurrency: u32) -> ActorId {
        let actor = ActorId(self.next_id(DRIVER).0);
        let options = ActorOptions { light: true, concurrency, ..ActorOptions::default() };
        let spec = ActorSpec { actor, class: class.to_owned(), args: Vec::new(), parent: None, options };
        self.say(DRIVER, ToNode::Spawn(spec));
        actor
    }

    /// A call of an actor, which begins unless the actor is at another.
    fn call(&mut self, from: ExecutorId, actor: ActorId, method: &str) -> CallId {
        let call = self.next_id(from);
        let method = method.to_owned();
        self.say(from, ToNode::Call(ActorCall { call, actor, method, args: Vec::new(), returns: 1, parent: None }));
        call
    }

    fn submit(&mut self, function: &str, args: Vec<Arg>, options: Option<TaskOptions>) -> CallId {
        let call = self.next_id(DRIVER);
        let (function, options) = (function.to_owned(), options.map(Box::new));
        self.say(DRIVER, ToNode::Submit(TaskSpec { call, function, args, returns: 1, parent: None, options }));
        call
    }

    /// The process that a call or task was sent to.
    fn at(&self, call: CallId) -> ExecutorId {
        let sent = |(executor, message): &(ExecutorId, ToExecutor)| match message {
            ToExecutor::Call(run) | ToExecutor::Run(run) if run.call == call => Some(*executor),
            _ => None,
        };
        self.told.iter().find_map(sent).expect("it was sent")
    }

    /// A call waits for others and for nothing else.
    fn stuck(&mut self, call: CallId, on: &[CallId]) {
        let executor = self.at(call);
        let objects: Vec<ObjectId> = on.iter().map(|call| call.object(0)).collect();
        self.say(executor, ToNode::Retain(objects.clone()));
        self.say(executor, ToNode::Watch { objects: objects.clone(), fetch: true });
        self.say(executor, ToNode::Stuck { call, objects });
    }

    fn done(&mut self, call: CallId) {
        let outcome = Ok(vec![Value::inline(Format::Bytes, &b"1"[..])]);
        self.say(self.at(call), ToNode::Done { call, attempt: 0, outcome });
    }

    /// The failure that was told in place of an object.
    fn deadlock(&self, object: CallId) -> Option<Failure> {
        let told = |(_, message): &(ExecutorId, ToExecutor)| match message {
            ToExecutor::Value { object: of, outcome: Err(failure) } if *of == object.object(0) => Some(failure.clone()),
            _ => None,
        };
        self.told.iter().find_map(told)
    }

    fn told_none(&self) -> bool {
        !self.told.iter().any(|(_, message)| matches!(message, ToExecutor::Value { outcome: Err(_), .. }))
    }
}

#[test]
fn actors_that_call_each_other_back_are_a_circle_that_is_named() {
    let mut bench = Bench::new();
    let (stock, till) = (bench.spawn("shop::Stock", 1), bench.spawn("shop::Till", 1));
    let take = bench.call(DRIVER, stock, "take");
    let pay = bench.call(bench.at(take), till, "pay");
    let count = bench.call(bench.at(pay), stock, "count");
    bench.stuck(take, &[pay]);
    assert!(bench.told_none(), "it may still be paid");
    bench.stuck(pay, &[count]);
    let failure = bench.deadlock(count).expect("a deadlock");
    assert_eq!(
        (failure.kind, failure.task.as_str(), failure.worker.as_str()),
        (FailureKind::Deadlock, "shop::Till::pay", "here")
    );
    let circle = "calls wait for each other in a circle: \
                  shop::Till::pay waits for shop::Stock::count waits for shop::Stock::take waits for shop::Till::pay";
    assert_eq!(failure.message, circle);
    assert!(bench.deadlock(pay).is_none(), "the circle is broken in one place");
}

#[test]
fn an_actor_that_waits_for_itself_is_a_circle() {
    let mut bench = Bench::new();
    let stock = bench.spawn("shop::Stock", 1);
    let take = bench.call(DRIVER, stock, "take");
    let count = bench.call(bench.at(take), stock, "count");
    bench.stuck(take, &[count]);
    let failure = bench.deadlock(count).expect("a deadlock");
    let circle = "shop::Stock::take waits for shop::Stock::count waits for shop::Stock::take";
    assert!(failure.message.ends_with(circle), "{}", failure.message);
}

#[test]
fn tasks_that_wait_for_each_other_are_a_circle_also_through_arguments() {
    let mut bench = Bench::new();
    let first = bench.submit("first", Vec::new(), None);
    let second = bench.submit("second", Vec::new(), None);
    let third = bench.submit("third", vec![Arg::Object(first.object(0))], None);
    bench.stuck(second, &[third]);
    assert!(bench.told_none());
    bench.stuck(first, &[second]);
    let failure = bench.deadlock(second).expect("a deadlock");
    assert!(failure.message.ends_with("first waits for second waits for third waits for first"), "{}", failure.message);
}

#[test]
fn what_something_else_may_end_is_no_circle() {
    // An actor that works on calls together.
    let mut bench = Bench::new();
    let (stock, till) = (bench.spawn("shop::Stock", 2), bench.spawn("shop::Till", 1));
    let take = bench.call(DRIVER, stock, "take");
    let pay = bench.call(bench.at(take), till, "pay");
    let count = bench.call(bench.at(pay), stock, "count");
    bench.stuck(take, &[pay]);
    bench.stuck(pay, &[count]);
    assert!(bench.told_none());
    bench.stuck(count, &[take]);
    assert!(bench.deadlock(take).is_some(), "until that call waits, too");

    // One of several objects may still come.
    let mut bench = Bench::new();
    let (stock, till) = (bench.spawn("shop::Stock", 1), bench.spawn("shop::Till", 1));
    let take = bench.call(DRIVER, stock, "take");
    let count = bench.call(bench.at(take), stock, "count");
    let pay = bench.call(bench.at(take), till, "pay");
    bench.stuck(take, &[count, pay]);
    assert!(bench.told_none());

    // A task that ends after a while.
    let mut bench = Bench::new();
    let limited = TaskOptions { timeout_ms: 60_000, ..TaskOptions::default() };
    let (first, second) = (bench.submit("first", Vec::new(), None), bench.submit("second", Vec::new(), Some(limited)));
    bench.stuck(second, &[first]);
    bench.stuck(first, &[second]);
    assert!(bench.told_none());
}

#[test]
fn a_call_that_is_to_end_is_part_of_no_circle() {
    let mut bench = Bench::new();
    let (stock, till) = (bench.spawn("shop::Stock", 1), bench.spawn("shop::Till", 1));
    let take = bench.call(DRIVER, stock, "take");
    let pay = bench.call(bench.at(take), till, "pay");
    let count = bench.call(bench.at(pay), stock, "count");
    bench.stuck(take, &[pay]);
    bench.say(DRIVER, ToNode::Cancel { call: take, force: false });
    bench.stuck(pay, &[count]);
    assert!(bench.told_none());

    let mut bench = Bench::new();
    let (stock, till) = (bench.spawn("shop::Stock", 1), bench.spawn("shop::Till", 1));
    let take = bench.call(DRIVER, stock, "take");
    let pay = bench.call(bench.at(take), till, "pay");
    let count = bench.call(bench.at(pay), stock, "count");
    bench.stuck(take, &[pay]);
    bench.say(DRIVER, ToNode::Kill { actor: stock, at_once: false });
    bench.stuck(pay, &[count]);
    assert!(bench.told_none());
}

#[test]
fn a_call_that_has_gone_on_or_ended_is_stuck_no_more() {
    let mut bench = Bench::new();
    let (stock, till) = (bench.spawn("shop::Stock", 1), bench.spawn("shop::Till", 1));
    let take = bench.call(DRIVER, stock, "take");
    let pay = bench.call(bench.at(take), till, "pay");
    bench.stuck(take, &[pay]);
    bench.done(pay);
    let again = bench.call(DRIVER, till, "again");
    let count = bench.call(bench.at(again), stock, "count");
    bench.stuck(again, &[count]);
    assert!(bench.told_none(), "the other has its value and goes on");
    bench.done(take);
    assert!(bench.told_none());
    bench.done(count);
    assert!(bench.told_none());
}
