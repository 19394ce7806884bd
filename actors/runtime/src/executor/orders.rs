//! How others tell the owner of an executor's process to end it.

use tandem_node::ExitCause;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// One order. The first one that kills says why; later ones change nothing.
#[derive(Debug)]
pub(crate) enum Order {
    /// It was asked to end and is ended if it does not within a grace.
    End,
    /// End it now, for this reason.
    Kill(ExitCause),
}

/// Gives orders for one executor. There are few of them: none needs an answer, and most executors never get one.
#[derive(Debug, Clone)]
pub(crate) struct Orders(UnboundedSender<Order>);

impl Orders {
    pub(crate) fn channel() -> (Self, UnboundedReceiver<Order>) {
        let (sender, receiver) = unbounded_channel();
        (Self(sender), receiver)
    }

    /// It was asked to end.
    pub(crate) fn end(&self) {
        // Whoever does not listen any more has ended it.
        let _ = self.0.send(Order::End);
    }

    /// End it now.
    pub(crate) fn kill(&self, cause: ExitCause) {
        let _ = self.0.send(Order::Kill(cause));
    }
}
