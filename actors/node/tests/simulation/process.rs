//! A process that runs programs, as the SDK would: it believes the node, and says everything in the order of the protocol.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tandem_actor_protocol::call::{ActorCall, ActorOptions, ActorSpec, Arg, TaskOptions, TaskSpec};
use tandem_actor_protocol::executor::{Role, Run, ToExecutor};
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::{Hello, ToNode};
use tandem_actor_protocol::placement::{BundleId, PlacementGroup, Strategy};
use tandem_actor_protocol::resources::{CPUS, Shape};
use tandem_actor_protocol::value::{Body, Format, Value};
use tandem_actor_protocol::{
    ActorId, CallId, ExtentId, Location, ObjectId, PROTOCOL, PlacementGroupId, ProcessNumber, SpaceLease, WorkerId,
};

use crate::plan::{Dependency, FAILED, Kinds, Out, Plan, digest, expected, plan, put_number};
use crate::random::Random;

/// What large values are, in bytes.
pub(crate) const LARGE: u64 = 70_000;

/// The memory of one worker: what was written where.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    written: BTreeMap<(ExtentId, u64), u64>,
}

impl Memory {
    pub(crate) fn write(&mut self, at: Location, number: u64) {
        self.written.retain(|(extent, offset), _| {
            *extent != at.extent || *offset + LARGE <= at.offset || at.offset + LARGE <= *offset
        });
        self.written.insert((at.extent, at.offset), number);
    }

    pub(crate) fn read(&self, at: Location) -> Option<u64> {
        self.written.get(&(at.extent, at.offset)).copied()
    }
}

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) worker: WorkerId,
    pub(crate) role: Option<Role>,
    number: ProcessNumber,
    next: u64,
    kinds: Kinds,
    /// Said, and not on the way yet.
    pub(crate) unflushed: Vec<ToNode>,
    runs: VecDeque<Run>,
    pub(crate) frame: Option<Frame>,
    extents: BTreeMap<ExtentId, bool>,
    room: Option<(SpaceLease, u64)>,
    asked_room: bool,
    /// How often this process itself has each object.
    held: BTreeMap<ObjectId, u32>,
    /// The last call of each caller that an actor here has seen.
    seen: BTreeMap<u128, CallId>,
    actor: Option<ActorId>,
    pub(crate) stopping: bool,
    pub(crate) driver_seed: u64,
}

/// One call that runs.
#[derive(Debug)]
pub(crate) struct Frame {
    run: Option<Run>,
    seed: u64,
    depth: u32,
    plan: Plan,
    stage: Stage,
    pub(crate) blocked: bool,
    resumed: bool,
    put: Option<ObjectId>,
    /// The driver's, and in which some of what it starts runs.
    group: Option<PlacementGroupId>,
    children: Vec<ObjectId>,
    actors: Vec<ActorId>,
    actor_calls: Vec<(ObjectId, u64)>,
    /// What was read, by object.
    values: BTreeMap<ObjectId, Read>,
    waits: BTreeSet<ObjectId>,
    retained: Vec<ObjectId>,
    pinned: Vec<ObjectId>,
}

#[derive(Debug, Clone)]
struct Read {
    number: Option<u64>,
    named: Option<ObjectId>,
    failure: Option<Failure>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Args,
    Put,
    Submit(usize),
    Actors(usize),
    Watch,
    Finish,
}

const DRIVER_DEPTH: u32 = 3;
const ACTOR_CALLS: usize = 8;
/// What the driver's placement group takes of one worker at most, and how many bundles it has.
pub(crate) const GROUP_MILLI: u64 = 500;
const BUNDLES: u32 = 2;

impl Process {
    pub(crate) fn new(worker: WorkerId, kinds: Kinds, driver_seed: u64) -> Self {
        let hello = Hello { protocol: PROTOCOL, version: "1".into(), pid: 1, functions: vec!["f".into()] };
        Self {
            worker,
            role: None,
            number: ProcessNumber(0),
            next: 0,
            kinds,
            unflushed: vec![ToNode::Hello(hello)],
            runs: VecDeque::new(),
            frame: None,
            extents: BTreeMap::new(),
            room: None,
            asked_room: false,
            held: BTreeMap::new(),
            seen: BTreeMap::new(),
            actor: None,
            stopping: false,
            driver_seed,
        }
    }

