//! A process for tasks.

use tandem::{Failure, FailureKind};
use tandem_actor_protocol::executor::{Role, ToExecutor};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Format, Value};
use tandem_actor_protocol::{CallId, PROTOCOL};

use super::app::{
    Circle, add, area, counts, divide, fail_with_causes, length, numbers, panics, spin_for_ever, spin_until_cancelled,
    sum, sum_in_time, sum_on_threads, sum_plain, sum_within, variable, wait_for_ever,
};
use super::executor::{Executor, foreign_object, only, read, run, value};

async fn start() -> Executor {
    Executor::start(3, Role::Tasks).await
}

fn failure(outcome: Result<Vec<Value>, Failure>) -> Failure {
    outcome.expect_err("it fails")
}

#[tokio::test]
async fn says_who_it_is_and_ends_when_told() {
    let mut executor = start().await;
    assert_eq!((executor.hello.protocol, Some(executor.hello.pid)), (PROTOCOL, executor.child.id()));
    assert!(executor.hello.functions.iter().any(|name| name == area::NAME), "{:?}", executor.hello.functions);
    executor.say(ToExecutor::Shutdown).await;
    assert!(executor.ended().await.success());
}

#[tokio::test]
async fn ends_when_its_worker_is_gone_whatever_it_runs() {
    let mut executor = start().await;
    executor.say(ToExecutor::Run(run(1, spin_for_ever::NAME, vec![]))).await;
    assert_eq!(executor.hear().await, Some(ToNode::Began(CallId(1))));
    let (mut child, voice, receiver) = executor.into_parts();
    drop((voice, receiver));
    assert!(!child.wait().await.expect("our child").success());
}

