//! Some nodes, the links between them, and processes that do what a test says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tandem_actor_protocol::call::{ActorCall, ActorOptions, ActorSpec, Arg, TaskOptions, TaskSpec};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::{Hello, ToNode};
use tandem_actor_protocol::peer::{PeerBody, PeerMessage};
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::value::{Format, Value};
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, JobId, ObjectId, PROTOCOL, ProcessNumber, WorkerId};
use tandem_node::{Action, DriverWork, Event, LeaseGrant, Node, NodeConfig, Timestamp};

const JOB: JobId = JobId(1);
/// Its worker is the first one.
pub(crate) const DRIVER: Process = (WorkerId(1), ExecutorId(1));

/// A process of a worker.
pub(crate) type Process = (WorkerId, ExecutorId);

/// See the module's header.
pub(crate) struct Cluster {
    nodes: BTreeMap<WorkerId, Node>,
    links: BTreeMap<(WorkerId, WorkerId), VecDeque<PeerMessage>>,
    /// Links over which nothing comes for now.
    pub(crate) held_up: BTreeSet<(WorkerId, WorkerId)>,
    /// What came over links.
    pub(crate) came: Vec<PeerBody>,
    numbers: BTreeMap<Process, ProcessNumber>,
    told: Vec<(Process, ToExecutor)>,
    /// Actors whose constructors do not return by themselves.
    pub(crate) constructing: BTreeSet<ActorId>,
    now: u64,
    made: u64,
    leases: u64,
}

fn address(worker: WorkerId) -> String {
    format!("worker-{}:1", worker.0)
}

fn unit() -> Value {
    Value::inline(Format::Bytes, &b"()"[..])
}

impl Cluster {
    pub(crate) fn new(workers: u64) -> Self {
        let node = |worker: u64| {
            let worker = WorkerId(worker);
            let config = NodeConfig::new(worker, format!("worker-{}", worker.0));
            (worker, Node::new(NodeConfig { address: address(worker), ..config }))
        };
        let mut cluster = Self {
            nodes: (1..=workers).map(node).collect(),
            links: BTreeMap::new(),
            held_up: BTreeSet::new(),
            came: Vec::new(),
            numbers: BTreeMap::new(),
            told: Vec::new(),
            constructing: BTreeSet::new(),
            now: 0,
            made: 0,
            leases: 0,
        };
        let driver = DriverWork::Program(Vec::new());
        cluster.feed(DRIVER.0, Event::DriverLaunched { job: JOB, attempt: 0, driver });
        cluster
    }

    fn feed(&mut self, worker: WorkerId, event: Event) {
        let Some(node) = self.nodes.get_mut(&worker) else { return };
        for action in node.handle(Timestamp::from_ms(self.now), event) {
            match action {
                Action::StartExecutor { executor, .. } => {
                    let hello = Hello { protocol: PROTOCOL, version: String::new(), pid: 1, functions: Vec::new() };
                    self.tell((worker, executor), ToNode::Hello(hello));
                }
                Action::Send { executor, message } => self.hear((worker, executor), message),
                Action::SendPeer { worker: to, message } => {
                    self.links.entry((worker, to)).or_default().push_back(message);
                }
                _ => {}
            }
        }
    }

    fn hear(&mut self, process: Process, message: ToExecutor) {
        match &message {
            ToExecutor::Welcome(welcome) => _ = self.numbers.insert(process, welcome.process),
            ToExecutor::Start(start) if !self.constructing.contains(&start.actor) => {
                let (call, attempt) = (start.actor.creation(), start.attempt);
                self.tell(process, ToNode::Done { call, attempt, outcome: Ok(vec![unit()]) });
            }
            _ => {}
        }
        self.told.push((process, message));
    }

    fn tell(&mut self, (worker, executor): Process, message: ToNode) {
        self.feed(worker, Event::FromExecutor { executor, message });
    }

    /// A process says something, and all that follows from it comes about.
    pub(crate) fn say(&mut self, process: Process, message: ToNode) {
        self.tell(process, message);
        self.deliver();
    }

    /// Over which links something is on its way that is not held up.
    pub(crate) fn busy_links(&self) -> Vec<(WorkerId, WorkerId)> {
        let busy = self.links.iter().filter(|(link, queue)| !queue.is_empty() && !self.held_up.contains(link));
        busy.map(|(link, _)| *link).collect()
    }

    /// The next message of a link comes.
    pub(crate) fn deliver_one(&mut self, (from, to): (WorkerId, WorkerId)) {
        let message = self.links.get_mut(&(from, to)).and_then(VecDeque::pop_front).expect("it is on its way");
        self.came.push(message.body.clone());
        self.feed(to, Event::FromPeer { worker: from, message });
    }

    pub(crate) fn deliver(&mut self) {
        while let Some(link) = self.busy_links().first().copied() {
            self.deliver_one(link);
        }
    }