    /// Whether it executes a task right now.
    pub(crate) fn works(&self) -> bool {
        matches!(self.role, Some(Role::Tasks)) && self.frame.as_ref().is_some_and(|frame| !frame.blocked)
    }

    /// Whether a step of it would do something.
    pub(crate) fn can_step(&self) -> bool {
        let waits_for_room = self.asked_room && self.room.is_none();
        match &self.frame {
            Some(frame) if frame.blocked => frame.waits.is_empty() && !frame.resumed,
            Some(frame) if frame.stage == Stage::Watch || frame.stage == Stage::Args => frame.waits.is_empty(),
            Some(_) => !waits_for_room,
            None => !self.runs.is_empty() && !self.stopping,
        }
    }

    fn say(&mut self, message: ToNode) {
        self.unflushed.push(message);
    }

    fn new_ids(&mut self, count: u64) -> ObjectId {
        let object = self.number.object(self.worker, self.next);
        self.next += count;
        *self.held.entry(object).or_default() += 1;
        object
    }

    fn release(&mut self, object: ObjectId) {
        let count = self.held.get_mut(&object).expect("what is released is held");
        *count -= 1;
        if *count == 0 {
            self.held.remove(&object);
            self.say(ToNode::Release(vec![object]));
        }
    }

    fn retain(&mut self, object: ObjectId) {
        *self.held.entry(object).or_default() += 1;
        self.say(ToNode::Retain(vec![object]));
    }

    /// Takes what the node says.
    pub(crate) fn hear(&mut self, memory: &Memory, message: ToExecutor) {
        match message {
            ToExecutor::Welcome(welcome) => {
                self.number = welcome.process;
                if let Role::Driver { .. } = welcome.role {
                    self.start_driver();
                }
                self.role = Some(welcome.role);
            }
            ToExecutor::Run(run) => {
                self.runs.push_back(run);
            }
            ToExecutor::Call(run) => {
                assert_eq!(run.actor, self.actor);
                let lane = run.call.0 >> 40;
                let before = self.seen.insert(lane, run.call);
                assert!(before.is_none_or(|before| before < run.call), "{:?} after {before:?}", run.call);
                self.runs.push_back(run);
            }
            ToExecutor::Start(start) => {
                self.actor = Some(start.actor);
                let value = number_value(start.actor.0 as u64);
                let call = start.actor.creation();
                self.say(ToNode::Done { call, attempt: start.attempt, outcome: Ok(vec![value]) });
            }
            ToExecutor::Value { object, outcome } => self.got(memory, object, outcome),
            ToExecutor::Resume(call) => {
                // It may have been cancelled meanwhile.
                let of_call = |frame: &&mut Frame| frame.run.as_ref().is_some_and(|run| run.call == call);
                if let Some(frame) = self.frame.as_mut().filter(of_call) {
                    assert!(frame.blocked && frame.resumed);
                    frame.blocked = false;
                }
            }
            ToExecutor::Recall(count) => {
                let keep = self.runs.len().saturating_sub(count as usize);
                let back: Vec<Run> = self.runs.drain(keep..).collect();
                self.give_back(back);
            }
            ToExecutor::Cancel(call) => self.cancelled(call),
            ToExecutor::Space(outcome) => {
                let lease = outcome.expect("there is room");
                assert_eq!(self.extents.get(&lease.extent), Some(&true), "it can write there");
                self.room = Some((lease, 0));
            }
            ToExecutor::Extent { extent, writable, .. } => {
                self.extents.insert(extent, writable);
            }
            ToExecutor::GiveUp(extent) => {
                self.extents.remove(&extent);
                if self.room.is_some_and(|(lease, _)| lease.extent == extent) {
                    self.room = None;
                    self.asked_room = false;
                }
                self.say(ToNode::GaveUp(extent));
            }
            ToExecutor::EndActor(_) | ToExecutor::Shutdown => self.stopping = true,
            ToExecutor::Ready(_) | ToExecutor::Found { .. } | ToExecutor::SqlDone { .. } => {}
        }
    }

    fn give_back(&mut self, runs: Vec<Run>) {
        runs.iter().for_each(|run| self.unpin_run(run));
        self.say(ToNode::GaveBack(runs.iter().map(|run| run.call).collect()));
    }

    fn unpin_run(&mut self, run: &Run) {
        let shared = |value: &Value| match value.body {
            Body::Shared { object, .. } => Some(object),
            Body::Inline { .. } => None,
        };
        let names: Vec<ObjectId> = run.args.iter().filter_map(shared).collect();
        if !names.is_empty() {
            self.say(ToNode::Unpin(names));
        }
    }

