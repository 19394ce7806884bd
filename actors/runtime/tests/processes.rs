//! How processes start, end and are ended, and that nothing is left of them.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use support::{JOB, Stage, processes_with, text};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::node::ToNode;
use tandem_node::{Action, ExecutorNeeds, ExitCause};
use tandem_runtime::News;

#[tokio::test]
async fn a_process_says_hello_works_and_ends_when_it_is_told() {
    let mut stage = Stage::new();
    let (id, pid) = stage.start(ExecutorNeeds::default()).await;
    let hello = stage.said(id, |message| if let ToNode::Hello(hello) = message { Some(hello) } else { None }).await;
    assert_eq!(pid, Ok(hello.pid));
    assert_eq!(stage.call(id, "echo", vec![text("a"), text("b")]).await, "a b");
    stage.act(Action::StopExecutor { executor: id, at_once: false }).await;
    assert_eq!(stage.gone(id).await, ExitCause::Asked);
    assert_eq!(processes_with(&format!("{}/1", stage.worker)), [0; 0]);
}

#[tokio::test]
async fn how_a_process_ended_is_told() {
    let cases = [("exit", ExitCause::Exited(7)), ("crash", ExitCause::Signalled(11))];
    let mut stage = Stage::new();
    for (function, expected) in cases {
        let id = stage.executor().await;
        stage.begin(id, function, vec![text("7")]).await;
        assert_eq!(stage.gone(id).await, expected, "{function}");
    }
}

#[tokio::test]
async fn processes_that_break_the_protocol_are_ended() {
    let cases = [
        ("exit", ExitCause::Exited(3)),
        ("silence", ExitCause::Silent),
        ("garbage", ExitCause::Protocol("frame of kind 65535 has a reserved byte of 255".to_owned())),
        ("nonsense", ExitCause::Protocol("not a message of this protocol".to_owned())),
        ("close", ExitCause::Protocol("it ended its link and went on".to_owned())),
    ];
    let mut stage = Stage::with(|config| {
        config.hello_timeout = Duration::from_millis(300);
        config.stop_grace = Duration::from_millis(100);
    });
    for (what, expected) in cases {
        stage.set("TEST_DO", what);
        let (id, outcome) = stage.start(ExecutorNeeds::default()).await;
        outcome.expect("a process");
        match (stage.gone(id).await, expected) {
            (ExitCause::Protocol(reason), ExitCause::Protocol(expected)) => {
                assert!(reason.starts_with(&expected), "{what}: {reason}");
            }
            (cause, expected) => assert_eq!(cause, expected, "{what}"),
        }
    }
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let mut stage = Stage::new();
    stage.set("TEST_NO_PROGRAM", "1");
    let (id, outcome) = stage.start(ExecutorNeeds::default()).await;
    assert_eq!(outcome, Err("there is no program".to_owned()));
    stage.act(Action::StopExecutor { executor: id, at_once: true }).await;
}

#[tokio::test]
async fn an_endless_loop_is_ended_at_once() {
    let mut stage = Stage::new();
    let id = stage.executor().await;
    let call = stage.begin(id, "loop", Vec::new()).await;
    stage.said(id, |message| (message == ToNode::Began(call)).then_some(())).await;
    stage.act(Action::StopExecutor { executor: id, at_once: true }).await;
    assert_eq!(stage.gone(id).await, ExitCause::Asked);
}

#[tokio::test]
async fn a_process_that_does_not_want_to_end_is_ended() {
    let mut stage = Stage::with(|config| config.stop_grace = Duration::from_millis(50));
    stage.set("TEST_STAY", "1");
    let id = stage.executor().await;
    stage.act(Action::StopExecutor { executor: id, at_once: false }).await;
    assert_eq!(stage.gone(id).await, ExitCause::Asked);
}

#[tokio::test]
async fn all_that_a_process_has_started_ends_with_it() {
    let mut stage = Stage::new();
    stage.set("TEST_MARK", "all_that_a_process_has_started");
    let id = stage.executor().await;
    stage.call(id, "start others", Vec::new()).await;
    let mark = "TEST_MARK=all_that_a_process_has_started";
    // They have just been started.
    while processes_with(mark).len() <= 3 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    stage.begin(id, "exit", vec![text("0")]).await;
    assert_eq!(stage.gone(id).await, ExitCause::Exited(0));
    assert_eq!(processes_with(mark), [0; 0]);
}

