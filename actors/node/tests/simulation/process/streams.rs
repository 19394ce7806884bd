//! Streams: who yields items, and who takes them, all or some.
//! Invariant: the consumer is told of each item once, in order, and the producer is never past what the consumer has made room for.

use std::collections::{BTreeSet, VecDeque};

use tandem_actor_protocol::call::{ActorCall, Arg, CallOptions, TaskOptions, TaskSpec};
use tandem_actor_protocol::executor::Run;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{ActorId, CallId, ObjectId};

use super::calls::{group, method_in};
use super::{Frame, Memory, Process, Stage, number_value};
use crate::counts::{Count, Does};
use crate::plan::{Kinds, StreamPlan, item_number, stream_plan};
use crate::random::mix;

/// Bits of what tells one process from others.
const LIFE_BITS: u32 = 40;

/// What a consumer knows of its stream.
#[derive(Debug)]
pub(crate) struct Taking {
    pub(crate) call: CallId,
    seed: u64,
    plan: StreamPlan,
    /// Items that may be yielded, the next one first.
    items: VecDeque<ObjectId>,
    /// How many of these are there.
    there: usize,
    pub(super) taken: Vec<ObjectId>,
    /// It is that of an actor, all of whose items are from one life of it.
    of_actor: bool,
    /// What the task has returned.
    end: Option<Result<(), Failure>>,
    /// It was left before its end, or has failed: what is lost of it stays so.
    cut: bool,
    open: bool,
}

/// How far an attempt is that yields.
#[derive(Debug)]
pub(crate) struct Yielding {
    next: u64,
    plan: StreamPlan,
}

impl Taking {
    /// How many items were made room for, as long as more may be.
    pub(crate) fn wanted(&self) -> Option<u64> {
        self.open.then(|| (self.taken.len() + self.items.len()) as u64)
    }

    pub(super) fn has_news(&self) -> bool {
        self.there > 0 || self.end.is_some()
    }
}

impl Frame {
    /// Whether this is one of the items that it has taken.
    pub(super) fn has_taken(&self, object: ObjectId) -> bool {
        self.taking.as_ref().is_some_and(|taking| taking.taken.contains(&object))
    }

    /// Whether a step at a stream does more than wait.
    pub(super) fn stream_goes_on(&self, until: impl Fn(CallId) -> u64) -> bool {
        match (&self.yielding, &self.run) {
            (Some(yielding), Some(run)) => yielding.next < until(run.call) || yielding.next == yielding.plan.count,
            _ => self.taking.as_ref().is_none_or(Taking::has_news),
        }
    }
}

impl Process {
    /// Calls an actor for a stream, if the driver or task has one of these.
    pub(super) fn begin_actor_stream(&mut self, actor: ActorId) {
        let frame = self.frame.as_ref().expect("it runs");
        let (seed, parent) = (mix(frame.seed ^ 0xac70), frame.run.as_ref().map(|run| run.call));
        if !self.kinds.streams || seed.is_multiple_of(3) {
            return;
        }
        let (call, group) = (CallId(self.new_ids(1).0), seed.is_multiple_of(2).then(group));
        let (method, args) = (method_in(group.as_ref()), vec![Arg::Value(number_value(seed))]);
        if self.kinds.counts {
            self.counted.push(Count::Made { actor, call, in_group: group.is_some(), does: Does::Yield });
        }
        let message = ActorCall { call, actor, method, args, returns: 1, parent };
        self.say(ToNode::CallWith { call: message, options: CallOptions { group, stream: true } });
        self.take_items_of(call, seed, true);
    }

