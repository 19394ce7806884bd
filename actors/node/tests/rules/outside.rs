//! Calls of actors of other jobs, on the same worker and on another, and actors that are jobs of their own.

use std::collections::{BTreeMap, VecDeque};

use tandem_actor_protocol::call::{ActorCall, ActorOptions, ActorSpec, Arg};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::{Hello, ToNode};
use tandem_actor_protocol::value::{Body, Format, Value};
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, JobId, PROTOCOL, ProcessNumber, WorkerId};
use tandem_node::{Action, DriverWork, Event, ExitCause, Found, Node, NodeConfig, Timestamp};

/// The job that has an actor, and the job that calls it.
const OWNER: JobId = JobId(1);
const CALLER: JobId = JobId(2);
const HERE: WorkerId = WorkerId(1);
const THERE: WorkerId = WorkerId(2);

type ProcessId = (WorkerId, ExecutorId);

/// Workers with their nodes, and everything that their processes were told.
struct World {
    nodes: BTreeMap<WorkerId, Node>,
    to_do: VecDeque<(WorkerId, Action)>,
    told: Vec<(ProcessId, ToExecutor)>,
    ended: Vec<(JobId, Result<(), Failure>)>,
    detached: Vec<ActorSpec>,
    made: u64,
}

impl World {
    fn new() -> Self {
        let node = |worker: WorkerId| {
            let address = format!("worker-{}:1", worker.0);
            (worker, Node::new(NodeConfig { address, ..NodeConfig::new(worker, "a worker") }))
        };
        Self {
            nodes: [HERE, THERE].map(node).into(),
            to_do: VecDeque::new(),
            told: Vec::new(),
            ended: Vec::new(),
            detached: Vec::new(),
            made: 0,
        }
    }

    fn feed(&mut self, worker: WorkerId, event: Event) {
        let Some(node) = self.nodes.get_mut(&worker) else { return };
        self.to_do.extend(node.handle(Timestamp(0), event).into_iter().map(|action| (worker, action)));
        while let Some((worker, action)) = self.to_do.pop_front() {
            self.perform(worker, action);
        }
    }

    fn perform(&mut self, worker: WorkerId, action: Action) {
        match action {
            Action::StartExecutor { executor, .. } => {
                let hello = Hello { protocol: PROTOCOL, version: String::new(), pid: 1, functions: Vec::new() };
                self.say((worker, executor), ToNode::Hello(hello));
            }
            Action::Send { executor, message } => {
                if let ToExecutor::Start(start) | ToExecutor::StartHeld(start) = &message {
                    let outcome = Ok(vec![text("")]);
                    let (call, attempt) = (start.actor.creation(), start.attempt);
                    self.say((worker, executor), ToNode::Done { call, attempt, outcome });
                }
                self.told.push(((worker, executor), message));
            }
            Action::SendPeer { worker: to, message } => self.feed(to, Event::FromPeer { worker, message }),
            Action::ClaimName { job, spec } => {
                self.feed(worker, Event::NameClaimed { job, actor: spec.actor, outcome: Ok(()) });
            }
            Action::Detach { spec, .. } => self.detached.push(*spec),
            Action::DriverEnded { job, outcome, .. } => self.ended.push((job, outcome)),
            Action::StopExecutor { executor, .. } => {
                self.feed(worker, Event::ExecutorGone { executor, cause: ExitCause::Asked });
            }
            _ => {}
        }
    }

    fn say(&mut self, process: ProcessId, message: ToNode) {
        self.feed(process.0, Event::FromExecutor { executor: process.1, message });
    }

    fn launch(&mut self, worker: WorkerId, job: JobId) -> ProcessId {
        self.feed(worker, Event::DriverLaunched { job, attempt: 0, driver: DriverWork::Program(Vec::new()) });
        let welcome = |(process, message): &(ProcessId, ToExecutor)| match message {
            ToExecutor::Welcome(welcome) if welcome.job == job => Some(*process),
            _ => None,
        };
        self.told.iter().find_map(welcome).expect("it was welcomed")
    }

    fn id(&mut self, process: ProcessId) -> CallId {
        self.made += 1;
        CallId(ProcessNumber(process.1.0 as u32).object(process.0, self.made).0)
    }

    /// A light actor that other jobs find.
    fn spawn(&mut self, process: ProcessId) -> ActorId {
        let actor = ActorId(self.id(process).0);
        self.say(process, ToNode::Spawn(spec(actor)));
        actor
    }

