//! The workers' side of the coordinator: their streams, and the definitions of stages.
//!
//! ```text
//!   stream opened ─► Register ─► let in: reads until it ends or is cut ─► WorkerDisconnected
//!                        └─────► Rejected (another version), or the stream ends
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use prost::Message as _;
use tandem_proto::v1::cluster_service_server::ClusterService;
use tandem_proto::v1::{self, worker_message};
use tandem_proto::{Epoch, JobId, StageId, Term, VERSION, WorkerId, chunks};
use tandem_scheduler::{Event, InputsError, NameError, Registration};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

use super::logs::{AckStream, Logs};
use super::message::{Arrival, ClusterHandle, Message, Seen};
use super::outbox::Outbox;
use super::stage_parts::StageParts;
use crate::journal::Journal;
use crate::wire;

/// A worker says who it is within this time after opening its stream.
const REGISTER_WITHIN: Duration = Duration::from_secs(10);

/// Serves workers.
pub(crate) struct ClusterRpc {
    pub(crate) handle: ClusterHandle,
    pub(crate) journal: Arc<Journal>,
    pub(crate) term: Term,
    pub(crate) logs: Logs,
    /// Variables of all programs.
    pub(crate) environment: BTreeMap<String, String>,
    /// Owns the tasks that read the streams; they end with `stopping`.
    pub(crate) tracker: TaskTracker,
    pub(crate) stopping: CancellationToken,
}

type Outgoing = std::pin::Pin<Box<dyn Stream<Item = Result<v1::CoordinatorMessage, Status>> + Send>>;
type Chunks = std::pin::Pin<Box<dyn Stream<Item = Result<v1::Chunk, Status>> + Send>>;

impl ClusterRpc {
    /// Returns when a restart would not forget what was decided so far. Names are not acknowledged before.
    async fn synced(&self) -> Result<(), Status> {
        let synced = self.journal.flush().await;
        synced.map_err(|error| Status::unavailable(format!("the names of actors are not journaled yet: {error}")))
    }

    /// Lets a worker in, or says why it is rejected.
    async fn arrive(
        &self,
        registration: Registration,
        cut: CancellationToken,
    ) -> Result<Result<(Epoch, mpsc::Receiver<v1::CoordinatorMessage>), String>, Status> {
        let (outbox, outgoing) = Outbox::new(cut);
        let (answer, answered) = oneshot::channel();
        let arrival = Arrival { registration, outbox, answer };
        self.handle.send(Message::Arrived(Box::new(arrival))).await?;
        let answer = answered.await.map_err(|_| Status::failed_precondition("the worker was not let in"))?;
        Ok(answer.map(|epoch| (epoch, outgoing)))
    }
}

#[tonic::async_trait]
impl ClusterService for ClusterRpc {
    type AttachStream = Outgoing;
    type GetStageStream = Chunks;
    type ShipLogsStream = AckStream;

