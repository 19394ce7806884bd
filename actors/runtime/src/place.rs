//! Places of tasks of stages that have more than a slot: what one calls runs in its place.

use std::sync::atomic::{AtomicBool, Ordering};

use tandem_actor_protocol::JobId;
use tandem_node::Event;
use tokio::sync::oneshot;

use crate::handle::Access;
use crate::inbox::Inbound;

/// A place, maybe with GPUs, for one call at a time. Dropped, it is given back as soon as what was called in it has ended.
#[derive(Debug)]
pub struct Place {
    ticket: u64,
    job: JobId,
    access: Access,
    given_back: AtomicBool,
}

impl Place {
    pub(crate) fn new(job: JobId, gpus_milli: u64, access: Access) -> Self {
        let ticket = access.ticket();
        access.send(Inbound::Event(Event::PlaceWanted { ticket, job, gpus_milli }));
        Self { ticket, job, access, given_back: AtomicBool::new(false) }
    }

    /// The number by which the node knows it.
    pub(crate) fn ticket(&self) -> u64 {
        self.ticket
    }

    /// Gives it back, and waits until nothing runs in it any more. Nobody may wait for a call that was made in it.
    pub async fn give_back(&self) {
        if !self.given_back.swap(true, Ordering::Relaxed) {
            let (reply, free) = oneshot::channel();
            self.access.send(Inbound::Leave { ticket: self.ticket, job: self.job, reply });
            // An error means that all has ended.
            let _ = free.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !*self.given_back.get_mut() {
            self.access.send(Inbound::Event(Event::PlaceDropped { ticket: self.ticket, job: self.job }));
        }
    }
}
