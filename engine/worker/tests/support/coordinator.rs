//! A coordinator that says exactly what a test tells it to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use prost::Message;
use tandem_proto::transport::{RequireToken, ServerSecurity, incoming, server};
use tandem_proto::v1::cluster_service_server::{ClusterService, ClusterServiceServer};
use tandem_proto::v1::coordinator_message::Message as ToWorker;
use tandem_proto::v1::worker_message::Message as FromWorker;
use tandem_proto::v1::{
    CancelTask, Chunk, ClaimNameRequest, CoordinatorMessage, DropNameRequest, DropNameResponse, FindNameRequest,
    GetProgramRequest, GetStageRequest, JobProgram, LaunchTask, LogAck, LogBatch, NamedActor, Register, Registered,
    ReportAck, StageDefinition, TaskAttempt, TaskReport, WorkerMessage,
};
use tandem_proto::{CHUNK_BYTES, chunks};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::service::InterceptorLayer;
use tonic::{Request, Response, Status, Streaming};

type Stages = Arc<Mutex<HashMap<(u64, u32, u32), StageDefinition>>>;

/// Listens until it is dropped or stopped.
pub(crate) struct FakeCoordinator {
    address: SocketAddr,
    security: ServerSecurity,
    stages: Stages,
    attached: mpsc::Receiver<Session>,
    server: AbortOnDropHandle<()>,
}

impl FakeCoordinator {
    pub(crate) async fn start(security: ServerSecurity) -> Self {
        let stages = Stages::default();
        let (server, address, attached) = listen("127.0.0.1:0".parse().unwrap(), &security, &stages).await;
        Self { address, security, stages, attached, server }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// What `GetStage` answers from now on.
    pub(crate) fn define(&self, job: u64, stage: u32, inputs_version: u32, definition: StageDefinition) {
        self.stages.lock().unwrap().insert((job, stage, inputs_version), definition);
    }

    /// The next stream that a worker opens.
    pub(crate) async fn session(&mut self) -> Session {
        self.attached.recv().await.expect("the coordinator listens")
    }

    /// Ends the process, as it were, and starts another one at the same address.
    pub(crate) async fn restart(&mut self) {
        self.server.abort();
        let (server, _, attached) = listen(self.address, &self.security, &self.stages).await;
        self.server = server;
        self.attached = attached;
    }
}

async fn listen(
    address: SocketAddr,
    security: &ServerSecurity,
    stages: &Stages,
) -> (AbortOnDropHandle<()>, SocketAddr, mpsc::Receiver<Session>) {
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            // The old listener of a restart is about to go.
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let address = listener.local_addr().unwrap();
    let (sender, attached) = mpsc::channel(16);
    let service = ClusterServiceServer::new(Service { stages: Arc::clone(stages), attached: sender });
    let served = server(security)
        .unwrap()
        .layer(InterceptorLayer::new(RequireToken::new(security.token.clone())))
        .add_service(service)
        .serve_with_incoming(incoming(listener));
    let task = tokio::spawn(async move { served.await.unwrap() });
    (AbortOnDropHandle::new(task), address, attached)
}

struct Service {
    stages: Stages,
    attached: mpsc::Sender<Session>,
}

#[tonic::async_trait]
impl ClusterService for Service {
    type AttachStream = ReceiverStream<Result<CoordinatorMessage, Status>>;
    type GetStageStream = ReceiverStream<Result<Chunk, Status>>;
    type ShipLogsStream = ReceiverStream<Result<LogAck, Status>>;

