//! A worker against a scripted coordinator, over real sockets.

mod support;

use std::time::Duration;

use tandem_proto::VERSION;
use tandem_proto::transport::{ClientSecurity, Token, connect};
use tandem_proto::v1::coordinator_message::Message as ToWorker;
use tandem_proto::v1::shuffle_service_client::ShuffleServiceClient;
use tandem_proto::v1::task_report::Outcome;
use tandem_proto::v1::worker_message::Message as FromWorker;
use tandem_proto::v1::{
    DropOutput, FailureKind, FetchRequest, Heartbeat, Rejected, Shutdown, StageInput, TaskAttempt, TaskFailed,
    TaskReport,
};
use tandem_worker::{Worker, WorkerConfig, WorkerError};
use tonic::Code;

use support::coordinator::FakeCoordinator;
use support::data::{fetch, table};
use support::process::{Secrets, TestWorker, config};
use support::stage::{all_on, attempt, definition, single, stages};

/// Runs until it is stopped.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 100000000000) AS t(v) WHERE v % 7 = 8";

fn failure(report: &TaskReport) -> &TaskFailed {
    match &report.outcome {
        Some(Outcome::Failed(failed)) => failed,
        other => panic!("not a failure: {other:?}"),
    }
}

fn assert_finished(report: &TaskReport) {
    assert!(matches!(report.outcome, Some(Outcome::Finished(_))), "{report:?}");
}

#[tokio::test]
async fn a_task_is_run_reported_and_its_output_served_until_dropped() {
    let secrets = Secrets::new();
    let mut coordinator = FakeCoordinator::start(secrets.server.clone()).await;
    coordinator.define(1, 1, 0, single("SELECT 42 AS answer").await);
    let worker = TestWorker::start(&coordinator, &secrets).await;
    let mut session = coordinator.session().await;
    let register = session.register(1, 1).await;
    assert_eq!((register.worker, register.slots, register.version.as_str()), (worker.id.0, 2, VERSION));
    assert_eq!((register.running.len(), register.held.len()), (0, 0));
    assert_eq!(register.data_address, worker.data_address());

    let task = attempt(1, 1, 0);
    session.launch(task, 0).await;
    let report = session.report().await;
    assert_eq!(report.attempt, Some(task));
    assert_finished(&report);
    assert_eq!(session.report().await, report, "repeated until acknowledged");
    session.acknowledge(report.sequence).await;

    let address = worker.data_address();
    let rows = fetch(&address, &secrets.client, task, 1).await.unwrap();
    assert_eq!(table(&rows), "+--------+\n| answer |\n+--------+\n| 42     |\n+--------+");
    for token in [None, Some(Token::generate())] {
        let stranger = ClientSecurity { token, ca_pem: None };
        assert_eq!(fetch(&address, &stranger, task, 1).await.unwrap_err().code(), Code::Unauthenticated);
    }
    let never_run = attempt(1, 1, 1);
    assert_eq!(fetch(&address, &secrets.client, never_run, 1).await.unwrap_err().code(), Code::NotFound);

    session.say(ToWorker::DropOutput(DropOutput { job: 1, stage: 1, all_stages: false })).await;
    let gone = loop {
        if let Err(status) = fetch(&address, &secrets.client, task, 1).await {
            break status;
        }
    };
    assert_eq!(gone.code(), Code::NotFound);
}

#[tokio::test]
async fn a_restarted_coordinator_learns_what_runs_and_what_is_held() {
    let secrets = Secrets::new();
    let mut coordinator = FakeCoordinator::start(secrets.server.clone()).await;
    coordinator.define(1, 1, 0, single("SELECT 1 AS one").await);
    coordinator.define(1, 2, 0, single(ENDLESS).await);
    let worker = TestWorker::start(&coordinator, &secrets).await;
    let mut session = coordinator.session().await;
    session.register(1, 1).await;
    let (quick, endless) = (attempt(1, 1, 0), attempt(1, 2, 0));
    session.launch(endless, 0).await;
    session.launch(quick, 0).await;
    let report = session.report().await;
    assert_eq!(report.attempt, Some(quick));

    drop(session);
    coordinator.restart().await;
    let mut session = coordinator.session().await;
    let register = session.register(2, 2).await;
    assert_eq!((register.worker, register.term), (worker.id.0, 1));
    assert_eq!(register.running, [endless]);
    assert_eq!(register.held.iter().map(|held| held.attempt.unwrap()).collect::<Vec<_>>(), [quick]);
    assert_eq!(session.report().await, report, "the report was never acknowledged");
    session.acknowledge(report.sequence).await;
    assert_eq!(fetch(&worker.data_address(), &secrets.client, quick, 1).await.unwrap().len(), 1);

    session.cancel(endless).await;
    let report = session.report().await;
    assert_eq!((report.attempt, failure(&report).kind()), (Some(endless), FailureKind::Cancelled));
}

