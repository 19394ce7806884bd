//! The messages to one other node, over one stream after the other until that node or this one is gone.
//!
//!   connecting ─► open ─► broken ─► (wait, growing to [`MAX_DELAY`]) ─► connecting …

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tandem_actor_protocol::{MAX_MESSAGE_BYTES, WorkerId};
use tandem_node::Event;
use tandem_proto::v1::PeerFrame;
use tandem_proto::v1::peer_service_client::PeerServiceClient;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::{debug, warn};

use super::channels::Channels;
use super::outgoing::Outgoing;
use crate::handle::Access;
use crate::inbox::Inbound;

const FIRST_DELAY: Duration = Duration::from_millis(20);
const MAX_DELAY: Duration = Duration::from_millis(500);
/// Frames on their way to the connection; what more there is waits in [`Outgoing`].
const FRAMES: usize = 4;
/// Taken from the desk at once.
const BATCH: usize = 1024;
/// How often a peer that is not reached is mentioned in the log.
const COMPLAINTS_EVERY: u32 = 60;

/// See the module's header.
pub(super) struct PeerLink {
    pub(super) own: WorkerId,
    pub(super) peer: WorkerId,
    pub(super) channels: Arc<Channels>,
    pub(super) messages: UnboundedReceiver<Bytes>,
    pub(super) access: Access,
}

/// Why a stream ended.
enum Ended {
    /// It may be opened again.
    Broken(String),
    /// Another process answers where the peer was: the peer is gone.
    Replaced,
    /// Nobody sends any more.
    Done,
}

impl PeerLink {
    /// Sends until nobody has anything to send any more, or the peer is gone.
    pub(super) async fn run(mut self) {
        let mut outgoing = Outgoing::default();
        let mut tries: u32 = 0;
        loop {
            match self.stream(&mut outgoing, &mut tries).await {
                Ended::Done => return,
                Ended::Replaced => {
                    warn!(peer = %self.peer, address = self.channels.address(), "another worker answers in place of a peer");
                    return self.access.send(Inbound::Event(Event::PeerLost { worker: self.peer }));
                }
                Ended::Broken(reason) if tries.is_multiple_of(COMPLAINTS_EVERY) => {
                    warn!(peer = %self.peer, address = self.channels.address(), reason, "not connected to a peer, trying again");
                }
                Ended::Broken(reason) => debug!(peer = %self.peer, reason, "still not connected to a peer"),
            }
            tokio::time::sleep(delay(tries)).await;
            tries = tries.saturating_add(1);
        }
    }

    /// One stream, from its start to its end.
    async fn stream(&mut self, outgoing: &mut Outgoing, tries: &mut u32) -> Ended {
        let (frames, stream) = mpsc::channel(FRAMES);
        let hello = PeerFrame { from: self.own.0, ..PeerFrame::default() };
        // There is room for the first one.
        let _ = frames.try_send(hello);
        let opened = async {
            let channel = self.channels.control().await.map_err(|error| error.to_string())?;
            let mut client = PeerServiceClient::new(channel).max_encoding_message_size(MAX_FRAME_BYTES);
            let mut acks = client.open(ReceiverStream::new(stream)).await.map_err(said)?.into_inner();
            let first = acks.message().await.map_err(said)?.ok_or("the stream ended at once")?;
            Ok::<_, String>((first, acks))
        };
        let (first, acks) = match opened.await {
            Ok(opened) => opened,
            Err(reason) => return Ended::Broken(reason),
        };
        if first.from != self.peer.0 {
            return Ended::Replaced;
        }
        if let Err(error) = outgoing.opened(first.received) {
            return Ended::Broken(error.to_string());
        }
        *tries = 0;
        self.send(outgoing, frames, acks).await
    }

    async fn send(
        &mut self,
        outgoing: &mut Outgoing,
        frames: mpsc::Sender<PeerFrame>,
        mut acks: Streaming<PeerFrame>,
    ) -> Ended {
        let mut batch = Vec::new();
        let mut next = outgoing.next();
        loop {
            tokio::select! {
                taken = self.messages.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        return Ended::Done;
                    }
                    batch.drain(..).for_each(|message| outgoing.push(message));
                }
                ack = acks.message() => match ack {
                    Ok(Some(ack)) => {
                        if let Err(error) = outgoing.arrived(ack.received) {
                            return Ended::Broken(error.to_string());
                        }
                    }
                    Ok(None) => return Ended::Broken("the peer closed the stream".to_owned()),
                    Err(status) => return Ended::Broken(said(status)),
                },
                room = frames.reserve(), if next.is_some() => match (room, next.take()) {
                    (Ok(room), Some(numbered)) => {
                        room.send(PeerFrame { from: 0, first: numbered.first, received: 0, messages: numbered.messages });
                    }
                    _ => return Ended::Broken("the stream is closed".to_owned()),
                },
            }
            if next.is_none() {
                next = outgoing.next();
            }
        }
    }
}

/// Frames have more than one message only while they are small.
pub(super) const MAX_FRAME_BYTES: usize = MAX_MESSAGE_BYTES as usize + (4 << 20);

fn said(status: Status) -> String {
    status.message().to_owned()
}

/// Doubles with each try.
fn delay(tries: u32) -> Duration {
    FIRST_DELAY.saturating_mul(1 << tries.min(10)).min(MAX_DELAY)
}
