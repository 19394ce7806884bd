//! The receiving half of a link: many frames out of one read, no task and no queue of its own.

use std::sync::Arc;

use crate::error::{DecodeError, RecvError};
use crate::frame::Frame;
use crate::incoming::Incoming;
use crate::limits::Limits;
use crate::socket::Socket;

/// Receives frames. What is not received stays in the socket, which holds the other side back.
#[derive(Debug)]
pub struct FrameReceiver {
    socket: Arc<Socket>,
    incoming: Incoming,
}

impl FrameReceiver {
    pub(crate) fn new(socket: Arc<Socket>, limits: Limits) -> Self {
        Self { socket, incoming: Incoming::new(limits) }
    }

    /// The next frame; none when the other side ended the stream. Dropped before it is ready, it has lost nothing.
    ///
    /// # Errors
    /// When the other side broke the format or the stream ended inside a frame, or the socket failed. The link is of no use
    /// after any of these: drop it.
    pub async fn recv(&mut self) -> Result<Option<Frame>, RecvError> {
        // So that a flood of frames does not keep a thread to itself.
        tokio::task::coop::consume_budget().await;
        loop {
            if let Some(frame) = self.received()? {
                return Ok(Some(frame));
            }
            let (space, descriptors) = self.incoming.space();
            let received = self.socket.receive(space, descriptors).await?;
            if !self.incoming.take(received)? {
                return Ok(None);
            }
        }
    }

    /// The next frame of what was read already; none if there is no whole one.
    ///
    /// # Errors
    /// When the other side broke the format.
    pub fn received(&mut self) -> Result<Option<Frame>, DecodeError> {
        self.incoming.next()
    }
}
