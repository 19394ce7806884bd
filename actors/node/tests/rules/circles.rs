//! Calls that wait for each other in a circle over several workers: one of them is told, whichever order things come in, and nobody
//! else ever is.

use std::collections::BTreeSet;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tandem_actor_protocol::call::Arg;
use tandem_actor_protocol::failure::FailureKind;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::peer::{Awaited, PeerBody, PeerMessage};
use tandem_actor_protocol::{ActorId, CallId, JobId, WorkerId};
use tandem_node::Event;

use crate::bench::{Bench, THERE, WORKER};
use crate::cluster::{Cluster, DRIVER};

const ONE: WorkerId = WorkerId(1);
const TWO: WorkerId = WorkerId(2);
const THREE: WorkerId = WorkerId(3);

/// Longer than the pause between two looks at a wait.
const LONG_MS: u64 = 31_000;

/// An actor of the first worker that does so many calls at once, and its call of one of the second that calls it back.
fn calling_back(concurrency: u32) -> (Cluster, ActorId, [CallId; 3]) {
    let mut cluster = Cluster::new(3);
    let (stock, till) = (cluster.spawn(ONE, "shop::Stock", concurrency), cluster.spawn(TWO, "shop::Till", 1));
    let take = cluster.call(DRIVER, stock, "take");
    let pay = cluster.call(cluster.at(take), till, "pay");
    let count = cluster.call(cluster.at(pay), stock, "count");
    assert_eq!((cluster.at(take).0, cluster.at(pay).0), (ONE, TWO));
    (cluster, stock, [take, pay, count])
}

/// One process was told of a deadlock, in place of what this call returns and by the call that waits for it, and of this circle.
#[track_caller]
fn assert_told(cluster: &Cluster, call: CallId, waits_for: CallId, circle: &str) {
    let deadlocks = cluster.deadlocks();
    let [(process, failure)] = &deadlocks[..] else { panic!("{deadlocks:?}") };
    assert_eq!(*process, cluster.at(call));
    assert_eq!(cluster.results(waits_for), [(*process, Err(failure.clone()))]);
    assert_eq!((&failure.worker, failure.attempts), (&format!("worker-{}", process.0.0), 0));
    assert!(circle.starts_with(&failure.task), "{failure}");
    assert_eq!(failure.message, format!("calls wait for each other in a circle: {circle}"));
}

/// Nobody is told, however long it takes.
#[track_caller]
fn assert_never_told(mut cluster: Cluster) {
    (0..4).for_each(|_| cluster.wait(LONG_MS));
    assert_eq!(cluster.deadlocks(), []);
}

#[test]
fn actors_of_two_workers_that_call_each_other_back_are_a_circle_that_is_named() {
    let (mut cluster, _, [take, pay, count]) = calling_back(1);
    cluster.stuck(take, &[pay]);
    assert_eq!(cluster.deadlocks(), [], "it may still be paid");
    cluster.stuck(pay, &[count]);
    let circle = "shop::Till::pay waits for shop::Stock::count waits for shop::Stock::take waits for shop::Till::pay";
    assert_told(&cluster, pay, count, circle);
    cluster.done(pay);
    assert!(matches!(cluster.results(pay)[..], [(_, Ok(()))]), "the others go on from there");
    cluster.done(take);
    cluster.done(count);
    cluster.wait(LONG_MS);
    assert_eq!(cluster.deadlocks().len(), 1);
}

#[test]
fn a_circle_goes_over_as_many_workers_as_it_likes() {
    let mut cluster = Cluster::new(3);
    let actors = [ONE, TWO, THREE].map(|worker| cluster.spawn(worker, &format!("On{}", worker.0), 1));
    let first = cluster.call(DRIVER, actors[0], "a");
    let second = cluster.call(cluster.at(first), actors[1], "b");
    let third = cluster.call(cluster.at(second), actors[2], "c");
    let again = cluster.call(cluster.at(third), actors[0], "d");
    for (call, on) in [(third, again), (first, second)] {
        cluster.stuck(call, &[on]);
    }
    assert_eq!(cluster.deadlocks(), []);
    cluster.stuck(second, &[third]);
    assert_told(&cluster, third, again, "On3::c waits for On1::d waits for On1::a waits for On2::b waits for On3::c");
}

#[test]
fn tasks_are_part_of_circles_also_through_arguments() {
    // A task waits for an actor that waits for what the task returns.
    let mut cluster = Cluster::new(3);
    let desk = cluster.spawn(THREE, "Desk", 1);
    let sell = cluster.submit(DRIVER, TWO, "sell");
    let sign = cluster.call(cluster.at(sell), desk, "sign");
    cluster.stuck(sign, &[sell]);
    cluster.stuck(sell, &[sign]);
    assert_told(&cluster, sign, sell, "Desk::sign waits for sell waits for Desk::sign");

    // A task waits for one that cannot begin without it.
    let mut cluster = Cluster::new(2);
    let first = cluster.submit(DRIVER, TWO, "first");
    let second = cluster.submit_with(cluster.at(first), ONE, "second", vec![Arg::Object(first.object(0))], 0);
    cluster.stuck(first, &[second]);
    assert_told(&cluster, first, second, "first waits for second waits for first");
}

