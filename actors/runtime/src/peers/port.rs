//! What other workers ask of this one: they bring messages of their nodes; [`super::lender`] has them read objects.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};

use tandem_actor_protocol::peer::PeerMessage;
use tandem_actor_protocol::{JobId, ObjectId, WorkerId, decode};
use tandem_proto::v1::PeerFrame;
use tandem_proto::v1::peer_service_server::{PeerService, PeerServiceServer};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::incoming::Incoming;
use super::lender::{Counters, LentStats};
use super::link::MAX_FRAME_BYTES;
use super::outgoing::Numbered;
use super::stream::Answer;
use crate::handle::Access;
use crate::inbox::Inbound;
use crate::room::Lent;
use crate::spill::Spill;

/// Acknowledgements on their way out.
const ACKS: usize = 16;

/// Serves [`PeerService`] for one runtime.
#[derive(Debug, Clone)]
pub struct PeerPort {
    own: WorkerId,
    access: Access,
    /// Where what executors and peers say goes.
    desk: mpsc::Sender<Inbound>,
    peers: Arc<SyncMutex<HashMap<WorkerId, Arc<Mutex<Incoming>>>>>,
    pub(super) spill: Spill,
    pub(super) lent: Arc<Counters>,
}

type Frames = Pin<Box<dyn Stream<Item = Result<PeerFrame, Status>> + Send>>;

impl PeerPort {
    pub(crate) fn new(own: WorkerId, access: Access, desk: mpsc::Sender<Inbound>, spill: Spill) -> Self {
        Self { own, access, desk, peers: Arc::default(), spill, lent: Arc::default() }
    }

    pub(crate) fn lent_stats(&self) -> LentStats {
        self.lent.stats()
    }

    /// The service for the worker's data port.
    pub fn service(self) -> PeerServiceServer<Self> {
        PeerServiceServer::new(self).max_decoding_message_size(MAX_FRAME_BYTES)
    }

    fn peer(&self, worker: WorkerId) -> Arc<Mutex<Incoming>> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(peers.entry(worker).or_default())
    }

    /// Takes the messages of one stream, and says what has arrived.
    async fn take(
        self,
        worker: WorkerId,
        mut frames: Streaming<PeerFrame>,
        acks: mpsc::Sender<Result<PeerFrame, Status>>,
    ) {
        let ended = async {
            let peer = self.peer(worker);
            acknowledge(&acks, self.own, peer.lock().await.received()).await?;
            while let Some(frame) = frames.message().await? {
                // Held until they are with the desk: a later stream of the same peer must not overtake this one.
                let mut incoming = peer.lock().await;
                self.deliver(worker, &mut incoming, frame).await?;
                acknowledge(&acks, self.own, incoming.received()).await?;
            }
            Ok::<_, Status>(())
        };
        if let Err(status) = ended.await {
            // The stream may be gone itself.
            let _ = acks.send(Err(status)).await;
        }
    }

    async fn deliver(&self, worker: WorkerId, incoming: &mut Incoming, frame: PeerFrame) -> Result<(), Status> {
        let PeerFrame { first, messages, .. } = frame;
        let place = self.desk.reserve().await.map_err(|_| Status::unavailable("the worker is stopping"))?;
        let invalid = |error: &dyn std::fmt::Display| Status::invalid_argument(error.to_string());
        let new = incoming.take(Numbered { first, messages }).map_err(|gap| invalid(&gap))?;
        let decoded: Result<Vec<PeerMessage>, _> = new.iter().map(|message| decode(message)).collect();
        place.send(Inbound::Heard(worker, decoded.map_err(|error| invalid(&error))?));
        Ok(())
    }

    /// An object that stays for as long as what this returns.
    pub(super) async fn stored(&self, job: JobId, object: ObjectId) -> Result<Lent, Answer> {
        let stopping = || Answer::Later("the worker is stopping".to_owned());
        let ticket = self.access.ticket();
        let (reply, answer) = oneshot::channel();
        self.access.send(Inbound::Read { ticket, job, object, reply });
        answer.await.map_err(|_| stopping())?.ok_or_else(|| Answer::Gone(format!("{object} is not here")))
    }
}

async fn acknowledge(
    acks: &mpsc::Sender<Result<PeerFrame, Status>>,
    from: WorkerId,
    received: u64,
) -> Result<(), Status> {
    let frame = PeerFrame { from: from.0, received, ..PeerFrame::default() };
    acks.send(Ok(frame)).await.map_err(|_| Status::cancelled("nobody listens any more"))
}

#[tonic::async_trait]
impl PeerService for PeerPort {
    type OpenStream = Frames;

    async fn open(&self, request: Request<Streaming<PeerFrame>>) -> Result<Response<Frames>, Status> {
        let mut frames = request.into_inner();
        let first =
            frames.message().await?.ok_or_else(|| Status::invalid_argument("a stream without a first frame"))?;
        let worker = WorkerId(first.from);
        let (acks, stream) = mpsc::channel(ACKS);
        let taking = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(self.clone().take(worker, frames, acks)));
        // Whoever drops the stream ends the task.
        let stream = ReceiverStream::new(stream).map(move |frame| {
            let _ = &taking;
            frame
        });
        Ok(Response::new(Box::pin(stream)))
    }
}
