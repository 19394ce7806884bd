//! A node as simple as it can be: it starts a process for tasks whenever all others are busy, one for each actor, and keeps
//! books of all objects, who holds them, and the shared memory they are in.

use std::collections::{HashMap, HashSet, VecDeque};

use tandem::{Failure, FailureKind};
use tandem_actor_protocol::call::{Arg, TaskSpec};
use tandem_actor_protocol::executor::{Role, Run, Start, ToExecutor};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Body, Value};
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, ExtentId, ObjectId};
use tandem_arena::{Allocator, ArenaConfig, ExtentFile, Holder, Published};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::executor::{Executor, Voice, hear};

type Outcome = Result<Value, Failure>;

pub(crate) struct Node {
    processes: Vec<Process>,
    heard: mpsc::UnboundedReceiver<(usize, ToNode)>,
    hears: mpsc::UnboundedSender<(usize, ToNode)>,
    objects: HashMap<ObjectId, Outcome>,
    /// Who wants to know of an object, and whether with its value.
    watchers: HashMap<ObjectId, Vec<(usize, bool)>>,
    /// Who holds which object.
    held: HashSet<(usize, ObjectId)>,
    /// Objects as arguments of calls that have not ended, and as parts of objects.
    named: Vec<ObjectId>,
    /// Work whose arguments are not there yet, or for which no process is free.
    waiting: VecDeque<Waiting>,
    running: HashMap<CallId, Running>,
    /// The items that may be yielded.
    streams: HashMap<CallId, Vec<ObjectId>>,
    actors: HashMap<ActorId, Place>,
    names: HashMap<String, ActorId>,
    memory: Allocator,
    /// Memory, and which process writes it.
    extents: HashMap<ExtentId, (ExtentFile, usize)>,
}

struct Process {
    child: tokio::process::Child,
    voice: Voice,
    listener: JoinHandle<()>,
    state: State,
    extents: HashSet<ExtentId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It waits for a task.
    Idle,
    /// It runs one.
    Busy,
    /// It runs one that waits.
    Blocked,
    /// It is not for tasks.
    Other,
}

/// How many tasks run at a time.
const SLOTS: usize = 2;

struct Place {
    process: usize,
    class: String,
}

#[derive(Clone)]
enum Waiting {
    Task(TaskSpec),
    Call { run: Run, args: Vec<Arg>, actor: ActorId },
    Start { start: Start, args: Vec<Arg>, name: String },
}

struct Running {
    returns: u32,
    args: Vec<ObjectId>,
    task: Option<TaskSpec>,
    process: usize,
}

impl Node {
    /// Starts a driver.
    pub(crate) async fn start(args: &[&str]) -> Self {
        let (hears, heard) = mpsc::unbounded_channel();
        let config = ArenaConfig { extent_bytes: 4 << 20, ..ArenaConfig::default() };
        let mut node = Self {
            processes: Vec::new(),
            heard,
            hears,
            objects: HashMap::new(),
            watchers: HashMap::new(),
            held: HashSet::new(),
            named: Vec::new(),
            waiting: VecDeque::new(),
            running: HashMap::new(),
            streams: HashMap::new(),
            actors: HashMap::new(),
            names: HashMap::new(),
            memory: Allocator::new(config),
            extents: HashMap::new(),
        };
        node.add(Role::Driver { args: args.iter().map(ToString::to_string).collect() }).await;
        node
    }

    async fn add(&mut self, role: Role) -> usize {
        let number = self.processes.len();
        let state = if role == Role::Tasks { State::Idle } else { State::Other };
        let executor = Executor::start(number as u32 + 1, role).await;
        let (child, voice, mut receiver) = executor.into_parts();
        let hears = self.hears.clone();
        let listener = tokio::spawn(async move {
            while let Some(message) = hear(&mut receiver).await {
                if hears.send((number, message)).is_err() {
                    return;
                }
            }
        });
        self.processes.push(Process { child, voice, listener, state, extents: HashSet::new() });
        number
    }

    /// Serves all processes until the driver has ended.
    pub(crate) async fn run(&mut self) -> Result<(), Failure> {
        loop {
            let (process, message) = self.heard.recv().await.expect("this node can be heard too");
            if let ToNode::DriverDone(outcome) = message {
                return outcome;
            }
            self.take(process, message).await;
            self.start_what_can().await;
        }
    }

