//! A process that runs programs, as the SDK would: it believes the node, and says everything in the order of the protocol.

mod asks;
mod calls;
mod counting;
mod ends;
mod steps;
mod streams;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tandem_actor_protocol::executor::{Role, Run, ToExecutor};
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::{Hello, ToNode};
use tandem_actor_protocol::value::{Body, Format, Value};
use tandem_actor_protocol::{
    ActorId, CallId, ExtentId, ObjectId, PROTOCOL, PlacementGroupId, ProcessNumber, SpaceLease, WorkerId,
};

use crate::counts::Count;
use crate::memory::Memory;
use crate::plan::{FAILED, Kinds, Plan};
use asks::{Asking, Row};
use counting::Counter;
pub(crate) use streams::{Taking, Yielding};

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
    /// The last call of each caller that an actor here has seen, by method: those of a group have one of their own.
    seen: BTreeMap<(u128, String), CallId>,
    actor: Option<ActorId>,
    /// The call of the actor here that waits for the answer of another.
    asking: Option<Asking>,
    /// The actor, if it counts its calls.
    counter: Option<Counter>,
    /// What is to be told of such actors.
    pub(crate) counted: Vec<Count>,
    /// Which items are wanted of the streams that were sent here.
    wanted: BTreeMap<CallId, Vec<(u64, u64)>>,
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
    /// Rows of actors that ask each other.
    rows: Vec<Row>,
    /// Actors that count, and calls of them.
    counters: Vec<ActorId>,
    counting: Vec<ObjectId>,
    /// What was read, by object.
    values: BTreeMap<ObjectId, Read>,
    waits: BTreeSet<ObjectId>,
    retained: Vec<ObjectId>,
    pinned: Vec<ObjectId>,
    /// The stream that it takes items of.
    pub(crate) taking: Option<Taking>,
    /// What it does if it yields items.
    yielding: Option<Yielding>,
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
    /// Yields items, or takes them.
    Stream,
    Watch,
    Finish,
}

/// What the driver's placement group takes of one worker at most.
pub(crate) const GROUP_MILLI: u64 = 500;

