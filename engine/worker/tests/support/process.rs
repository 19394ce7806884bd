//! A worker in this process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tandem_proto::WorkerId;
use tandem_proto::transport::{ClientSecurity, ServerSecurity, TlsIdentity, Token};
use tandem_worker::{Addresses, Worker, WorkerConfig, WorkerError};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::coordinator::FakeCoordinator;

/// What both sides of a test cluster show and ask for.
pub(crate) struct Secrets {
    pub(crate) client: ClientSecurity,
    pub(crate) server: ServerSecurity,
}

impl Secrets {
    pub(crate) fn new() -> Self {
        let token = Token::generate();
        Self {
            client: ClientSecurity { token: Some(token.clone()), ca_pem: None },
            server: ServerSecurity { token, tls: None },
        }
    }

    /// The same with a certificate, which is returned too.
    pub(crate) fn with_certificate(mut self) -> (Self, CertificateDer<'static>) {
        let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let cert_pem = certified.cert.pem().into_bytes();
        self.client.ca_pem = Some(cert_pem.clone());
        let key_pem = certified.signing_key.serialize_pem().into_bytes();
        self.server.tls = Some(TlsIdentity { cert_pem, key_pem });
        (self, certified.cert.der().clone())
    }
}

/// A running worker; stopped when dropped.
pub(crate) struct TestWorker {
    pub(crate) id: WorkerId,
    pub(crate) addresses: Addresses,
    pub(crate) spill_dir: TempDir,
    shutdown: CancellationToken,
    running: AbortOnDropHandle<Result<(), WorkerError>>,
}

impl TestWorker {
    pub(crate) async fn start(coordinator: &FakeCoordinator, secrets: &Secrets) -> Self {
        Self::start_with(coordinator, secrets, |_| {}).await
    }

    pub(crate) async fn start_with(
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

    pub(crate) fn data_address(&self) -> String {
        self.addresses.data.to_string()
    }

    /// What a signal does.
    pub(crate) fn ask_to_leave(&self) {
        self.shutdown.cancel();
    }

    /// How it ended.
    pub(crate) async fn outcome(self) -> Result<(), WorkerError> {
        let outcome = self.running.await.unwrap();
        let left: Vec<_> = std::fs::read_dir(self.spill_dir.path()).unwrap().collect();
        assert!(left.is_empty(), "left in the spill folder: {left:?}");
        outcome
    }

    /// Status and body of a GET on the HTTP port.
    pub(crate) async fn get(&self, path: &str, authorization: Option<&str>) -> (u16, String) {
        get(TcpStream::connect(self.addresses.http).await.unwrap(), path, authorization).await
    }

    /// The same over TLS, trusting `certificate`.
    pub(crate) async fn get_tls(&self, path: &str, certificate: CertificateDer<'static>) -> (u16, String) {
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = versions.with_root_certificates(roots).with_no_client_auth();
        let stream = TcpStream::connect(self.addresses.http).await.unwrap();
        let name = ServerName::from(self.addresses.http.ip());
        get(TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap(), path, None).await
    }
}

async fn get(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    authorization: Option<&str>,
) -> (u16, String) {
    let authorization = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

pub(crate) fn config(coordinator: &FakeCoordinator, secrets: &Secrets, spill_dir: &TempDir) -> WorkerConfig {
    let loopback = "127.0.0.1:0".parse().unwrap();
    WorkerConfig {
        own_process: false,
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
        spill_limit_bytes: None,
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        resources: [("gpus".to_owned(), 1_000)].into(),
        environment: BTreeMap::new(),
        drain_timeout: Duration::from_secs(60),
    }
}
