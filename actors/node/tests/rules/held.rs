//! Results of calls that are held where an actor lives, until a checkpoint covers them.

use tandem_actor_protocol::call::{ActorCall, ActorOptions, ActorSpec};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::{Hello, ToNode};
use tandem_actor_protocol::peer::{PeerBody, PeerMessage};
use tandem_actor_protocol::value::{Format, Value};
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, ObjectId, ProcessNumber, WorkerId};
use tandem_node::{Action, Event, ExitCause, LeaseGrant, Node, NodeConfig, Timestamp};

use crate::bench::{Bench, DRIVER, JOB, THERE, WORKER};

/// Makes checkpoints, and its calls are made again.
fn saver(bench: &mut Bench, max_pending_calls: u32) -> ActorId {
    bench.saves = true;
    let actor = ActorId(bench.next_id(DRIVER).0);
    let options =
        ActorOptions { light: true, max_restarts: 1, retry_calls: true, max_pending_calls, ..ActorOptions::default() };
    let class = "shop::Stock".to_owned();
    bench.say(DRIVER, ToNode::Spawn(ActorSpec { actor, class, args: Vec::new(), parent: None, options }));
    actor
}

fn call(bench: &mut Bench, actor: ActorId) -> CallId {
    let call = bench.call(DRIVER, actor, "put");
    bench.say(DRIVER, ToNode::Watch { objects: vec![call.object(0)], fetch: true });
    call
}

fn state() -> Value {
    Value::inline(Format::Bytes, &b"state"[..])
}

/// What the driver has got for a call.
fn got(bench: &Bench, call: CallId) -> Option<Result<(), FailureKind>> {
    bench.heard().find_map(|message| match message {
        ToExecutor::Value { object, outcome } if *object == call.object(0) => {
            Some(outcome.as_ref().map(|_| ()).map_err(|failure| failure.kind))
        }
        _ => None,
    })
}

fn attempts(bench: &Bench, call: CallId) -> Vec<u32> {
    let sent = |message: &ToExecutor| match message {
        ToExecutor::Call(run) if run.call == call => Some(run.attempt),
        _ => None,
    };
    bench.heard().filter_map(sent).collect()
}

fn end(bench: &mut Bench, executor: ExecutorId) {
    bench.feed(Event::ExecutorGone { executor, cause: ExitCause::Signalled(9) });
}

#[test]
fn a_result_is_seen_behind_the_checkpoint_that_covers_it() {
    let mut bench = Bench::new();
    let actor = saver(&mut bench, 10);
    let calls = [(); 3].map(|()| call(&mut bench, actor));
    let executor = bench.at(calls[0]);
    bench.done(calls[0]);
    bench.done(calls[1]);
    assert_eq!(calls.map(|call| got(&bench, call)), [None; 3]);
    bench.say(executor, ToNode::Checkpoint { actor, state: state() });
    assert_eq!(calls.map(|call| got(&bench, call)), [Some(Ok(())), Some(Ok(())), None]);
    bench.done(calls[2]);
    assert_eq!(got(&bench, calls[2]), None);
    bench.say(executor, ToNode::NoCheckpoint { actor, outcome: Ok(()) });
    assert_eq!(got(&bench, calls[2]), Some(Ok(())), "it has changed nothing");
}

#[test]
fn what_is_held_when_the_process_ends_is_made_again() {
    let mut bench = Bench::new();
    let actor = saver(&mut bench, 10);
    let [covered, held, runs] = [(); 3].map(|()| call(&mut bench, actor));
    let executor = bench.at(covered);
    bench.done(covered);
    bench.say(executor, ToNode::Checkpoint { actor, state: state() });
    bench.done(held);
    end(&mut bench, executor);
    assert_eq!([covered, held, runs].map(|call| attempts(&bench, call)), [vec![0], vec![0, 1], vec![0, 1]]);
    assert_eq!([covered, held, runs].map(|call| got(&bench, call)), [Some(Ok(())), None, None]);
}

#[test]
fn nothing_is_held_when_the_actor_does_not_start_again() {
    let mut bench = Bench::new();
    let actor = saver(&mut bench, 10);
    let [first, last] = [(); 2].map(|()| call(&mut bench, actor));
    bench.done(first);
    bench.say(DRIVER, ToNode::Kill { actor, at_once: true });
    assert_eq!([first, last].map(|call| got(&bench, call)), [Some(Ok(())), Some(Err(FailureKind::ActorGone))]);

    let actor = saver(&mut bench, 10);
    let before = call(&mut bench, actor);
    let executor = bench.at(before);
    end(&mut bench, executor);
    let again = call(&mut bench, actor);
    let outcome = Ok(vec![state()]);
    bench.say(bench.at(again), ToNode::Done { call: again, attempt: 0, outcome });
    assert_eq!(got(&bench, again), Some(Ok(())), "this start of it is the last one");
}