#[tokio::test]
async fn a_process_that_starts_too_many_is_ended_with_all_of_them() {
    let mut stage = Stage::with(|config| config.max_processes = 40);
    stage.set("TEST_MARK", "a_process_that_starts_too_many");
    let id = stage.executor().await;
    stage.begin(id, "start many", Vec::new()).await;
    let cause = stage.gone(id).await;
    assert!(matches!(&cause, ExitCause::Protocol(reason) if reason.contains("more than the 40 allowed")), "{cause:?}");
    assert_eq!(processes_with("TEST_MARK=a_process_that_starts_too_many"), [0; 0]);
}

#[tokio::test]
async fn a_process_that_takes_too_much_memory_is_ended_and_others_are_not() {
    let mut stage = Stage::new();
    let other = stage.executor().await;
    let limit_bytes = 64 << 20;
    let id = stage.executor_with(ExecutorNeeds { memory_bytes: limit_bytes, ..ExecutorNeeds::default() }).await;
    stage.begin(id, "take memory", Vec::new()).await;
    let cause = stage.gone(id).await;
    let ExitCause::MemoryLimit { limit_bytes: limit, peak_bytes } = cause else { panic!("{cause:?}") };
    assert!(limit == limit_bytes && peak_bytes > limit_bytes);
    assert_eq!(stage.call(other, "echo", vec![text("alive")]).await, "alive");
}

#[tokio::test]
async fn a_process_has_the_variables_of_its_job_and_no_others() {
    let mut stage = Stage::new();
    stage.set("JOB_VARIABLE", "of the job");
    let needs = ExecutorNeeds {
        environment: BTreeMap::from([("TASK_VARIABLE".to_owned(), "of the task".to_owned())]),
        gpus: vec![1, 3],
        ..ExecutorNeeds::default()
    };
    let id = stage.executor_with(needs).await;
    let environment = stage.call(id, "environment", Vec::new()).await;
    let folder = stage.folder.path().canonicalize().expect("a folder").join("executors").join(JOB.to_string());
    let folder = folder.display();
    let expected = format!(
        "CUDA_VISIBLE_DEVICES=1,3\nHOME={folder}\nJOB_VARIABLE=of the job\nPATH={}\nTANDEM_EXECUTOR=1\n\
         TANDEM_EXECUTOR_OF={}/1\nTASK_VARIABLE=of the task\nTMPDIR={folder}\ncwd={folder}",
        std::env::var("PATH").expect("a path"),
        stage.worker
    );
    assert_eq!(environment, expected);

    let id = stage.executor().await;
    let environment = stage.call(id, "environment", Vec::new()).await;
    assert!(environment.starts_with("CUDA_VISIBLE_DEVICES=\n"), "{environment}");
}

#[tokio::test]
async fn the_folder_of_a_job_goes_with_it() {
    let mut stage = Stage::new();
    let id = stage.executor().await;
    let folder = stage.folder.path().join("executors").join(JOB.to_string());
    std::fs::write(folder.join("file"), "content").expect("its folder is there");
    stage.act(Action::StopExecutor { executor: id, at_once: true }).await;
    stage.gone(id).await;
    stage.act(Action::ForgetJob { job: JOB }).await;
    assert_eq!(*stage.world.news.lock().expect("a list"), [News::Began(JOB), News::Forgotten(JOB)]);
    stage.runtime.stop().await;
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_runtime_that_stops_leaves_nothing() {
    let mut stage = Stage::with(|config| config.stop_grace = Duration::from_millis(200));
    stage.set("TEST_MARK", "a_runtime_that_stops");
    let in_order = stage.executor().await;
    let busy = stage.executor().await;
    stage.begin(busy, "loop", Vec::new()).await;
    stage.send(in_order, ToExecutor::Resume(tandem_actor_protocol::CallId(1))).await;
    stage.runtime.stop().await;
    assert_eq!(processes_with("TEST_MARK=a_runtime_that_stops"), [0; 0]);
    assert!(!stage.folder.path().join("executors").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_is_dropped_leaves_no_process() {
    let mut stage = Stage::new();
    stage.set("TEST_MARK", "a_runtime_that_is_dropped");
    stage.executor().await;
    let busy = stage.executor().await;
    stage.begin(busy, "loop", Vec::new()).await;
    drop(stage);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !processes_with("TEST_MARK=a_runtime_that_is_dropped").is_empty() {
        assert!(std::time::Instant::now() < deadline, "processes are left");
        tokio::task::yield_now().await;
    }
}