    /// Ends all processes, and makes sure that they have let go of everything.
    pub(crate) async fn end(mut self) {
        for process in &self.processes {
            process.voice.say(ToExecutor::Shutdown).await;
        }
        for mut process in std::mem::take(&mut self.processes) {
            if matches!(process.state, State::Busy | State::Blocked) {
                let _ = process.child.start_kill();
            }
            process.child.wait().await.expect("our child");
            process.listener.await.expect("it ends with the link");
        }
        while let Ok((process, message)) = self.heard.try_recv() {
            if let ToNode::Release(objects) = message {
                objects.iter().for_each(|object| assert!(self.held.remove(&(process, *object)), "{object}"));
            }
        }
    }

    async fn take(&mut self, process: usize, message: ToNode) {
        match message {
            ToNode::Submit(task) => {
                (0..task.returns).for_each(|index| self.hold(process, task.call.object(index)));
                self.waiting.push_back(Waiting::Task(task));
            }
            ToNode::SubmitStream { task, .. } => {
                self.hold(process, task.call.object(0));
                self.streams.insert(task.call, Vec::new());
                self.waiting.push_back(Waiting::Task(task));
            }
            ToNode::WantItems { call, items } => {
                for item in &items {
                    self.hold(process, *item);
                    self.watchers.entry(*item).or_default().push((process, false));
                }
                let wanted = self.streams.entry(call).or_default();
                wanted.extend(items);
                let until = wanted.len() as u64;
                if let Some(running) = self.running.get(&call) {
                    self.say(running.process, ToExecutor::MayYield { call, until }).await;
                }
            }
            ToNode::Yield { call, index, value, .. } => {
                let item = self.streams[&call][index as usize];
                self.publish(process, &value);
                self.set(item, Ok(value)).await;
            }
            ToNode::Spawn(spec) => {
                self.hold(process, ObjectId(spec.actor.0));
                let start = Start {
                    actor: spec.actor,
                    attempt: 0,
                    class: spec.class,
                    args: Vec::new(),
                    checkpoint: None,
                    concurrency: spec.options.concurrency,
                };
                self.waiting.push_back(Waiting::Start { start, args: spec.args, name: spec.options.name });
            }
            ToNode::CallWith { call, options } => {
                if options.stream {
                    self.streams.insert(call.call, Vec::new());
                }
                Box::pin(self.take(process, ToNode::Call(call))).await;
            }
            ToNode::Call(call) => {
                (0..call.returns).for_each(|index| self.hold(process, call.call.object(index)));
                let run = Run {
                    call: call.call,
                    attempt: 0,
                    function: call.method,
                    actor: Some(call.actor),
                    args: Vec::new(),
                    returns: call.returns,
                    timeout_ms: 0,
                    environment: Default::default(),
                };
                self.waiting.push_back(Waiting::Call { run, args: call.args, actor: call.actor });
            }
            ToNode::Put { object, value } => {
                self.hold(process, object);
                self.publish(process, &value);
                self.set(object, Ok(value)).await;
            }
            ToNode::Watch { objects, fetch } => {
                for object in objects {
                    assert!(self.held.contains(&(process, object)), "{process} watches {object} without holding it");
                    self.watchers.entry(object).or_default().push((process, fetch));
                    self.tell(object).await;
                }
            }
            ToNode::Retain(objects) => {
                for object in objects {
                    assert!(self.held.insert((process, object)), "{process} holds {object} already");
                }
            }
            ToNode::Release(objects) => {
                for object in objects {
                    assert!(self.held.remove(&(process, object)), "{process} does not hold {object}");
                }
            }
            ToNode::Unpin(objects) => {
                for object in objects {
                    self.memory.unpin(holder(process), object).expect("it was pinned");
                }
            }
            ToNode::Blocked(_) => self.processes[process].state = State::Blocked,
            ToNode::Unblocked(call) => {
                self.processes[process].state = State::Busy;
                self.say(process, ToExecutor::Resume(call)).await;
            }
            ToNode::GaveBack(calls) => {
                for call in calls {
                    let task = self.running.remove(&call).and_then(|running| running.task).expect("a task");
                    self.waiting.push_front(Waiting::Task(task));
                }
            }
            ToNode::Done { call, outcome, .. } => self.done(process, call, outcome).await,
            ToNode::Cancel { call, .. } => self.cancel(call).await,
            ToNode::Kill { actor, .. } => {
                if let Some(place) = self.actors.get(&actor) {
                    self.say(place.process, ToExecutor::EndActor(actor)).await;
                }
            }
            ToNode::Find { request, name, .. } => {
                let actor = self.names.get(&name).map(|actor| (*actor, self.actors[actor].class.clone()));
                self.say(process, ToExecutor::Found { request, actor }).await;
            }
            ToNode::NeedSpace { bytes } => self.lease(process, bytes).await,
            ToNode::SpaceUsed(leases) => {
                leases.iter().for_each(|lease| self.memory.give_back(holder(process), *lease).expect("its own"));
            }
            ToNode::Began(_)
            | ToNode::Checkpoint { .. }
            | ToNode::NoCheckpoint { .. }
            | ToNode::ActorEnded(_)
            | ToNode::GaveUp(_)
            | ToNode::Stuck { .. } => {}
            ToNode::Hello(_)
            | ToNode::Sql(_)
            | ToNode::DriverDone(_)
            | ToNode::CreateGroup(_)
            | ToNode::RemoveGroup(_)
            | ToNode::SubmitIn { .. }
            | ToNode::SpawnIn { .. } => panic!("{message:?}"),
        }
    }

