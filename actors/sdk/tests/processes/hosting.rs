//! Processes for actors.

use tandem::{ActorHandle, FailureKind};
use tandem_actor_protocol::executor::{Role, Run, Start, ToExecutor};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Format, Value};
use tandem_actor_protocol::{ActorId, CallId, ObjectId};

use super::app::{CounterHandle, GateHandle, MeetingHandle, SaverHandle, ShelfHandle};
use super::executor::{Executor, foreign_object, only, read, run, value};

const ACTOR: ActorId = ActorId(100);

fn start(actor: ActorId, class: &str, args: Vec<Value>) -> Start {
    Start { actor, attempt: 0, class: class.to_owned(), args, checkpoint: None, concurrency: 1 }
}

fn call(call: u128, actor: ActorId, method: &str, args: Vec<Value>) -> ToExecutor {
    ToExecutor::Call(Run { actor: Some(actor), ..run(call, method, args) })
}

#[tokio::test]
async fn calls_happen_in_order_and_state_is_saved_before_it_is_seen() {
    let mut executor = Executor::start(3, Role::Actor).await;
    executor.say(ToExecutor::Start(start(ACTOR, CounterHandle::CLASS, vec![value(&5_u64)]))).await;
    executor.say(call(1, ACTOR, "add", vec![value(&2_u64)])).await;
    executor.say(call(2, ACTOR, "get", vec![])).await;
    let (created, outcome) = executor.done().await;
    assert_eq!(created, ACTOR.creation());
    only::<()>(outcome);
    let state = Value::inline(Format::Bytes, 7_u64.to_le_bytes().to_vec());
    assert_eq!(executor.hear().await, Some(ToNode::Checkpoint { actor: ACTOR, state }));
    assert_eq!(only::<u64>(executor.done().await.1), 7);
    assert_eq!(only::<u64>(executor.done().await.1), 7);
    executor.say(ToExecutor::EndActor(ACTOR)).await;
    assert_eq!(executor.hear().await, Some(ToNode::ActorEnded(ACTOR)));
    executor.say(ToExecutor::Shutdown).await;
    assert!(executor.ended().await.success());
}

#[tokio::test]
async fn every_actor_says_that_it_is_there() {
    for role in [Role::Actor, Role::LightActors] {
        let mut executor = Executor::start(3, role).await;
        executor.say(ToExecutor::Start(start(ACTOR, CounterHandle::CLASS, vec![value(&5_u64)]))).await;
        only::<()>(executor.done().await.1);
        executor.say(call(1, ACTOR, "tandem::is_there", vec![])).await;
        only::<()>(executor.done().await.1);
    }
}

#[tokio::test]
async fn goes_on_from_a_checkpoint() {
    let mut executor = Executor::start(3, Role::Actor).await;
    let checkpoint = Some(Value::inline(Format::Bytes, 70_u64.to_le_bytes().to_vec()));
    let again = Start { attempt: 1, checkpoint, ..start(ACTOR, CounterHandle::CLASS, vec![value(&5_u64)]) };
    executor.say(ToExecutor::Start(again)).await;
    executor.say(call(1, ACTOR, "get", vec![])).await;
    only::<()>(executor.done().await.1);
    assert_eq!(only::<u64>(executor.done().await.1), 70);
}

#[tokio::test]
async fn what_is_not_there_fails() {
    let mut executor = Executor::start(3, Role::Actor).await;
    executor.say(call(1, ACTOR, "get", vec![])).await;
    assert_eq!(executor.done().await.1.expect_err("no actor").kind, FailureKind::ActorGone);
    executor.say(ToExecutor::Start(start(ACTOR, "app::Nothing", vec![]))).await;
    assert_eq!(executor.done().await.1.expect_err("no class").kind, FailureKind::NotFound);
    executor.say(ToExecutor::Start(start(ACTOR, CounterHandle::CLASS, vec![value(&1000_u64)]))).await;
    assert_eq!(executor.done().await.1.expect_err("a bad start").message, "a counter starts below 1000");
    executor.say(ToExecutor::Start(start(ACTOR, CounterHandle::CLASS, vec![value(&1_u64)]))).await;
    only::<()>(executor.done().await.1);
    executor.say(call(1, ACTOR, "restore", vec![])).await;
    assert_eq!(executor.done().await.1.expect_err("no method").kind, FailureKind::NotFound);
    executor.say(call(2, ACTOR, "leave", vec![])).await;
    assert_eq!(executor.hear().await, Some(ToNode::Kill { actor: ACTOR, at_once: false }));
    only::<()>(executor.done().await.1);
}

