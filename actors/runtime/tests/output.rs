//! What processes print: whose it is, and what much of it costs.

mod support;

use std::sync::Arc;

use support::{Stage, text};
use tandem_actor_protocol::executor::{Role, Start, ToExecutor, Welcome};
use tandem_actor_protocol::{ActorId, ProcessNumber, WorkerId};
use tandem_node::{Action, ExitCause};
use tandem_runtime::{LogLine, LogStream};

fn welcome(role: Role) -> ToExecutor {
    ToExecutor::Welcome(Welcome {
        protocol: 1,
        job: support::JOB,
        job_name: String::new(),
        worker: WorkerId(5),
        worker_name: "worker-5".to_owned(),
        process: ProcessNumber(1),
        role,
    })
}

fn found<'a>(lines: &'a [LogLine], text: &str) -> &'a LogLine {
    lines.iter().find(|line| line.text == text).unwrap_or_else(|| panic!("no line `{text}` in {lines:?}"))
}

#[tokio::test]
async fn lines_are_told_apart_by_who_printed_them() {
    let mut stage = Stage::new();
    stage.set("SECRET", "hunter2");
    let id = stage.executor().await;
    stage.call(id, "print", vec![text("nobody's\n")]).await;
    let first = stage.run(id, "print", vec![text("one\ntwo hunter2\nopen")]).await;
    let second = stage.run(id, "complain", vec![text("three")]).await;
    stage.send(id, welcome(Role::Driver { args: Vec::new() })).await;
    stage.call(id, "echo", Vec::new()).await;
    let lines = stage.lines(|lines| lines.len() >= 4).await;
    for (text, call, stream, function) in [
        ("one", first, LogStream::Stdout, "print"),
        ("two ***", first, LogStream::Stdout, "print"),
        ("three", second, LogStream::Stderr, "complain"),
    ] {
        let line = found(&lines, text);
        let expected = (call.to_string(), stream, function.to_owned());
        assert_eq!((line.task.to_string(), line.stream, line.task_name.to_string()), expected, "{text}");
        assert!(line.job == support::JOB && line.time_ms > 0);
    }
    stage.begin(id, "exit", vec![text("0")]).await;
    stage.gone(id).await;
    let lines = stage.lines(|lines| lines.len() >= 5).await;
    assert_eq!(found(&lines, "open").task, first.to_string().into());
}

#[tokio::test]
async fn what_no_task_prints_is_of_the_driver_or_the_actor() {
    let mut stage = Stage::new();
    for (told, expected) in [
        (welcome(Role::Driver { args: Vec::new() }), "driver".to_owned()),
        (
            ToExecutor::Start(Start {
                actor: ActorId(9),
                attempt: 0,
                class: "Counter".to_owned(),
                args: Vec::new(),
                checkpoint: None,
                concurrency: 1,
            }),
            ActorId(9).to_string(),
        ),
    ] {
        // Only the last words of a panic are printed outside of any task here.
        let id = stage.executor().await;
        stage.send(id, told).await;
        stage.call(id, "echo", Vec::new()).await;
        stage.world.lines.lock().expect("a list").clear();
        stage
            .send(
                id,
                ToExecutor::Space(Err(tandem_actor_protocol::failure::Failure::new(
                    tandem_actor_protocol::failure::FailureKind::StoreFull,
                    "",
                    "to make it panic",
                ))),
            )
            .await;
        assert_eq!(stage.gone(id).await, ExitCause::Exited(101));
        let lines = stage.lines(|lines| lines.iter().any(|line| line.text.contains("to make it panic"))).await;
        assert!(lines.iter().all(|line| *line.task == *expected && line.stream == LogStream::Stderr), "{lines:?}");
    }
}

#[tokio::test]
async fn much_output_waits_until_it_is_taken_and_nothing_else_does() {
    let mut stage = Stage::new();
    let (loud, quiet) = (stage.executor().await, stage.executor().await);
    stage.world.stopped.send_replace(true);
    let lines = 200_000;
    let printing = stage.begin(loud, "print much", vec![text(&lines.to_string())]).await;
    assert_eq!(stage.call(quiet, "echo", vec![text("not held up")]).await, "not held up");
    assert!(stage.world.lines.lock().expect("a list").is_empty());
    stage.world.stopped.send_replace(false);
    let printed = stage.lines(|printed| printed.len() >= lines).await;
    assert_eq!(printed.len(), lines);
    let expected: Arc<str> = printing.to_string().into();
    assert!(printed.iter().all(|line| line.text.len() == 99));
    assert!(printed.iter().all(|line| line.task == expected));
    stage.act(Action::StopExecutor { executor: loud, at_once: true }).await;
    stage.gone(loud).await;
}
