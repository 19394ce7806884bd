//! How a call ends: what it answers, what it lets go, and what a driver must have got.

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::Value;

use super::{DRIVER_DEPTH, Frame, Memory, Process};
use crate::plan::{Dependency, FAILED, Out, digest, expected, put_number};

impl Process {
    pub(super) fn finish(&mut self, memory: &mut Memory) {
        let frame = self.frame.as_ref().expect("it runs");
        self.check_items(frame);
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
        self.end_frame(outcome);
        self.tidy();
    }

    pub(super) fn end_frame(&mut self, outcome: Result<Vec<Value>, Failure>) {
        self.close_stream();
        let frame = self.frame.take().expect("it runs");
        if let Some(run) = &frame.run {
            self.say(ToNode::Done { call: run.call, attempt: run.attempt, outcome });
            self.unpin_run(run);
            self.count_stream();
        }
        self.let_go(frame);
    }

    fn let_go(&mut self, frame: Frame) {
        for object in frame.children.into_iter().chain(frame.put).chain(frame.retained) {
            self.release(object);
        }
        for object in frame.actor_calls.into_iter().map(|(object, _)| object).chain(frame.counting) {
            self.release(object);
        }
        for row in frame.rows {
            self.release(row.answer);
        }
        for item in frame.taking.into_iter().flat_map(|taking| taking.taken) {
            self.release(item);
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
        for object in &frame.counting {
            assert!(frame.values[object].number.is_some(), "{:?}", frame.values[object].failure);
        }
        for (object, number) in &frame.actor_calls {
            if self.kinds.lossy || frame.values[object].failure.as_ref().is_some_and(|why| self.may_be_full(why)) {
                continue;
            }
            assert_eq!(frame.values[object].number, Some(*number), "{:?}", frame.values[object].failure);
        }
        for row in &frame.rows {
            let read = &frame.values[&row.answer];
            self.check_row(row, read.number, read.failure.as_ref());
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
                assert!(self.kinds.lossy || sum == right, "child {index}: {sum:?} in place of {right:?}, {text:?}");
                must.extend(right);
            }
            outs.push(out);
        }
        assert!(self.kinds.lossy || numbers == must, "{numbers:?} in place of {must:?}");
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