#[test]
fn a_start_that_waits_for_a_call_that_waits_for_it_is_a_circle() {
    let mut cluster = Cluster::new(2);
    let (stock, till) = (cluster.spawn(ONE, "Stock", 1), cluster.actor_id());
    cluster.constructing.insert(till);
    cluster.spawn_as(till, TWO, "Till", 1);
    let start = till.creation();
    let count = cluster.call(cluster.at(start), stock, "count");
    let open = cluster.call(cluster.at(count), till, "open");
    cluster.stuck(start, &[count]);
    cluster.stuck(count, &[open]);
    let circle = "the start of Till waits for Stock::count waits for Till::open waits for the start of Till";
    assert_told(&cluster, start, count, circle);
}

#[test]
fn what_something_else_may_end_is_no_circle() {
    // An actor that works on calls together, until all of them wait.
    let (mut cluster, _, [take, pay, count]) = calling_back(2);
    cluster.stuck(take, &[pay]);
    cluster.stuck(pay, &[count]);
    cluster.wait(LONG_MS);
    assert_eq!(cluster.deadlocks(), []);
    cluster.stuck(count, &[take]);
    let circle =
        "shop::Stock::count waits for shop::Stock::take waits for shop::Till::pay waits for shop::Stock::count";
    assert_told(&cluster, count, take, circle);

    // One of several objects may still come, from a third worker.
    let (mut cluster, _, [take, pay, count]) = calling_back(1);
    let other = cluster.submit(cluster.at(pay), THREE, "other");
    cluster.stuck(take, &[pay]);
    cluster.stuck(pay, &[count, other]);
    assert_never_told(cluster);

    // A task that ends after a while.
    let mut cluster = Cluster::new(2);
    let first = cluster.submit(DRIVER, ONE, "first");
    let second = cluster.submit_with(DRIVER, TWO, "second", Vec::new(), 600_000);
    cluster.stuck(second, &[first]);
    cluster.stuck(first, &[second]);
    assert_never_told(cluster);

    // A task that has not begun: there is no place for it yet.
    let mut cluster = Cluster::new(2);
    let first = cluster.submit(DRIVER, TWO, "first");
    let second = cluster.queue(cluster.at(first), ONE, "second", Vec::new(), 0);
    cluster.stuck(first, &[second]);
    assert!(!cluster.was_sent(second));
    assert_never_told(cluster);
}

#[test]
fn a_call_that_is_to_end_is_part_of_no_circle() {
    let (mut cluster, _, [take, pay, count]) = calling_back(1);
    cluster.stuck(take, &[pay]);
    cluster.say(DRIVER, ToNode::Cancel { call: take, force: false });
    cluster.stuck(pay, &[count]);
    assert_never_told(cluster);

    let (mut cluster, stock, [take, pay, count]) = calling_back(1);
    cluster.stuck(take, &[pay]);
    cluster.say(DRIVER, ToNode::Kill { actor: stock, at_once: false });
    cluster.stuck(pay, &[count]);
    assert_never_told(cluster);
}

#[test]
fn a_call_that_has_gone_on_is_stuck_no_more() {
    let (mut cluster, _, [take, pay, count]) = calling_back(1);
    cluster.stuck(take, &[pay]);
    cluster.done(pay);
    assert!(matches!(cluster.results(pay)[..], [(_, Ok(()))]));
    let again = cluster.submit(DRIVER, TWO, "again");
    cluster.stuck(again, &[count]);
    assert_never_told(cluster);
}

#[test]
fn a_worker_that_is_lost_takes_its_part_of_a_circle_along() {
    let (mut cluster, _, [take, pay, count]) = calling_back(1);
    cluster.held_up.insert((TWO, ONE));
    cluster.stuck(take, &[pay]);
    cluster.stuck(pay, &[count]);
    assert!(cluster.questions() > 0);
    cluster.held_up.clear();
    cluster.lose(TWO);
    let results = cluster.results(pay);
    assert!(matches!(&results[..], [(_, Err(why))] if why.kind == FailureKind::ActorGone), "{results:?}");
    let asked = cluster.questions();
    (0..4).for_each(|_| cluster.wait(LONG_MS));
    assert_eq!((cluster.deadlocks().len(), cluster.questions()), (0, asked), "nobody looks for it any more");
}

#[test]
fn a_search_without_answers_is_made_again() {
    let (mut cluster, _, [take, pay, count]) = calling_back(1);
    // What the second worker says is late, and so is what it is asked.
    cluster.held_up.extend([(TWO, ONE), (ONE, TWO)]);
    cluster.stuck(take, &[pay]);
    cluster.stuck(pay, &[count]);
    cluster.wait(LONG_MS);
    assert_eq!(cluster.deadlocks(), []);
    cluster.held_up.clear();
    cluster.deliver();
    cluster.wait(LONG_MS);
    let circle = "shop::Till::pay waits for shop::Stock::count waits for shop::Stock::take waits for shop::Till::pay";
    assert_told(&cluster, pay, count, circle);
}

