//! Objects between two processes and the shell itself.

mod support;

use bytes::Bytes;
use support::{JOB, Stage};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Body, Format, Value};
use tandem_actor_protocol::{ExtentId, SpaceLease, SpaceLeaseId};
use tandem_node::{Action, Event};
use tandem_runtime::Argument;

const EXTENT: ExtentId = ExtentId(3);
const BYTES: u64 = 4 << 20;

fn lease(offset: u64, bytes: u64) -> SpaceLease {
    SpaceLease { id: SpaceLeaseId(offset), extent: EXTENT, offset, bytes }
}

/// The memory files that this process has open.
fn memory_files() -> usize {
    let files = std::fs::read_dir("/proc/self/fd").expect("open files").flatten();
    let targets = files.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.filter(|target| target.to_string_lossy().contains("memfd:tandem-arena")).count()
}

#[tokio::test]
async fn objects_pass_between_processes_and_the_shell_and_nothing_is_left() {
    let mut stage = Stage::new();
    let (putter, getter) = (stage.executor().await, stage.executor().await);
    stage.act(Action::MakeExtent { job: JOB, extent: EXTENT, bytes: BYTES }).await;
    stage.send(putter, ToExecutor::Extent { extent: EXTENT, bytes: BYTES, writable: true }).await;
    stage.send(putter, ToExecutor::Space(Ok(lease(0, 128 << 10)))).await;
    let value =
        stage.said(putter, |message| if let ToNode::Put { value, .. } = message { Some(value) } else { None }).await;
    stage.send(getter, ToExecutor::Extent { extent: EXTENT, bytes: BYTES, writable: false }).await;
    assert_eq!(stage.call(getter, "echo", vec![value]).await, "131072x");

    let (value, returned) = call_echo(&mut stage).await;
    assert_eq!(stage.call(getter, "echo", vec![value]).await, "200000s");
    assert_eq!(returned, [(Format::Bytes, 200_000), (Format::Json, 4)]);
    let dropped = async |stage: &mut Stage| {
        stage.until(|event| if let Event::SpaceDropped { ticket } = event { Some(ticket) } else { None }).await
    };
    let mut tickets = [dropped(&mut stage).await, dropped(&mut stage).await];
    tickets.sort_unstable();
    assert_eq!(tickets, [0, 1]);

    assert!(memory_files() > 0);
    stage.act(Action::ForgetJob { job: JOB }).await;
    assert_eq!(memory_files(), 0);
}

/// A function that gives back its large argument and a small value. Returns the argument where it is, and what came back.
async fn call_echo(stage: &mut Stage) -> (Value, Vec<(Format, usize)>) {
    let runtime = stage.runtime.clone();
    let argument = Argument { format: Format::Bytes, parts: vec![Bytes::from(vec![b's'; 100_000]); 2] };
    let calling = tokio::spawn(async move { runtime.call_function(JOB, None, "echo", vec![argument], 2).await });
    let (ticket, bytes) = stage
        .until(|event| match event {
            Event::SpaceWanted { ticket, job: JOB, bytes } => Some((ticket, bytes)),
            _ => None,
        })
        .await;
    assert_eq!(bytes, 200_000);
    stage.act(Action::SpaceGiven { ticket, outcome: Ok(lease(1 << 20, 1 << 20)) }).await;
    let (ticket, args) = stage
        .until(|event| match event {
            Event::FunctionWanted { ticket, job: JOB, place: None, function, args, returns: 2 }
                if function == "echo" =>
            {
                Some((ticket, args))
            }
            _ => None,
        })
        .await;
    let [value] = <[Value; 1]>::try_from(args).expect("one argument");
    assert!(matches!(&value.body, Body::Shared { location, .. } if location.offset == 1 << 20));
    let values = vec![value.clone(), Value::inline(Format::Json, "true")];
    stage.act(Action::FunctionEnded { ticket, outcome: Ok(values) }).await;
    let parts = calling.await.expect("no panic").expect("a result");
    assert!(parts[0].bytes.iter().all(|byte| *byte == b's'));
    (value, parts.into_iter().map(|part| (part.format, part.bytes.len())).collect())
}

#[tokio::test]
async fn a_function_that_nobody_waits_for_is_cancelled() {
    let mut stage = Stage::new();
    let runtime = stage.runtime.clone();
    let calling = tokio::spawn(async move { runtime.call_function(JOB, None, "slow", Vec::new(), 1).await });
    let wanted = |event| if let Event::FunctionWanted { ticket, .. } = event { Some(ticket) } else { None };
    let ticket = stage.until(wanted).await;
    calling.abort();
    let cancelled = |event| if let Event::FunctionCancelled { ticket } = event { Some(ticket) } else { None };
    assert_eq!(stage.until(cancelled).await, ticket);
}

#[tokio::test]
async fn what_a_task_with_gpus_calls_runs_in_its_place_which_is_free_when_the_node_says_so() {
    let mut stage = Stage::new();
    let place = stage.runtime.take_place(JOB, 500);
    let taken = |event| match event {
        Event::PlaceWanted { ticket, job: JOB, gpus_milli: 500 } => Some(ticket),
        _ => None,
    };
    let taken = stage.until(taken).await;
    let runtime = stage.runtime.clone();
    let calling = tokio::spawn(async move {
        let called = runtime.call_function(JOB, Some(&place), "slow", Vec::new(), 1).await;
        place.give_back().await;
        called
    });
    let wanted = |event| match event {
        Event::FunctionWanted { ticket, place, .. } => Some((ticket, place)),
        _ => None,
    };
    let (ticket, place) = stage.until(wanted).await;
    assert_eq!(place, Some(taken));
    stage.act(Action::FunctionEnded { ticket, outcome: Ok(Vec::new()) }).await;
    let dropped = |event| if let Event::PlaceDropped { ticket, job: JOB } = event { Some(ticket) } else { None };
    assert_eq!(stage.until(dropped).await, taken);
    assert!(!calling.is_finished());
    stage.act(Action::PlaceFree { ticket: taken }).await;
    assert_eq!(calling.await.expect("no panic"), Ok(Vec::new()));

    drop(stage.runtime.take_place(JOB, 1_000));
    let next = stage.until(dropped).await;
    assert_ne!(next, taken, "it is given back when it is dropped, too");
}

#[tokio::test]
async fn memory_that_cannot_be_had_is_told() {
    let mut stage = Stage::new();
    stage.act(Action::MakeExtent { job: JOB, extent: EXTENT, bytes: u64::MAX }).await;
    let failed = |event| if let Event::ExtentFailed { extent, .. } = event { Some(extent) } else { None };
    assert_eq!(stage.until(failed).await, EXTENT);
    let executor = stage.executor().await;
    stage.send(executor, ToExecutor::Extent { extent: EXTENT, bytes: BYTES, writable: true }).await;
    let cause = stage.gone(executor).await;
    assert!(matches!(cause, tandem_node::ExitCause::Protocol(_)), "{cause:?}");
}