#[tokio::test]
async fn many_actors_live_in_one_process() {
    let mut executor = Executor::start(3, Role::LightActors).await;
    let actors = [100, 101, 102].map(ActorId);
    for (index, actor) in actors.into_iter().enumerate() {
        let number = index as u64;
        executor.say(ToExecutor::Start(start(actor, CounterHandle::CLASS, vec![value(&number)]))).await;
        only::<()>(executor.done().await.1);
        executor.say(call(number as u128 + 1, actor, "add", vec![value(&10_u64)])).await;
        assert_eq!(only::<u64>(executor.done().await.1), number + 10);
    }
    executor.say(ToExecutor::EndActor(actors[1])).await;
    assert_eq!(executor.hear().await, Some(ToNode::ActorEnded(actors[1])));
    executor.say(call(9, actors[1], "get", vec![])).await;
    assert_eq!(executor.done().await.1.expect_err("it is gone").kind, FailureKind::ActorGone);
    executor.say(call(10, actors[2], "get", vec![])).await;
    assert_eq!(only::<u64>(executor.done().await.1), 12);
}

#[tokio::test]
async fn a_light_actor_that_is_killed_begins_nothing_more_and_says_when_it_has_ended() {
    let mut executor = Executor::start(3, Role::LightActors).await;
    executor.say(ToExecutor::Start(start(ACTOR, CounterHandle::CLASS, vec![value(&5_u64)]))).await;
    only::<()>(executor.done().await.1);
    let object = foreign_object(1);
    executor.say(call(1, ACTOR, "add_of", vec![value(&vec![object.0])])).await;
    executor.say(call(2, ACTOR, "add", vec![value(&2_u64)])).await;
    while executor.hear().await != Some(ToNode::Watch { objects: vec![object], fetch: true }) {}
    executor.say(ToExecutor::EndActor(ACTOR)).await;
    for call in [2, 1].map(CallId) {
        executor.say(ToExecutor::Cancel(call)).await;
    }
    executor.say(ToExecutor::EndActor(ACTOR)).await;
    let mut ended = Vec::new();
    loop {
        match executor.hear().await.expect("the process lives") {
            ToNode::Done { call, outcome, .. } => ended.push((call, outcome.expect_err("it was cancelled").kind)),
            ToNode::ActorEnded(actor) => break assert_eq!(actor, ACTOR),
            _ => {}
        }
    }
    assert_eq!(ended, [1, 2].map(|call| (CallId(call), FailureKind::Cancelled)));
}

#[tokio::test]
async fn a_call_that_nothing_but_objects_can_wake_says_so() {
    for role in [Role::Actor, Role::LightActors] {
        let mut executor = Executor::start(3, role).await;
        executor.say(ToExecutor::Start(start(ACTOR, CounterHandle::CLASS, vec![value(&5_u64)]))).await;
        only::<()>(executor.done().await.1);
        let object = foreign_object(1);
        executor.say(call(1, ACTOR, "add_of", vec![value(&vec![object.0])])).await;
        let stuck = ToNode::Stuck { call: CallId(1), objects: vec![object] };
        while executor.hear().await.expect("the process lives") != stuck {}
        executor.say(ToExecutor::Value { object, outcome: Ok(value(&2_u64)) }).await;
        assert_eq!(only::<u64>(executor.done().await.1), 7);
    }
}

/// Starts an actor whose results are held.
async fn held(role: Role) -> Executor {
    held_of(role, SaverHandle::CLASS).await
}

async fn held_of(role: Role, class: &str) -> Executor {
    let mut executor = Executor::start(3, role).await;
    executor.say(ToExecutor::StartHeld(start(ACTOR, class, vec![]))).await;
    assert_eq!(executor.hear().await, Some(NONE_NEEDED), "it makes checkpoints");
    only::<()>(executor.done().await.1);
    executor
}

const NONE_NEEDED: ToNode = ToNode::NoCheckpoint { actor: ACTOR, outcome: Ok(()) };

/// What is said of the ends of calls, and of checkpoints.
#[derive(Debug, PartialEq)]
enum Said {
    Done(u128, Result<u64, FailureKind>),
    Saved(u64),
    NotSaved(Result<(), String>),
}

