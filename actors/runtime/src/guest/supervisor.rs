//! Owns one guest from its client's arrival to its end.
//! Invariant: the desk hears of the end once, behind all that the client said.
//!
//!   arrived ─► serving ─(the client leaves, breaks the rules, or is asked to end)─► ended ─► told

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tandem_actor_protocol::{ExecutorId, JobId, link_limits};
use tandem_frames::{ChildEnd, FrameReceiver, FrameWriter, Link};
use tandem_node::{Event, ExitCause};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info};

use super::port::Visit;
use super::relay::{Parting, Relay};
use crate::executor::{Mask, Order, Pump, Reader, Speaker, Surroundings};
use crate::inbox::Inbound;

/// How long what a client said last may take to reach the desk.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may not read what is sent to it, beyond what its connection notices: a network can be slow.
pub(crate) const STUCK_GRACE: Duration = Duration::from_secs(600);

/// See the module's header.
pub(crate) struct Guest {
    pub(crate) executor: ExecutorId,
    pub(crate) job: JobId,
    pub(crate) surroundings: Arc<Surroundings>,
    pub(crate) visit: Visit,
    /// The end of the link that a process would have.
    pub(crate) child_end: ChildEnd,
    pub(crate) frames: FrameReceiver,
    pub(crate) writer: FrameWriter,
    pub(crate) pump: Pump,
    pub(crate) speaker: Arc<Speaker>,
    pub(crate) ordered: UnboundedReceiver<Order>,
    /// For the desk, which tells the client.
    pub(crate) job_name: Arc<OnceLock<String>>,
}

impl Guest {
    /// Serves the client to its end.
    pub(crate) async fn run(mut self) {
        let program = tokio::select! {
            biased;
            _ = self.ordered.recv() => Err("it was stopped before it had started".to_owned()),
            program = self.surroundings.outside.program(self.job) => program,
        };
        let mask = match program {
            Ok(program) => {
                // Set again, it is the same.
                let _ = self.job_name.set(program.job_name.clone());
                Mask::new(&program)
            }
            Err(reason) => {
                self.visit.to.fail(&reason);
                let started = Event::ExecutorStarted { executor: self.executor, outcome: Err(reason) };
                // Without a desk nobody has to know.
                let _ = self.surroundings.desk.send(Inbound::Event(started)).await;
                return;
            }
        };
        debug!(executor = self.executor.0, job = %self.job, "a client has attached");
        self.serve(mask).await;
    }

    async fn serve(self, mask: Mask) {
        let Self { executor, job, surroundings, visit, child_end, frames, writer, pump, speaker, mut ordered, .. } =
            self;
        let hello = Arc::new(Notify::new());
        let desk = surroundings.desk.clone();
        let reader = Reader { executor, frames, speaker, mask, desk, hello: Arc::clone(&hello) };
        let mut reading = AbortOnDropHandle::new(tokio::spawn(reader.run()));
        let pumping = AbortOnDropHandle::new(tokio::spawn(pump.run()));
        let client = visit.to.clone();
        let cause = tokio::select! {
            cause = relayed(visit, child_end) => cause,
            cause = asked_to_end(&mut ordered, surroundings.config.stop_grace) => cause,
            () = silence(&hello, surroundings.config.hello_timeout) => ExitCause::Silent,
        };
        if let ExitCause::Protocol(reason) = &cause {
            client.fail(reason);
        }
        if tokio::time::timeout(DRAIN_TIMEOUT, &mut reading).await.is_err() {
            debug!(executor = executor.0, "the link of a guest stays open");
        }
        drop((reading, pumping, writer));
        info!(executor = executor.0, %job, ?cause, "a client has left");
        // Without a desk nobody has to know.
        let _ = surroundings.desk.send(Inbound::Gone(executor, cause)).await;
    }
}

/// Passes on what both sides say until one of them ends.
async fn relayed(visit: Visit, child_end: ChildEnd) -> ExitCause {
    let Link { sender, receiver, writer } = match link(child_end) {
        Ok(link) => link,
        Err(error) => return ExitCause::Protocol(format!("no link for a client: {error}")),
    };
    let Visit { from, to } = visit;
    let relay = Relay::new(sender);
    let ended = tokio::select! {
        ended = relay.hear_client(from) => ended,
        ended = relay.hear_node(receiver, &to) => ended,
    };
    drop(relay);
    // All that it said counts, its last words too.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, writer.close()).await;
    match ended {
        Ok(()) => ExitCause::ClientGone("it ended its connection".to_owned()),
        Err(Parting::Broken(reason)) => ExitCause::ClientGone(reason),
        Err(error) => ExitCause::Protocol(error.to_string()),
    }
}

fn link(child_end: ChildEnd) -> io::Result<Link> {
    Link::start(UnixStream::from(child_end), link_limits())
}

/// Waits until the client is to be let go: at once, or when it does not leave within a grace.
async fn asked_to_end(ordered: &mut UnboundedReceiver<Order>, grace: Duration) -> ExitCause {
    match ordered.recv().await {
        Some(Order::Kill(cause)) => cause,
        Some(Order::End) => {
            let killed = async {
                loop {
                    match ordered.recv().await {
                        Some(Order::Kill(cause)) => return cause,
                        Some(Order::End) => {}
                        None => return ExitCause::Asked,
                    }
                }
            };
            tokio::time::timeout(grace, killed).await.unwrap_or(ExitCause::Asked)
        }
        None => ExitCause::Asked,
    }
}

/// Ends when no first message has come for so long.
async fn silence(hello: &Notify, timeout: Duration) {
    if tokio::time::timeout(timeout, hello.notified()).await.is_ok() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::Orders;

    #[tokio::test]
    async fn a_client_that_was_asked_to_leave_is_let_go_after_a_grace() {
        let (orders, mut ordered) = Orders::channel();
        orders.end();
        orders.end();
        assert_eq!(asked_to_end(&mut ordered, Duration::from_millis(1)).await, ExitCause::Asked);
        orders.end();
        orders.kill(ExitCause::Silent);
        assert_eq!(asked_to_end(&mut ordered, Duration::from_secs(5)).await, ExitCause::Silent);
    }
}