    fn hold(&mut self, process: usize, object: ObjectId) {
        assert!(self.held.insert((process, object)), "{process} made {object} twice");
    }

    async fn say(&self, process: usize, message: ToExecutor) {
        self.processes[process].voice.say(message).await;
    }

    async fn start_what_can(&mut self) {
        let mut later = VecDeque::new();
        while let Some(waiting) = self.waiting.pop_front() {
            let args = match &waiting {
                Waiting::Task(task) => &task.args,
                Waiting::Call { args, .. } | Waiting::Start { args, .. } => args,
            };
            let objects: Vec<ObjectId> = args
                .iter()
                .filter_map(|arg| if let Arg::Object(object) = arg { Some(*object) } else { None })
                .collect();
            let values: Result<Option<Vec<Value>>, Failure> = args
                .iter()
                .map(|arg| match arg {
                    Arg::Value(value) => Ok(Some(value.clone())),
                    Arg::Object(object) => self.objects.get(object).cloned().transpose(),
                })
                .collect();
            match values {
                Ok(None) => later.push_back(waiting),
                Ok(Some(values)) => self.begin(waiting, values, objects, &mut later).await,
                Err(cause) => self.fail(waiting, cause).await,
            }
        }
        self.waiting = later;
    }

    async fn fail(&mut self, waiting: Waiting, cause: Failure) {
        let failure =
            Failure { cause: Some(Box::new(cause)), ..Failure::new(FailureKind::Dependency, "", "no argument") };
        let (call, returns) = match waiting {
            Waiting::Task(task) => (task.call, task.returns),
            Waiting::Call { run, .. } => (run.call, run.returns),
            Waiting::Start { start, .. } => (start.actor.creation(), 1),
        };
        for index in 0..returns {
            self.set(call.object(index), Err(failure.clone())).await;
        }
    }

    async fn begin(
        &mut self,
        waiting: Waiting,
        args: Vec<Value>,
        objects: Vec<ObjectId>,
        later: &mut VecDeque<Waiting>,
    ) {
        match waiting {
            Waiting::Task(task) => {
                let Some(process) = self.free_process().await else { return later.push_back(Waiting::Task(task)) };
                self.named.extend(&objects);
                let running = Running { returns: task.returns, args: objects, task: Some(task.clone()), process };
                self.running.insert(task.call, running);
                self.processes[process].state = State::Busy;
                let TaskSpec { call, function, returns, .. } = task;
                let (attempt, timeout_ms, environment) = (0, 0, Default::default());
                let args = self.pinned(process, args).await;
                let run = Run { call, attempt, function, actor: None, args, returns, timeout_ms, environment };
                let message = match self.streams.get(&call) {
                    Some(items) => ToExecutor::RunStream { run, wanted: vec![(0, items.len() as u64)] },
                    None => ToExecutor::Run(run),
                };
                self.say(process, message).await;
            }
            Waiting::Call { run, args: spec, actor } => match self.actors.get(&actor).map(|place| place.process) {
                None => later.push_back(Waiting::Call { run, args: spec, actor }),
                Some(process) => {
                    self.named.extend(&objects);
                    let running = Running { returns: run.returns, args: objects, task: None, process };
                    self.running.insert(run.call, running);
                    let args = self.pinned(process, args).await;
                    let run = Run { args, ..run };
                    let message = match self.streams.get(&run.call) {
                        Some(items) => ToExecutor::CallStream { run, until: items.len() as u64 },
                        None => ToExecutor::Call(run),
                    };
                    self.say(process, message).await;
                }
            },
            Waiting::Start { start, name, .. } => {
                self.named.extend(&objects);
                let process = self.add(Role::Actor).await;
                let running = Running { returns: 1, args: objects, task: None, process };
                self.running.insert(start.actor.creation(), running);
                self.actors.insert(start.actor, Place { process, class: start.class.clone() });
                if !name.is_empty() {
                    self.names.insert(name, start.actor);
                }
                let args = self.pinned(process, args).await;
                self.say(process, ToExecutor::Start(Start { args, ..start })).await;
            }
        }
    }