    /// Submits a stream, if this call has one.
    pub(super) fn begin_stream(&mut self) {
        let frame = self.frame.as_mut().expect("it runs");
        if frame.taking.is_some() {
            frame.stage = Stage::Stream;
            return;
        }
        let seed = mix(frame.seed ^ 0x57ea);
        let has_one = self.kinds.streams && (frame.run.is_none() || frame.depth > 0 && seed.is_multiple_of(3));
        if !has_one {
            return self.watch();
        }
        let parent = frame.run.as_ref().map(|run| run.call);
        let call = CallId(self.new_ids(1).0);
        let options = TaskOptions { retries: 10_000, spread: seed.is_multiple_of(2), ..TaskOptions::default() };
        let args = vec![Arg::Value(number_value(seed))];
        let task = TaskSpec { call, function: "s".into(), args, returns: 1, parent, options: Some(Box::new(options)) };
        self.say(ToNode::SubmitStream { task, bundle: None });
        self.take_items_of(call, seed, false);
        self.frame.as_mut().expect("it runs").stage = Stage::Stream;
    }

    fn take_items_of(&mut self, call: CallId, seed: u64, of_actor: bool) {
        let plan = stream_plan(seed, self.kinds);
        let items: VecDeque<ObjectId> = (0..plan.window).map(|_| self.new_ids(1)).collect();
        self.say(ToNode::WantItems { call, items: items.iter().copied().collect() });
        self.say(ToNode::Watch { objects: vec![call.object(0)], fetch: true });
        let taken = Vec::new();
        let taking = Taking { call, seed, plan, items, there: 0, taken, of_actor, end: None, cut: false, open: true };
        self.frame.as_mut().expect("it runs").taking = Some(taking);
    }

    /// The node says that items are there.
    pub(super) fn items_there(&mut self, objects: &[ObjectId]) {
        // Those of a stream that is dropped are said too.
        let Some(taking) = self.frame.as_mut().and_then(|frame| frame.taking.as_mut()).filter(|taking| taking.open)
        else {
            return;
        };
        for object in objects {
            assert!(!taking.taken.contains(object), "{object} came twice");
            if taking.items.contains(object) {
                assert!(taking.end.is_none(), "{object} came after the end");
                assert_eq!(taking.items.get(taking.there), Some(object), "items come in order");
                taking.there += 1;
            }
        }
    }

    /// The task has returned, which is told after its items.
    pub(super) fn stream_ended(&mut self, object: ObjectId, number: Option<u64>, failure: Option<&Failure>) {
        let Some(taking) = self.frame.as_mut().and_then(|frame| frame.taking.as_mut()) else { return };
        if taking.call.object(0) != object || !taking.open {
            return;
        }
        match failure {
            Some(failure) => {
                let has_begun = taking.taken.len() + taking.there > 0;
                // What is held of one may be undone before its items are here.
                let may_be_cut = taking.of_actor && self.kinds.cuts && (has_begun || self.kinds.counts);
                let expected = match failure.kind {
                    FailureKind::Returned => taking.plan.fails,
                    FailureKind::ActorGone => may_be_cut,
                    _ => false,
                };
                assert!(expected, "{failure}");
                taking.cut = true;
                taking.end = Some(Err(failure.clone()));
            }
            None => {
                assert_eq!(number, Some(taking.plan.count));
                taking.end = Some(Ok(()));
                if taking.of_actor && self.kinds.counts {
                    self.counted.push(Count::Ended { call: taking.call });
                }
            }
        }
    }

    pub(super) fn step_stream(&mut self, memory: &mut Memory) {
        let frame = self.frame.as_ref().expect("it runs");
        let call = frame.run.as_ref().map(|run| run.call);
        if !frame.stream_goes_on(|call| self.until(call)) {
            return self.block(call.expect("a driver does not step without news"));
        }
        if frame.yielding.is_some() { self.yield_one(memory) } else { self.take_one() }
    }

    fn take_one(&mut self) {
        let more = self.new_ids(1);
        let taking = self.frame.as_mut().and_then(|frame| frame.taking.as_mut()).expect("it takes");
        let call = taking.call;
        let leaves = taking.plan.leaves_after.is_some_and(|count| taking.taken.len() as u64 >= count);
        if leaves || taking.there == 0 {
            taking.cut |= leaves;
            let is_cut = matches!(&taking.end, Some(Err(failure)) if failure.kind == FailureKind::ActorGone);
            if !leaves && !is_cut {
                assert_eq!(taking.taken.len() as u64, taking.plan.count, "all items come before the end");
            }
            self.release(more);
            self.close_stream();
            return self.watch();
        }
        taking.there -= 1;
        let item = taking.items.pop_front().expect("it is there");
        taking.taken.push(item);
        taking.items.push_back(more);
        self.say(ToNode::WantItems { call, items: vec![more] });
    }