    /// The caller's process is told who has a name, and calls it.
    fn find_and_call(&mut self, process: ProcessId, actor: ActorId, args: Vec<Arg>) -> CallId {
        let found = Found { actor, class: "Stock".to_owned(), owner_address: format!("worker-{}:1", actor.owner().0) };
        self.feed(process.0, Event::NameFound { executor: process.1, request: 1, actor: Some(found) });
        self.call(process, actor, args)
    }

    fn call(&mut self, process: ProcessId, actor: ActorId, args: Vec<Arg>) -> CallId {
        let call = self.id(process);
        let method = "take".to_owned();
        self.say(process, ToNode::Call(ActorCall { call, actor, method, args, returns: 1, parent: None }));
        self.say(process, ToNode::Watch { objects: vec![call.object(0)], fetch: true });
        call
    }

    /// Calls that the actor's process got, and has not answered.
    fn got(&mut self) -> Vec<(ProcessId, CallId, Vec<Value>)> {
        let call = |(process, message): &(ProcessId, ToExecutor)| match message {
            ToExecutor::Call(run) => Some((*process, run.call, run.args.clone())),
            _ => None,
        };
        let calls = self.told.iter().filter_map(call).collect();
        self.told.retain(|(_, message)| !matches!(message, ToExecutor::Call(_)));
        calls
    }

    fn answer(&mut self, process: ProcessId, call: CallId, outcome: Result<Vec<Value>, Failure>) {
        self.say(process, ToNode::Done { call, attempt: 0, outcome });
    }

    /// What the caller was told of a call.
    fn heard(&self, call: CallId) -> Option<Result<Value, FailureKind>> {
        let value = |(_, message): &(ProcessId, ToExecutor)| match message {
            ToExecutor::Value { object, outcome } if *object == call.object(0) => {
                Some(outcome.clone().map_err(|failure| failure.kind))
            }
            _ => None,
        };
        self.told.iter().find_map(value)
    }
}

fn spec(actor: ActorId) -> ActorSpec {
    let (name, namespace) = ("stock".to_owned(), "shop".to_owned());
    let options = ActorOptions { name, namespace, light: true, ..ActorOptions::default() };
    ActorSpec { actor, class: "Stock".to_owned(), args: Vec::new(), parent: None, options }
}

fn text(text: &str) -> Value {
    Value::inline(Format::Bytes, text.as_bytes().to_vec())
}

/// An actor of a job on one worker, and the driver of another job on each of both.
fn worlds() -> [(World, ActorId, ProcessId); 2] {
    [HERE, THERE].map(|caller| {
        let mut world = World::new();
        let owner = world.launch(HERE, OWNER);
        let actor = world.spawn(owner);
        let driver = world.launch(caller, CALLER);
        (world, actor, driver)
    })
}

#[test]
fn jobs_call_actors_of_others() {
    for (mut world, actor, driver) in worlds() {
        let first = world.find_and_call(driver, actor, vec![Arg::Value(text("apple"))]);
        let second = world.call(driver, actor, vec![Arg::Value(text("pear"))]);
        let got = world.got();
        let args: Vec<_> = got.iter().map(|(.., args)| args[0].clone()).collect();
        assert_eq!(args, [text("apple"), text("pear")], "in their order");
        world.answer(got[0].0, got[0].1, Ok(vec![text("3 left")]));
        world.answer(got[1].0, got[1].1, Err(Failure::new(FailureKind::Returned, "take", "none left")));
        assert_eq!(world.heard(first), Some(Ok(text("3 left"))));
        assert_eq!(world.heard(second), Some(Err(FailureKind::Returned)));
        world.say(driver, ToNode::Kill { actor, at_once: true });
        let late = world.call(driver, actor, Vec::new());
        assert_eq!(world.heard(late), Some(Err(FailureKind::ActorGone)));
    }
}

#[test]
fn who_finds_an_actor_may_wait_until_it_has_started() {
    for (mut world, actor, driver) in worlds() {
        let found = Found { actor, class: "Stock".to_owned(), owner_address: "worker-1:1".to_owned() };
        world.feed(driver.0, Event::NameFound { executor: driver.1, request: 1, actor: Some(found) });
        let created = actor.creation().object(0);
        world.say(driver, ToNode::Retain(vec![created]));
        world.say(driver, ToNode::Watch { objects: vec![created], fetch: true });
        assert!(matches!(world.heard(actor.creation()), Some(Ok(_))), "{:?}", world.heard(actor.creation()));
    }
}