    async fn attach(&self, request: Request<Streaming<v1::WorkerMessage>>) -> Result<Response<Outgoing>, Status> {
        let mut incoming = request.into_inner();
        let register = first_message(&mut incoming).await?;
        if let Some(reason) = misfit(&register) {
            return Ok(reject(&register.name, reason));
        }
        if register.term > self.term.0 {
            return Err(Status::failed_precondition(format!(
                "the worker has seen term {}; this coordinator's is {}",
                register.term, self.term
            )));
        }
        let worker = WorkerId(register.worker);
        let name = register.name.clone();
        let registration = wire::registration(register).map_err(invalid)?;
        let cut = self.stopping.child_token();
        let (epoch, outgoing) = match self.arrive(registration, cut.clone()).await? {
            Ok(let_in) => let_in,
            Err(reason) => return Ok(reject(&name, reason)),
        };
        info!(%worker, name, %epoch, "a worker registered");
        let handle = self.handle.clone();
        let reader_cut = cut.clone();
        self.tracker.spawn(async move {
            read(worker, incoming, &handle, reader_cut).await;
            debug!(%worker, %epoch, "the worker's stream ended");
            // Without an owner nobody minds.
            let _ = handle.event(Event::WorkerDisconnected { worker, epoch }).await;
        });
        let stream = ReceiverStream::new(outgoing).take_until(cut.clone().cancelled_owned());
        // When the worker lets go of the stream, its reader ends too.
        let guard = cut.drop_guard();
        let stream = stream.map(move |message| {
            let _ = &guard;
            Ok(message)
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn get_stage(&self, request: Request<v1::GetStageRequest>) -> Result<Response<Chunks>, Status> {
        let v1::GetStageRequest { worker: _, job, stage, inputs_version } = request.into_inner();
        let (job, stage) = (JobId(job), StageId(stage));
        let look = move |seen: &Seen<'_>| StageParts::find(seen.cluster, seen.jobs, job, stage, inputs_version);
        let parts = self.handle.look(look).await?.map_err(no_inputs)?;
        let encoded = parts.into_definition().encode_to_vec();
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks(encoded.into()).map(Ok)))))
    }

    async fn get_program(&self, request: Request<v1::GetProgramRequest>) -> Result<Response<v1::JobProgram>, Status> {
        let job = JobId(request.into_inner().job);
        let planned = self
            .handle
            .look(move |seen| {
                let live = seen.cluster.is_live(job);
                seen.jobs.get(job).filter(|_| live).and_then(|entry| entry.planned.clone())
            })
            .await?
            .ok_or_else(|| no_inputs(InputsError::NoSuchJob(job)))?;
        Ok(Response::new(wire::job_program(&planned, &self.environment)))
    }

    async fn ship_logs(&self, request: Request<Streaming<v1::LogBatch>>) -> Result<Response<AckStream>, Status> {
        Ok(Response::new(self.logs.clone().keep(request.into_inner())))
    }

    async fn claim_name(&self, request: Request<v1::ClaimNameRequest>) -> Result<Response<v1::NamedActor>, Status> {
        let (name, actor) = wire::name_claim(request.into_inner()).map_err(invalid)?;
        self.handle.event(Event::NameClaimed { name: name.clone(), actor: actor.clone() }).await?;
        let look = self.handle.look(move |seen| seen.cluster.claim_of(&name, &actor).map(wire::named_actor));
        let has = look.await?.map_err(no_name)?;
        self.synced().await?;
        Ok(Response::new(has))
    }

    async fn find_name(&self, request: Request<v1::FindNameRequest>) -> Result<Response<v1::NamedActor>, Status> {
        let (job, name) = wire::name_wanted(request.into_inner()).map_err(invalid)?;
        let look = self.handle.look(move |seen| {
            let found = seen.cluster.find_name(job, &name)?;
            let owner = found.map(|found| found.actor.owner());
            let owner_address = owner.map(|owner| seen.cluster.address(owner)).unwrap_or_default();
            Ok((owner, v1::NamedActor { owner_address, ..wire::named_actor(found) }))
        });
        let (owner, named) = look.await?.map_err(no_name)?;
        if let Some(owner) = owner {
            self.handle.event(Event::ActorFound { job, owner }).await?;
        }
        Ok(Response::new(named))
    }

    async fn drop_name(&self, request: Request<v1::DropNameRequest>) -> Result<Response<v1::DropNameResponse>, Status> {
        let (job, actor) = wire::names_dropped(request.into_inner()).map_err(invalid)?;
        self.handle.event(Event::NameDropped { job, actor }).await?;
        // After the event.
        self.handle.look(|_| ()).await?;
        self.synced().await?;
        Ok(Response::new(v1::DropNameResponse {}))
    }
}

/// A stream that only says why.
fn reject(name: &str, reason: String) -> Response<Outgoing> {
    warn!(worker = name, reason, "a worker was rejected");
    Response::new(Box::pin(tokio_stream::once(Ok(wire::rejected(reason)))))
}

async fn first_message(incoming: &mut Streaming<v1::WorkerMessage>) -> Result<v1::Register, Status> {
    let first = tokio::time::timeout(REGISTER_WITHIN, incoming.message())
        .await
        .map_err(|_| Status::deadline_exceeded("no registration came"))??;
    match first.and_then(|first| first.message) {
        Some(worker_message::Message::Register(register)) => Ok(register),
        _ => Err(Status::invalid_argument("the first message must be a registration")),
    }
}

/// Why this worker can never be part of this cluster.
fn misfit(register: &v1::Register) -> Option<String> {
    if register.version != VERSION {
        return Some(format!("the worker is version {}, the coordinator {VERSION}", register.version));
    }
    if register.slots == 0 {
        return Some("the worker has no slots".to_owned());
    }
    None
}

/// Turns messages into events until the stream ends or is cut.
async fn read(
    worker: WorkerId,
    mut incoming: Streaming<v1::WorkerMessage>,
    handle: &ClusterHandle,
    cut: CancellationToken,
) {
    loop {
        let message = tokio::select! {
            () = cut.cancelled() => return,
            message = incoming.message() => message,
        };
        let event = match message {
            Ok(Some(message)) => wire::worker_event(worker, message),
            Ok(None) | Err(_) => return,
        };
        match event {
            Ok(event) => {
                if handle.event(event).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                warn!(%worker, %error, "closing the worker's stream");
                return cut.cancel();
            }
        }
    }
}

fn invalid(error: wire::Malformed) -> Status {
    Status::invalid_argument(error.to_string())
}

fn no_name(error: NameError) -> Status {
    let message = error.to_string();
    match error {
        NameError::NoSuchJob(_) => Status::not_found(message),
        // The worker asks again: it is about to register, or to hear that it was given up.
        NameError::NoSuchWorker(_) => Status::unavailable(message),
        NameError::TooMany(_) => Status::failed_precondition(message),
    }
}

fn no_inputs(error: InputsError) -> Status {
    match error {
        InputsError::NoSuchJob(_) | InputsError::NoSuchStage(..) => Status::not_found(error.to_string()),
        InputsError::Stale { .. } => Status::failed_precondition(error.to_string()),
    }
}
