//! The link to the coordinator: connects, opens the one stream, and does so again whenever it breaks, for ever.
//! Owned by [`crate::control`], which says what goes over it.
//!
//!   connecting ─► open ─► closed ─► (wait, growing to [`MAX_DELAY`]) ─► connecting …
//!
//! Ends only when trying again cannot help: a refused token, an address that is none.

use std::time::Duration;

use tandem_proto::transport::{AuthorizedChannel, ClientSecurity, connect};
use tandem_proto::v1::cluster_service_client::ClusterServiceClient;
use tandem_proto::v1::{CoordinatorMessage, WorkerMessage};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Status, Streaming};
use tracing::{debug, warn};

use crate::error::WorkerError;

/// Messages on their way out; more are owed by [`crate::state`], which repeats what matters.
const OUTBOUND_CAPACITY: usize = 1024;
/// Short, since a worker is given up a second after its stream broke.
const FIRST_DELAY: Duration = Duration::from_millis(20);
const MAX_DELAY: Duration = Duration::from_millis(500);
/// A stream that lives this long makes the next reconnect prompt again.
const STEADY: Duration = Duration::from_secs(5);
/// A coordinator that does not even answer the registration is not there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an absent coordinator is mentioned in the log.
const COMPLAINTS_EVERY: u32 = 60;

/// What the link tells its owner.
pub(crate) enum LinkEvent {
    /// A stream can be written to.
    Opened(OpenLink),
    /// The coordinator said something.
    Received(Box<CoordinatorMessage>),
    /// The stream is gone.
    Closed,
}

/// The writing half of an open stream. Dropping it closes the stream.
pub(crate) struct OpenLink {
    outbound: mpsc::Sender<WorkerMessage>,
    _close: DropGuard,
}

impl OpenLink {
    /// Sends, unless the stream is gone or too much waits already; both are put right by a later repeat.
    pub(crate) fn send(&self, message: WorkerMessage) {
        if let Err(error) = self.outbound.try_send(message) {
            debug!(%error, "message to the coordinator was not sent");
        }
    }
}

/// Where the coordinator is and how the link shares its connection.
pub(crate) struct LinkTarget {
    /// `host:port`.
    pub(crate) coordinator: String,
    /// What is shown to it.
    pub(crate) security: ClientSecurity,
    /// Told of each new connection.
    pub(crate) channel: watch::Sender<Option<AuthorizedChannel>>,
}

/// Keeps a stream open and tells `events` of it. Returns only when trying again is no use, or nobody listens.
pub(crate) async fn keep_attached(target: LinkTarget, events: mpsc::Sender<LinkEvent>) -> Result<(), WorkerError> {
    let mut tries: u32 = 0;
    while !events.is_closed() {
        let start = tokio::time::Instant::now();
        let failure = attach_once(&target, &events).await?;
        if start.elapsed() >= STEADY {
            tries = 0;
        }
        if tries.is_multiple_of(COMPLAINTS_EVERY) {
            warn!(coordinator = target.coordinator, reason = failure, "not attached to the coordinator, trying again");
        }
        tokio::time::sleep(delay(tries)).await;
        tries = tries.saturating_add(1);
    }
    Ok(())
}

/// Doubles with each try.
fn delay(tries: u32) -> Duration {
    FIRST_DELAY.saturating_mul(1 << tries.min(10)).min(MAX_DELAY)
}

/// One connection and one stream, from open to closed. Returns why it closed.
async fn attach_once(target: &LinkTarget, events: &mpsc::Sender<LinkEvent>) -> Result<String, WorkerError> {
    let channel = match connect(&target.coordinator, &target.security).await {
        Ok(channel) => channel,
        Err(error) if error.retryable() => return Ok(error.to_string()),
        Err(error) => return Err(error.into()),
    };
    let (outbound, outgoing) = mpsc::channel(OUTBOUND_CAPACITY);
    let closed = CancellationToken::new();
    let open = OpenLink { outbound, _close: closed.clone().drop_guard() };
    // Before the call: its answer may only come once the registration was read.
    if events.send(LinkEvent::Opened(open)).await.is_err() {
        return Ok("the worker is stopping".to_owned());
    }
    let status = tokio::select! {
        () = closed.cancelled() => Status::aborted("closed by this worker"),
        status = receive(target, channel, outgoing, events) => status,
    };
    // Nobody listens any more only when the worker stops; the caller sees that.
    let _ = events.send(LinkEvent::Closed).await;
    if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) {
        let coordinator = target.coordinator.clone();
        return Err(WorkerError::Denied { coordinator, reason: status.message().to_owned() });
    }
    Ok(status.message().to_owned())
}

/// Passes on what the coordinator says until the stream ends, and returns how it did.
async fn receive(
    target: &LinkTarget,
    channel: AuthorizedChannel,
    outgoing: mpsc::Receiver<WorkerMessage>,
    events: &mpsc::Sender<LinkEvent>,
) -> Status {
    let mut client = ClusterServiceClient::new(channel.clone());
    let opened = async {
        let mut incoming = client.attach(ReceiverStream::new(outgoing)).await?.into_inner();
        let first = incoming.message().await?;
        Ok::<_, Status>((first, incoming))
    };
    let (mut next, mut incoming): (_, Streaming<CoordinatorMessage>) =
        match tokio::time::timeout(ANSWER_TIMEOUT, opened).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(status)) => return status,
            Err(_) => return Status::deadline_exceeded("the registration was not answered"),
        };
    target.channel.send_replace(Some(channel));
    loop {
        let Some(message) = next else { return Status::unavailable("the coordinator closed the stream") };
        if events.send(LinkEvent::Received(Box::new(message))).await.is_err() {
            return Status::aborted("the worker is stopping");
        }
        next = match incoming.message().await {
            Ok(next) => next,
            Err(status) => return status,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_limit() {
        assert_eq!(delay(0), FIRST_DELAY);
        assert_eq!(delay(1), FIRST_DELAY * 2);
        assert_eq!(delay(9), MAX_DELAY);
        assert_eq!(delay(u32::MAX), MAX_DELAY);
    }
}
