//! Calls that wait for each other in a circle: the one that closes it is told, and nothing else ever is.

use tandem_actor_protocol::call::{ActorOptions, Arg, CallOptions, ConcurrencyGroup, TaskOptions};
use tandem_actor_protocol::failure::FailureKind;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{ActorId, CallId};

use crate::bench::{Bench, DRIVER};

/// An actor that does so many calls at once, and its call of another one that calls it back.
fn calling_back(concurrency: u32) -> (Bench, ActorId, [CallId; 3]) {
    let mut bench = Bench::new();
    let (stock, till) = (bench.spawn("shop::Stock", concurrency), bench.spawn("shop::Till", 1));
    let take = bench.call(DRIVER, stock, "take");
    let pay = bench.call(bench.at(take), till, "pay");
    let count = bench.call(bench.at(pay), stock, "count");
    (bench, stock, [take, pay, count])
}

#[test]
fn actors_that_call_each_other_back_are_a_circle_that_is_named() {
    let (mut bench, _, [take, pay, count]) = calling_back(1);
    bench.stuck(take, &[pay]);
    assert!(bench.told_none(), "it may still be paid");
    bench.stuck(pay, &[count]);
    let failure = bench.failure(count).expect("a deadlock");
    assert_eq!(
        (failure.kind, failure.task.as_str(), failure.worker.as_str()),
        (FailureKind::Deadlock, "shop::Till::pay", "here")
    );
    let circle = "calls wait for each other in a circle: \
                  shop::Till::pay waits for shop::Stock::count waits for shop::Stock::take waits for shop::Till::pay";
    assert_eq!(failure.message, circle);
    assert!(bench.failure(pay).is_none(), "the circle is broken in one place");
}

#[test]
fn an_actor_that_waits_for_itself_is_a_circle() {
    let mut bench = Bench::new();
    let stock = bench.spawn("shop::Stock", 1);
    let take = bench.call(DRIVER, stock, "take");
    let count = bench.call(bench.at(take), stock, "count");
    bench.stuck(take, &[count]);
    let failure = bench.failure(count).expect("a deadlock");
    let circle = "shop::Stock::take waits for shop::Stock::count waits for shop::Stock::take";
    assert!(failure.message.ends_with(circle), "{}", failure.message);
}

#[test]
fn tasks_that_wait_for_each_other_are_a_circle_also_through_arguments() {
    let mut bench = Bench::new();
    let first = bench.submit("first", Vec::new(), None);
    let second = bench.submit("second", Vec::new(), None);
    let third = bench.submit("third", vec![Arg::Object(first.object(0))], None);
    bench.stuck(second, &[third]);
    assert!(bench.told_none());
    bench.stuck(first, &[second]);
    let failure = bench.failure(second).expect("a deadlock");
    assert!(failure.message.ends_with("first waits for second waits for third waits for first"), "{}", failure.message);
}

#[test]
fn what_something_else_may_end_is_no_circle() {
    // An actor that works on calls together.
    let (mut bench, _, [take, pay, count]) = calling_back(2);
    bench.stuck(take, &[pay]);
    bench.stuck(pay, &[count]);
    assert!(bench.told_none());
    bench.stuck(count, &[take]);
    assert!(bench.failure(take).is_some(), "until that call waits, too");

    // One of several objects may still come.
    let mut bench = Bench::new();
    let (stock, till) = (bench.spawn("shop::Stock", 1), bench.spawn("shop::Till", 1));
    let take = bench.call(DRIVER, stock, "take");
    let count = bench.call(bench.at(take), stock, "count");
    let pay = bench.call(bench.at(take), till, "pay");
    bench.stuck(take, &[count, pay]);
    assert!(bench.told_none());

    // A task that ends after a while.
    let mut bench = Bench::new();
    let limited = TaskOptions { timeout_ms: 60_000, ..TaskOptions::default() };
    let (first, second) = (bench.submit("first", Vec::new(), None), bench.submit("second", Vec::new(), Some(limited)));
    bench.stuck(second, &[first]);
    bench.stuck(first, &[second]);
    assert!(bench.told_none());
}

#[test]
fn a_call_that_is_to_end_is_part_of_no_circle() {
    let (mut bench, _, [take, pay, count]) = calling_back(1);
    bench.stuck(take, &[pay]);
    bench.say(DRIVER, ToNode::Cancel { call: take, force: false });
    bench.stuck(pay, &[count]);
    assert!(bench.told_none());

    let (mut bench, stock, [take, pay, count]) = calling_back(1);
    bench.stuck(take, &[pay]);
    bench.say(DRIVER, ToNode::Kill { actor: stock, at_once: false });
    bench.stuck(pay, &[count]);
    assert!(bench.told_none());
}

