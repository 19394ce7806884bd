//! Who waits for which answer of the node. Pure.

use std::collections::HashMap;

use tandem_actor_protocol::JobId;
use tandem_actor_protocol::failure::Failure;
use tokio::sync::oneshot;

use crate::function::Returned;
use crate::room::{Lent, Room};

/// Those who wait, by the ticket under which the node knows their wish.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    rooms: HashMap<u64, (JobId, oneshot::Sender<Result<Room, Failure>>)>,
    reads: HashMap<u64, (JobId, oneshot::Sender<Option<Lent>>)>,
    calls: HashMap<u64, (JobId, oneshot::Sender<Result<Returned, Failure>>)>,
    places: HashMap<u64, oneshot::Sender<()>>,
}

impl Tickets {
    /// Someone wants room.
    pub(super) fn wanted(&mut self, ticket: u64, job: JobId, reply: oneshot::Sender<Result<Room, Failure>>) {
        self.rooms.insert(ticket, (job, reply));
    }

    /// Another worker reads an object.
    pub(super) fn reads(&mut self, ticket: u64, job: JobId, reply: oneshot::Sender<Option<Lent>>) {
        self.reads.insert(ticket, (job, reply));
    }

    /// Someone calls a function.
    pub(super) fn called(&mut self, ticket: u64, job: JobId, reply: oneshot::Sender<Result<Returned, Failure>>) {
        self.calls.insert(ticket, (job, reply));
    }

    /// Someone leaves a place.
    pub(super) fn leaves(&mut self, ticket: u64, reply: oneshot::Sender<()>) {
        self.places.insert(ticket, reply);
    }

    /// Nobody waits for this call any more.
    pub(super) fn cancelled(&mut self, ticket: u64) {
        self.calls.remove(&ticket);
    }

    /// Who wanted room.
    pub(super) fn room(&mut self, ticket: u64) -> Option<(JobId, oneshot::Sender<Result<Room, Failure>>)> {
        self.rooms.remove(&ticket)
    }

    /// Who reads.
    pub(super) fn read(&mut self, ticket: u64) -> Option<(JobId, oneshot::Sender<Option<Lent>>)> {
        self.reads.remove(&ticket)
    }

    /// Who waits for a place to be free.
    pub(super) fn place(&mut self, ticket: u64) -> Option<oneshot::Sender<()>> {
        self.places.remove(&ticket)
    }

    /// Who called.
    pub(super) fn call(&mut self, ticket: u64) -> Option<(JobId, oneshot::Sender<Result<Returned, Failure>>)> {
        self.calls.remove(&ticket)
    }
}