#[tokio::test]
async fn a_task_that_computes_without_a_pause_gives_its_slot_back_when_it_is_cancelled() {
    let secrets = Secrets::new();
    let mut coordinator = FakeCoordinator::start(secrets.server.clone()).await;
    let pairs =
        "SELECT count(*) FROM generate_series(1, 200000) a, generate_series(1, 200000) b WHERE a.value + b.value < 0";
    coordinator.define(1, 1, 0, single(pairs).await);
    coordinator.define(1, 2, 0, single("SELECT 1 AS one").await);
    let worker = TestWorker::start_with(&coordinator, &secrets, |config| config.slots = 1).await;
    let mut session = coordinator.session().await;
    session.register(1, 1).await;
    let (endless, quick) = (attempt(1, 1, 0), attempt(1, 2, 0));
    session.launch(endless, 0).await;
    let runs = |heartbeat: &Heartbeat| heartbeat.progress.iter().any(|running| running.attempt == Some(endless));
    session.wait(|message| matches!(message, FromWorker::Heartbeat(ref beat) if runs(beat)).then_some(())).await;
    session.cancel(endless).await;
    let report = session.report().await;
    assert_eq!((report.attempt, failure(&report).kind()), (Some(endless), FailureKind::Cancelled));
    session.launch(quick, 0).await;
    assert_finished(&session.report().await);
    assert_eq!(fetch(&worker.data_address(), &secrets.client, quick, 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_coordinator_of_an_older_term_is_refused() {
    let secrets = Secrets::new();
    let mut coordinator = FakeCoordinator::start(secrets.server.clone()).await;
    let _worker = TestWorker::start(&coordinator, &secrets).await;
    let mut session = coordinator.session().await;
    session.register(5, 1).await;
    drop(session);

    let mut old = coordinator.session().await;
    old.register(4, 2).await;
    assert_eq!(old.hear().await, None, "the worker closes the stream");
    let register = coordinator.session().await.registration().await;
    assert_eq!(register.term, 5);
}

#[tokio::test]
async fn a_task_reads_what_its_peer_holds_and_names_what_is_lost() {
    let secrets = Secrets::new();
    let mut coordinator = FakeCoordinator::start(secrets.server.clone()).await;
    let series = |end| format!("SELECT v FROM generate_series(1, {end}) AS t(v)");
    let sql = format!("SELECT sum(v) AS total FROM ({} UNION ALL {})", series(8), series(3));
    let query = stages(&sql, 2).await;
    let shape: Vec<_> = query.0.stages.iter().map(|stage| (stage.id.0, stage.partitions)).collect();
    assert_eq!(shape, [(1, 2), (2, 1)], "{:?}", query.0);

    let producer = TestWorker::start(&coordinator, &secrets).await;
    let mut producing = coordinator.session().await;
    producing.register(1, 1).await;
    coordinator.define(1, 1, 0, definition(&query, 1, Vec::new()));
    for task in 0..2 {
        producing.launch(attempt(1, 1, task), 0).await;
    }
    for _ in 0..2 {
        let report = producing.report().await;
        assert_finished(&report);
        producing.acknowledge(report.sequence).await;
    }

    let consumer = TestWorker::start(&coordinator, &secrets).await;
    let mut consuming = coordinator.session().await;
    consuming.register(1, 2).await;
    let (peer, peer_address) = (producer.id, producer.data_address());
    coordinator.define(1, 2, 0, definition(&query, 2, vec![all_on(1, 2, peer, peer_address.clone())]));
    let task = |attempt| TaskAttempt { job: 1, stage: 2, task: 0, attempt };
    consuming.launch(task(0), 0).await;
    let report = consuming.report().await;
    assert_finished(&report);
    consuming.acknowledge(report.sequence).await;
    let rows = fetch(&consumer.data_address(), &secrets.client, task(0), 1).await.unwrap();
    assert_eq!(table(&rows), "+-------+\n| total |\n+-------+\n| 42    |\n+-------+");

    // The other partition is there, this attempt of it is not.
    let gone = StageInput { attempt_of: vec![0, 9], ..all_on(1, 2, peer, peer_address.clone()) };
    coordinator.define(1, 2, 1, definition(&query, 2, vec![gone]));
    consuming.launch(task(1), 1).await;
    let one_of_two = consuming.report().await;
    consuming.acknowledge(one_of_two.sequence).await;
    assert_eq!(failure(&one_of_two).lost_partition, 1);

    producing.say(ToWorker::DropOutput(DropOutput { job: 1, stage: 0, all_stages: true })).await;
    while fetch(&peer_address, &secrets.client, attempt(1, 1, 0), 1).await.is_ok() {}
    consuming.launch(task(2), 0).await;
    let dropped = consuming.report().await;
    consuming.acknowledge(dropped.sequence).await;
    drop(producer);
    consuming.launch(task(3), 0).await;
    let unreachable = consuming.report().await;
    for (report, reason) in
        [(one_of_two, "not kept there"), (dropped, "not kept there"), (unreachable, peer_address.as_str())]
    {
        let failed = failure(&report);
        assert_eq!((failed.kind(), failed.lost_stage, failed.lost_worker), (FailureKind::Fetch, 1, peer.0));
        assert!(failed.message.contains(reason), "{}", failed.message);
    }
}

#[tokio::test]
async fn a_task_without_a_stage_fails_and_the_worker_goes_on() {
    let secrets = Secrets::new();
    let mut coordinator = FakeCoordinator::start(secrets.server.clone()).await;
    let mut broken = single("SELECT 1 AS one").await;
    broken.plan = vec![0xff; 16].into();
    coordinator.define(1, 2, 0, broken);
    let _worker = TestWorker::start(&coordinator, &secrets).await;
    let mut session = coordinator.session().await;
    session.register(1, 1).await;
    for (stage, reason) in [(1, "no such stage"), (2, "")] {
        session.launch(attempt(1, stage, 0), 0).await;
        let report = session.report().await;
        session.acknowledge(report.sequence).await;
        assert!(failure(&report).message.contains(reason), "{report:?}");
    }
}

#[tokio::test]
async fn a_drained_worker_serves_until_it_is_told_to_stop() {
    let secrets = Secrets::new();
    let mut coordinator = FakeCoordinator::start(secrets.server.clone()).await;
    coordinator.define(1, 1, 0, single("SELECT 1 AS one").await);
    let worker = TestWorker::start(&coordinator, &secrets).await;
    let mut session = coordinator.session().await;
    session.register(1, 1).await;
    let task = attempt(1, 1, 0);
    session.launch(task, 0).await;
    let report = session.report().await;
    session.acknowledge(report.sequence).await;

    worker.ask_to_leave();
    session.wait(|message| matches!(message, FromWorker::Draining(_)).then_some(())).await;
    assert_eq!(fetch(&worker.data_address(), &secrets.client, task, 1).await.unwrap().len(), 1);
    session.say(ToWorker::Shutdown(Shutdown {})).await;
    worker.outcome().await.unwrap();
}

#[tokio::test]
async fn a_drained_worker_leaves_anyway_when_its_time_is_over() {
    let secrets = Secrets::new();
    let mut coordinator = FakeCoordinator::start(secrets.server.clone()).await;
    coordinator.define(1, 1, 0, single(ENDLESS).await);
    let worker =
        TestWorker::start_with(&coordinator, &secrets, |config| config.drain_timeout = Duration::from_millis(100))
            .await;
    let mut session = coordinator.session().await;
    session.register(1, 1).await;
    session.launch(attempt(1, 1, 0), 0).await;
    worker.ask_to_leave();
    worker.outcome().await.unwrap();
}

#[tokio::test]
async fn a_worker_that_is_not_wanted_ends_with_the_reason() {
    let secrets = Secrets::new();
    let mut coordinator = FakeCoordinator::start(secrets.server.clone()).await;
    let worker = TestWorker::start(&coordinator, &secrets).await;
    let mut session = coordinator.session().await;
    session.registration().await;
    session.say(ToWorker::Rejected(Rejected { reason: "version 1, not 2".to_owned() })).await;
    let error = worker.outcome().await.unwrap_err();
    assert!(matches!(&error, WorkerError::Rejected(reason) if reason.contains("not 2")), "{error}");

    let stranger = ClientSecurity { token: Some(Token::generate()), ca_pem: None };
    let worker = TestWorker::start_with(&coordinator, &secrets, |config| config.client_security = stranger).await;
    let error = worker.outcome().await.unwrap_err();
    assert!(matches!(error, WorkerError::Denied { .. }), "{error}");
}

#[tokio::test]
async fn metrics_need_the_token_and_health_does_not() {
    let secrets = Secrets::new();
    let mut coordinator = FakeCoordinator::start(secrets.server.clone()).await;
    coordinator.define(1, 1, 0, single("SELECT 1 AS one").await);
    let worker = TestWorker::start(&coordinator, &secrets).await;
    assert_eq!(worker.get("/healthz", None).await.0, 200);
    assert_eq!(worker.get("/readyz", None).await.0, 503);

    let mut session = coordinator.session().await;
    session.register(1, 1).await;
    session.launch(attempt(1, 1, 0), 0).await;
    session.report().await;
    assert_eq!(worker.get("/readyz", None).await.0, 200);
    for wrong in [None, Some("Bearer wrong")] {
        assert_eq!(worker.get("/metrics", wrong).await.0, 401);
    }
    let (status, text) = worker.get("/metrics", Some(&secrets.server.token.authorization())).await;
    assert_eq!(status, 200);
    for line in
        ["tandem_worker_tasks_total{outcome=\"finished\"} 1", "tandem_worker_attached 1", "tandem_worker_slots 2"]
    {
        assert!(text.lines().any(|found| found == line), "no `{line}` in:\n{text}");
    }
}

#[tokio::test]
async fn with_a_certificate_every_connection_is_tls() {
    let (secrets, certificate) = Secrets::new().with_certificate();
    let mut coordinator = FakeCoordinator::start(secrets.server.clone()).await;
    coordinator.define(1, 1, 0, single("SELECT 1 AS one").await);
    let worker = TestWorker::start(&coordinator, &secrets).await;
    let mut session = coordinator.session().await;
    session.register(1, 1).await;
    let task = attempt(1, 1, 0);
    session.launch(task, 0).await;
    assert_finished(&session.report().await);
    assert_eq!(fetch(&worker.data_address(), &secrets.client, task, 1).await.unwrap().len(), 1);
    assert_eq!(worker.get_tls("/readyz", certificate.clone()).await.0, 200);
    assert_eq!(worker.get_tls("/metrics", certificate).await.0, 401);
}

#[tokio::test]
async fn a_malformed_request_is_refused_and_an_empty_one_shows_life() {
    let secrets = Secrets::new();
    let coordinator = FakeCoordinator::start(secrets.server.clone()).await;
    let worker = TestWorker::start(&coordinator, &secrets).await;
    let channel = connect(&worker.data_address(), &secrets.client).await.unwrap();
    let mut client = ShuffleServiceClient::new(channel);
    let request = |partitions, outputs: (u32, u32)| FetchRequest {
        partitions,
        attempts: vec![0],
        output_start: outputs.0,
        output_end: outputs.1,
        ..FetchRequest::default()
    };
    for malformed in [request(vec![0, 1], (0, 1)), request(vec![0], (2, 1))] {
        assert_eq!(client.fetch(malformed).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let mut pieces = client.fetch(FetchRequest::default()).await.unwrap().into_inner();
    assert_eq!(pieces.message().await.unwrap(), None);
}

#[tokio::test]
async fn what_can_never_work_is_refused_before_anything_runs() {
    let secrets = Secrets::new();
    let coordinator = FakeCoordinator::start(secrets.server.clone()).await;
    let spill_dir = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = listener.local_addr().unwrap();
    type Change = Box<dyn Fn(&mut WorkerConfig)>;
    let cases: [(Change, &str); 5] = [
        (Box::new(|config| config.memory_limit_bytes = 1 << 20), "too small"),
        (Box::new(|config| config.slots = 0), "slot"),
        (Box::new(|config| config.listen = "0.0.0.0:0".parse().unwrap()), "advertise"),
        (Box::new(|config| config.http_listen = "0.0.0.0:0".parse().unwrap()), "--tls-cert"),
        (Box::new(move |config| config.listen = taken), "cannot listen"),
    ];
    for (change, expected) in cases {
        let mut config = config(&coordinator, &secrets, &spill_dir);
        change(&mut config);
        let error = Worker::bind(config).await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{error}");
    }
}
