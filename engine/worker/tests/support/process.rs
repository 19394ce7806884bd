//! A worker in this process.

use std::time::Duration;

use tandem_proto::WorkerId;
use tandem_proto::transport::{ClientSecurity, ServerSecurity, Token};
use tandem_worker::{Addresses, Worker, WorkerConfig, WorkerError};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::coordinator::FakeCoordinator;

/// What both sides of a test cluster show and ask for.
pub struct Secrets {
    pub client: ClientSecurity,
    pub server: ServerSecurity,
}

impl Secrets {
    pub fn new() -> Self {
        let token = Token::generate();
        Self {
            client: ClientSecurity { token: Some(token.clone()), ca_pem: None },
            server: ServerSecurity { token, tls: None },
        }
    }
}

/// A running worker; stopped when dropped.
pub struct TestWorker {
    pub id: WorkerId,
    pub addresses: Addresses,
    pub spill_dir: TempDir,
    shutdown: CancellationToken,
    running: AbortOnDropHandle<Result<(), WorkerError>>,
}

impl TestWorker {
    pub async fn start(coordinator: &FakeCoordinator, secrets: &Secrets) -> Self {
        Self::start_with(coordinator, secrets, |_| {}).await
    }

    pub async fn start_with(
        coordinator: &FakeCoordinator,
        secrets: &Secrets,
        change: impl FnOnce(&mut WorkerConfig),
    ) -> Self {
        let spill_dir = tempfile::tempdir().unwrap();
        let mut config = config(coordinator, secrets, &spill_dir);
        change(&mut config);
        let worker = Worker::bind(config).await.unwrap();
        let (id, addresses, shutdown) = (worker.id(), worker.addresses(), CancellationToken::new());
        let running = AbortOnDropHandle::new(tokio::spawn(worker.run(shutdown.clone())));
        Self { id, addresses, spill_dir, shutdown, running }
    }

    pub fn data_address(&self) -> String {
        self.addresses.data.to_string()
    }

    /// What a signal does.
    pub fn ask_to_leave(&self) {
        self.shutdown.cancel();
    }

    /// How it ended.
    pub async fn outcome(self) -> Result<(), WorkerError> {
        let outcome = self.running.await.unwrap();
        let left: Vec<_> = std::fs::read_dir(self.spill_dir.path()).unwrap().collect();
        assert!(left.is_empty(), "left in the spill folder: {left:?}");
        outcome
    }

    /// Status and body of a GET on the HTTP port.
    pub async fn get(&self, path: &str, authorization: Option<&str>) -> (u16, String) {
        let authorization = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
        let mut stream = TcpStream::connect(self.addresses.http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

pub fn config(coordinator: &FakeCoordinator, secrets: &Secrets, spill_dir: &TempDir) -> WorkerConfig {
    let loopback = "127.0.0.1:0".parse().unwrap();
    WorkerConfig {
        name: "worker-1".to_owned(),
        coordinator: coordinator.address(),
        client_security: secrets.client.clone(),
        server_security: secrets.server.clone(),
        listen: loopback,
        http_listen: loopback,
        advertised_host: None,
        slots: 2,
        memory_limit_bytes: 256 << 20,
        spill_dir: spill_dir.path().to_owned(),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        drain_timeout: Duration::from_secs(60),
    }
}