#[test]
fn a_call_that_has_gone_on_or_ended_is_stuck_no_more() {
    let mut bench = Bench::new();
    let (stock, till) = (bench.spawn("shop::Stock", 1), bench.spawn("shop::Till", 1));
    let take = bench.call(DRIVER, stock, "take");
    let pay = bench.call(bench.at(take), till, "pay");
    bench.stuck(take, &[pay]);
    bench.done(pay);
    let again = bench.call(DRIVER, till, "again");
    let count = bench.call(bench.at(again), stock, "count");
    bench.stuck(again, &[count]);
    assert!(bench.told_none(), "the other has its value and goes on");
    bench.done(take);
    assert!(bench.told_none());
    bench.done(count);
    assert!(bench.told_none());
}

/// A stuck call of an actor, and one that calls it back: both are in a group, or in none, that does so many at once.
fn calling_back_in(groups: [Option<(&str, u32)>; 2]) -> Bench {
    let [first, second] = groups.map(|group| {
        let group = group.map(|(name, concurrency)| ConcurrencyGroup { name: name.to_owned(), concurrency });
        CallOptions { group, stream: false }
    });
    let mut bench = Bench::new();
    let (stock, till) = (bench.spawn("shop::Stock", 1), bench.spawn("shop::Till", 1));
    let take = bench.call_with(DRIVER, stock, Vec::new(), first);
    let pay = bench.call(bench.at(take), till, "pay");
    let count = bench.call_with(bench.at(pay), stock, Vec::new(), second);
    bench.stuck(take, &[pay]);
    bench.stuck(pay, &[count]);
    bench
}

#[test]
fn a_call_waits_behind_those_of_its_own_group_if_that_takes_one_at_a_time() {
    for group in [Some(("io", 1)), None] {
        assert!(!calling_back_in([group, group]).told_none(), "{group:?}");
    }
    let others = [
        [Some(("io", 1)), None],
        [None, Some(("io", 1))],
        [Some(("io", 1)), Some(("compute", 1))],
        [Some(("io", 2)), Some(("io", 2))],
    ];
    for groups in others {
        assert!(calling_back_in(groups).told_none(), "{groups:?}");
    }
}

#[test]
fn all_calls_of_an_actor_wait_for_its_start() {
    for concurrency in [1, 2] {
        let mut bench = Bench::new();
        let (stock, till) = (ActorId(bench.next_id(DRIVER).0), bench.spawn("shop::Till", 1));
        bench.constructing.push(stock);
        bench.spawn_as(stock, "shop::Stock", ActorOptions { light: true, concurrency, ..ActorOptions::default() });
        let pay = bench.call(bench.at(stock.creation()), till, "pay");
        bench.stuck(stock.creation(), &[pay]);
        let count = bench.call(bench.at(pay), stock, "count");
        bench.stuck(pay, &[count]);
        let failure = bench.failure(count).expect("a deadlock");
        let circle = "shop::Till::pay waits for shop::Stock::count waits for the start of shop::Stock waits for \
                      shop::Till::pay";
        assert!(failure.message.ends_with(circle), "{concurrency}: {}", failure.message);
    }
}

#[test]
fn a_stream_and_who_waits_for_its_next_item_are_a_circle() {
    let mut bench = Bench::new();
    let (stock, till) = (bench.spawn("shop::Stock", 1), bench.spawn("shop::Till", 1));
    let pay = bench.call(DRIVER, till, "pay");
    let list = bench.call_with(bench.at(pay), stock, Vec::new(), CallOptions { group: None, stream: true });
    let item = bench.next_id(bench.at(pay));
    bench.say(bench.at(pay), ToNode::WantItems { call: list, items: vec![item.object(0)] });
    let back = bench.call(bench.at(list), till, "back");
    bench.stuck(list, &[back]);
    assert!(bench.told_none());
    bench.say(bench.at(pay), ToNode::Stuck { call: pay, objects: vec![item.object(0), list.object(0)] });
    let failure = bench.failure(list).expect("a deadlock");
    assert_eq!(failure.kind, FailureKind::Deadlock);
    let circle = "shop::Till::pay waits for shop::Stock::m waits for shop::Till::back waits for shop::Till::pay";
    assert!(failure.message.ends_with(circle), "{}", failure.message);
}