#[tokio::test]
async fn runs_functions_of_all_kinds() {
    let mut executor = start().await;
    assert_eq!(only::<f64>(executor.run(area::NAME, vec![value(&Circle { r: 1.0 })]).await), std::f64::consts::PI);
    assert_eq!(only::<u64>(executor.run(add::NAME, vec![value(&1_u64), value(&2_u64)]).await), 3);
    let json = Value::inline(Format::Json, r#"{"r": 2}"#);
    assert_eq!(only::<f64>(executor.run(area::NAME, vec![json]).await), 4.0 * std::f64::consts::PI);
    assert_eq!(only::<usize>(executor.run(length::NAME, vec![Value::inline(Format::Bytes, "abc")]).await), 3);
    let mut two = run(1, divide::NAME, vec![value(&17_u64), value(&5_u64)]);
    two.returns = 2;
    executor.say(ToExecutor::Run(two)).await;
    let values = executor.done().await.1.expect("two values");
    assert_eq!(values.iter().map(read::<u64>).collect::<Vec<_>>(), [3, 2]);
}

#[tokio::test]
async fn what_goes_wrong_is_told_as_what_it_is() {
    let mut executor = start().await;
    let error = failure(executor.run(area::NAME, vec![value(&Circle { r: -1.0 })]).await);
    assert_eq!((error.kind, error.message.as_str()), (FailureKind::Returned, "a circle has no radius of -1"));
    assert_eq!((error.task.as_str(), error.worker.as_str(), error.attempts), (area::NAME, "worker-7", 1));
    let error = failure(executor.run(fail_with_causes::NAME, vec![]).await);
    assert_eq!(error.message, "no server");
    assert_eq!(error.chain, ["the port is wrong", "invalid digit found in string"]);
    let panic = failure(executor.run(panics::NAME, vec![value(&"oh no")]).await);
    assert_eq!(panic.kind, FailureKind::Panicked);
    assert!(panic.message.contains("functions.rs") && panic.message.ends_with("oh no"), "{panic}");
    assert_eq!(failure(executor.run("app::nothing", vec![]).await).kind, FailureKind::NotFound);
    for wrong in [
        vec![],
        vec![value(&1_u64)],
        vec![value(&1_u64), value(&2_u64), value(&3_u64)],
        vec![value(&1_u64), value(&"a text")],
        vec![value(&1_u64), Value::inline(Format::Bytes, "x")],
        vec![value(&1_u64), Value::inline(Format::Json, "{")],
        vec![value(&1_u64), Value::inline(Format::Arrow, "")],
    ] {
        let error = failure(executor.run(add::NAME, wrong).await);
        assert_eq!(error.kind, FailureKind::Mismatch, "{error}");
    }
    let mut three = run(1, add::NAME, vec![value(&1_u64), value(&2_u64)]);
    three.returns = 3;
    executor.say(ToExecutor::Run(three)).await;
    assert_eq!(failure(executor.done().await.1).kind, FailureKind::Mismatch);
    assert_eq!(only::<u64>(executor.run(add::NAME, vec![value(&1_u64), value(&2_u64)]).await), 3, "it goes on");
}

#[tokio::test]
async fn one_result_more_says_that_a_call_has_ended() {
    let mut executor = start().await;
    let mut two = run(1, add::NAME, vec![value(&1_u64), value(&2_u64)]);
    two.returns = 2;
    executor.say(ToExecutor::Run(two)).await;
    let values = executor.done().await.1.expect("a value and the end");
    assert_eq!(values, [value(&3_u64), value(&())]);
}

#[tokio::test]
async fn cancelled_calls_end() {
    let mut executor = start().await;
    for function in [wait_for_ever::NAME, spin_until_cancelled::NAME] {
        executor.say(ToExecutor::Run(run(1, function, vec![]))).await;
        executor.say(ToExecutor::Run(run(2, add::NAME, vec![value(&1_u64), value(&2_u64)]))).await;
        assert_eq!(executor.hear().await, Some(ToNode::Began(CallId(1))));
        executor.say(ToExecutor::Cancel(CallId(2))).await;
        let (call, outcome) = executor.done().await;
        assert_eq!((call, failure(outcome).kind), (CallId(2), FailureKind::Cancelled), "it had not begun");
        executor.say(ToExecutor::Cancel(CallId(1))).await;
        let (call, outcome) = executor.done().await;
        assert_eq!(call, CallId(1));
        if function == wait_for_ever::NAME {
            assert_eq!(failure(outcome).kind, FailureKind::Cancelled);
        } else {
            assert!(only::<bool>(outcome), "it saw that it should end");
        }
    }
}

#[tokio::test]
async fn calls_that_take_too_long_end() {
    let mut executor = start().await;
    let mut waits = run(1, wait_for_ever::NAME, vec![]);
    waits.timeout_ms = 1;
    executor.say(ToExecutor::Run(waits)).await;
    assert_eq!(failure(executor.done().await.1).kind, FailureKind::TimedOut);
    let mut spins = run(2, spin_for_ever::NAME, vec![]);
    spins.timeout_ms = 1;
    executor.say(ToExecutor::Run(spins)).await;
    let (call, outcome) = executor.done().await;
    assert_eq!((call, failure(outcome).kind), (CallId(2), FailureKind::TimedOut));
    assert!(!executor.ended().await.success(), "what cannot be stopped takes its process along");
}

#[tokio::test]
async fn what_has_not_begun_is_given_back() {
    let mut executor = start().await;
    executor.say(ToExecutor::Run(run(1, wait_for_ever::NAME, vec![]))).await;
    for call in 2..5 {
        executor.say(ToExecutor::Run(run(call, add::NAME, vec![value(&1_u64), value(&2_u64)]))).await;
    }
    assert_eq!(executor.hear().await, Some(ToNode::Began(CallId(1))));
    executor.say(ToExecutor::Recall(2)).await;
    assert_eq!(executor.hear().await, Some(ToNode::GaveBack(vec![CallId(3), CallId(4)])));
    executor.say(ToExecutor::Recall(9)).await;
    assert_eq!(executor.hear().await, Some(ToNode::GaveBack(vec![CallId(2)])));
    executor.say(ToExecutor::Recall(9)).await;
    assert_eq!(executor.hear().await, Some(ToNode::GaveBack(vec![])));
}

/// A task that waits for an object whose value comes late.
async fn waits_for_object(function: &str) {
    let mut executor = start().await;
    let object = foreign_object(1);
    let mut numbers = value(&vec![object.0]);
    numbers.refs = vec![object];
    executor.say(ToExecutor::Run(run(1, function, vec![numbers]))).await;
    executor.say(ToExecutor::Run(run(2, add::NAME, vec![value(&1_u64), value(&2_u64)]))).await;
    assert_eq!(executor.hear().await, Some(ToNode::Began(CallId(1))));
    assert_eq!(executor.hear().await, Some(ToNode::Retain(vec![object])));
    assert_eq!(executor.hear().await, Some(ToNode::Watch { objects: vec![object], fetch: true }));
    assert_eq!(executor.hear().await, Some(ToNode::Blocked(CallId(1))));
    assert_eq!(executor.hear().await, Some(ToNode::GaveBack(vec![CallId(2)])));
    executor.say(ToExecutor::Value { object, outcome: Ok(value(&5_u64)) }).await;
    assert_eq!(executor.hear().await, Some(ToNode::Unblocked(CallId(1))));
    executor.say(ToExecutor::Resume(CallId(1))).await;
    // The function lets go of the object before it ends; which is heard first is a matter of luck.
    let ends = [executor.hear().await, executor.hear().await].map(|heard| heard.expect("the process lives"));
    assert!(ends.contains(&ToNode::Release(vec![object])), "{ends:?}");
    let outcome = Ok(vec![value(&5_u64)]);
    assert!(ends.contains(&ToNode::Done { call: CallId(1), attempt: 0, outcome }), "{ends:?}");
}

#[tokio::test]
async fn async_tasks_lend_their_slot_while_they_wait() {
    waits_for_object(sum::NAME).await;
}

#[tokio::test]
async fn async_tasks_that_block_their_thread_lend_their_slot_while_they_wait() {
    waits_for_object(sum_within::NAME).await;
}

#[tokio::test]
async fn plain_tasks_lend_their_slot_while_they_wait() {
    waits_for_object(sum_plain::NAME).await;
}

#[tokio::test]
async fn threads_of_a_task_that_wait_at_once_share_its_slot() {
    let mut executor = start().await;
    let objects = [foreign_object(1), foreign_object(2)];
    let numbers = value(&objects.map(|object| object.0).to_vec());
    executor.say(ToExecutor::Run(run(1, sum_on_threads::NAME, vec![numbers]))).await;
    let mut watched = 0;
    let (mut blocked, mut unblocked) = (false, 0);
    while !blocked || watched < 2 {
        match executor.hear().await.expect("the process lives") {
            ToNode::Watch { objects, .. } => watched += objects.len(),
            ToNode::Blocked(_) => assert!(!std::mem::replace(&mut blocked, true), "its slot is lent once"),
            _ => {}
        }
    }
    for object in objects {
        executor.say(ToExecutor::Value { object, outcome: Ok(value(&5_u64)) }).await;
    }
    loop {
        match executor.hear().await.expect("the process lives") {
            ToNode::Blocked(_) => assert!(!std::mem::replace(&mut blocked, true), "its slot is lent once"),
            ToNode::Unblocked(call) => {
                assert!(std::mem::take(&mut blocked), "it is wanted back once");
                unblocked += 1;
                executor.say(ToExecutor::Resume(call)).await;
            }
            ToNode::Done { outcome, .. } => break assert_eq!(only::<u64>(outcome), 10),
            _ => {}
        }
    }
    assert!(unblocked > 0);
}

#[tokio::test]
async fn a_task_that_nothing_but_objects_can_wake_says_so() {
    for function in [sum::NAME, sum_plain::NAME] {
        let mut executor = start().await;
        let objects = [foreign_object(1), foreign_object(2)];
        let numbers = value(&objects.iter().map(|object| object.0).collect::<Vec<_>>());
        executor.say(ToExecutor::Run(run(1, function, vec![numbers]))).await;
        while executor.hear().await != Some(ToNode::Blocked(CallId(1))) {}
        let outcome = Ok(value(&5_u64));
        executor.say(ToExecutor::Value { object: objects[0], outcome }).await;
        let stuck = ToNode::Stuck { call: CallId(1), objects: vec![objects[1]] };
        assert_eq!(executor.hear().await, Some(stuck), "{function}");
    }
}

#[tokio::test]
async fn a_task_that_something_else_can_wake_does_not_say_so() {
    let mut executor = start().await;
    executor.say(ToExecutor::Run(run(1, sum_in_time::NAME, vec![value(&vec![foreign_object(1).0])]))).await;
    loop {
        match executor.hear().await.expect("the process lives") {
            ToNode::Stuck { .. } => panic!("it will end by itself"),
            ToNode::Unblocked(call) => executor.say(ToExecutor::Resume(call)).await,
            ToNode::Done { outcome, .. } => break assert_eq!(failure(outcome).kind, FailureKind::Returned),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_task_that_waits_can_be_cancelled() {
    for function in [sum::NAME, sum_plain::NAME] {
        let mut executor = start().await;
        let object = foreign_object(1);
        executor.say(ToExecutor::Run(run(1, function, vec![value(&vec![object.0])]))).await;
        while executor.hear().await != Some(ToNode::Blocked(CallId(1))) {}
        executor.say(ToExecutor::Cancel(CallId(1))).await;
        let error = failure(executor.done().await.1);
        let kind = error.cause.as_deref().map_or(error.kind, |cause| cause.kind);
        assert_eq!(kind, FailureKind::Cancelled, "{error}");
    }
}

#[tokio::test]
async fn maps_are_values_too() {
    let mut executor = start().await;
    let words = vec!["a".to_owned(), "b".to_owned(), "a".to_owned()];
    let counted: std::collections::BTreeMap<String, u32> = only(executor.run(counts::NAME, vec![value(&words)]).await);
    assert_eq!(counted.into_iter().collect::<Vec<_>>(), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
}

#[tokio::test]
async fn variables_of_a_task_are_not_those_of_the_next_one() {
    let mut executor = start().await;
    let mut with = run(1, variable::NAME, vec![value(&"TANDEM_TEST_COLOR")]);
    with.environment.insert("TANDEM_TEST_COLOR".to_owned(), "blue".to_owned());
    with.environment.insert("no=name".to_owned(), "x".to_owned());
    executor.say(ToExecutor::Run(with)).await;
    assert_eq!(only::<Option<String>>(executor.done().await.1).as_deref(), Some("blue"));
    let without = executor.run(variable::NAME, vec![value(&"TANDEM_TEST_COLOR")]).await;
    assert_eq!(only::<Option<String>>(without), None);
}

/// An attempt to be sent that yields numbers, of which these are wanted.
fn yielding(count: u64, wanted: &[(u64, u64)]) -> ToExecutor {
    ToExecutor::RunStream { run: run(1, numbers::NAME, vec![value(&count)]), wanted: wanted.to_vec() }
}

/// The number of the next item; none if something else is said.
async fn item(executor: &mut Executor) -> Option<u64> {
    match executor.hear().await.expect("the process lives") {
        ToNode::Yield { call: CallId(1), attempt: 0, index, value } => {
            assert_eq!(read::<u64>(&value), index);
            Some(index)
        }
        _ => None,
    }
}

#[tokio::test]
async fn a_task_yields_what_it_may_and_lends_its_slot_until_it_may_go_on() {
    let mut executor = start().await;
    executor.say(yielding(4, &[(0, 2)])).await;
    executor.say(ToExecutor::Run(run(2, add::NAME, vec![value(&1_u64), value(&2_u64)]))).await;
    assert_eq!(executor.hear().await, Some(ToNode::Began(CallId(1))));
    assert_eq!((item(&mut executor).await, item(&mut executor).await), (Some(0), Some(1)));
    assert_eq!(executor.hear().await, Some(ToNode::Blocked(CallId(1))));
    assert_eq!(executor.hear().await, Some(ToNode::GaveBack(vec![CallId(2)])), "others can do it");
    executor.say(ToExecutor::MayYield { call: CallId(1), until: 3 }).await;
    assert_eq!(executor.hear().await, Some(ToNode::Unblocked(CallId(1))));
    executor.say(ToExecutor::Resume(CallId(1))).await;
    assert_eq!(item(&mut executor).await, Some(2));
    assert_eq!(executor.hear().await, Some(ToNode::Blocked(CallId(1))));
    executor.say(ToExecutor::MayYield { call: CallId(1), until: 9 }).await;
    assert_eq!(executor.hear().await, Some(ToNode::Unblocked(CallId(1))));
    executor.say(ToExecutor::Resume(CallId(1))).await;
    assert_eq!(item(&mut executor).await, Some(3));
    assert_eq!(only::<u64>(executor.done().await.1), 4);
}

#[tokio::test]
async fn another_attempt_yields_only_what_is_wanted() {
    let mut executor = start().await;
    executor.say(yielding(7, &[(1, 2), (4, 6), (9, 9)])).await;
    assert_eq!(executor.hear().await, Some(ToNode::Began(CallId(1))));
    let mut items = Vec::new();
    for _ in 0..3 {
        items.extend(item(&mut executor).await);
    }
    assert_eq!((items, only::<u64>(executor.done().await.1)), (vec![1, 4, 5], 7));
}

#[tokio::test]
async fn a_task_that_waits_to_yield_is_cancelled() {
    let mut executor = start().await;
    executor.say(yielding(4, &[(0, 1)])).await;
    assert_eq!(executor.hear().await, Some(ToNode::Began(CallId(1))));
    assert_eq!(item(&mut executor).await, Some(0));
    executor.say(ToExecutor::Cancel(CallId(1))).await;
    assert_eq!(failure(executor.done().await.1).kind, FailureKind::Cancelled);
    let wrong = failure(executor.run(numbers::NAME, vec![value(&1_u64)]).await);
    assert_eq!((wrong.kind, wrong.message.contains("yields items")), (FailureKind::Mismatch, true), "{wrong}");
}
