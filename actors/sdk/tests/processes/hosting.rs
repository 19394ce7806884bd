//! Processes for actors.

use tandem::{ActorHandle, FailureKind};
use tandem_actor_protocol::executor::{Role, Run, Start, ToExecutor};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Format, Value};
use tandem_actor_protocol::{ActorId, CallId};

use super::app::{CounterHandle, GateHandle, MeetingHandle};
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