    fn cancelled(&mut self, call: CallId) {
        let failure = Err(Failure::new(FailureKind::Cancelled, "", "asked for"));
        if let Some(at) = self.runs.iter().position(|run| run.call == call) {
            let run = self.runs.remove(at).expect("it is there");
            self.unpin_run(&run);
            self.say(ToNode::Done { call, attempt: run.attempt, outcome: failure });
        } else if self.frame.as_ref().is_some_and(|frame| frame.run.as_ref().is_some_and(|run| run.call == call)) {
            self.end_frame(failure);
        }
    }

    fn read(&self, memory: &Memory, value: &Value) -> u64 {
        match &value.body {
            Body::Inline { bytes, .. } => u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")),
            Body::Shared { location, .. } => {
                assert!(self.extents.contains_key(&location.extent), "{:?} was not mapped before", location.extent);
                memory.read(*location).expect("what is pinned is there")
            }
        }
    }

    fn got(&mut self, memory: &Memory, object: ObjectId, outcome: Result<Value, Failure>) {
        let read = match outcome {
            Ok(value) => {
                let number = self.read(memory, &value);
                if let Body::Shared { object: name, .. } = value.body {
                    match &mut self.frame {
                        Some(frame) => frame.pinned.push(name),
                        None => self.say(ToNode::Unpin(vec![name])),
                    }
                }
                Read { number: Some(number), named: value.refs.first().copied(), failure: None }
            }
            Err(failure) => Read { number: None, named: None, failure: Some(failure) },
        };
        let Some(frame) = &mut self.frame else { return };
        if !frame.waits.remove(&object) {
            return;
        }
        let named = read.named;
        frame.values.insert(object, read);
        if let Some(named) = named {
            self.follow(named);
        }
    }

    /// Reads an object that was found in a value.
    fn follow(&mut self, named: ObjectId) {
        self.retain(named);
        let frame = self.frame.as_mut().expect("it runs");
        frame.retained.push(named);
        if frame.values.contains_key(&named) {
            return;
        }
        if frame.waits.insert(named) {
            self.say(ToNode::Watch { objects: vec![named], fetch: true });
        }
    }

    fn start_driver(&mut self) {
        let mut plan = plan(self.driver_seed, 1, self.kinds);
        let mut random = Random(self.driver_seed ^ 77);
        for _ in 0..random.below(6) {
            let mut more = crate::plan::plan(random.next(), 1, self.kinds).children;
            more.truncate(3);
            more.iter_mut().for_each(|child| child.dependency = Dependency::None);
            plan.children.extend(more);
        }
        plan.nested = None;
        plan.fails = false;
        self.frame = Some(Frame::new(None, self.driver_seed, DRIVER_DEPTH, plan));
    }

    /// Does one thing.
    pub(crate) fn step(&mut self, memory: &mut Memory) {
        let Some(frame) = &mut self.frame else { return self.begin(memory) };
        if frame.blocked {
            frame.resumed = true;
            let call = frame.run.as_ref().expect("drivers do not block").call;
            return self.say(ToNode::Unblocked(call));
        }
        match frame.stage {
            Stage::Args => frame.stage = Stage::Put,
            Stage::Put => self.put(memory),
            Stage::Submit(index) => self.submit(index),
            Stage::Actors(index) => self.call_actor(index),
            Stage::Watch => frame.stage = Stage::Finish,
            Stage::Finish => self.finish(memory),
        }
    }

    fn begin(&mut self, memory: &mut Memory) {
        let Some(run) = self.runs.pop_front() else { return };
        if run.actor.is_some() {
            return self.answer(memory, run);
        }
        self.say(ToNode::Began(run.call));
        let header = self.read(memory, &run.args[0]);
        let (seed, depth) = (run_seed(&run.args[0], header), run_depth(&run.args[0]));
        let named: Vec<ObjectId> = run.args.iter().flat_map(|value| value.refs.clone()).collect();
        let plan = plan(seed, depth, self.kinds);
        let call = run.call;
        self.frame = Some(Frame::new(Some(run), seed, depth, plan));
        let waits = !named.is_empty();
        named.into_iter().for_each(|object| self.follow(object));
        if waits {
            self.block(call);
        }
    }

