//! Reads what an executor says, as batches, until it says nothing more. While the desk is busy it waits, and the executor with it.

use std::sync::Arc;

use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{ExecutorId, MESSAGE_KIND, decode};
use tandem_frames::{Frame, FrameReceiver, RecvError};
use tokio::sync::{Notify, mpsc};

use super::mask::Mask;
use super::speaker::Speaker;
use crate::inbox::Inbound;

/// What goes to the desk at once has no more messages and about no more bytes than this.
const BATCH_MESSAGES: usize = 256;
const BATCH_BYTES: usize = 1 << 20;

/// The reading side of one link.
pub(crate) struct Reader {
    pub(crate) executor: ExecutorId,
    pub(crate) frames: FrameReceiver,
    pub(crate) speaker: Arc<Speaker>,
    pub(crate) mask: Mask,
    pub(crate) desk: mpsc::Sender<Inbound>,
    /// Told when the first message has come.
    pub(crate) hello: Arc<Notify>,
}

impl Reader {
    /// Reads to the end.
    ///
    /// # Errors
    /// What the executor did wrong, in words.
    pub(crate) async fn run(mut self) -> Result<(), String> {
        while let Some(frame) = self.next().await? {
            let messages = self.batch(frame)?;
            self.hello.notify_one();
            self.speaker.received(&messages);
            if self.desk.send(Inbound::Said(self.executor, messages)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Frame>, String> {
        match self.frames.recv().await {
            Ok(frame) => Ok(frame),
            Err(RecvError::Decode(error)) => Err(error.to_string()),
            // It died before it had read all: how is told by its exit.
            Err(RecvError::Io(_)) => Ok(None),
        }
    }

    /// `first` and what else has come already.
    fn batch(&mut self, first: Frame) -> Result<Vec<ToNode>, String> {
        let mut bytes = first.payload.len();
        let mut messages = vec![self.message(first)?];
        while messages.len() < BATCH_MESSAGES && bytes < BATCH_BYTES {
            let Some(frame) = self.frames.received().map_err(|error| error.to_string())? else { break };
            bytes += frame.payload.len();
            messages.push(self.message(frame)?);
        }
        Ok(messages)
    }

    fn message(&self, frame: Frame) -> Result<ToNode, String> {
        if frame.kind != MESSAGE_KIND {
            return Err(format!("a frame of the unknown kind {}", frame.kind));
        }
        if !frame.descriptors.is_empty() {
            return Err("open files from an executor".to_owned());
        }
        let mut message = decode(&frame.payload).map_err(|error| error.to_string())?;
        self.mask.apply_to(&mut message);
        Ok(message)
    }
}