    async fn attach(&self, request: Request<Streaming<WorkerMessage>>) -> Result<Response<Self::AttachStream>, Status> {
        let (to_worker, outgoing) = mpsc::channel(64);
        let session = Session { from_worker: request.into_inner(), to_worker, epoch: 0 };
        self.attached.send(session).await.map_err(|_| Status::unavailable("stopped"))?;
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn get_stage(&self, request: Request<GetStageRequest>) -> Result<Response<Self::GetStageStream>, Status> {
        let request = request.into_inner();
        let key = (request.job, request.stage, request.inputs_version);
        let definition = self.stages.lock().unwrap().get(&key).cloned();
        let encoded = definition.ok_or_else(|| Status::not_found("no such stage"))?.encode_to_vec();
        let (sender, pieces) = mpsc::channel(encoded.len() / CHUNK_BYTES + 1);
        for piece in chunks(Bytes::from(encoded)) {
            sender.try_send(Ok(piece)).unwrap();
        }
        Ok(Response::new(ReceiverStream::new(pieces)))
    }

    async fn get_program(&self, _: Request<GetProgramRequest>) -> Result<Response<JobProgram>, Status> {
        Err(Status::not_found("there is no job"))
    }

    async fn ship_logs(&self, _: Request<Streaming<LogBatch>>) -> Result<Response<Self::ShipLogsStream>, Status> {
        Err(Status::unimplemented("nothing is kept"))
    }

    async fn claim_name(&self, _: Request<ClaimNameRequest>) -> Result<Response<NamedActor>, Status> {
        Err(Status::unimplemented("there are no names"))
    }

    async fn find_name(&self, _: Request<FindNameRequest>) -> Result<Response<NamedActor>, Status> {
        Err(Status::unimplemented("there are no names"))
    }

    async fn drop_name(&self, _: Request<DropNameRequest>) -> Result<Response<DropNameResponse>, Status> {
        Err(Status::unimplemented("there are no names"))
    }
}

/// One stream of one worker. Dropping it breaks the stream.
pub(crate) struct Session {
    from_worker: Streaming<WorkerMessage>,
    to_worker: mpsc::Sender<Result<CoordinatorMessage, Status>>,
    epoch: u64,
}

impl Session {
    /// Takes the registration and answers it.
    pub(crate) async fn register(&mut self, term: u64, epoch: u64) -> Register {
        let register = self.registration().await;
        self.epoch = epoch;
        let registered = Registered { term, heartbeat_interval_ms: 50, cluster_name: "test".to_owned() };
        self.say(ToWorker::Registered(registered)).await;
        register
    }

    /// Takes the registration.
    pub(crate) async fn registration(&mut self) -> Register {
        match self.hear().await {
            Some(FromWorker::Register(register)) => register,
            other => panic!("not a registration: {other:?}"),
        }
    }

    pub(crate) async fn say(&self, message: ToWorker) {
        let message = CoordinatorMessage { epoch: self.epoch, message: Some(message) };
        self.to_worker.send(Ok(message)).await.expect("the worker listens");
    }

    pub(crate) async fn launch(&self, attempt: TaskAttempt, inputs_version: u32) {
        let launch = LaunchTask {
            attempt: Some(attempt),
            partitions: vec![attempt.task],
            inputs_version,
            first_output: attempt.task,
            slice: None,
            merged: false,
            definition: None,
        };
        self.say(ToWorker::Launch(launch)).await;
    }

    pub(crate) async fn cancel(&self, attempt: TaskAttempt) {
        self.say(ToWorker::Cancel(CancelTask { attempt: Some(attempt) })).await;
    }

    pub(crate) async fn acknowledge(&self, sequence: u64) {
        self.say(ToWorker::Ack(ReportAck { sequence })).await;
    }

    /// What the worker says next; none when it closed the stream.
    pub(crate) async fn hear(&mut self) -> Option<FromWorker> {
        let message = self.from_worker.message().await.ok().flatten()?;
        assert_eq!(message.epoch, self.epoch, "{message:?}");
        message.message
    }

    /// The first thing that `pick` wants; what comes before it is ignored.
    pub(crate) async fn wait<T>(&mut self, pick: impl Fn(FromWorker) -> Option<T>) -> T {
        loop {
            let message = self.hear().await.expect("the worker keeps its stream");
            if let Some(found) = pick(message) {
                return found;
            }
        }
    }

    /// The next report.
    pub(crate) async fn report(&mut self) -> TaskReport {
        self.wait(|message| match message {
            FromWorker::Report(report) => Some(report),
            _ => None,
        })
        .await
    }
}
