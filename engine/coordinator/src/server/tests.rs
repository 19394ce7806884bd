//! A whole coordinator on loopback, against clients and workers that are only gRPC.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use prost::Message as _;
use tandem_proto::transport::{AuthorizedChannel, ClientSecurity, Token, connect};
use tandem_proto::v1::cluster_service_client::ClusterServiceClient;
use tandem_proto::v1::coordinator_message::Message as Told;
use tandem_proto::v1::job_service_client::JobServiceClient;
use tandem_proto::v1::worker_message::Message as Said;
use tandem_proto::v1::{self, JobState};
use tandem_proto::{VERSION, WorkerId};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::{Addresses, Coordinator, CoordinatorConfig, CoordinatorError, JournalError, TlsFiles};

/// No test waits for time; this only ends one that would hang.
const LIMIT: Duration = Duration::from_secs(60);

struct Running {
    addresses: Addresses,
    token: Token,
    ca_pem: Option<Vec<u8>>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), CoordinatorError>>,
}

fn config(folder: &Path) -> CoordinatorConfig {
    let free = "127.0.0.1:0".parse().unwrap();
    CoordinatorConfig { listen: free, http: free, data_dir: folder.join("data"), ..CoordinatorConfig::default() }
}

/// A configuration with its token in place.
fn prepare(folder: &Path) -> (CoordinatorConfig, Token) {
    let token = Token::generate();
    let path = folder.join("token");
    let token = Token::read(&path).unwrap_or_else(|_| {
        token.write(&path).unwrap();
        token
    });
    (CoordinatorConfig { token_file: Some(path), ..config(folder) }, token)
}

async fn start(folder: &Path) -> Running {
    let (config, token) = prepare(folder);
    start_with(config, token, None).await
}

