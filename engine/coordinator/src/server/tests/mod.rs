//! A whole coordinator on loopback, against clients and workers that are only gRPC.

mod groups;
mod jobs;
mod logs;
mod programs;
mod refusals;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tandem_proto::transport::{AuthorizedChannel, ClientSecurity, Token, connect};
use tandem_proto::v1;
use tandem_proto::v1::cluster_service_client::ClusterServiceClient;
use tandem_proto::v1::coordinator_message::Message as Told;
use tandem_proto::v1::job_service_client::JobServiceClient;
use tandem_proto::v1::worker_message::Message as Said;
use tandem_proto::{VERSION, WorkerId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::{Addresses, Coordinator, CoordinatorConfig, CoordinatorError};

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
        get(TcpStream::connect(self.addresses.http).await.unwrap(), path, authorization).await
    }

    async fn https(&self, path: &str, authorization: &str, certificate: &CertificateDer<'static>) -> String {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let connector = TlsConnector::from(Arc::new(versions.with_root_certificates(roots).with_no_client_auth()));
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.addresses.http.port())).await.unwrap();
        let name = ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST));
        get(connector.connect(name, stream).await.unwrap(), path, authorization).await
    }
}

async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str, authorization: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
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
    async fn join(running: &Running, register: v1::Register) -> Self {
        let id = WorkerId(register.worker);
        let (said, mut told) = attach(running, register).await.unwrap();
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

    /// The job that is gone, as told next.
    async fn next_gone(&mut self) -> u64 {
        loop {
            let told = tokio::time::timeout(LIMIT, self.told.message()).await.unwrap().unwrap().unwrap();
            if let Some(Told::JobGone(gone)) = told.message {
                return gone.job;
            }
        }
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
