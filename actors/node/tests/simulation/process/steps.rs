//! What a call does from its start to its end, and calls of actors, which are answered at once.

use tandem_actor_protocol::executor::Run;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Body, Format, Value};
use tandem_actor_protocol::{CallId, Location, ObjectId};

use super::asks::ASK;
use super::calls::counters;
use super::{DRIVER_DEPTH, Frame, Memory, Process, Stage, number_value, run_depth};
use crate::plan::{Child, Dependency, digest, plan};
use crate::random::Random;

impl Process {
    pub(super) fn start_driver(&mut self) {
        let mut plan = plan(self.driver_seed, 1, self.kinds);
        let mut random = Random(self.driver_seed ^ 77);
        for _ in 0..random.below(6) {
            let mut more = crate::plan::plan(random.next(), 1, self.kinds).children;
            more.truncate(3);
            more.iter_mut().for_each(|child| child.dependency = Dependency::None);
            plan.children.extend(more);
        }
        plan.puts |= self.kinds.readers > 0;
        for _ in 0..self.kinds.readers {
            let seed = random.next();
            plan.children.push(Child { seed, dependency: Dependency::Put, waits: true, cancels: false });
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
            Stage::Stream => self.step_stream(memory),
            Stage::Watch => frame.stage = Stage::Finish,
            Stage::Finish => self.finish(memory),
        }
    }

    fn begin(&mut self, memory: &mut Memory) {
        let Some(run) = self.runs.pop_front() else { return };
        let yields = self.wanted.contains_key(&run.call);
        match run.actor {
            Some(_) if self.counter.is_some() && !yields => return self.count(memory, run),
            Some(_) if run.function == ASK => return self.begin_asking(run),
            Some(_) if !yields => return self.answer(memory, run),
            Some(_) => {}
            None => self.say(ToNode::Began(run.call)),
        }
        let seed = self.read(memory, &run.args[0]);
        if yields {
            self.cover();
            return self.begin_yielding(run, seed);
        }
        let depth = run_depth(&run.args[0]);
        let named: Vec<ObjectId> = run.args.iter().flat_map(|value| value.refs.clone()).collect();
        let plan = plan(seed, depth, self.kinds);
        let call = run.call;
        let counters = counters(&run.args[0]);
        self.frame = Some(Frame { counters, ..Frame::new(Some(run), seed, depth, plan) });
        let waits = !named.is_empty();
        named.into_iter().for_each(|object| self.follow(object));
        if waits {
            self.block(call);
        }
    }

    pub(super) fn block(&mut self, call: CallId) {
        self.say(ToNode::Blocked(call));
        let back: Vec<Run> = self.runs.drain(..).collect();
        if !back.is_empty() {
            self.give_back(back);
        }
        let frame = self.frame.as_mut().expect("it runs");
        frame.blocked = true;
        frame.resumed = false;
        self.say_stuck();
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
    pub(super) fn build(&mut self, memory: &mut Memory, number: u64, large: bool) -> Option<Value> {
        if !large {
            return Some(number_value(number));
        }
        let length = self.kinds.large_bytes;
        let Some((lease, used)) = &mut self.room else {
            if !self.asked_room {
                self.asked_room = true;
                self.say(ToNode::NeedSpace { bytes: length });
            }
            return None;
        };
        let location = Location { extent: lease.extent, offset: lease.offset + *used, length };
        *used += length.next_multiple_of(64);
        let (lease, used) = (*lease, *used);
        memory.write(location, number);
        let object = self.number.object(self.worker, self.next);
        self.next += 1;
        if used + length.next_multiple_of(64) > lease.bytes {
            self.room = None;
            self.asked_room = false;
        }
        Some(Value { body: Body::Shared { format: Format::Bytes, object, location }, refs: Vec::new() })
    }

    /// Gives the rest of its room back once in a while.
    pub(super) fn tidy(&mut self) {
        if let Some((lease, used)) = self.room
            && used > lease.bytes / 2
        {
            self.room = None;
            self.asked_room = false;
            self.say(ToNode::SpaceUsed(vec![lease]));
        }
    }
}