/// Hears until the process waits for an object, and saves nothing before.
async fn watched(executor: &mut Executor, object: ObjectId) {
    let waits = ToNode::Watch { objects: vec![object], fetch: true };
    loop {
        match executor.hear().await.expect("the process lives") {
            message if message == waits => return,
            message => assert!(!matches!(message, ToNode::Checkpoint { .. }), "{message:?}"),
        }
    }
}

async fn said(executor: &mut Executor, count: usize) -> Vec<Said> {
    let mut said = Vec::new();
    while said.len() < count {
        said.push(match executor.hear().await.expect("the process lives") {
            ToNode::Done { call, outcome, .. } => {
                Said::Done(call.0, outcome.map(|values| read(&values[0])).map_err(|failure| failure.kind))
            }
            ToNode::Checkpoint { actor: ACTOR, state } => Said::Saved(read(&state)),
            ToNode::NoCheckpoint { actor: ACTOR, outcome } => {
                Said::NotSaved(outcome.map_err(|failure| failure.message))
            }
            _ => continue,
        });
    }
    said
}

#[tokio::test]
async fn a_checkpoint_comes_behind_the_results_that_it_covers() {
    for role in [Role::Actor, Role::LightActors] {
        let mut executor = held(role).await;
        executor.say(call(1, ACTOR, "add", vec![value(&2_u64)])).await;
        assert_eq!(said(&mut executor, 2).await, [Said::Done(1, Ok(2)), Said::Saved(2)]);
        executor.say(call(2, ACTOR, "get", vec![])).await;
        assert_eq!(said(&mut executor, 2).await, [Said::Done(2, Ok(2)), Said::NotSaved(Ok(()))]);
        executor.say(call(3, ACTOR, "nothing", vec![])).await;
        let not_found = Said::Done(3, Err(FailureKind::NotFound));
        assert_eq!(said(&mut executor, 2).await, [not_found, Said::Saved(2)]);
        executor.say(call(4, ACTOR, "tandem::is_there", vec![])).await;
        let done = executor.done().await;
        assert_eq!((done.0, executor.hear().await), (CallId(4), Some(NONE_NEEDED)));
    }
}

#[tokio::test]
async fn as_many_calls_share_a_checkpoint_as_may_when_others_wait() {
    let mut executor = held(Role::Actor).await;
    let object = foreign_object(1);
    executor.say(call(1, ACTOR, "add_of", vec![value(&vec![object.0])])).await;
    for number in 2..=4 {
        executor.say(call(number, ACTOR, "add", vec![value(&1_u64)])).await;
    }
    executor.say(call(5, ACTOR, "get", vec![])).await;
    watched(&mut executor, object).await;
    executor.say(ToExecutor::Value { object, outcome: Ok(value(&10_u64)) }).await;
    let done = |call, count| Said::Done(call, Ok(count));
    let expected =
        [done(1, 10), done(2, 11), done(3, 12), Said::Saved(12), done(4, 13), done(5, 13), Said::NotSaved(Err(text()))];
    assert_eq!(said(&mut executor, 7).await, expected);
}

fn text() -> String {
    "13 is not saved".to_owned()
}

#[tokio::test]
async fn what_is_held_is_covered_before_a_stream_that_waits_for_its_caller() {
    for role in [Role::Actor, Role::LightActors] {
        let mut executor = held(role).await;
        let object = foreign_object(1);
        executor.say(call(1, ACTOR, "add_of", vec![value(&vec![object.0])])).await;
        executor.say(stream(2, "numbers", vec![], 0)).await;
        watched(&mut executor, object).await;
        executor.say(ToExecutor::Value { object, outcome: Ok(value(&2_u64)) }).await;
        assert_eq!(said(&mut executor, 2).await, [Said::Done(1, Ok(2)), Said::Saved(2)], "it waits for room");
        executor.say(ToExecutor::MayYield { call: CallId(2), until: 3 }).await;
        assert_eq!(said(&mut executor, 2).await, [Said::Done(2, Ok(2)), Said::NotSaved(Ok(()))]);
    }
}