    /// Some time passes.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.pass(ms);
        self.deliver();
    }

    /// The same, and nothing comes meanwhile.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.now += ms;
        for worker in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.feed(worker, Event::Tick);
        }
    }

    /// A worker is gone.
    pub(crate) fn lose(&mut self, lost: WorkerId) {
        self.nodes.remove(&lost);
        self.links.retain(|(from, to), _| *from != lost && *to != lost);
        for worker in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.feed(worker, Event::PeerLost { worker: lost });
        }
        self.deliver();
    }

    fn next_id(&mut self, process: Process) -> CallId {
        self.made += 1;
        CallId(self.numbers[&process].object(process.0, self.made).0)
    }

    /// What only one worker has.
    fn shape_of(worker: WorkerId) -> Shape {
        Shape { milli: BTreeMap::from([(format!("worker-{}", worker.0), 1_000)]), ..Shape::nothing() }
    }

    fn grant(&mut self, owner: WorkerId, host: WorkerId, shape: Shape) {
        self.leases += 1;
        let grant = LeaseGrant {
            lease: self.leases,
            job: JOB,
            owner,
            owner_address: address(owner),
            host,
            host_address: address(host),
            shape,
            bundle: None,
        };
        self.feed(host, Event::LeaseGranted(grant.clone()));
        if owner != host {
            self.feed(owner, Event::LeaseGranted(grant));
        }
        self.deliver();
    }

    /// An actor that lives on this worker.
    pub(crate) fn spawn(&mut self, at: WorkerId, class: &str, concurrency: u32) -> ActorId {
        let actor = self.actor_id();
        self.spawn_as(actor, at, class, concurrency);
        actor
    }

    /// The id of an actor that the driver may make.
    pub(crate) fn actor_id(&mut self) -> ActorId {
        ActorId(self.next_id(DRIVER).0)
    }

    pub(crate) fn spawn_as(&mut self, actor: ActorId, at: WorkerId, class: &str, concurrency: u32) {
        let shape = Self::shape_of(at);
        let options = ActorOptions { concurrency, shape, spread: false, ..ActorOptions::default() };
        let spec = ActorSpec { actor, class: class.to_owned(), args: Vec::new(), parent: None, options };
        self.say(DRIVER, ToNode::Spawn(spec));
        self.grant(DRIVER.0, at, Self::shape_of(at));
    }

    /// A call of an actor, which begins unless the actor is at another.
    pub(crate) fn call(&mut self, from: Process, actor: ActorId, method: &str) -> CallId {
        let call = self.next_id(from);
        let method = method.to_owned();
        self.say(from, ToNode::Call(ActorCall { call, actor, method, args: Vec::new(), returns: 1, parent: None }));
        call
    }

    /// A task that runs on this worker.
    pub(crate) fn submit(&mut self, from: Process, at: WorkerId, function: &str) -> CallId {
        self.submit_with(from, at, function, Vec::new(), 0)
    }

    pub(crate) fn submit_with(
        &mut self,
        from: Process,
        at: WorkerId,
        function: &str,
        args: Vec<Arg>,
        timeout_ms: u64,
    ) -> CallId {
        let call = self.queue(from, at, function, args, timeout_ms);
        self.grant(from.0, at, Self::shape_of(at));
        call
    }

    /// A task that waits for a place on this worker.
    pub(crate) fn queue(
        &mut self,
        from: Process,
        at: WorkerId,
        function: &str,
        args: Vec<Arg>,
        timeout_ms: u64,
    ) -> CallId {
        let (call, function) = (self.next_id(from), function.to_owned());
        let options = TaskOptions { shape: Self::shape_of(at), timeout_ms, ..TaskOptions::default() };
        let options = Some(Box::new(options));
        self.say(from, ToNode::Submit(TaskSpec { call, function, args, returns: 1, parent: None, options }));
        call
    }

    /// The process that a call was given to last.
    pub(crate) fn at(&self, call: CallId) -> Process {
        self.given(call).expect("it was sent").0
    }

    pub(crate) fn was_sent(&self, call: CallId) -> bool {
        self.given(call).is_some()
    }

    fn given(&self, call: CallId) -> Option<(Process, u32)> {
        let given = |(process, message): &(Process, ToExecutor)| match message {
            ToExecutor::Call(run) | ToExecutor::Run(run) if run.call == call => Some((*process, run.attempt)),
            ToExecutor::Start(start) if start.actor.creation() == call => Some((*process, start.attempt)),
            _ => None,
        };
        self.told.iter().rev().find_map(given)
    }

    /// A call holds what others return, and waits for it and for nothing else. What follows from that is not delivered.
    pub(crate) fn begin_waiting(&mut self, call: CallId, on: &[CallId]) {
        let process = self.at(call);
        let objects: Vec<ObjectId> = on.iter().map(|call| call.object(0)).collect();
        self.tell(process, ToNode::Retain(objects.clone()));
        self.tell(process, ToNode::Watch { objects: objects.clone(), fetch: true });
        self.tell(process, ToNode::Stuck { call, objects });
    }

    pub(crate) fn stuck(&mut self, call: CallId, on: &[CallId]) {
        self.begin_waiting(call, on);
        self.deliver();
    }

    pub(crate) fn done(&mut self, call: CallId) {
        let (process, attempt) = self.given(call).expect("it was sent");
        self.say(process, ToNode::Done { call, attempt, outcome: Ok(vec![unit()]) });
    }

    /// What processes were told of the result of a call, and which.
    pub(crate) fn results(&self, call: CallId) -> Vec<(Process, Result<(), Failure>)> {
        let result = |(process, message): &(Process, ToExecutor)| match message {
            ToExecutor::Value { object, outcome } if *object == call.object(0) => {
                Some((*process, outcome.as_ref().map(|_| ()).map_err(Failure::clone)))
            }
            _ => None,
        };
        self.told.iter().filter_map(result).collect()
    }

    /// All deadlocks that processes were told of.
    pub(crate) fn deadlocks(&self) -> Vec<(Process, Failure)> {
        let deadlock = |(process, message): &(Process, ToExecutor)| match message {
            ToExecutor::Value { outcome: Err(failure), .. } if failure.kind == FailureKind::Deadlock => {
                Some((*process, failure.clone()))
            }
            _ => None,
        };
        self.told.iter().filter_map(deadlock).collect()
    }

    /// How often a worker has asked another what is stuck there.
    pub(crate) fn questions(&self) -> usize {
        self.came.iter().filter(|body| matches!(body, PeerBody::AskStalled { .. })).count()
    }
}