    async fn free_process(&mut self) -> Option<usize> {
        let idle = self.processes.iter().position(|process| process.state == State::Idle);
        match idle {
            Some(process) => Some(process),
            None if self.processes.iter().filter(|process| process.state == State::Busy).count() < SLOTS => {
                Some(self.add(Role::Tasks).await)
            }
            None => None,
        }
    }

    async fn done(&mut self, process: usize, call: CallId, outcome: Result<Vec<Value>, Failure>) {
        if self.processes[process].state != State::Other {
            self.processes[process].state = State::Idle;
        }
        let running = self.running.remove(&call).expect("it ran");
        running.args.iter().for_each(|object| {
            let at = self.named.iter().position(|named| named == object).expect("it was named");
            self.named.swap_remove(at);
        });
        match outcome {
            Ok(values) => {
                assert_eq!(values.len(), running.returns as usize);
                for (index, value) in values.into_iter().enumerate() {
                    self.publish(process, &value);
                    self.set(call.object(index as u32), Ok(value)).await;
                }
            }
            Err(failure) => {
                for index in 0..running.returns {
                    self.set(call.object(index), Err(failure.clone())).await;
                }
            }
        }
    }

    async fn cancel(&mut self, call: CallId) {
        match self.running.get(&call) {
            Some(running) => self.say(running.process, ToExecutor::Cancel(call)).await,
            None => {
                let at =
                    self.waiting.iter().position(|waiting| matches!(waiting, Waiting::Task(task) if task.call == call));
                if let Some(Waiting::Task(task)) = at.and_then(|at| self.waiting.remove(at)) {
                    let failure = Failure::new(FailureKind::Cancelled, task.function, "cancelled");
                    for index in 0..task.returns {
                        self.set(call.object(index), Err(failure.clone())).await;
                    }
                }
            }
        }
    }

    async fn set(&mut self, object: ObjectId, outcome: Outcome) {
        if let Ok(value) = &outcome {
            self.named.extend(&value.refs);
        }
        self.objects.insert(object, outcome);
        self.tell(object).await;
    }

    async fn tell(&mut self, object: ObjectId) {
        let Some(outcome) = self.objects.get(&object).cloned() else { return };
        for (process, fetch) in self.watchers.remove(&object).unwrap_or_default() {
            if !fetch {
                self.say(process, ToExecutor::Ready(vec![object])).await;
                continue;
            }
            let outcome = match outcome.clone() {
                Ok(value) => Ok(self.pinned(process, vec![value]).await.remove(0)),
                Err(failure) => Err(failure),
            };
            self.say(process, ToExecutor::Value { object, outcome }).await;
        }
    }

    /// Leases memory to a process, which gets it with its first lease there.
    async fn lease(&mut self, process: usize, bytes: u64) {
        let leased = self.memory.lease(holder(process), bytes).expect("room");
        let extent = leased.lease.extent;
        if let Some(bytes) = leased.new_extent_bytes {
            self.extents.insert(extent, (ExtentFile::create(bytes).expect("memory"), process));
        }
        self.show(process, extent, true).await;
        self.say(process, ToExecutor::Space(Ok(leased.lease))).await;
    }

    async fn show(&mut self, process: usize, extent: ExtentId, writable: bool) {
        if self.processes[process].extents.insert(extent) {
            let (file, _) = &self.extents[&extent];
            let descriptor = if writable { file.for_writer() } else { file.for_reader() };
            let message = ToExecutor::Extent { extent, bytes: file.bytes(), writable };
            self.processes[process].voice.say_with(message, Some(descriptor.expect("a file"))).await;
        }
    }

    fn publish(&mut self, process: usize, value: &Value) {
        if let Body::Shared { object, location, .. } = value.body {
            let published = Published { object, location };
            self.memory.publish(holder(process), published).expect("it was built where it may be");
        }
    }

    /// Values as a process gets them: what is shared can be read there and is pinned.
    async fn pinned(&mut self, process: usize, values: Vec<Value>) -> Vec<Value> {
        for value in &values {
            if let Body::Shared { object, location, .. } = value.body {
                // By-value arguments are published with the call that has them.
                let writer = holder(self.extents[&location.extent].1);
                self.memory.publish(writer, Published { object, location }).expect("it is there");
                self.show(process, location.extent, false).await;
                self.memory.pin(holder(process), object).expect("it is there");
            }
        }
        values
    }
}

fn holder(process: usize) -> Holder {
    Holder::Executor(ExecutorId(process as u64))
}
