//! The way to other nodes: their messages come by [`PeerPort`], ours go by a link for each of them, objects are read from there.
//! Owned by the desk. Messages to one node arrive once and in order as long as both processes live.

mod channels;
mod fetch;
mod incoming;
mod lender;
mod link;
mod outgoing;
mod port;
mod stream;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tandem_actor_protocol::peer::PeerMessage;
use tandem_actor_protocol::{JobId, Location, ObjectId, WorkerId, encode};
use tandem_arena::ExtentFile;
use tandem_node::Event;
use tandem_proto::transport::ClientSecurity;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::handle::Access;
use crate::inbox::Inbound;
use channels::Channels;
use fetch::Fetch;
use link::PeerLink;

pub use lender::LentStats;
pub use port::PeerPort;

/// All other nodes that this one has been told of.
#[derive(Debug)]
pub(crate) struct Peers {
    own: WorkerId,
    security: ClientSecurity,
    access: Access,
    known: HashMap<WorkerId, Peer>,
}

#[derive(Debug)]
struct Peer {
    channels: Arc<Channels>,
    /// Once there was something to send.
    link: Option<(UnboundedSender<Bytes>, AbortOnDropHandle<()>)>,
}

impl Peers {
    pub(crate) fn new(own: WorkerId, security: ClientSecurity, access: Access) -> Self {
        Self { own, security, access, known: HashMap::new() }
    }

    /// How to reach a worker, which never moves.
    pub(crate) fn know(&mut self, worker: WorkerId, address: String) {
        let security = &self.security;
        self.known
            .entry(worker)
            .or_insert_with(|| Peer { channels: Arc::new(Channels::new(address, security.clone())), link: None });
    }

    /// Sends a message, sooner or later.
    pub(crate) fn send(&mut self, worker: WorkerId, message: &PeerMessage) {
        let Self { own, access, known, .. } = self;
        let Some(peer) = known.get_mut(&worker) else {
            return warn!(%worker, "a message to a worker of unknown address is lost");
        };
        let (messages, _) = peer.link.get_or_insert_with(|| {
            let (sender, messages) = unbounded_channel();
            let channels = Arc::clone(&peer.channels);
            let link = PeerLink { own: *own, peer: worker, channels, messages, access: access.clone() };
            (sender, AbortOnDropHandle::new(tokio::spawn(link.run())))
        });
        // A link that has ended has said that the peer is lost.
        let _ = messages.send(encode(message).into());
    }

    /// The worker is gone.
    pub(crate) fn lost(&mut self, worker: WorkerId) {
        self.known.remove(&worker);
    }

    /// Reads an object, which is another one where it is, into `file`; to be run beside the desk, which is told the end.
    pub(crate) fn fetch(
        &self,
        (job, object): (JobId, ObjectId),
        theirs: (JobId, ObjectId),
        from: WorkerId,
        file: Arc<ExtentFile>,
        into: Location,
    ) -> impl Future<Output = ()> + Send + 'static {
        let channels = self.known.get(&from).map(|peer| Arc::clone(&peer.channels));
        let access = self.access.clone();
        async move {
            let outcome = match channels {
                Some(channels) => Fetch { job: theirs.0, object: theirs.1, channels, file, into }.run().await,
                None => Err(format!("{from} is not known here")),
            };
            access.send(Inbound::Event(Event::Fetched { job, object, outcome }));
        }
    }
}
