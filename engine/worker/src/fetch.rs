//! Reads stored output of other workers over gRPC.
//!
//! Channels are pooled by address. A bounded number of streams per peer is being opened at once; an open stream has
//! at most one HTTP/2 stream window in flight and is read only when its reader asks, so a slow reader slows its peer and
//! fills no memory. Nothing is held back while *other* streams wait: a merge reads many streams of one peer in step, and
//! a limit across them could make it wait for itself.
//!
//! A stream that was not answered at all is tried again for a short while. One that breaks after its first piece cannot be resumed,
//! since pieces were handed on; its reader then knows which worker failed it. A peer that is silent for long is asked for a sign of
//! life, because a stopped process keeps its connections open.

mod peers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tandem_exec::shuffle::{FetchError, FetchRemote};
use tandem_proto::transport::{ClientSecurity, host_of, is_loopback};
use tandem_proto::v1::{Chunk, FetchRequest};
use tandem_proto::{PartitionId, WorkerId};
use tokio::runtime::Handle;
use tonic::{Code, Status, Streaming};
use tracing::debug;

use peers::{Peer, Peers};

use crate::data_server::LOST_PARTITION;

/// The wait before the second try to open a stream; it doubles with each further one.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(50);
/// No try begins later than this after the first: about the time in which the coordinator notices a lost worker.
const RETRY_BUDGET: Duration = Duration::from_millis(1500);
/// Silence after which a peer is asked for a sign of life, and how long it has to give one.
const SILENCE: Duration = Duration::from_secs(2);
const SIGN_OF_LIFE_TIMEOUT: Duration = Duration::from_millis(1500);

/// [`FetchRemote`] over gRPC.
#[derive(Debug)]
pub(crate) struct GrpcFetch {
    peers: Peers,
    /// The host that peers know this worker by.
    host: String,
}

impl GrpcFetch {
    /// Connects with `security` when asked to; connections live on `io`, not on the threads that run tasks. Peers know this worker
    /// by `own_address`.
    pub(crate) fn new(security: ClientSecurity, io: Handle, own_address: &str) -> Self {
        Self { peers: Peers::new(security, io), host: host_of(own_address).to_owned() }
    }

    async fn open(&self, peer: &Arc<Peer>, request: &FetchRequest) -> Result<Opened, FetchError> {
        let _turn = peer.turn().await;
        let last_try = Instant::now() + RETRY_BUDGET;
        let mut delay = FIRST_RETRY_DELAY;
        loop {
            let failure = match open_once(peer, request).await {
                Ok(opened) => return Ok(opened),
                Err(failure) => failure,
            };
            if !failure.retryable || Instant::now() + delay > last_try {
                return Err(failure.cause);
            }
            debug!(peer = peer.address(), error = %failure.cause, "fetch was not answered, trying again");
            tokio::time::sleep(delay).await;
            delay *= 2;
        }
    }
}

#[async_trait]
impl FetchRemote for GrpcFetch {
    async fn fetch(
        &self,
        worker: WorkerId,
        address: &str,
        mut request: FetchRequest,
    ) -> Result<BoxStream<'static, Result<Bytes, FetchError>>, FetchError> {
        request.uncompressed = is_loopback(address) || host_of(address) == self.host;
        let peer = self.peers.get(address);
        match self.open(&peer, &request).await {
            Ok(opened) => Ok(opened.pieces(peer)),
            Err(error) => {
                debug!(%worker, address, %error, "fetch failed");
                if matches!(error, FetchError::Unreachable(_)) {
                    self.peers.forget(&peer);
                }
                Err(error)
            }
        }
    }
}

/// A stream of which the first piece has come.
struct Opened {
    first: Option<Chunk>,
    rest: Streaming<Chunk>,
}

impl Opened {
    fn pieces(self, peer: Arc<Peer>) -> BoxStream<'static, Result<Bytes, FetchError>> {
        let first = stream::iter(self.first.map(|chunk| Ok(chunk.data)));
        let rest = stream::unfold(Some((self.rest, peer)), |open| async move {
            let (mut rest, peer) = open?;
            match next_piece(&mut rest, &peer).await {
                Ok(Some(chunk)) => Some((Ok(chunk.data), Some((rest, peer)))),
                Ok(None) => None,
                Err(error) => Some((Err(error.cause), None)),
            }
        });
        first.chain(rest).boxed()
    }
}

struct Failure {
    cause: FetchError,
    retryable: bool,
}

impl Failure {
    fn of(status: &Status, peer: &Peer) -> Self {
        match status.code() {
            Code::NotFound => {
                let partition =
                    status.metadata().get(LOST_PARTITION).and_then(|value| value.to_str().ok()?.parse().ok());
                let cause =
                    FetchError::NotFound { partition: partition.map(PartitionId), reason: status.message().to_owned() };
                Self { cause, retryable: false }
            }
            code => Self {
                cause: FetchError::Unreachable(format!("{}: {}", peer.address(), status.message())),
                retryable: !matches!(code, Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument),
            },
        }
    }
}

/// Opens a stream and waits for its first piece, so that all that can be tried again has happened before anything is handed on.
async fn open_once(peer: &Peer, request: &FetchRequest) -> Result<Opened, Failure> {
    let mut client = peer
        .client()
        .await
        .map_err(|error| Failure { retryable: error.retryable(), cause: FetchError::Unreachable(error.to_string()) })?;
    let answer = while_alive(peer, client.fetch(request.clone())).await?;
    let mut rest = answer.map_err(|status| Failure::of(&status, peer))?.into_inner();
    let first = next_piece(&mut rest, peer).await?;
    Ok(Opened { first, rest })
}

async fn next_piece(pieces: &mut Streaming<Chunk>, peer: &Peer) -> Result<Option<Chunk>, Failure> {
    while_alive(peer, pieces.message()).await?.map_err(|status| Failure::of(&status, peer))
}

/// Waits for `answer` as long as the peer shows signs of life.
async fn while_alive<T>(peer: &Peer, answer: impl Future<Output = T>) -> Result<T, Failure> {
    let mut answer = std::pin::pin!(answer);
    loop {
        if let Ok(answer) = tokio::time::timeout(SILENCE, &mut answer).await {
            return Ok(answer);
        }
        if !peer.is_alive(SIGN_OF_LIFE_TIMEOUT).await {
            let cause = FetchError::Unreachable(format!("{}: no sign of life", peer.address()));
            return Err(Failure { cause, retryable: false });
        }
    }
}
