//! The receiving half of a link: many frames out of one read, no task and no queue of its own.

use std::sync::Arc;

use crate::attached::Attached;
use crate::decoder::{Decoded, Decoder, Position};
use crate::error::{DecodeError, RecvError};
use crate::frame::Frame;
use crate::limits::Limits;
use crate::socket::{Received, Socket};

/// Receives frames. What is not received stays in the socket, which holds the other side back.
#[derive(Debug)]
pub struct FrameReceiver {
    socket: Arc<Socket>,
    limits: Limits,
    decoder: Decoder,
    attached: Attached,
}

impl FrameReceiver {
    pub(crate) fn new(socket: Arc<Socket>, limits: Limits) -> Self {
        Self { socket, limits, decoder: Decoder::new(limits), attached: Attached::default() }
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
            let received = self.socket.receive(self.decoder.space(), self.limits.descriptors).await?;
            if received.bytes == 0 {
                return Ok(self.end(&received).map(|()| None)?);
            }
            self.take(received)?;
        }
    }

    /// The next frame of what was read already; none if there is no whole one.
    ///
    /// # Errors
    /// When the other side broke the format.
    pub fn received(&mut self) -> Result<Option<Frame>, DecodeError> {
        let Some(Decoded { kind, descriptors, payload }) = self.decoder.decode()? else {
            self.attached.check(self.decoder.position()?)?;
            return Ok(None);
        };
        let descriptors = self.attached.take(descriptors)?;
        Ok(Some(Frame { kind, payload, descriptors }))
    }

    fn take(&mut self, received: Received) -> Result<(), DecodeError> {
        if received.lost {
            return Err(DecodeError::DescriptorsLost);
        }
        self.attached.add(received.descriptors, self.limits.descriptors)?;
        self.decoder.fill(received.bytes);
        Ok(())
    }

    fn end(&self, received: &Received) -> Result<(), DecodeError> {
        match self.decoder.position()? {
            Position::Between if received.descriptors.is_empty() => Ok(()),
            Position::Between => Err(DecodeError::Descriptors { came: received.descriptors.len(), named: 0 }),
            Position::Header | Position::Frame { .. } => Err(DecodeError::Truncated),
        }
    }
}
