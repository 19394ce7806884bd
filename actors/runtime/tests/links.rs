//! Processes that say too much, or do not listen.

mod support;

use std::time::Duration;

use support::{Stage, text};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::{CallId, ObjectId};
use tandem_node::{Action, ExecutorNeeds, ExitCause};

#[tokio::test]
async fn a_flood_of_messages_does_not_drown_others_out() {
    let mut stage = Stage::new();
    stage.set("TEST_DO", "flood");
    let (flooding, outcome) = stage.start(ExecutorNeeds::default()).await;
    outcome.expect("a process");
    stage.world.environment.lock().expect("a map").clear();
    let other = stage.executor().await;
    assert_eq!(stage.call(other, "echo", vec![text("heard")]).await, "heard");
    stage.act(Action::StopExecutor { executor: flooding, at_once: true }).await;
    assert_eq!(stage.gone(flooding).await, ExitCause::Asked);
}

#[tokio::test]
async fn who_does_not_read_for_long_is_ended_and_holds_up_nobody() {
    let mut stage = Stage::with(|config| config.stuck_grace = Duration::from_millis(300));
    let (deaf, other) = (stage.executor().await, stage.executor().await);
    stage.begin(deaf, "deaf", Vec::new()).await;
    for _ in 0..50 {
        stage.send(deaf, ToExecutor::Ready(vec![ObjectId(u128::MAX); 100_000])).await;
    }
    assert_eq!(stage.call(other, "echo", vec![text("heard")]).await, "heard");
    assert_eq!(stage.gone(deaf).await, ExitCause::Protocol("it has not read for 0 s".to_owned()));
}

#[tokio::test]
async fn what_waits_for_one_that_does_not_read_is_bounded() {
    let mut stage = Stage::with(|config| config.queue_bytes = 4 << 20);
    let deaf = stage.executor().await;
    stage.begin(deaf, "deaf", Vec::new()).await;
    for _ in 0..80 {
        stage.send(deaf, ToExecutor::Ready(vec![ObjectId(u128::MAX); 100_000])).await;
    }
    let cause = stage.gone(deaf).await;
    assert!(matches!(&cause, ExitCause::Protocol(reason) if reason.contains("does not read")), "{cause:?}");
}

#[tokio::test]
async fn messages_come_in_order_also_when_many_wait() {
    let mut stage = Stage::new();
    let id = stage.executor().await;
    let mut expected = Vec::new();
    for i in 0..50 {
        stage.send(id, ToExecutor::Ready(vec![ObjectId(u128::MAX); 20_000])).await;
        let run = stage.begin(id, "echo", vec![text(&i.to_string())]).await;
        expected.push(run);
    }
    let mut ended: Vec<CallId> = Vec::new();
    while ended.len() < expected.len() {
        let call = stage
            .said(id, |message| match message {
                tandem_actor_protocol::node::ToNode::Done { call, .. } => Some(call),
                _ => None,
            })
            .await;
        ended.push(call);
    }
    assert_eq!(ended, expected);
}