#[test]
fn calls_fail_of_which_no_checkpoint_can_be_made() {
    let mut bench = Bench::new();
    let actor = saver(&mut bench, 10);
    let first = call(&mut bench, actor);
    let executor = bench.at(first);
    bench.done(first);
    let why = Failure::new(FailureKind::StoreFull, "checkpoint", "no room");
    bench.say(executor, ToNode::NoCheckpoint { actor, outcome: Err(why) });
    assert_eq!(got(&bench, first), Some(Err(FailureKind::StoreFull)));
    let second = call(&mut bench, actor);
    bench.done(second);
    bench.say(executor, ToNode::Checkpoint { actor, state: state() });
    assert_eq!(got(&bench, second), Some(Ok(())));
}

#[test]
fn held_results_count_as_calls_that_wait() {
    let mut bench = Bench::new();
    let actor = saver(&mut bench, 2);
    let calls = [(); 2].map(|()| call(&mut bench, actor));
    let executor = bench.at(calls[0]);
    calls.iter().for_each(|call| bench.done(*call));
    let refused = call(&mut bench, actor);
    assert_eq!(got(&bench, refused), Some(Err(FailureKind::TooManyPending)));
    bench.say(executor, ToNode::Checkpoint { actor, state: state() });
    let taken = call(&mut bench, actor);
    assert!(bench.was_sent(taken) && calls.iter().all(|call| got(&bench, *call) == Some(Ok(()))));
}

/// The node of a worker where an actor of another one lives.
struct Host {
    node: Node,
    now: u64,
    executor: ExecutorId,
    said: Vec<PeerBody>,
    told: Vec<ToExecutor>,
}

const ACTOR: ActorId = ActorId(0x2_0000_0000_0000_0001);

impl Host {
    fn new(protocol: u16) -> Self {
        let node = Node::new(NodeConfig::new(WORKER, "here"));
        let mut host = Self { node, now: 0, executor: ExecutorId(0), said: Vec::new(), told: Vec::new() };
        let options = ActorOptions { max_restarts: 1, retry_calls: true, ..ActorOptions::default() };
        host.feed(Event::LeaseGranted(LeaseGrant {
            lease: 7,
            job: JOB,
            owner: THERE,
            owner_address: String::new(),
            host: WORKER,
            host_address: String::new(),
            shape: options.leased().into_owned(),
            bundle: None,
        }));
        let class = "shop::Stock".to_owned();
        let actor = Box::new(ActorSpec { actor: ACTOR, class, args: Vec::new(), parent: None, options });
        let (resolved, checkpoint) = (Vec::new(), None);
        host.hear(PeerBody::Start { lease: 7, actor, attempt: 0, resolved, checkpoint });
        host.say(ToNode::Hello(Hello { protocol, version: String::new(), pid: 1, functions: Vec::new() }));
        host
    }

    /// Its actor makes checkpoints and is there.
    fn started() -> Self {
        let mut host = Self::new(tandem_actor_protocol::PROTOCOL);
        host.say(ToNode::NoCheckpoint { actor: ACTOR, outcome: Ok(()) });
        host.done(ACTOR.creation());
        host.said.clear();
        host
    }

    fn feed(&mut self, event: Event) {
        self.now += 1;
        for action in self.node.handle(Timestamp::from_ms(self.now), event) {
            match action {
                Action::StartExecutor { executor, .. } => self.executor = executor,
                Action::Send { message, .. } => self.told.push(message),
                Action::SendPeer { message, .. } => self.said.push(message.body),
                _ => {}
            }
        }
    }

    fn hear(&mut self, body: PeerBody) {
        self.hear_from(THERE, body);
    }

    fn hear_from(&mut self, worker: WorkerId, body: PeerBody) {
        self.feed(Event::FromPeer { worker, message: PeerMessage { job: JOB, body } });
    }

    fn say(&mut self, message: ToNode) {
        self.feed(Event::FromExecutor { executor: self.executor, message });
    }

    fn call(&mut self, number: u64) -> CallId {
        self.call_from(THERE, number)
    }

    fn call_from(&mut self, caller: WorkerId, number: u64) -> CallId {
        self.call_for(caller, number, None)
    }

    /// A call that yields the items, if there are any.
    fn call_for(&mut self, caller: WorkerId, number: u64, items: Option<Vec<ObjectId>>) -> CallId {
        let call = CallId(ProcessNumber(3).object(caller, number).0);
        let (method, args) = ("put".to_owned(), Vec::new());
        let call_of = ActorCall { call, actor: ACTOR, method, args, returns: 1, parent: None };
        self.hear_from(
            caller,
            PeerBody::Call { call: call_of, attempt: 0, resolved: Vec::new(), start: 0, group: None, items },
        );
        call
    }

    fn done(&mut self, call: CallId) {
        self.say(ToNode::Done { call, attempt: 0, outcome: Ok(vec![state()]) });
    }

    fn save(&mut self) {
        self.say(ToNode::Checkpoint { actor: ACTOR, state: state() });
    }

