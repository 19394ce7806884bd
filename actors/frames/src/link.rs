//! Both directions of one socket.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use crate::limits::Limits;
use crate::queue::Queue;
use crate::receiver::FrameReceiver;
use crate::sender::FrameSender;
use crate::socket::Socket;
use crate::writer::FrameWriter;

/// A link over a connected socket. The socket is closed when all three parts are dropped.
#[derive(Debug)]
pub struct Link {
    /// Sends frames.
    pub sender: FrameSender,
    /// Receives frames.
    pub receiver: FrameReceiver,
    /// Owns the task that writes what is sent.
    pub writer: FrameWriter,
}

impl Link {
    /// Starts a link over `stream`.
    ///
    /// # Errors
    /// When the socket cannot be watched.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start(stream: UnixStream, limits: Limits) -> io::Result<Self> {
        let limits = limits.bounded();
        let socket = Arc::new(Socket::new(stream)?);
        let queue = Arc::new(Queue::new(limits));
        Ok(Self {
            sender: FrameSender::new(Arc::clone(&queue)),
            receiver: FrameReceiver::new(Arc::clone(&socket), limits),
            writer: FrameWriter::spawn(socket, queue),
        })
    }
}
