//! Passes what client and node say on to each other. What shared memory does for a process is done here: large values of the
//! client are written to the arena as they come, and those for the client are read there and sent along.

use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Body, Value};
use tandem_actor_protocol::{
    DecodeError, Location, MESSAGE_KIND, NoPiece, ObjectId, PIECE_KIND, Piece, decode, encode,
};
use tandem_frames::{Frame, FrameReceiver, FrameSender, RecvError, SendError};

use super::frames::{FromClient, ToClient};
use super::memory::{Afterwards, Memory, Misdeed};

/// Why a client is let go.
#[derive(Debug, thiserror::Error)]
pub(super) enum Parting {
    /// Its connection ended, or was cut.
    #[error("{0}")]
    Broken(String),
    #[error(transparent)]
    Frames(#[from] tandem_frames::DecodeError),
    #[error(transparent)]
    Message(#[from] DecodeError),
    #[error(transparent)]
    Piece(#[from] NoPiece),
    #[error("a frame of the unknown kind {0}")]
    Kind(u16),
    #[error(transparent)]
    Misdeed(#[from] Misdeed),
    #[error("{0} bytes are too many for a frame")]
    TooLong(usize),
    /// Shared memory cannot be read or written.
    #[error("its values cannot be kept: {0}")]
    Memory(#[from] std::io::Error),
    /// The worker's own end of the link.
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Receive(#[from] RecvError),
}

/// One guest's memory, and its way to the node.
pub(super) struct Relay {
    memory: Mutex<Memory>,
    node: FrameSender,
}

impl Relay {
    pub(super) fn new(node: FrameSender) -> Self {
        Self { memory: Mutex::default(), node }
    }

    /// Passes on what the client says, until it ends its stream.
    pub(super) async fn hear_client(&self, mut frames: FromClient) -> Result<(), Parting> {
        while let Some(frame) = frames.next().await? {
            match frame.kind {
                MESSAGE_KIND => self.message_to_node(frame.payload).await?,
                PIECE_KIND => {
                    let piece = Piece::decode(frame.payload)?;
                    let file = self.memory().target(&piece)?;
                    file.write_all_at(&piece.bytes, piece.offset)?;
                }
                kind => return Err(Parting::Kind(kind)),
            }
        }
        Ok(())
    }

    async fn message_to_node(&self, payload: Bytes) -> Result<(), Parting> {
        let message: ToNode = decode(&payload)?;
        let used = self.memory().publish(&message)?;
        self.node.send(Frame::new(MESSAGE_KIND, payload)).await?;
        if !used.is_empty() {
            self.say(&ToNode::SpaceUsed(used)).await?;
            self.settle().await?;
        }
        Ok(())
    }

    /// Passes on what the node says, until the link ends.
    pub(super) async fn hear_node(&self, mut frames: FrameReceiver, client: &ToClient) -> Result<(), Parting> {
        while let Some(Frame { payload, mut descriptors, .. }) = frames.recv().await? {
            match decode(&payload)? {
                ToExecutor::Extent { extent, writable, .. } => {
                    let file = descriptors.pop().ok_or(Misdeed::Unknown(extent))?;
                    self.memory().show(extent, file, writable);
                }
                ToExecutor::GiveUp(extent) => {
                    self.memory().want_back(extent, Afterwards::Forgotten);
                    self.settle().await?;
                }
                ToExecutor::StopWriting(extent) => {
                    self.memory().want_back(extent, Afterwards::Read);
                    self.settle().await?;
                }
                ToExecutor::Value {
                    outcome: Ok(Value { body: Body::Shared { object, location, .. }, .. }), ..
                } => {
                    self.value_to_client(object, location, client).await?;
                    client.send(MESSAGE_KIND, payload).await?;
                }
                ToExecutor::Space(Ok(lease)) if !self.memory().add_lease(lease) => {
                    self.say(&ToNode::NeedSpace { bytes: lease.bytes }).await?;
                }
                _ => client.send(MESSAGE_KIND, payload).await?,
            }
        }
        Ok(())
    }

    /// Sends a value that is pinned for this guest, and lets go of it.
    async fn value_to_client(&self, object: ObjectId, of: Location, client: &ToClient) -> Result<(), Parting> {
        let file = self.memory().source(of)?;
        for (offset, length) in Piece::ranges(of) {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, offset)?;
            client.send(PIECE_KIND, Piece::encode(of.extent, offset, &bytes).into()).await?;
        }
        self.say(&ToNode::Unpin(vec![object])).await
    }

    /// Gives extents back that are asked for.
    async fn settle(&self) -> Result<(), Parting> {
        let given_up = self.memory().give_up();
        for extent in given_up {
            self.say(&ToNode::GaveUp(extent)).await?;
        }
        Ok(())
    }

    async fn say(&self, message: &ToNode) -> Result<(), Parting> {
        Ok(self.node.send(Frame::new(MESSAGE_KIND, encode(message))).await?)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