    fn block(&mut self, call: CallId) {
        self.say(ToNode::Blocked(call));
        let back: Vec<Run> = self.runs.drain(..).collect();
        if !back.is_empty() {
            self.give_back(back);
        }
        let frame = self.frame.as_mut().expect("it runs");
        frame.blocked = true;
        frame.resumed = false;
    }

    /// A call of the actor that lives here.
    fn answer(&mut self, memory: &Memory, run: Run) {
        let numbers: Vec<u64> = run.args.iter().map(|value| self.read(memory, value)).collect();
        let value = number_value(digest(&numbers));
        self.say(ToNode::Done { call: run.call, attempt: run.attempt, outcome: Ok(vec![value]) });
        self.unpin_run(&run);
        if run.call.0.is_multiple_of(3)
            && let Some(actor) = self.actor
        {
            self.say(ToNode::Checkpoint { actor, state: number_value(1) });
        }
    }

    /// A value, built in shared memory if it is large. None: there is no room yet.
    fn build(&mut self, memory: &mut Memory, number: u64, large: bool) -> Option<Value> {
        if !large {
            return Some(number_value(number));
        }
        let Some((lease, used)) = &mut self.room else {
            if !self.asked_room {
                self.asked_room = true;
                self.say(ToNode::NeedSpace { bytes: LARGE });
            }
            return None;
        };
        let location = Location { extent: lease.extent, offset: lease.offset + *used, length: LARGE };
        *used += LARGE.next_multiple_of(64);
        let (lease, used) = (*lease, *used);
        memory.write(location, number);
        let object = self.number.object(self.worker, self.next);
        self.next += 1;
        if used + LARGE.next_multiple_of(64) > lease.bytes {
            self.room = None;
            self.asked_room = false;
        }
        Some(Value { body: Body::Shared { format: Format::Bytes, object, location }, refs: Vec::new() })
    }

    /// Gives the rest of its room back once in a while.
    fn tidy(&mut self) {
        if let Some((lease, used)) = self.room
            && used > lease.bytes / 2
        {
            self.room = None;
            self.asked_room = false;
            self.say(ToNode::SpaceUsed(vec![lease]));
        }
    }

    fn put(&mut self, memory: &mut Memory) {
        self.make_group();
        let frame = self.frame.as_ref().expect("it runs");
        let (puts, seed) = (frame.plan.puts, frame.seed);
        if puts {
            let large = self.kinds.large && seed.is_multiple_of(2);
            let Some(value) = self.build(memory, put_number(seed), large) else { return };
            let object = self.new_ids(1);
            self.say(ToNode::Put { object, value });
            self.frame.as_mut().expect("it runs").put = Some(object);
            self.tidy();
        }
        self.frame.as_mut().expect("it runs").stage = Stage::Submit(0);
    }

    /// The driver makes a placement group. It may wait for that, or go on.
    fn make_group(&mut self) {
        let frame = self.frame.as_ref().expect("it runs");
        if !self.kinds.groups || frame.run.is_some() || frame.group.is_some() {
            return;
        }
        let group = PlacementGroupId(self.new_ids(1).0);
        let bundles = vec![share(GROUP_MILLI / u64::from(BUNDLES)); BUNDLES as usize];
        let (name, strategy, timeout_ms) = (String::new(), Strategy::Spread, 0);
        self.say(ToNode::CreateGroup(PlacementGroup { group, name, strategy, bundles, timeout_ms }));
        self.frame.as_mut().expect("it runs").group = Some(group);
    }

    fn submit(&mut self, index: usize) {
        let frame = self.frame.as_ref().expect("it runs");
        let Some(child) = frame.plan.children.get(index).cloned() else {
            self.frame.as_mut().expect("it runs").stage = Stage::Actors(0);
            return;
        };
        let mut args = vec![Arg::Value(task_value(child.seed, frame.depth.saturating_sub(1)))];
        match child.dependency {
            Dependency::None => {}
            Dependency::Before => args.push(Arg::Object(frame.children[index - 1])),
            Dependency::Put => args.extend(frame.put.map(Arg::Object)),
        }
        let parent = frame.run.as_ref().map(|run| run.call);
        let call = CallId(self.new_ids(1).0);
        let group = frame_group(&self.frame, child.seed);
        let shape = if group.is_some() { share(GROUP_MILLI / 4) } else { Shape::one_cpu() };
        let spread = child.seed.is_multiple_of(5);
        let options = Some(Box::new(TaskOptions { retries: 10_000, spread, shape, ..TaskOptions::default() }));
        let task = TaskSpec { call, function: "f".into(), args, returns: 1, parent, options };
        self.say(match group {
            Some(bundle) => ToNode::SubmitIn { task, bundle },
            None => ToNode::Submit(task),
        });
        if child.cancels {
            self.say(ToNode::Cancel { call, force: child.seed.is_multiple_of(2) });
        }
        let frame = self.frame.as_mut().expect("it runs");
        frame.children.push(call.object(0));
        frame.stage = Stage::Submit(index + 1);
    }