    /// Lets go of what was not taken.
    pub(super) fn close_stream(&mut self) {
        let Some(taking) = self.frame.as_mut().and_then(|frame| frame.taking.as_mut()).filter(|taking| taking.open)
        else {
            return;
        };
        taking.open = false;
        let (call, ended, items) = (taking.call, taking.end.is_some(), std::mem::take(&mut taking.items));
        if !ended {
            self.say(ToNode::Cancel { call, force: call.0.is_multiple_of(2) });
        }
        items.into_iter().chain([call.object(0)]).for_each(|object| self.release(object));
    }

    /// What was taken is what was yielded. An item that is lost when its task is no more stays so, as does one whose task is cancelled
    /// before it has yielded it again.
    pub(super) fn check_items(&self, frame: &Frame) {
        let Some(taking) = &frame.taking else { return };
        let may_lose = taking.cut || self.kinds.lossy || taking.of_actor && self.kinds.cuts;
        let mut lives = BTreeSet::new();
        for (index, item) in (0..).zip(&taking.taken) {
            let read = &frame.values[item];
            let is_lost = |why: &Failure| matches!(why.kind, FailureKind::ObjectLost | FailureKind::Cancelled);
            let lost = may_lose && read.failure.as_ref().is_some_and(is_lost);
            let life = read.number.map(|number| number ^ item_number(taking.seed, index));
            let right = life.is_some_and(|life| if taking.of_actor { life >> LIFE_BITS == 0 } else { life == 0 });
            assert!(right || lost, "item {index} of {}: {read:?}", taking.call);
            lives.extend(life);
        }
        assert!(lives.len() <= 1, "{} has items of {lives:?}", taking.call);
    }

    /// Begins a task that yields.
    pub(super) fn begin_yielding(&mut self, run: Run, seed: u64) {
        let plan = crate::plan::plan(seed, 0, Kinds { fails: false, ..self.kinds });
        let yielding = Yielding { next: 0, plan: stream_plan(seed, self.kinds) };
        let frame = Frame { yielding: Some(yielding), stage: Stage::Stream, ..Frame::new(Some(run), seed, 0, plan) };
        self.frame = Some(frame);
    }

    /// Up to where a call may yield.
    pub(crate) fn until(&self, call: CallId) -> u64 {
        self.wanted.get(&call).and_then(|wanted| wanted.last()).map_or(0, |(_, end)| *end)
    }

    fn yield_one(&mut self, memory: &mut Memory) {
        let frame = self.frame.as_ref().expect("it runs");
        let (Some(Yielding { next: index, plan }), Some(run)) = (&frame.yielding, &frame.run) else { return };
        let (index, plan, call, attempt) = (*index, plan.clone(), run.call, run.attempt);
        if index == plan.count {
            let failure = || Failure::new(FailureKind::Returned, "", "planned");
            let outcome = if plan.fails { Err(failure()) } else { Ok(vec![number_value(plan.count)]) };
            return self.end_frame(outcome);
        }
        let wanted = self.wanted[&call].iter().any(|(first, end)| (*first..*end).contains(&index));
        if wanted {
            let life = run.actor.map_or(0, |_| self.worker.0 << 32 | u64::from(self.number.0));
            let number = item_number(frame.seed, index) ^ life;
            let Some(value) = self.build(memory, number, plan.large) else { return };
            self.say(ToNode::Yield { call, attempt, index, value });
            self.tidy();
        }
        if let Some(yielding) = self.frame.as_mut().and_then(|frame| frame.yielding.as_mut()) {
            yielding.next += 1;
        }
    }

    /// The stream that runs here, and how far it may go.
    pub(crate) fn yields(&self) -> Option<(CallId, u64)> {
        let frame = self.frame.as_ref().filter(|frame| frame.yielding.is_some())?;
        let call = frame.run.as_ref()?.call;
        Some((call, self.until(call)))
    }
}