    /// The calls of each checkpoint that the owner was sent, and what it was told besides.
    fn said(&mut self) -> Vec<Said> {
        let said = std::mem::take(&mut self.said).into_iter().filter_map(|body| match body {
            PeerBody::Checkpoint { state, replies, .. } => {
                Some(Said::Checkpoint(state.is_some(), replies.into_iter().map(|reply| reply.call).collect()))
            }
            PeerBody::Done { call, outcome, .. } => Some(Said::Done(call, outcome.err().map(|failure| failure.kind))),
            PeerBody::ActorLost { .. } => Some(Said::Lost),
            _ => None,
        });
        said.collect()
    }
}

#[derive(Debug, PartialEq)]
enum Said {
    Checkpoint(bool, Vec<CallId>),
    Done(CallId, Option<FailureKind>),
    Lost,
}

fn kept() -> PeerBody {
    PeerBody::Kept { actor: ACTOR, attempt: 0, outcome: Ok(()) }
}

#[test]
fn one_checkpoint_is_on_its_way_and_what_comes_meanwhile_goes_with_the_next() {
    let mut host = Host::started();
    let calls = [1, 2, 3].map(|number| host.call(number));
    for call in calls {
        host.done(call);
        host.save();
    }
    assert_eq!(host.said(), [Said::Checkpoint(true, vec![calls[0]])]);
    host.hear(kept());
    assert_eq!(host.said(), [Said::Checkpoint(true, calls[1..].to_vec())]);
    host.hear(kept());
    assert_eq!(host.said(), []);
}

#[test]
fn items_are_seen_at_once_and_the_end_of_their_stream_is_held() {
    let mut host = Host::started();
    let caller = WorkerId(9);
    let items: Vec<_> = (1..=3).map(|number| ProcessNumber(4).object(caller, number)).collect();
    let call = host.call_for(caller, 1, Some(items.clone()));
    for index in 0..2 {
        host.say(ToNode::Yield { call, attempt: 0, index, value: state() });
    }
    let yielded = |body: &PeerBody| if let PeerBody::Yielded { item, .. } = body { Some(*item) } else { None };
    assert_eq!(host.said.iter().filter_map(yielded).collect::<Vec<_>>(), items[..2]);
    host.done(call);
    assert_eq!(host.said(), []);
    host.save();
    let covers = |body: &PeerBody| match body {
        PeerBody::Checkpoint { replies, .. } => replies.iter().map(|reply| (reply.call, reply.yielded)).collect(),
        _ => Vec::new(),
    };
    assert_eq!(host.said.iter().flat_map(covers).collect::<Vec<_>>(), [(call, 2)]);
}

#[test]
fn what_is_covered_goes_to_the_owner_before_it_hears_that_the_process_is_gone() {
    let mut host = Host::started();
    let calls = [1, 2, 3, 4].map(|number| host.call(number));
    for call in &calls[..2] {
        host.done(*call);
        host.save();
    }
    host.done(calls[2]);
    host.said.clear();
    host.feed(Event::ExecutorGone { executor: host.executor, cause: ExitCause::Signalled(9) });
    let undone = Some(FailureKind::ProcessLost);
    assert_eq!(
        host.said(),
        [
            Said::Checkpoint(true, vec![calls[1]]),
            Said::Lost,
            Said::Done(calls[2], undone),
            Said::Done(calls[3], undone)
        ]
    );
}

#[test]
fn an_actor_ends_whose_checkpoint_the_owner_cannot_keep() {
    let mut host = Host::started();
    let calls = [1, 2].map(|number| host.call(number));
    host.done(calls[0]);
    host.save();
    host.done(calls[1]);
    host.said.clear();
    let outcome = Err(Failure::new(FailureKind::StoreFull, "", "no room"));
    host.hear(PeerBody::Kept { actor: ACTOR, attempt: 0, outcome });
    host.feed(Event::ExecutorGone { executor: host.executor, cause: ExitCause::Asked });
    // The owner tells of the first one.
    assert_eq!(host.said(), [Said::Lost, Said::Done(calls[1], Some(FailureKind::ProcessLost))]);
}

#[test]
fn callers_are_told_when_the_owner_is_lost() {
    let mut host = Host::started();
    let theirs = host.call(1);
    let others = [1, 2].map(|number| host.call_from(WorkerId(9), number));
    [theirs, others[0]].into_iter().for_each(|call| host.done(call));
    host.save();
    host.said.clear();
    host.feed(Event::PeerLost { worker: THERE });
    assert_eq!(host.said(), [Said::Done(others[0], Some(FailureKind::ActorGone))]);
    // It ends, whatever it says by then.
    host.done(others[1]);
    host.say(ToNode::NoCheckpoint { actor: ACTOR, outcome: Ok(()) });
    host.feed(Event::ExecutorGone { executor: host.executor, cause: ExitCause::Asked });
    assert_eq!(host.said(), [Said::Done(others[1], None)]);
}

#[test]
fn a_process_that_does_not_know_of_held_results_is_not_asked_to_hold_any() {
    let mut host = Host::new(2);
    assert!(matches!(host.told.last(), Some(ToExecutor::Start(_))), "{:?}", host.told);
    host.done(ACTOR.creation());
    let call = host.call(1);
    host.save();
    host.said.clear();
    host.done(call);
    assert_eq!(host.said(), [Said::Done(call, None)]);
}