async fn start_with(config: CoordinatorConfig, token: Token, ca_pem: Option<Vec<u8>>) -> Running {
    let coordinator = Coordinator::bind(config).await.unwrap();
    let addresses = coordinator.addresses();
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(coordinator.serve(async {
        let _ = stopped.await;
    }));
    Running { addresses, token, ca_pem, stop, served }
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(LIMIT, self.served).await.unwrap().unwrap().unwrap();
    }

    async fn channel(&self, token: Option<Token>) -> AuthorizedChannel {
        let security = ClientSecurity { token, ca_pem: self.ca_pem.clone() };
        connect(&self.addresses.grpc.to_string(), &security).await.unwrap()
    }

    async fn client(&self) -> JobServiceClient<AuthorizedChannel> {
        JobServiceClient::new(self.channel(Some(self.token.clone())).await)
    }

    async fn http(&self, path: &str, authorization: &str) -> String {
        let mut stream = TcpStream::connect(self.addresses.http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

/// The worker's end of a stream.
struct FakeWorker {
    id: WorkerId,
    epoch: u64,
    said: mpsc::Sender<v1::WorkerMessage>,
    told: Streaming<v1::CoordinatorMessage>,
    client: ClusterServiceClient<AuthorizedChannel>,
}

fn register(id: WorkerId) -> v1::Register {
    v1::Register {
        worker: id.0,
        name: format!("worker-{}", id.0),
        version: VERSION.to_owned(),
        data_address: "127.0.0.1:1".to_owned(),
        slots: 4,
        memory_bytes: 1 << 30,
        ..Default::default()
    }
}

async fn attach(
    running: &Running,
    register: v1::Register,
) -> Result<(mpsc::Sender<v1::WorkerMessage>, Streaming<v1::CoordinatorMessage>), Status> {
    let (said, outgoing) = mpsc::channel(16);
    let first = v1::WorkerMessage { epoch: 0, message: Some(Said::Register(register)) };
    said.send(first).await.unwrap();
    let mut client = ClusterServiceClient::new(running.channel(Some(running.token.clone())).await);
    Ok((said, client.attach(ReceiverStream::new(outgoing)).await?.into_inner()))
}

impl FakeWorker {
    async fn join(running: &Running, id: WorkerId) -> Self {
        let (said, mut told) = attach(running, register(id)).await.unwrap();
        let first = told.message().await.unwrap().unwrap();
        assert!(matches!(first.message, Some(Told::Registered(_))), "{first:?}");
        let client = ClusterServiceClient::new(running.channel(Some(running.token.clone())).await);
        Self { id, epoch: first.epoch, said, told, client }
    }

    async fn next_launch(&mut self) -> v1::LaunchTask {
        loop {
            let told = tokio::time::timeout(LIMIT, self.told.message()).await.unwrap().unwrap().unwrap();
            assert_eq!(told.epoch, self.epoch);
            if let Some(Told::Launch(launch)) = told.message {
                return launch;
            }
        }
    }

    async fn stage(&mut self, launch: &v1::LaunchTask) -> v1::StageDefinition {
        let attempt = launch.attempt.unwrap();
        let request = v1::GetStageRequest {
            worker: self.id.0,
            job: attempt.job,
            stage: attempt.stage,
            inputs_version: launch.inputs_version,
        };
        let mut chunks = self.client.get_stage(request).await.unwrap().into_inner();
        let mut encoded = Vec::new();
        while let Some(chunk) = chunks.message().await.unwrap() {
            encoded.extend_from_slice(&chunk.data);
        }
        v1::StageDefinition::decode(encoded.as_slice()).unwrap()
    }

    async fn say(&self, message: Said) {
        self.said.send(v1::WorkerMessage { epoch: self.epoch, message: Some(message) }).await.unwrap();
    }

    async fn finish(&self, sequence: u64, launch: &v1::LaunchTask) {
        let finished = v1::TaskFinished { partition_sizes: vec![1], ..Default::default() };
        let outcome = Some(v1::task_report::Outcome::Finished(finished));
        self.say(Said::Report(v1::TaskReport { sequence, attempt: launch.attempt, outcome })).await;
    }
}

/// What Prometheus' own tool says of metrics, where it is installed.
fn check_metrics(text: &str) {
    let spawned =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut promtool) = spawned else { return eprintln!("skipped: promtool is not installed") };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\nin:\n{text}", String::from_utf8_lossy(&output.stderr));
}

fn query(sql: &str) -> v1::SubmitRequest {
    let query = v1::Query { sql: sql.to_owned(), ..Default::default() };
    let spec =
        v1::JobSpec { name: "query".to_owned(), work: Some(v1::job_spec::Work::Query(query)), ..Default::default() };
    v1::SubmitRequest { spec: Some(spec), attached: true, submission_id: "one".to_owned() }
}

fn job_file(folder: &Path) -> v1::SubmitRequest {
    std::fs::write(folder.join("in.csv"), "a\n1\n").unwrap();
    let toml = r#"
        name = "copy"
        [[source]]
        name = "rows"
        path = "in.csv"
        format = "csv"
        schema = "a int"
        [[sink]]
        from = "rows"
        path = "out"
        format = "parquet"
        mode = "overwrite"
    "#;
    let file = v1::JobFile {
        toml: toml.to_owned(),
        base_dir: folder.to_string_lossy().into_owned(),
        origin: "copy.toml".to_owned(),
        ..Default::default()
    };
    let spec = v1::JobSpec {
        name: "copy".to_owned(),
        work: Some(v1::job_spec::Work::File(file)),
        secrets: [("PASSWORD".to_owned(), "hunter2".to_owned())].into(),
        ..Default::default()
    };
    v1::SubmitRequest { spec: Some(spec), attached: false, submission_id: "two".to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_runs_on_a_worker_while_its_client_follows() {
    let folder = TempDir::new().unwrap();
    let running = start(folder.path()).await;
    let mut worker = FakeWorker::join(&running, WorkerId(7)).await;
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
    let mut worker = FakeWorker::join(&running, WorkerId(1)).await;
    let launch = worker.next_launch().await;
    assert_eq!(launch.attempt.unwrap().job, first.job);
    let definition = worker.stage(&launch).await;
    assert_eq!(definition.environment.get("PASSWORD").map(String::as_str), Some("hunter2"));
    let stopped = client.stop(v1::StopRequest { job: first.job, reason: "enough".to_owned() }).await.unwrap();
    assert_eq!(stopped.into_inner().state(), JobState::Stopped);
    running.stop().await;
}

#[tokio::test]
async fn a_worker_of_another_version_is_rejected_with_the_reason() {
    let folder = TempDir::new().unwrap();
    let running = start(folder.path()).await;
    let old = v1::Register { version: "0.0.1".to_owned(), ..register(WorkerId(1)) };
    let (_said, mut told) = attach(&running, old).await.unwrap();
    let Some(Told::Rejected(rejected)) = told.message().await.unwrap().unwrap().message else { panic!("let in") };
    assert!(rejected.reason.contains("0.0.1") && rejected.reason.contains(VERSION), "{}", rejected.reason);
    assert!(told.message().await.unwrap().is_none());

    let newer = v1::Register { term: 9, ..register(WorkerId(1)) };
    assert_eq!(attach(&running, newer).await.unwrap_err().code(), Code::FailedPrecondition);
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

/// The refusals of every RPC there is.
async fn refusals(running: &Running, token: Option<Token>) -> Vec<Code> {
    let channel = running.channel(token).await;
    let mut jobs = JobServiceClient::new(channel.clone());
    let mut cluster = ClusterServiceClient::new(channel);
    let register = v1::WorkerMessage { epoch: 0, message: Some(Said::Register(register(WorkerId(1)))) };
    macro_rules! code {
        ($call:expr) => {
            $call.await.map(|_| ()).map_or_else(|status| status.code(), |()| Code::Ok)
        };
    }
    vec![
        code!(cluster.attach(tokio_stream::once(register))),
        code!(cluster.get_stage(v1::GetStageRequest::default())),
        code!(jobs.submit(v1::SubmitRequest::default())),
        code!(jobs.follow(v1::FollowRequest::default())),
        code!(jobs.stop(v1::StopRequest::default())),
        code!(jobs.get(v1::GetRequest::default())),
        code!(jobs.list(v1::ListRequest::default())),
        code!(jobs.list_tasks(v1::GetRequest::default())),
        code!(jobs.get_report(v1::GetRequest::default())),
        code!(jobs.explain(v1::ExplainRequest::default())),
        code!(jobs.relay_fetch(v1::RelayFetchRequest::default())),
        code!(jobs.list_nodes(v1::ListNodesRequest::default())),
        code!(jobs.drain_node(v1::DrainNodeRequest::default())),
        code!(jobs.get_cluster(v1::GetClusterRequest::default())),
    ]
}

#[tokio::test]
async fn nothing_is_answered_without_the_token() {
    let folder = TempDir::new().unwrap();
    let running = start(folder.path()).await;
    for token in [None, Some(Token::generate())] {
        let codes = refusals(&running, token).await;
        assert!(codes.iter().all(|code| *code == Code::Unauthenticated), "{codes:?}");
    }
    assert!(refusals(&running, Some(running.token.clone())).await.iter().all(|code| *code != Code::Unauthenticated));
    let wrong = format!("authorization: {}\r\n", Token::generate().authorization());
    for authorization in ["", wrong.as_str()] {
        assert!(running.http("/metrics", authorization).await.starts_with("HTTP/1.1 401"));
    }
    for path in ["/healthz", "/readyz"] {
        assert!(running.http(path, "").await.starts_with("HTTP/1.1 200"), "{path}");
    }
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let folder = TempDir::new().unwrap();
    let (config, token) = prepare(folder.path());
    let open = "0.0.0.0:0".parse().unwrap();
    let refused = |config| async move { Coordinator::bind(config).await.map(|_| ()).unwrap_err() };
    let exposed = refused(CoordinatorConfig { listen: open, ..config.clone() }).await;
    assert!(matches!(exposed, CoordinatorError::Exposed(_)) && exposed.to_string().contains("--tls-cert"), "{exposed}");
    let exposed = refused(CoordinatorConfig { http: open, ..config.clone() }).await;
    assert!(matches!(exposed, CoordinatorError::HttpExposed { .. }), "{exposed}");
    let no_token = refused(CoordinatorConfig { token_file: None, ..config.clone() }).await;
    assert!(matches!(no_token, CoordinatorError::Token(_)) && no_token.help().is_some(), "{no_token}");

    let running = start_with(config.clone(), token, None).await;
    let taken = refused(CoordinatorConfig { listen: running.addresses.grpc, ..config.clone() }).await;
    assert!(matches!(taken, CoordinatorError::Listen { .. }) && taken.help().is_some(), "{taken}");
    let locked = refused(config).await;
    assert!(matches!(locked, CoordinatorError::Journal(JournalError::Locked { .. })), "{locked}");
    running.stop().await;
}

#[tokio::test]
async fn with_a_certificate_it_speaks_tls_only() {
    let folder = TempDir::new().unwrap();
    let (config, token) = prepare(folder.path());
    let identity = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, identity.cert.pem()).unwrap();
    std::fs::write(&key, identity.signing_key.serialize_pem()).unwrap();
    let tls = Some(TlsFiles { cert, key, ca: None });
    let running =
        start_with(CoordinatorConfig { tls, ..config }, token.clone(), Some(identity.cert.pem().into_bytes())).await;
    running.client().await.get_cluster(v1::GetClusterRequest {}).await.unwrap();
    let plain = ClientSecurity { token: Some(token), ca_pem: None };
    let refused = match connect(&running.addresses.grpc.to_string(), &plain).await {
        Ok(channel) => JobServiceClient::new(channel).get_cluster(v1::GetClusterRequest {}).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    running.stop().await;
}
