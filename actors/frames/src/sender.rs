//! The sending half of a link.

use std::sync::Arc;

use crate::error::SendError;
use crate::frame::Frame;
use crate::queue::Queue;

/// Sends frames; clones send to the same link. When the last one is dropped, the stream ends after what is queued.
#[derive(Debug, Clone)]
pub struct FrameSender {
    half: Arc<Half>,
}

impl FrameSender {
    pub(crate) fn new(queue: Arc<Queue>) -> Self {
        Self { half: Arc::new(Half(queue)) }
    }

    /// Queues `frame`, waiting for room. Frames of one caller arrive in order. Dropped before it is ready, it has sent nothing.
    ///
    /// # Errors
    /// When the link is closed, or the frame is beyond its limits.
    pub async fn send(&self, frame: Frame) -> Result<(), SendError> {
        self.half.0.send(frame).await
    }

    /// Queues `frame` if there is room now.
    ///
    /// # Errors
    /// The frame with [`SendError::Full`] if there is none; else as [`Self::send`]. The frame comes back empty if the link was
    /// closed meanwhile.
    pub fn try_send(&self, frame: Frame) -> Result<(), (Frame, SendError)> {
        self.half.0.try_send(frame)
    }

    /// Takes no more frames from anyone. Those queued are written, then the stream ends.
    pub fn close(&self) {
        self.half.0.close();
    }
}

/// Closes the queue when nobody can send any more.
#[derive(Debug)]
struct Half(Arc<Queue>);

impl Drop for Half {
    fn drop(&mut self) {
        self.0.close();
    }
}