    fn call_actor(&mut self, index: usize) {
        let frame = self.frame.as_ref().expect("it runs");
        let driver = frame.run.is_none();
        if !driver || !self.kinds.actors || index == ACTOR_CALLS {
            return self.watch();
        }
        let parent = None;
        if index < 2 {
            let id = ActorId(self.new_ids(1).0);
            let options = ActorOptions {
                max_restarts: 1_000_000,
                retry_calls: true,
                light: false,
                name: if index == 0 { "one".into() } else { String::new() },
                ..ActorOptions::default()
            };
            let actor = ActorSpec { actor: id, class: "A".into(), args: Vec::new(), parent, options };
            self.say(match frame_group(&self.frame, index as u64 * 3) {
                Some(bundle) => ToNode::SpawnIn { actor, bundle },
                None => ToNode::Spawn(actor),
            });
            self.frame.as_mut().expect("it runs").actors.push(id);
        }
        let frame = self.frame.as_ref().expect("it runs");
        let actor = frame.actors[index % frame.actors.len()];
        let mut numbers = vec![frame.seed ^ index as u64];
        let mut args = vec![Arg::Value(number_value(numbers[0]))];
        if let (Some(put), true) = (frame.put, index.is_multiple_of(3)) {
            args.push(Arg::Object(put));
            numbers.push(put_number(frame.seed));
        }
        let call = CallId(self.new_ids(1).0);
        self.say(ToNode::Call(ActorCall { call, actor, method: "m".into(), args, returns: 1, parent }));
        let frame = self.frame.as_mut().expect("it runs");
        frame.actor_calls.push((call.object(0), digest(&numbers)));
        frame.stage = Stage::Actors(index + 1);
    }

    fn watch(&mut self) {
        let frame = self.frame.as_mut().expect("it runs");
        let mut objects = Vec::new();
        for (child, object) in frame.plan.children.clone().iter().zip(frame.children.clone()) {
            if child.waits && !child.cancels {
                objects.push(object);
            }
        }
        objects.extend(frame.actor_calls.iter().map(|(object, _)| *object));
        frame.waits.extend(objects.iter().copied());
        frame.stage = Stage::Watch;
        let call = frame.run.as_ref().map(|run| run.call);
        if objects.is_empty() {
            return;
        }
        self.say(ToNode::Watch { objects, fetch: true });
        if let Some(call) = call {
            self.block(call);
        }
    }

    fn finish(&mut self, memory: &mut Memory) {
        let frame = self.frame.as_ref().expect("it runs");
        let mut numbers = vec![frame.seed];
        if let Some(run) = &frame.run {
            for value in &run.args[1..] {
                numbers.push(self.read(memory, value));
                if let Some(named) = value.refs.first() {
                    frame.add(&mut numbers, *named);
                }
            }
        }
        for (child, object) in frame.plan.children.iter().zip(&frame.children) {
            if child.waits && !child.cancels {
                frame.add(&mut numbers, *object);
            }
        }
        if frame.run.is_none() {
            return self.finish_driver(&numbers);
        }
        let (large, nested, fails) = (frame.plan.large, frame.plan.nested, frame.plan.fails);
        let outcome = if fails {
            Err(Failure::new(FailureKind::Returned, "", "planned"))
        } else {
            let Some(mut value) = self.build(memory, digest(&numbers), large) else { return };
            let frame = self.frame.as_ref().expect("it runs");
            value.refs = nested.map(|index| frame.children[index]).into_iter().collect();
            Ok(vec![value])
        };
        self.tidy();
        self.end_frame(outcome);
    }

    fn end_frame(&mut self, outcome: Result<Vec<Value>, Failure>) {
        let frame = self.frame.take().expect("it runs");
        if let Some(run) = &frame.run {
            self.say(ToNode::Done { call: run.call, attempt: run.attempt, outcome });
            self.unpin_run(run);
        }
        self.let_go(frame);
    }

