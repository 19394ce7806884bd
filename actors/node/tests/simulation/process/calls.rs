//! What a call starts: objects, placement groups, tasks, actors and their calls.

use std::collections::BTreeMap;

use tandem_actor_protocol::call::{
    ActorCall, ActorOptions, ActorSpec, Arg, CallOptions, ConcurrencyGroup, TaskOptions, TaskSpec,
};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::placement::{BundleId, PlacementGroup, Strategy};
use tandem_actor_protocol::resources::{CPUS, Shape};
use tandem_actor_protocol::value::{Body, Format, Value};
use tandem_actor_protocol::{ActorId, CallId, PlacementGroupId};

use super::counting::COUNTERS;
use super::{Frame, GROUP_MILLI, Memory, Process, Stage, number_value};
use crate::plan::{Dependency, digest, put_number};

const ACTOR_CALLS: usize = 8;
const BUNDLES: u32 = 2;
/// The stream of an actor is between its calls.
const STREAM_BEHIND: usize = 4;

impl Process {
    pub(super) fn put(&mut self, memory: &mut Memory) {
        self.make_group();
        self.make_counters();
        let frame = self.frame.as_ref().expect("it runs");
        let (puts, seed, driver) = (frame.plan.puts, frame.seed, frame.run.is_none());
        if puts {
            let large = self.kinds.large && (seed.is_multiple_of(2) || (driver && self.kinds.readers > 0));
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

    pub(super) fn submit(&mut self, index: usize) {
        let frame = self.frame.as_ref().expect("it runs");
        let Some(child) = frame.plan.children.get(index).cloned() else {
            self.frame.as_mut().expect("it runs").stage = Stage::Actors(0);
            return;
        };
        let mut args = vec![Arg::Value(task_value(child.seed, frame.depth.saturating_sub(1), &frame.counters))];
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

    /// The driver makes the actors that count before all tasks that may call them.
    fn make_counters(&mut self) {
        let frame = self.frame.as_ref().expect("it runs");
        if !self.kinds.counts || frame.run.is_some() || !frame.counters.is_empty() {
            return;
        }
        let counters = (0..COUNTERS).map(|index| self.make_actor(index)).collect();
        self.frame.as_mut().expect("it runs").counters = counters;
    }

    pub(super) fn call_actor(&mut self, index: usize) {
        if self.call_counter(index) {
            self.frame.as_mut().expect("it runs").stage = Stage::Actors(index + 1);
            return;
        }
        let frame = self.frame.as_ref().expect("it runs");
        let driver = frame.run.is_none();
        if !driver || self.kinds.counts || !self.kinds.actors {
            return self.begin_stream();
        }
        if index == ACTOR_CALLS {
            self.begin_rows();
            return self.begin_stream();
        }
        let parent = None;
        if index < 2 {
            self.make_actor(index);
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
        // Some are in a group, which keeps an order of its own.
        let group = (index % 4 == 3).then(group);
        let message = ActorCall { call, actor, method: method_in(group.as_ref()), args, returns: 1, parent };
        self.say(match group {
            Some(_) => ToNode::CallWith { call: message, options: CallOptions { group, stream: false } },
            None => ToNode::Call(message),
        });
        let frame = self.frame.as_mut().expect("it runs");
        frame.actor_calls.push((call.object(0), digest(&numbers)));
        frame.stage = Stage::Actors(index + 1);
        if index == STREAM_BEHIND {
            self.begin_actor_stream(actor);
        }
    }

    fn make_actor(&mut self, index: usize) -> ActorId {
        let id = ActorId(self.new_ids(1).0);
        let options = ActorOptions {
            max_restarts: 1_000_000,
            retry_calls: true,
            light: false,
            name: if index == 0 { "one".into() } else { String::new() },
            ..ActorOptions::default()
        };
        let actor = ActorSpec { actor: id, class: "A".into(), args: Vec::new(), parent: None, options };
        self.say(match frame_group(&self.frame, index as u64 * 3) {
            Some(bundle) => ToNode::SpawnIn { actor, bundle },
            None => ToNode::Spawn(actor),
        });
        self.frame.as_mut().expect("it runs").actors.push(id);
        id
    }

    pub(super) fn watch(&mut self) {
        let frame = self.frame.as_mut().expect("it runs");
        let mut objects = Vec::new();
        for (child, object) in frame.plan.children.clone().iter().zip(frame.children.clone()) {
            if child.waits && !child.cancels {
                objects.push(object);
            }
        }
        objects.extend(frame.actor_calls.iter().map(|(object, _)| *object));
        objects.extend(frame.rows.iter().map(|row| row.answer));
        objects.extend(&frame.counting);
        objects.extend(frame.taking.iter().flat_map(|taking| taking.taken.iter().copied()));
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
}

/// One of an actor that takes its calls one at a time.
pub(super) fn group() -> ConcurrencyGroup {
    ConcurrencyGroup { name: "some".to_owned(), concurrency: 1 }
}

/// The method of that group.
pub(super) fn method_in(group: Option<&ConcurrencyGroup>) -> String {
    group.map_or("m", |group| group.name.as_str()).to_owned()
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

fn task_value(seed: u64, depth: u32, counters: &[ActorId]) -> Value {
    let mut bytes = seed.to_le_bytes().to_vec();
    bytes.extend(depth.to_le_bytes());
    counters.iter().for_each(|actor| bytes.extend(actor.0.to_le_bytes()));
    Value::inline(Format::Bytes, bytes)
}

/// The actors that count, as a task is told of them.
pub(super) fn counters(value: &Value) -> Vec<ActorId> {
    let Body::Inline { bytes, .. } = &value.body else { return Vec::new() };
    let ids = bytes[12..].chunks_exact(16);
    ids.map(|id| ActorId(u128::from_le_bytes(id.try_into().expect("sixteen bytes")))).collect()
}
