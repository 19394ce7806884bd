//! The task that writes what is queued: all of it at once, however many frames it is.

use std::io;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::batch::Batch;
use crate::queue::Queue;
use crate::socket::Socket;

/// Owns the writing task of a link. Dropped, it stops at once: a frame may be cut, and what is queued is lost.
#[derive(Debug)]
pub struct FrameWriter {
    queue: Arc<Queue>,
    /// None once it has ended.
    task: Option<JoinHandle<io::Result<()>>>,
}

impl FrameWriter {
    pub(crate) fn spawn(socket: Arc<Socket>, queue: Arc<Queue>) -> Self {
        let task = tokio::spawn(write(socket, Abandon(Arc::clone(&queue))));
        Self { queue, task: Some(task) }
    }

    /// Takes no more frames, writes what is queued and ends the stream. Waits as long as the other side does not read;
    /// dropping the future gives up.
    ///
    /// # Errors
    /// What the socket said, now or when the link failed earlier.
    pub async fn close(mut self) -> io::Result<()> {
        self.queue.close();
        self.ended().await
    }

    /// Waits until the stream has ended, because all senders are gone, one closed the link, or the socket failed.
    ///
    /// # Errors
    /// What the socket said, the first time.
    pub async fn ended(&mut self) -> io::Result<()> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let ended = task.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        self.task = None;
        ended
    }
}

impl Drop for FrameWriter {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn write(socket: Arc<Socket>, queue: Abandon) -> io::Result<()> {
    let queue = &queue.0;
    let mut batch = Batch::default();
    while queue.take(&mut batch).await {
        while !batch.is_empty() {
            let sent = socket.send(&batch.next_write()).await?;
            queue.free(batch.advance(sent));
        }
    }
    socket.end()
}

/// Tells senders that nobody writes any more, however the task ends.
struct Abandon(Arc<Queue>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