#[tokio::test]
async fn calls_of_one_group_do_not_wait_for_a_checkpoint_behind_those_of_another() {
    for role in [Role::Actor, Role::LightActors] {
        let mut executor = held_of(role, ShelfHandle::CLASS).await;
        let [books, first, second] = [1, 2, 3].map(foreign_object);
        executor.say(call(1, ACTOR, "add", vec![value(&vec![books.0])])).await;
        for (number, until) in [(2, first), (3, second)] {
            executor.say(call(number, ACTOR, "read", vec![value(&vec![until.0])])).await;
        }
        watched(&mut executor, books).await;
        executor.say(ToExecutor::Value { object: books, outcome: Ok(value(&7_u64)) }).await;
        assert_eq!(said(&mut executor, 2).await, [Said::Done(1, Ok(7)), Said::Saved(7)], "others read for long");
        for (number, until) in [(2, first), (3, second)] {
            watched(&mut executor, until).await;
            executor.say(ToExecutor::Value { object: until, outcome: Ok(value(&0_u64)) }).await;
            assert_eq!(said(&mut executor, 2).await, [Said::Done(number, Ok(7)), Said::NotSaved(Ok(()))]);
        }
        // Those of one group may share one.
        let [one, two, three] = [4, 5, 6].map(foreign_object);
        for (number, books) in [(4, vec![one.0, two.0]), (5, vec![three.0])] {
            executor.say(call(number, ACTOR, "add", vec![value(&books)])).await;
        }
        for books in [one, two, three] {
            watched(&mut executor, books).await;
            executor.say(ToExecutor::Value { object: books, outcome: Ok(value(&1_u64)) }).await;
        }
        assert_eq!(said(&mut executor, 2).await, [Said::Done(5, Ok(10)), Said::Saved(10)]);
    }
}

#[tokio::test]
async fn what_a_call_has_done_that_panics_is_saved() {
    for role in [Role::Actor, Role::LightActors] {
        let mut executor = held(role).await;
        executor.say(call(1, ACTOR, "add_and_panic", vec![value(&2_u64)])).await;
        assert_eq!(said(&mut executor, 2).await, [Said::Done(1, Err(FailureKind::Panicked)), Said::Saved(2)]);
        executor.say(call(2, ACTOR, "add", vec![value(&11_u64)])).await;
        assert_eq!(said(&mut executor, 2).await, [Said::Done(2, Ok(13)), Said::NotSaved(Err(text()))]);
        executor.say(call(3, ACTOR, "add", vec![value(&1_u64)])).await;
        assert_eq!(said(&mut executor, 2).await, [Said::Done(3, Ok(14)), Said::Saved(14)]);
    }
}

#[tokio::test]
async fn calls_that_are_cancelled_leave_nothing_uncovered() {
    for role in [Role::Actor, Role::LightActors] {
        let mut executor = held(role).await;
        let object = foreign_object(1);
        executor.say(call(1, ACTOR, "add_of", vec![value(&vec![object.0])])).await;
        watched(&mut executor, object).await;
        executor.say(call(2, ACTOR, "add", vec![value(&1_u64)])).await;
        executor.say(ToExecutor::Cancel(CallId(2))).await;
        executor.say(ToExecutor::Value { object, outcome: Ok(value(&10_u64)) }).await;
        let mut all = Vec::new();
        while !matches!(all.last(), Some(Said::Saved(10))) || all.len() < 3 {
            all.extend(said(&mut executor, 1).await);
        }
        assert!(all.contains(&Said::Done(1, Ok(10))) && all.contains(&Said::Done(2, Err(FailureKind::Cancelled))));
    }
}

#[tokio::test]
async fn concurrent_calls_wait_together() {
    let mut executor = Executor::start(3, Role::Actor).await;
    let together = Start { concurrency: 2, ..start(ACTOR, MeetingHandle::CLASS, vec![]) };
    executor.say(ToExecutor::Start(together)).await;
    only::<()>(executor.done().await.1);
    executor.say(call(1, ACTOR, "meet", vec![value(&2_u32)])).await;
    executor.say(call(2, ACTOR, "meet", vec![value(&2_u32)])).await;
    let mut calls = Vec::new();
    for _ in 0..2 {
        let (call, outcome) = executor.done().await;
        assert_eq!(only::<u32>(outcome), 2);
        calls.push(call);
    }
    calls.sort();
    assert_eq!(calls, [CallId(1), CallId(2)]);
}

fn stream(call: u128, method: &str, args: Vec<Value>, until: u64) -> ToExecutor {
    ToExecutor::CallStream { run: Run { actor: Some(ACTOR), ..run(call, method, args) }, until }
}