const DRIVER_DEPTH: u32 = 3;

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
            asking: None,
            counter: None,
            counted: Vec::new(),
            wanted: BTreeMap::new(),
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
            Some(frame) if frame.stage == Stage::Stream => {
                let goes_on = frame.stream_goes_on(|call| self.until(call));
                let yields = frame.yielding.is_some();
                // An actor keeps its place while it waits.
                let lends = frame.run.as_ref().is_some_and(|run| run.actor.is_none());
                match frame.blocked {
                    true => goes_on && !frame.resumed,
                    false => !(yields && waits_for_room) && (goes_on || lends),
                }
            }
            Some(frame) if frame.blocked => frame.waits.is_empty() && !frame.resumed,
            Some(frame) if frame.stage == Stage::Watch || frame.stage == Stage::Args => frame.waits.is_empty(),
            Some(_) => !waits_for_room,
            None => !self.runs.is_empty() && !self.stopping && !waits_for_room && self.asking.is_none(),
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
            ToExecutor::RunStream { run, wanted } => {
                self.wanted.insert(run.call, wanted);
                self.runs.push_back(run);
            }
            ToExecutor::MayYield { call, until } => {
                let (_, end) = self.wanted.get_mut(&call).and_then(|wanted| wanted.last_mut()).expect("it was sent");
                assert!(*end < until, "it may go further");
                *end = until;
            }
            ToExecutor::Call(run) => self.take_call(run),
            ToExecutor::CallStream { run, until } => {
                self.wanted.insert(run.call, vec![(0, until)]);
                self.take_call(run);
            }
            ToExecutor::Start(start) | ToExecutor::StartHeld(start) => {
                if self.kinds.counts {
                    self.start_counter(memory, &start);
                }
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
                match outcome {
                    // Given before the node heard that the extent was given up.
                    Ok(lease) if self.extents.get(&lease.extent) == Some(&false) => self.asked_room = false,
                    Ok(lease) => {
                        assert_eq!(self.extents.get(&lease.extent), Some(&true), "it can write there");
                        self.room = Some((lease, 0));
                    }
                    // All that is there is in use: it asks again.
                    Err(failure) => {
                        assert!(self.may_be_full(&failure), "{failure}");
                        self.asked_room = false;
                    }
                }
            }
            ToExecutor::Extent { extent, writable, .. } => {
                self.extents.insert(extent, writable);
            }
            ToExecutor::GiveUp(extent) => {
                self.extents.remove(&extent);
            }
            ToExecutor::StopWriting(extent) => {
                self.extents.insert(extent, false);
                if self.room.is_some_and(|(lease, _)| lease.extent == extent) {
                    self.room = None;
                    self.asked_room = false;
                }
                self.say(ToNode::GaveUp(extent));
            }
            ToExecutor::EndActor(_) | ToExecutor::Shutdown => self.stopping = true,
            ToExecutor::Ready(objects) => self.items_there(&objects),
            ToExecutor::Found { .. } | ToExecutor::SqlDone { .. } => {}
        }
    }

    fn take_call(&mut self, run: Run) {
        assert_eq!(run.actor, self.actor);
        let lane = (run.call.0 >> 40, run.function.clone());
        let before = self.seen.insert(lane, run.call);
        assert!(before.is_none_or(|before| before < run.call), "{:?} after {before:?}", run.call);
        self.runs.push_back(run);
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
            self.cover();
        } else if self.frame.as_ref().is_some_and(|frame| frame.run.as_ref().is_some_and(|run| run.call == call)) {
            self.end_frame(failure);
        } else if self.is_asking(call) {
            self.end_asking(Err(Failure::new(FailureKind::Cancelled, "", "asked for")));
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

    /// Whether this is no more than an arena without room.
    fn may_be_full(&self, failure: &Failure) -> bool {
        self.kinds.extents > 0 && failure.kind == FailureKind::StoreFull
    }

    fn got(&mut self, memory: &Memory, object: ObjectId, outcome: Result<Value, Failure>) {
        if outcome.as_ref().is_err_and(|failure| self.may_be_full(failure) && failure.task.is_empty())
            && self.frame.as_ref().is_some_and(|frame| frame.waits.contains(&object))
        {
            return self.say(ToNode::Watch { objects: vec![object], fetch: true });
        }
        let read = match outcome {
            Ok(value) => {
                let number = self.read(memory, &value);
                if let Body::Shared { object: name, .. } = value.body {
                    // Where there is little room, items are not kept until the end.
                    let cramped = self.kinds.extents > 0;
                    match &mut self.frame {
                        Some(frame) if !(cramped && frame.has_taken(object)) => frame.pinned.push(name),
                        _ => self.say(ToNode::Unpin(vec![name])),
                    }
                }
                Read { number: Some(number), named: value.refs.first().copied(), failure: None }
            }
            Err(failure) => Read { number: None, named: None, failure: Some(failure) },
        };
        self.stream_ended(object, read.number, read.failure.as_ref());
        if self.is_answer(object) {
            return self.end_asking(read.number.ok_or_else(|| read.failure.expect("there is no value")));
        }
        let is_row = self.frame.as_ref().is_some_and(|frame| frame.rows.iter().any(|row| row.answer == object));
        assert!(is_row || !read.failure.as_ref().is_some_and(is_deadlock), "{object}: {read:?}");
        let Some(frame) = &mut self.frame else { return };
        if !frame.waits.remove(&object) {
            return;
        }
        let (named, number) = (read.named, read.number);
        frame.values.insert(object, read);
        self.counted(object, number);
        if let Some(named) = named {
            self.follow(named);
        }
        self.say_stuck();
    }

    /// Nothing but the objects that a call waits for can wake it.
    fn say_stuck(&mut self) {
        let Some(frame) = self.frame.as_ref().filter(|frame| frame.blocked && !frame.waits.is_empty()) else { return };
        let call = frame.run.as_ref().expect("drivers do not block").call;
        let objects = frame.waits.iter().copied().collect();
        self.say(ToNode::Stuck { call, objects });
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
            rows: Vec::new(),
            counters: Vec::new(),
            counting: Vec::new(),
            values: BTreeMap::new(),
            waits: BTreeSet::new(),
            retained: Vec::new(),
            pinned: Vec::new(),
            taking: None,
            yielding: None,
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

/// Whether it comes of a deadlock.
fn is_deadlock(failure: &Failure) -> bool {
    failure.kind == FailureKind::Deadlock || failure.cause.as_deref().is_some_and(is_deadlock)
}

fn number_value(number: u64) -> Value {
    Value::inline(Format::Bytes, number.to_le_bytes().to_vec())
}

fn run_depth(value: &Value) -> u32 {
    match &value.body {
        Body::Inline { bytes, .. } => u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes")),
        Body::Shared { .. } => 0,
    }
}