#[test]
fn calls_end_with_the_job_of_their_actor_and_with_its_worker() {
    for lost in [false, true] {
        for (mut world, actor, driver) in worlds() {
            if lost && driver.0 == HERE {
                continue;
            }
            let call = world.find_and_call(driver, actor, Vec::new());
            assert_eq!(world.got().len(), 1);
            if lost {
                world.nodes.remove(&HERE);
                world.feed(THERE, Event::PeerLost { worker: HERE });
            } else {
                world.feed(HERE, Event::JobGone { job: OWNER });
            }
            assert_eq!(world.heard(call), Some(Err(FailureKind::ActorGone)));
            let late = world.call(driver, actor, Vec::new());
            assert!(matches!(world.heard(late), Some(Err(_))), "{:?}", world.heard(late));
        }
    }
}

#[test]
fn objects_of_one_job_do_not_go_to_another() {
    for (mut world, actor, driver) in worlds() {
        let object = world.id(driver).object(0);
        world.say(driver, ToNode::Put { object, value: text("mine") });
        let named = Value { body: Body::Inline { format: Format::Serde, bytes: "a list".into() }, refs: vec![object] };
        let call = world.find_and_call(driver, actor, vec![Arg::Value(named)]);
        assert_eq!(world.heard(call), Some(Err(FailureKind::Mismatch)));
        // Its value does.
        let call = world.call(driver, actor, vec![Arg::Object(object)]);
        let got = world.got();
        assert_eq!(got[0].2, [text("mine")]);
        world.answer(got[0].0, got[0].1, Ok(vec![text("done")]));
        assert_eq!(world.heard(call), Some(Ok(text("done"))));
    }
}

#[test]
fn what_a_job_made_detached_is_called_by_the_id_that_it_has_there() {
    for (mut world, there, driver) in worlds() {
        let mut wanted = spec(ActorId(world.id(driver).0));
        wanted.options.detached = true;
        let actor = wanted.actor;
        world.say(driver, ToNode::Spawn(wanted.clone()));
        assert_eq!(world.detached.iter().map(|spec| spec.actor).collect::<Vec<_>>(), [actor]);
        let early = world.call(driver, actor, vec![Arg::Value(text("apple"))]);
        assert_eq!(world.heard(early), None);
        let found = Found { actor: there, class: "Stock".to_owned(), owner_address: "worker-1:1".to_owned() };
        world.feed(driver.0, Event::Detached { job: CALLER, actor, outcome: Ok(found) });
        let got = world.got();
        assert_eq!(got[0].2, [text("apple")]);
        world.answer(got[0].0, got[0].1, Ok(vec![text("3 left")]));
        assert_eq!(world.heard(early), Some(Ok(text("3 left"))));

        wanted.actor = ActorId(world.id(driver).0);
        wanted.options.namespace = String::new();
        world.say(driver, ToNode::Spawn(wanted.clone()));
        let call = world.call(driver, wanted.actor, Vec::new());
        assert_eq!(world.heard(call), Some(Err(FailureKind::Mismatch)), "nobody could find it");
    }
}

#[test]
fn a_job_that_is_an_actor_ends_with_it() {
    let mut world = World::new();
    let actor = Box::new(spec(ActorId(0)));
    world.feed(HERE, Event::DriverLaunched { job: OWNER, attempt: 0, driver: DriverWork::Actor(actor) });
    let started = world.told.iter().find_map(|(_, message)| match message {
        ToExecutor::Start(start) => Some(start.actor),
        _ => None,
    });
    let actor = started.expect("it was started");
    let driver = world.launch(THERE, CALLER);
    let call = world.find_and_call(driver, actor, Vec::new());
    let got = world.got();
    world.answer(got[0].0, got[0].1, Ok(vec![text("here")]));
    assert_eq!((world.heard(call), world.ended.len()), (Some(Ok(text("here"))), 0));
    world.say(driver, ToNode::Kill { actor, at_once: true });
    assert_eq!(world.ended, [(OWNER, Ok(()))]);

    let actor = Box::new(spec(ActorId(0)));
    world.feed(HERE, Event::DriverLaunched { job: JobId(3), attempt: 0, driver: DriverWork::Actor(actor) });
    let process = world.told.iter().rev().find_map(|(process, message)| match message {
        ToExecutor::Start(_) => Some(*process),
        _ => None,
    });
    let executor = process.expect("its process").1;
    world.feed(HERE, Event::ExecutorGone { executor, cause: ExitCause::Signalled(9) });
    assert!(matches!(&world.ended[1], (JobId(3), Err(_))), "{:?}", world.ended);
}
