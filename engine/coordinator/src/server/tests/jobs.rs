//! Jobs from submission to their end, and beyond the end of their coordinator.

use std::collections::HashSet;
use std::io::Write;
use std::process::{Command, Stdio};

use bytes::Bytes;
use tandem_proto::WorkerId;
use tandem_proto::transport::{self, RequireToken, ServerSecurity};
use tandem_proto::v1::shuffle_service_server::{ShuffleService, ShuffleServiceServer};
use tandem_proto::v1::{self, JobState};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Request, Response, Status};

use super::{FakeWorker, LIMIT, job_file, prepare, query, register, start, start_with};
use crate::{ClusterConfig, CoordinatorConfig};

/// What Prometheus' own tool says of metrics, where it is installed.
fn check_metrics(text: &str) {
    let spawned =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut promtool) = spawned else { return eprintln!("skipped: promtool is not installed") };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\nin:\n{text}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_runs_on_a_worker_while_its_client_follows() {
    let folder = TempDir::new().unwrap();
    let running = start(folder.path()).await;
    let mut worker = FakeWorker::join(&running, register(WorkerId(7))).await;
    let mut client = running.client().await;
    let submitted = client.submit(query("SELECT 1")).await.unwrap().into_inner();
    assert_eq!(client.submit(query("SELECT 1")).await.unwrap().into_inner().job, submitted.job, "a repeat");
    let mut follow = client.follow(v1::FollowRequest { job: submitted.job }).await.unwrap().into_inner();
    let mut tasks: HashSet<_> = HashSet::new();
    let last = loop {
        tokio::select! {
            launch = worker.next_launch() => {
                assert!(!worker.stage(&launch).await.plan.is_empty());
                worker.finish(tasks.len() as u64 + 1, &launch).await;
                tasks.insert(launch.attempt.map(|attempt| (attempt.stage, attempt.task)));
            }
            status = follow.message() => {
                let status = status.unwrap().unwrap();
                if status.state() == JobState::Succeeded {
                    break status;
                }
            }
        }
    };
    assert!(last.result_stage > 0);
    assert_eq!(last.results.iter().map(|result| result.worker).collect::<HashSet<_>>(), [7].into());
    let listed = client.list_tasks(v1::GetRequest { job: submitted.job }).await.unwrap().into_inner().tasks;
    assert_eq!(listed.len(), tasks.len());
    let got = client.get(v1::GetRequest { job: submitted.job }).await.unwrap().into_inner();
    assert!(got.stages.iter().all(|stage| !stage.plan.is_empty()));
    client.get_report(v1::GetRequest { job: submitted.job }).await.unwrap();
    let text = running.http("/metrics", &format!("authorization: {}\r\n", running.token.authorization())).await;
    for line in [
        "tandem_coordinator_jobs_ended_total{outcome=\"succeeded\"} 1".to_owned(),
        format!("tandem_coordinator_tasks_total{{outcome=\"succeeded\"}} {}", tasks.len()),
        "tandem_coordinator_workers{state=\"ready\"} 1".to_owned(),
        "# TYPE tandem_coordinator_tasks_total counter".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in:\n{text}");
    }
    check_metrics(text.split_once("\r\n\r\n").unwrap().1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_job_outlives_its_coordinator() {
    let folder = TempDir::new().unwrap();
    let running = start(folder.path()).await;
    let first = running.client().await.submit(job_file(folder.path())).await.unwrap().into_inner();
    running.stop().await;

    let running = start(folder.path()).await;
    let mut client = running.client().await;
    let again = client.submit(job_file(folder.path())).await.unwrap().into_inner();
    assert_eq!(again.job, first.job);
    let cluster = client.get_cluster(v1::GetClusterRequest {}).await.unwrap().into_inner();
    assert_eq!(cluster.term, 2);
    let mut worker = FakeWorker::join(&running, register(WorkerId(1))).await;
    let launch = worker.next_launch().await;
    assert_eq!(launch.attempt.unwrap().job, first.job);
    let definition = worker.stage(&launch).await;
    assert_eq!(definition.environment.get("PASSWORD").map(String::as_str), Some("hunter2"));
    let stopped = client.stop(v1::StopRequest { job: first.job, reason: "enough".to_owned() }).await.unwrap();
    assert_eq!(stopped.into_inner().state(), JobState::Stopped);
    running.stop().await;
}

#[tokio::test]
async fn a_wrong_job_says_what_is_wrong() {
    let folder = TempDir::new().unwrap();
    let running = start(folder.path()).await;
    let mut client = running.client().await;
    let mut wrong = query("SELECT * FROM nowhere");
    wrong.spec.as_mut().unwrap().name = "wrong".to_owned();
    let status = client.submit(wrong).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let nobody = client.get(v1::GetRequest { job: 1 }).await.unwrap_err();
    assert_eq!((nobody.code(), nobody.message()), (Code::NotFound, "there is no job j0000000000000001"));
    assert_eq!(
        client.drain_node(v1::DrainNodeRequest { node: "x".to_owned() }).await.unwrap_err().code(),
        Code::NotFound
    );
    running.stop().await;
}

#[tokio::test]
async fn an_attached_job_ends_with_its_last_follower() {
    let folder = TempDir::new().unwrap();
    let (config, token) = prepare(folder.path());
    let cluster = ClusterConfig { follower_lease_ms: 0, ..ClusterConfig::default() };
    let running = start_with(CoordinatorConfig { cluster, ..config }, token, None).await;
    let mut client = running.client().await;
    let job = client.submit(query("SELECT 1")).await.unwrap().into_inner().job;
    let mut follow = client.follow(v1::FollowRequest { job }).await.unwrap().into_inner();
    let first = follow.message().await.unwrap().unwrap();
    assert_eq!((first.state(), first.pending_reason.as_str()), (JobState::Pending, "no-workers"));
    assert_eq!(first.pending_text, "waits for a worker: none takes tasks");
    drop(follow);
    let stopped = async {
        while client.get(v1::GetRequest { job }).await.unwrap().into_inner().state() != JobState::Stopped {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, stopped).await.unwrap();
    running.stop().await;
}

/// A worker's data port with one chunk behind it.
struct OneChunk;

#[tonic::async_trait]
impl ShuffleService for OneChunk {
    type FetchStream = tokio_stream::Once<Result<v1::Chunk, Status>>;

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        match request.into_inner().stage {
            1 => Ok(Response::new(tokio_stream::once(Ok(v1::Chunk { data: Bytes::from_static(b"rows") })))),
            _ => Err(Status::not_found("no such output")),
        }
    }
}

#[tokio::test]
async fn output_is_relayed_from_a_worker_as_it_is() {
    let folder = TempDir::new().unwrap();
    let running = start(folder.path()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let data_address = listener.local_addr().unwrap().to_string();
    let token = RequireToken::new(running.token.clone());
    let port = transport::server(&ServerSecurity { token: running.token.clone(), tls: None })
        .unwrap()
        .add_service(InterceptedService::new(ShuffleServiceServer::new(OneChunk), token))
        .serve_with_incoming(transport::incoming(listener));
    let port = tokio::spawn(port);
    let _worker = FakeWorker::join(&running, v1::Register { data_address, ..register(WorkerId(1)) }).await;
    let mut client = running.client().await;
    let fetch =
        |worker, stage| v1::RelayFetchRequest { worker, fetch: Some(v1::FetchRequest { stage, ..Default::default() }) };
    let mut chunks = client.relay_fetch(fetch(1, 1)).await.unwrap().into_inner();
    assert_eq!(chunks.message().await.unwrap().unwrap().data, Bytes::from_static(b"rows"));
    assert!(chunks.message().await.unwrap().is_none());
    for gone in [fetch(1, 2), fetch(2, 1)] {
        assert_eq!(client.relay_fetch(gone).await.unwrap_err().code(), Code::NotFound);
    }
    port.abort();
    running.stop().await;
}
