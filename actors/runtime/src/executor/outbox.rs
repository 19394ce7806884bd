//! What waits for an executor to read it. The desk never waits: what the link has no room for is queued here, and an executor
//! that does not read for long, or lets too much pile up, is ended.
//! Invariant: frames go out in the order in which they came; nothing overtakes what is queued here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tandem_frames::{Frame, FrameSender, SendError};
use tandem_node::ExitCause;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::orders::Orders;

/// The desk's side.
#[derive(Debug)]
pub(crate) struct Outbox {
    link: FrameSender,
    overflow: UnboundedSender<Frame>,
    /// Bytes in `overflow` and with its pump; only the desk adds.
    queued_bytes: Arc<AtomicU64>,
    limit_bytes: u64,
    orders: Orders,
}

/// Moves what is queued into the link. Run it beside the process.
#[derive(Debug)]
pub(crate) struct Pump {
    link: FrameSender,
    overflow: UnboundedReceiver<Frame>,
    queued_bytes: Arc<AtomicU64>,
    grace: Duration,
    orders: Orders,
}

/// An outbox over `link`, for an executor that `orders` ends.
pub(crate) fn outbox(link: FrameSender, limit_bytes: u64, grace: Duration, orders: Orders) -> (Outbox, Pump) {
    let (overflow, waiting) = unbounded_channel();
    let queued_bytes = Arc::new(AtomicU64::new(0));
    let pump = Pump {
        link: link.clone(),
        overflow: waiting,
        queued_bytes: Arc::clone(&queued_bytes),
        grace,
        orders: orders.clone(),
    };
    (Outbox { link, overflow, queued_bytes, limit_bytes, orders }, pump)
}

impl Outbox {
    /// Sends `frame`, sooner or later.
    pub(crate) fn push(&self, frame: Frame) {
        if self.queued_bytes.load(Ordering::Acquire) > 0 {
            return self.queue(frame);
        }
        match self.link.try_send(frame) {
            Ok(()) | Err((_, SendError::Closed)) => {}
            Err((frame, SendError::Full)) => self.queue(frame),
            Err((_, error @ (SendError::TooLong { .. } | SendError::TooManyDescriptors { .. }))) => {
                self.orders.kill(ExitCause::Protocol(format!("it cannot be told: {error}")));
            }
        }
    }

    fn queue(&self, frame: Frame) {
        let bytes = cost(&frame);
        if self.queued_bytes.fetch_add(bytes, Ordering::AcqRel) + bytes > self.limit_bytes {
            let reason = format!("it does not read: more than {} bytes wait for it", self.limit_bytes);
            self.orders.kill(ExitCause::Protocol(reason));
            return;
        }
        // Without a pump there is no process any more.
        let _ = self.overflow.send(frame);
    }
}

impl Pump {
    /// Runs until nobody can send any more, or the executor has ended.
    pub(crate) async fn run(mut self) {
        while let Some(frame) = self.overflow.recv().await {
            let bytes = cost(&frame);
            match tokio::time::timeout(self.grace, self.link.send(frame)).await {
                Ok(Ok(())) => _ = self.queued_bytes.fetch_sub(bytes, Ordering::AcqRel),
                Ok(Err(_)) => return,
                Err(_) => {
                    let reason = format!("it has not read for {} s", self.grace.as_secs());
                    return self.orders.kill(ExitCause::Protocol(reason));
                }
            }
        }
    }
}

fn cost(frame: &Frame) -> u64 {
    frame.payload.len() as u64 + 64
}