#[test]
fn what_is_found_of_a_wait_is_nothing_to_a_later_one() {
    // While the second worker is asked again, or when a circle was found and that is on its way there.
    for (answers, is_found) in [(1, false), (2, true)] {
        let (mut cluster, _, [take, pay, count]) = calling_back(1);
        cluster.stuck(pay, &[count]);
        cluster.begin_waiting(take, &[pay]);
        let answered = |cluster: &Cluster| {
            let stalled = cluster.came.iter().filter(|body| matches!(body, PeerBody::Stalled { found: Some(_), .. }));
            stalled.count()
        };
        while answered(&cluster) < answers {
            let link = *cluster.busy_links().first().expect("the search goes on");
            cluster.deliver_one(link);
        }
        cluster.held_up.insert((ONE, TWO));
        // By then it waits for something else that may come.
        let other = cluster.submit(cluster.at(pay), THREE, "other");
        cluster.stuck(pay, &[count, other]);
        cluster.held_up.clear();
        cluster.deliver();
        let found = cluster.came.iter().any(|body| matches!(body, PeerBody::Deadlocked { .. }));
        assert_eq!(found, is_found, "after {answers} answers");
        assert_never_told(cluster);
    }
}

#[test]
fn few_questions_are_open_at_once() {
    let mut cluster = Cluster::new(2);
    let sink = cluster.spawn(TWO, "Sink", 1_000);
    let mut waits = Vec::new();
    for _ in 0..100 {
        let asks = cluster.spawn(ONE, "Asks", 1);
        let call = cluster.call(DRIVER, asks, "ask");
        waits.push((call, cluster.call(cluster.at(call), sink, "answer")));
    }
    cluster.held_up.insert((ONE, TWO));
    for (call, on) in &waits {
        cluster.stuck(*call, &[*on]);
    }
    cluster.held_up.clear();
    cluster.deliver();
    assert_eq!(cluster.questions(), 64);
    cluster.wait(1_000);
    assert_eq!(cluster.questions(), 64 + 64);
    (0..4).for_each(|_| cluster.wait(LONG_MS));
    let asked: BTreeSet<_> = cluster.came.iter().filter_map(asked_for).flatten().collect();
    assert_eq!(asked.len(), waits.len(), "each is asked for at some time");
    assert_eq!(cluster.deadlocks(), []);
}

fn asked_for(body: &PeerBody) -> Option<&Vec<Awaited>> {
    match body {
        PeerBody::AskStalled { awaited, .. } => Some(awaited),
        _ => None,
    }
}

#[test]
fn a_worker_without_the_job_says_that_nothing_of_it_waits_there() {
    let mut bench = Bench::new();
    let body = PeerBody::AskStalled { search: 5, awaited: vec![Awaited::Call { call: CallId(1), at: WORKER }] };
    bench.feed(Event::FromPeer { worker: THERE, message: PeerMessage { job: JobId(99), body } });
    assert_eq!(bench.said().collect::<Vec<_>>(), [&PeerBody::Stalled { search: 5, found: None }]);
}

#[test]
fn long_waits_cost_little() {
    let mut cluster = Cluster::new(2);
    let first = cluster.submit(DRIVER, ONE, "first");
    let second = cluster.submit(cluster.at(first), TWO, "second");
    cluster.stuck(first, &[second]);
    (0..3_600).for_each(|_| cluster.wait(1_000));
    assert!((60..130).contains(&cluster.questions()), "{} questions in an hour", cluster.questions());
    cluster.done(second);
    let asked = cluster.questions();
    cluster.wait(LONG_MS);
    assert_eq!(cluster.questions(), asked);
}

#[test]
fn whatever_order_things_come_in_the_same_call_is_told_once() {
    for seed in 1..=300 {
        let (mut cluster, _, [take, pay, count]) = calling_back(1);
        let mut random = SmallRng::seed_from_u64(seed);
        let mut waits = vec![(take, pay), (pay, count)];
        waits.rotate_left(random.random_range(0..2));
        while cluster.deadlocks().is_empty() {
            let links = cluster.busy_links();
            match random.random_range(0..links.len() + 2) {
                0 => cluster.pass(random.random_range(0..2_000)),
                1 => _ = waits.pop().map(|(call, on)| cluster.begin_waiting(call, &[on])),
                link => cluster.deliver_one(links[link - 2]),
            }
        }
        for _ in 0..4 {
            cluster.wait(LONG_MS);
        }
        let circle =
            "shop::Till::pay waits for shop::Stock::count waits for shop::Stock::take waits for shop::Till::pay";
        assert_told(&cluster, pay, count, circle);
    }
}