/// The number and value of the next item.
async fn item(executor: &mut Executor) -> (u64, u64) {
    match executor.hear().await.expect("the process lives") {
        ToNode::Yield { call: CallId(1), attempt: 0, index, value } => (index, read::<u64>(&value)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_next_call_waits_until_the_stream_before_it_has_ended() {
    for role in [Role::Actor, Role::LightActors] {
        let mut executor = Executor::start(3, role).await;
        executor.say(ToExecutor::Start(start(ACTOR, CounterHandle::CLASS, vec![value(&5_u64)]))).await;
        only::<()>(executor.done().await.1);
        executor.say(stream(1, "count_to", vec![value(&8_u64)], 2)).await;
        executor.say(call(2, ACTOR, "get", vec![])).await;
        assert_eq!((item(&mut executor).await, item(&mut executor).await), ((0, 6), (1, 7)));
        executor.say(ToExecutor::MayYield { call: CallId(1), until: 9 }).await;
        assert_eq!(item(&mut executor).await, (2, 8), "nothing else was said before");
        let state = Value::inline(Format::Bytes, 8_u64.to_le_bytes().to_vec());
        assert_eq!(executor.hear().await, Some(ToNode::Checkpoint { actor: ACTOR, state }));
        for (expected, count) in [(CallId(1), 3), (CallId(2), 8)] {
            let (call, outcome) = executor.done().await;
            assert_eq!((call, only::<u64>(outcome)), (expected, count));
        }
    }
}

#[tokio::test]
async fn an_actor_that_waits_to_yield_is_cancelled_and_takes_the_next_call() {
    let of = |method| [Role::Actor, Role::LightActors].map(|role| (role, method));
    for (role, method) in ["count_to", "count_on"].into_iter().flat_map(of) {
        let mut executor = Executor::start(3, role).await;
        executor.say(ToExecutor::Start(start(ACTOR, CounterHandle::CLASS, vec![value(&0_u64)]))).await;
        only::<()>(executor.done().await.1);
        let args = if method == "count_to" { vec![value(&100_u64)] } else { Vec::new() };
        executor.say(stream(1, method, args, 1)).await;
        executor.say(call(2, ACTOR, "get", vec![])).await;
        assert_eq!(item(&mut executor).await, (0, 1));
        executor.say(ToExecutor::Cancel(CallId(1))).await;
        let ended = executor.done().await.1.expect_err("it was cancelled");
        assert_eq!(ended.cause.map_or(ended.kind, |cause| cause.kind), FailureKind::Cancelled);
        assert_eq!(only::<u64>(executor.done().await.1), 2, "{method}");
    }
}

#[tokio::test]
async fn groups_are_beside_each_other_and_one_of_one_call_keeps_its_order() {
    for role in [Role::Actor, Role::LightActors] {
        let mut executor = Executor::start(3, role).await;
        executor.say(ToExecutor::Start(start(ACTOR, GateHandle::CLASS, vec![]))).await;
        only::<()>(executor.done().await.1);
        for number in [1, 2] {
            executor.say(call(number, ACTOR, "enter", vec![value(&(number as u32))])).await;
        }
        // Two at once, and a third one behind them.
        for (number, together) in [(3, 2_u32), (4, 2), (5, 3)] {
            executor.say(call(number, ACTOR, "look", vec![value(&together)])).await;
        }
        let mut looked = Vec::new();
        for _ in 0..3 {
            let (call, outcome) = executor.done().await;
            only::<u32>(outcome);
            looked.push(call.0);
        }
        looked.sort_unstable();
        assert_eq!(looked, [3, 4, 5]);
        executor.say(call(6, ACTOR, "open", vec![])).await;
        executor.say(ToExecutor::EndActor(ACTOR)).await;
        let (opened, outcome) = executor.done().await;
        only::<()>(outcome);
        assert_eq!(opened, CallId(6), "the first that is in no group");
        for came in [vec![1_u32], vec![1, 2]] {
            assert_eq!(only::<Vec<u32>>(executor.done().await.1), came);
        }
        assert_eq!(executor.hear().await, Some(ToNode::ActorEnded(ACTOR)), "when the calls of its groups have ended");
    }
}

#[tokio::test]
async fn a_method_that_yields_is_called_as_one() {
    let mut executor = Executor::start(3, Role::Actor).await;
    executor.say(ToExecutor::Start(start(ACTOR, CounterHandle::CLASS, vec![value(&0_u64)]))).await;
    only::<()>(executor.done().await.1);
    executor.say(call(1, ACTOR, "count_to", vec![value(&3_u64)])).await;
    let wrong = executor.done().await.1.expect_err("nobody takes its items");
    assert_eq!((wrong.kind, wrong.message.contains("yields items")), (FailureKind::Mismatch, true), "{wrong}");
}
