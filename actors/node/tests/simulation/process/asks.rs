//! Actors that ask each other, in rows: each asks the next one and waits for its answer. A row that comes back to an actor that waits is a
//! circle, and ends with that; no other does.

use tandem_actor_protocol::call::{ActorCall, ActorOptions, ActorSpec, Arg};
use tandem_actor_protocol::executor::Run;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Body, Format, Value};
use tandem_actor_protocol::{ActorId, CallId, ObjectId};

use super::{Process, number_value};
use crate::random::{Random, mix};

/// Of each driver.
const ROWS: u64 = 3;
/// The method of actors that ask.
pub(super) const ASK: &str = "ask";

/// A row that the driver has begun.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) answer: ObjectId,
    is_circle: bool,
    length: u64,
}

/// A call that waits for another's answer.
#[derive(Debug)]
pub(super) struct Asking {
    run: Run,
    answer: ObjectId,
}

impl Process {
    /// The driver has some rows of actors ask each other.
    pub(super) fn begin_rows(&mut self) {
        if !self.kinds.circles {
            return;
        }
        for row in 0..ROWS {
            let mut random = Random(mix(self.driver_seed ^ 0xa5c) ^ row);
            let count = 1 + random.below(4);
            let mut row: Vec<ActorId> = (0..count).map(|_| self.spawn_asking()).collect();
            let is_circle = random.chance(2);
            if is_circle {
                let again = row[random.below(count) as usize];
                row.push(again);
                // Nobody comes that far.
                row.extend(random.chance(2).then_some(row[0]));
            }
            let answer = self.ask(&row, None);
            let length = row.len() as u64;
            let frame = self.frame.as_mut().expect("it runs");
            frame.rows.push(Row { answer, is_circle, length });
        }
    }

    fn spawn_asking(&mut self) -> ActorId {
        let actor = ActorId(self.new_ids(1).0);
        let options = ActorOptions::default();
        self.say(ToNode::Spawn(ActorSpec { actor, class: "Asks".into(), args: Vec::new(), parent: None, options }));
        self.frame.as_mut().expect("it runs").actors.push(actor);
        actor
    }

    /// Asks the first of these, which is to ask the others.
    fn ask(&mut self, row: &[ActorId], parent: Option<CallId>) -> ObjectId {
        let bytes: Vec<u8> = row[1..].iter().flat_map(|actor| actor.0.to_le_bytes()).collect();
        let call = CallId(self.new_ids(1).0);
        let args = vec![Arg::Value(Value::inline(Format::Bytes, bytes))];
        self.say(ToNode::Call(ActorCall { call, actor: row[0], method: ASK.into(), args, returns: 1, parent }));
        call.object(0)
    }

    /// A call that is to ask others, or to answer.
    pub(super) fn begin_asking(&mut self, run: Run) {
        let Body::Inline { bytes, .. } = &run.args[0].body else { panic!("it is small") };
        let row = bytes.chunks_exact(16).map(|id| ActorId(u128::from_le_bytes(id.try_into().expect("an id"))));
        let row: Vec<ActorId> = row.collect();
        if row.is_empty() {
            let outcome = Ok(vec![number_value(1)]);
            return self.say(ToNode::Done { call: run.call, attempt: run.attempt, outcome });
        }
        let answer = self.ask(&row, Some(run.call));
        self.say(ToNode::Watch { objects: vec![answer], fetch: true });
        self.say(ToNode::Stuck { call: run.call, objects: vec![answer] });
        self.asking = Some(Asking { run, answer });
    }

    /// Whether a call here waits for this answer, which is there now.
    pub(super) fn is_answer(&self, object: ObjectId) -> bool {
        self.asking.as_ref().is_some_and(|asking| asking.answer == object)
    }

    /// Whether the call that waits for an answer here is this one.
    pub(super) fn is_asking(&self, call: CallId) -> bool {
        self.asking.as_ref().is_some_and(|asking| asking.run.call == call)
    }

    /// The call that waits for an answer ends: with one more than that, or as that has.
    pub(super) fn end_asking(&mut self, answer: Result<u64, Failure>) {
        let Some(Asking { run, answer: object }) = self.asking.take() else { return };
        let outcome = answer.map(|number| vec![number_value(number + 1)]);
        self.say(ToNode::Done { call: run.call, attempt: run.attempt, outcome });
        self.release(object);
    }

    /// A row has ended as it must.
    pub(super) fn check_row(&self, row: &Row, number: Option<u64>, failure: Option<&Failure>) {
        let Row { answer, is_circle, length } = *row;
        match failure.map(|failure| failure.kind) {
            None => assert!(!is_circle && number == Some(length), "{answer} is {number:?}"),
            Some(FailureKind::Deadlock) => assert!(is_circle, "{answer} is no circle: {failure:?}"),
            // Who was asked may have been lost.
            Some(kind) => assert!(self.kinds.losses, "{answer}: {kind:?}"),
        }
    }
}
