//! A node whose processes do what a test says.

use std::collections::VecDeque;

use tandem_actor_protocol::call::{ActorCall, ActorOptions, ActorSpec, Arg, CallOptions, TaskOptions, TaskSpec};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::node::{Hello, ToNode};
use tandem_actor_protocol::peer::{PeerBody, PeerMessage};
use tandem_actor_protocol::placement::BundleId;
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::value::{Format, Value};
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, JobId, ObjectId, PROTOCOL, ProcessNumber, WorkerId};
use tandem_node::{Action, DriverWork, Event, ExitCause, LeaseGrant, Node, NodeConfig, Timestamp};

pub(crate) const WORKER: WorkerId = WorkerId(1);
/// Another one.
pub(crate) const THERE: WorkerId = WorkerId(2);
pub(crate) const JOB: JobId = JobId(1);
pub(crate) const DRIVER: ExecutorId = ExecutorId(1);

/// See the module's header.
pub(crate) struct Bench {
    pub(crate) node: Node,
    now: u64,
    told: VecDeque<(ExecutorId, ToExecutor)>,
    /// What else was to be done.
    pub(crate) acted: Vec<Action>,
    /// Actors whose results may be held make checkpoints.
    pub(crate) saves: bool,
    /// How many ids each process has made.
    made: u64,
    /// The constructors of these have not returned yet.
    pub(crate) constructing: Vec<ActorId>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(NodeConfig::new(WORKER, "here"))
    }

    pub(crate) fn with(config: NodeConfig) -> Self {
        let node = Node::new(config);
        let (told, acted, constructing) = (VecDeque::new(), Vec::new(), Vec::new());
        let mut bench = Self { node, now: 0, told, acted, saves: false, made: 0, constructing };
        bench.feed(Event::DriverLaunched { job: JOB, attempt: 0, driver: DriverWork::Program(Vec::new()) });
        (1..=4).for_each(|lease| bench.grant(lease, None));
        bench
    }

    /// A processor of this worker, or of what a bundle has of it.
    pub(crate) fn grant(&mut self, lease: u64, bundle: Option<BundleId>) {
        self.grant_of(lease, Shape::one_cpu(), bundle);
    }

    /// A place of this worker with other resources.
    pub(crate) fn grant_of(&mut self, lease: u64, shape: Shape, bundle: Option<BundleId>) {
        self.grant_on(WORKER, lease, shape, bundle);
    }

    /// A place of a worker.
    pub(crate) fn grant_on(&mut self, host: WorkerId, lease: u64, shape: Shape, bundle: Option<BundleId>) {
        self.grant_between(WORKER, host, lease, shape, bundle);
    }

    /// A processor of this worker, for tasks of another.
    pub(crate) fn grant_to_peer(&mut self, lease: u64) {
        self.grant_between(THERE, WORKER, lease, Shape::one_cpu(), None);
    }

    fn grant_between(&mut self, owner: WorkerId, host: WorkerId, lease: u64, shape: Shape, bundle: Option<BundleId>) {
        let (owner_address, host_address) = (String::new(), String::new());
        let grant = LeaseGrant { lease, job: JOB, owner, owner_address, host, host_address, shape, bundle };
        self.feed(Event::LeaseGranted(grant));
    }

    /// A process is killed.
    pub(crate) fn dies(&mut self, executor: ExecutorId) {
        self.feed(Event::ExecutorGone { executor, cause: ExitCause::Signalled(9) });
    }

    /// The node of another worker says something.
    pub(crate) fn hear(&mut self, worker: WorkerId, body: PeerBody) {
        self.feed(Event::FromPeer { worker, message: PeerMessage { job: JOB, body } });
    }

    /// What was said to the nodes of other workers.
    pub(crate) fn said(&self) -> impl Iterator<Item = &PeerBody> {
        self.acted.iter().filter_map(|action| match action {
            Action::SendPeer { message, .. } => Some(&message.body),
            _ => None,
        })
    }

    pub(crate) fn feed(&mut self, event: Event) {
        self.now += 1;
        for action in self.node.handle(Timestamp::from_ms(self.now), event) {
            match action {
                Action::StartExecutor { executor, .. } => {
                    let hello = Hello { protocol: PROTOCOL, version: String::new(), pid: 1, functions: Vec::new() };
                    self.say(executor, ToNode::Hello(hello));
                }
                Action::Send { executor, message: ToExecutor::Start(start) | ToExecutor::StartHeld(start) }
                    if !self.constructing.contains(&start.actor) =>
                {
                    if self.saves {
                        self.say(executor, ToNode::NoCheckpoint { actor: start.actor, outcome: Ok(()) });
                    }
                    let attempt = start.attempt;
                    let outcome = Ok(vec![Value::inline(Format::Bytes, &b"()"[..])]);
                    self.say(executor, ToNode::Done { call: start.actor.creation(), attempt, outcome });
                }
                Action::Send { executor, message } => self.told.push_back((executor, message)),
                other => self.acted.push(other),
            }
        }
    }

    /// Some time passes.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.now += ms;
        self.feed(Event::Tick);
    }

    pub(crate) fn say(&mut self, executor: ExecutorId, message: ToNode) {
        self.feed(Event::FromExecutor { executor, message });
    }

    pub(crate) fn next_id(&mut self, executor: ExecutorId) -> CallId {
        self.made += 1;
        CallId(ProcessNumber(executor.0 as u32).object(WORKER, self.made).0)
    }

    /// An actor in a process that it shares with others.
    pub(crate) fn spawn(&mut self, class: &str, concurrency: u32) -> ActorId {
        let actor = ActorId(self.next_id(DRIVER).0);
        self.spawn_as(actor, class, ActorOptions { light: true, concurrency, ..ActorOptions::default() });
        actor
    }

    /// This one, that is to live like this.
    pub(crate) fn spawn_as(&mut self, actor: ActorId, class: &str, options: ActorOptions) {
        let spec = ActorSpec { actor, class: class.to_owned(), args: Vec::new(), parent: None, options };
        self.say(DRIVER, ToNode::Spawn(spec));
    }

    /// A call of an actor, which begins unless the actor is at another.
    pub(crate) fn call(&mut self, from: ExecutorId, actor: ActorId, method: &str) -> CallId {
        let call = self.next_id(from);
        let method = method.to_owned();
        self.say(from, ToNode::Call(ActorCall { call, actor, method, args: Vec::new(), returns: 1, parent: None }));
        call
    }

    /// A call of a method that is in a group or yields items.
    pub(crate) fn call_with(
        &mut self,
        from: ExecutorId,
        actor: ActorId,
        args: Vec<Arg>,
        options: CallOptions,
    ) -> CallId {
        let call = self.next_id(from);
        let method = "m".to_owned();
        let message = ActorCall { call, actor, method, args, returns: 1, parent: None };
        self.say(from, ToNode::CallWith { call: message, options });
        call
    }

    pub(crate) fn submit(&mut self, function: &str, args: Vec<Arg>, options: Option<TaskOptions>) -> CallId {
        let call = self.next_id(DRIVER);
        let (function, options) = (function.to_owned(), options.map(Box::new));
        self.say(DRIVER, ToNode::Submit(TaskSpec { call, function, args, returns: 1, parent: None, options }));
        call
    }

    /// What processes were told.
    pub(crate) fn heard(&self) -> impl Iterator<Item = &ToExecutor> {
        self.told.iter().map(|(_, message)| message)
    }

    /// The same, with who was told.
    pub(crate) fn heard_by(&self) -> impl Iterator<Item = (ExecutorId, &ToExecutor)> {
        self.told.iter().map(|(executor, message)| (*executor, message))
    }

    fn sent_to(&self, call: CallId) -> Option<ExecutorId> {
        let sent = |(executor, message): &(ExecutorId, ToExecutor)| match message {
            ToExecutor::Call(run) | ToExecutor::Run(run) | ToExecutor::CallStream { run, .. } if run.call == call => {
                Some(*executor)
            }
            ToExecutor::Start(start) if start.actor.creation() == call => Some(*executor),
            _ => None,
        };
        self.told.iter().find_map(sent)
    }

    /// The tasks that processes were given, with the number of the attempt.
    pub(crate) fn runs(&self) -> Vec<(ExecutorId, CallId, u32)> {
        let run = |(executor, message): &(ExecutorId, ToExecutor)| match message {
            ToExecutor::Run(run) => Some((*executor, run.call, run.attempt)),
            _ => None,
        };
        self.told.iter().filter_map(run).collect()
    }

    /// Whether a process has a call or task.
    pub(crate) fn was_sent(&self, call: CallId) -> bool {
        self.sent_to(call).is_some()
    }

    /// The process that a call or task was sent to.
    pub(crate) fn at(&self, call: CallId) -> ExecutorId {
        self.sent_to(call).expect("it was sent")
    }

    /// A call waits for others and for nothing else.
    pub(crate) fn stuck(&mut self, call: CallId, on: &[CallId]) {
        let executor = self.at(call);
        let objects: Vec<ObjectId> = on.iter().map(|call| call.object(0)).collect();
        self.say(executor, ToNode::Retain(objects.clone()));
        self.say(executor, ToNode::Watch { objects: objects.clone(), fetch: true });
        self.say(executor, ToNode::Stuck { call, objects });
    }

    pub(crate) fn done(&mut self, call: CallId) {
        let outcome = Ok(vec![Value::inline(Format::Bytes, &b"1"[..])]);
        self.say(self.at(call), ToNode::Done { call, attempt: 0, outcome });
    }

    /// The failure that was told in place of an object.
    pub(crate) fn failure(&self, object: CallId) -> Option<Failure> {
        let told = |(_, message): &(ExecutorId, ToExecutor)| match message {
            ToExecutor::Value { object: of, outcome: Err(failure) } if *of == object.object(0) => Some(failure.clone()),
            _ => None,
        };
        self.told.iter().find_map(told)
    }

    pub(crate) fn told_none(&self) -> bool {
        !self.told.iter().any(|(_, message)| matches!(message, ToExecutor::Value { outcome: Err(_), .. }))
    }
}
