//! Whoever waits is woken: for objects, for a slot, for work.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};

use loom::future::block_on;
use loom::thread;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::{CallId, ObjectId};

use crate::calls::{Alarm, Call, Calls};
use crate::objects::{Gate, Handle};
use crate::orders;
use crate::process::Process;
use crate::sync::AtomicBool;
use crate::value::Fetched;
use crate::work::{Job, Work, WorkQueue};

const OBJECT: ObjectId = ObjectId(7);
/// More than is kept of a value that nobody takes.
const LARGE: Fetched = Fetched(10_000);

fn wait_at(gate: &Gate) {
    block_on(poll_fn(|cx| gate.poll(cx)));
}

#[test]
fn a_gate_opens_with_the_last_arrival() {
    orders(3, || {
        let gate = Arc::new(Gate::new(2, Box::default()));
        for _ in 0..2 {
            let gate = Arc::clone(&gate);
            thread::spawn(move || gate.arrive());
        }
        wait_at(&gate);
    });
}

#[test]
fn a_gate_opens_with_a_failure_however_many_are_missing() {
    loom::model(|| {
        let gate = Arc::new(Gate::new(3, Box::default()));
        let (arriving, failing) = (Arc::clone(&gate), Arc::clone(&gate));
        thread::spawn(move || arriving.arrive());
        thread::spawn(move || failing.fail());
        wait_at(&gate);
    });
}

/// Takes a value as a future of it does.
fn take(handle: &Handle) -> Option<Fetched> {
    let gate = Arc::new(Gate::new(1, [OBJECT].into()));
    handle.begin_take(&gate);
    wait_at(&gate);
    let value = handle.known().and_then(Result::ok);
    handle.forget(&gate);
    handle.end_take();
    value
}

#[test]
fn each_taker_of_a_large_value_gets_it_though_others_let_go_of_it() {
    orders(2, || {
        let (process, asks) = Process::new();
        let handle = process.objects().adopt(&process, OBJECT);
        let answering = Arc::clone(&process);
        let node = thread::spawn(move || {
            while let Ok(Some(object)) = asks.recv() {
                let handle = answering.objects().get(object).expect("it is waited for");
                handle.set_value(Ok(LARGE));
            }
        });
        let other = {
            let handle = Arc::clone(&handle);
            thread::spawn(move || take(&handle))
        };
        assert_eq!(take(&handle), Some(LARGE));
        assert_eq!(other.join().expect("no panic"), Some(LARGE));
        assert!(handle.is_there() && handle.known().is_none(), "nobody takes it any more");
        process.end();
        node.join().expect("no panic");
    });
}

#[test]
fn an_object_with_a_handle_is_held_by_the_node_and_one_without_is_not() {
    loom::model(|| {
        let (process, _asks) = Process::new();
        let first = process.objects().adopt(&process, OBJECT);
        let others = [(); 2].map(|()| {
            let process = Arc::clone(&process);
            thread::spawn(move || {
                let again = process.objects().adopt(&process, OBJECT);
                assert!(process.is_held(OBJECT), "it has a handle");
                drop(again);
            })
        });
        drop(first);
        others.into_iter().for_each(|other| other.join().expect("no panic"));
        assert!(!process.is_held(OBJECT), "it has none");
    });
}

#[test]
fn whoever_takes_when_the_node_is_lost_hears_of_it() {
    orders(3, || {
        let (process, _asks) = Process::new();
        let taking = Arc::clone(&process);
        let taker = thread::spawn(move || take(&taking.objects().adopt(&taking, OBJECT)));
        process.objects().lose(Failure::new(FailureKind::WorkerLost, "", "gone"));
        assert_eq!(taker.join().expect("no panic"), None);
    });
}

/// Waits at a place of a call until something holds, as an attempt does.
fn wait_for(call: &Call, holds: impl Fn() -> bool) {
    let waiter = call.wait_at();
    block_on(poll_fn(|cx| {
        waiter.register(cx);
        if holds() { Poll::Ready(()) } else { Poll::Pending }
    }));
    call.leave(&waiter);
}

#[test]
fn all_places_where_a_call_waits_see_that_its_slot_is_back() {
    orders(2, || {
        let call = Calls::default().begin(CallId(1), None);
        call.lend_slot(|| {});
        let other = {
            let call = Arc::clone(&call);
            thread::spawn(move || wait_for(&call, || call.has_slot()))
        };
        let node = {
            let call = Arc::clone(&call);
            thread::spawn(move || call.resume())
        };
        wait_for(&call, || call.has_slot());
        other.join().expect("no panic");
        node.join().expect("no panic");
    });
}

#[test]
fn a_call_that_waits_sees_that_it_is_cancelled() {
    loom::model(|| {
        let call = Calls::default().begin(CallId(1), None);
        let node = {
            let call = Arc::clone(&call);
            thread::spawn(move || call.cancel())
        };
        wait_for(&call, || call.is_cancelled());
        node.join().expect("no panic");
    });
}

#[test]
fn a_future_is_polled_until_it_has_seen_what_each_of_those_did_that_woke_it() {
    orders(3, || {
        let waiter = Calls::default().begin(CallId(1), None).wait_at();
        assert!(waiter.take_woken(), "it is polled at first");
        let alarm = Arc::new(Alarm(Arc::clone(&waiter)));
        let done = [(); 2].map(|()| {
            let (alarm, done) = (Waker::from(Arc::clone(&alarm)), Arc::new(AtomicBool::new(false)));
            let doing = Arc::clone(&done);
            thread::spawn(move || {
                doing.store(true, Ordering::Relaxed);
                alarm.wake();
            });
            done
        });
        block_on(poll_fn(|cx| {
            waiter.register(cx);
            let polled = waiter.take_woken() && done.iter().all(|done| done.load(Ordering::Relaxed));
            if polled { Poll::Ready(()) } else { Poll::Pending }
        }));
    });
}

fn job(number: u128) -> Work {
    let call = Calls::default().begin(CallId(number), None);
    Work::Run(Job {
        call,
        attempt: 0,
        function: String::new(),
        actor: None,
        args: Vec::new(),
        returns: 1,
        timeout_ms: 0,
        environment: [].into(),
    })
}

fn number(work: &Work) -> u128 {
    match work {
        Work::Run(job) => job.call.id.0,
        Work::Start(_) | Work::Taken(_) | Work::End(_) => unreachable!("only tasks are pushed"),
    }
}

/// Pushes three tasks, takes some back and closes the queue, while `next` is asked until the end. Each task is begun or was given
/// back.
fn push_and_take_back(next: impl Fn(&WorkQueue) -> Option<Work> + Send + Copy + 'static) {
    let queue = Arc::new(WorkQueue::default());
    let worker = {
        let queue = Arc::clone(&queue);
        thread::spawn(move || std::iter::from_fn(|| next(&queue)).map(|work| number(&work)).collect::<Vec<_>>())
    };
    (1..=3).for_each(|number| queue.push(job(number)));
    let given_back = queue.take_back(2);
    queue.close();
    let begun = worker.join().expect("no panic");
    assert!(begun.is_sorted(), "tasks begin in order: {begun:?}");
    let mut all: Vec<u128> = begun.into_iter().chain(given_back.into_iter().map(|call| call.0)).collect();
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3]);
}

#[test]
fn a_task_is_begun_or_given_back_by_a_thread_that_blocks() {
    orders(3, || push_and_take_back(WorkQueue::next));
}

#[test]
fn a_task_is_begun_or_given_back_by_a_thread_that_waits() {
    orders(3, || push_and_take_back(|queue| block_on(queue.next_async())));
}