    fn let_go(&mut self, frame: Frame) {
        for object in frame.children.into_iter().chain(frame.put).chain(frame.retained) {
            self.release(object);
        }
        for (object, _) in frame.actor_calls {
            self.release(object);
        }
        if let Some(group) = frame.group {
            self.release(group.object());
            if frame.seed.is_multiple_of(2) {
                self.say(ToNode::RemoveGroup(group));
            }
        }
        for actor in frame.actors {
            self.release(actor.creation().object(0));
            self.say(ToNode::Kill { actor, at_once: actor.0.is_multiple_of(2) });
        }
        if !frame.pinned.is_empty() {
            self.say(ToNode::Unpin(frame.pinned));
        }
    }

    fn finish_driver(&mut self, numbers: &[u64]) {
        let frame = self.frame.take().expect("it runs");
        for (object, number) in &frame.actor_calls {
            assert_eq!(frame.values[object].number, Some(*number), "{:?}", frame.values[object].failure);
        }
        let mut must = vec![frame.seed];
        let put = Out { number: Some(put_number(frame.seed)), nested: None };
        let mut outs: Vec<Out> = Vec::new();
        for (index, child) in frame.plan.children.iter().enumerate() {
            let given = match child.dependency {
                Dependency::None => Vec::new(),
                Dependency::Before => vec![outs[index - 1].clone()],
                Dependency::Put => vec![put.clone()],
            };
            let out = expected(child.seed, DRIVER_DEPTH - 1, &given, self.kinds);
            if child.waits && !child.cancels {
                let got = frame.values.get(&frame.children[index]);
                let text = got.and_then(|read| read.failure.as_ref()).map(ToString::to_string);
                let mut sum = Vec::new();
                frame.add(&mut sum, frame.children[index]);
                let mut right = Vec::new();
                add_out(&mut right, &out);
                assert_eq!(sum, right, "child {index}: {text:?}");
                must.extend(right);
            }
            outs.push(out);
        }
        assert_eq!(numbers, must);
        self.let_go(frame);
        self.say(ToNode::DriverDone(Ok(())));
    }
}

fn add_out(numbers: &mut Vec<u64>, out: &Out) {
    numbers.push(out.number.unwrap_or(FAILED));
    if let Some(nested) = &out.nested {
        add_out(numbers, nested);
    }
}

impl Frame {
    fn new(run: Option<Run>, seed: u64, depth: u32, plan: Plan) -> Self {
        Self {
            run,
            seed,
            depth,
            plan,
            stage: Stage::Args,
            blocked: false,
            resumed: false,
            put: None,
            group: None,
            children: Vec::new(),
            actors: Vec::new(),
            actor_calls: Vec::new(),
            values: BTreeMap::new(),
            waits: BTreeSet::new(),
            retained: Vec::new(),
            pinned: Vec::new(),
        }
    }

    fn add(&self, numbers: &mut Vec<u64>, object: ObjectId) {
        let read = &self.values[&object];
        numbers.push(read.number.unwrap_or(FAILED));
        if let Some(named) = read.named {
            self.add(numbers, named);
        }
    }
}

/// A part of a processor.
fn share(milli: u64) -> Shape {
    Shape { milli: BTreeMap::from([(CPUS.to_owned(), milli)]), ..Shape::nothing() }
}

/// A third of what a frame with a group starts goes into its bundles.
fn frame_group(frame: &Option<Frame>, seed: u64) -> Option<BundleId> {
    let group = frame.as_ref()?.group.filter(|_| seed.is_multiple_of(3))?;
    Some(BundleId { group, index: (seed / 3 % u64::from(BUNDLES)) as u32 })
}

fn number_value(number: u64) -> Value {
    Value::inline(Format::Bytes, number.to_le_bytes().to_vec())
}

fn task_value(seed: u64, depth: u32) -> Value {
    let mut bytes = seed.to_le_bytes().to_vec();
    bytes.extend(depth.to_le_bytes());
    Value::inline(Format::Bytes, bytes)
}

fn run_seed(_value: &Value, number: u64) -> u64 {
    number
}

fn run_depth(value: &Value) -> u32 {
    match &value.body {
        Body::Inline { bytes, .. } => u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes")),
        Body::Shared { .. } => 0,
    }
}
