//! What this worker says to others about one job, in which order.
//!
//! Whoever lets go of something that keeps another worker's objects alive may do so only when those who own these know that this worker
//! holds them itself. So such messages wait until every borrow that went out before them is answered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rustc_hash::FxHashSet;
use tandem_actor_protocol::peer::{PeerBody, PeerMessage};
use tandem_actor_protocol::{ObjectId, WorkerId};

use crate::action::Action;
use crate::context::Context;
use crate::job::Job;

/// What is known of other workers in one job.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    /// How to reach them, in the order in which that became known.
    addresses: Vec<(WorkerId, String)>,
    known: FxHashSet<WorkerId>,
    /// How many of these each was told.
    told: BTreeMap<WorkerId, usize>,
    pub(crate) fence: Fence,
    /// Objects to be borrowed, before anything else is said.
    pub(crate) borrowing: BTreeMap<WorkerId, Vec<ObjectId>>,
    /// Objects to be returned to their owners.
    pub(crate) returning: BTreeMap<WorkerId, Vec<ObjectId>>,
    /// Objects that others keep for this worker and may drop.
    pub(crate) dropping: BTreeMap<WorkerId, Vec<ObjectId>>,
    /// Workers that were asked to give tasks back and have not answered.
    pub(crate) recalling: BTreeSet<WorkerId>,
    /// Tasks that others get back as soon as processes here have given them back.
    pub(crate) owed: BTreeMap<WorkerId, u32>,
}

/// Holds back what may be said only when borrows are answered.
#[derive(Debug, Default)]
pub(crate) struct Fence {
    next: u64,
    /// Borrows that are not answered, by when they went out.
    open: BTreeMap<u64, WorkerId>,
    held: VecDeque<(u64, WorkerId, PeerBody)>,
}

impl Fence {
    fn borrowed(&mut self, from: WorkerId) {
        self.open.insert(self.next, from);
        self.next += 1;
    }

    /// A worker has answered a borrow, the oldest of those it has not.
    pub(crate) fn lent(&mut self, by: WorkerId) {
        let answered = self.open.iter().find(|(_, worker)| **worker == by).map(|(number, _)| *number);
        if let Some(number) = answered {
            self.open.remove(&number);
        }
    }

    /// Whether something waits to be said.
    pub(crate) fn holds_back(&self) -> bool {
        !self.held.is_empty()
    }

    fn lost(&mut self, worker: WorkerId) {
        self.open.retain(|_, other| *other != worker);
        self.held.retain(|(_, to, _)| *to != worker);
    }

    /// Whether something for `to` may go out that came up before the borrow with this number. What is borrowed from `to` itself it
    /// hears of first anyway.
    fn lets_pass(&self, before: u64, to: WorkerId) -> bool {
        self.open.range(..before).all(|(_, from)| *from == to)
    }

    fn next_passing(&mut self) -> Option<(WorkerId, PeerBody)> {
        let (before, to, _) = self.held.front()?;
        if !self.lets_pass(*before, *to) {
            return None;
        }
        self.held.pop_front().map(|(_, to, body)| (to, body))
    }
}

impl Peers {
    /// Nobody is known but this worker itself, if it can be reached.
    pub(crate) fn new(worker: WorkerId, address: &str) -> Self {
        let own = (!address.is_empty()).then(|| (worker, address.to_owned()));
        let known = own.iter().map(|(worker, _)| *worker).collect();
        Self { known, addresses: own.into_iter().collect(), ..Self::default() }
    }

    /// Whether a worker can be reached.
    pub(crate) fn knows(&self, worker: WorkerId) -> bool {
        self.known.contains(&worker)
    }

    pub(crate) fn lost(&mut self, worker: WorkerId) {
        self.fence.lost(worker);
        self.borrowing.remove(&worker);
        self.returning.remove(&worker);
        self.dropping.remove(&worker);
        self.recalling.remove(&worker);
        self.owed.remove(&worker);
        self.told.remove(&worker);
    }
}

impl Job {
    /// Says something to another worker, after it was told whom it may meet by that.
    pub(crate) fn send_peer(&mut self, cx: &mut Context<'_>, to: WorkerId, body: PeerBody) {
        self.flush_borrows(cx);
        self.send_now(cx, to, body);
    }

    /// Says something by which this worker lets go of what keeps others' objects alive.
    pub(crate) fn send_fenced(&mut self, cx: &mut Context<'_>, to: WorkerId, body: PeerBody) {
        self.flush_borrows(cx);
        let before = self.peers.fence.next;
        if self.peers.fence.held.is_empty() && self.peers.fence.lets_pass(before, to) {
            self.send_now(cx, to, body);
        } else {
            self.peers.fence.held.push_back((before, to, body));
        }
    }

    /// Sends what was held back and may go now.
    pub(crate) fn flush_peers(&mut self, cx: &mut Context<'_>) {
        self.flush_borrows(cx);
        while let Some((to, body)) = self.peers.fence.next_passing() {
            self.send_now(cx, to, body);
        }
    }

    fn flush_borrows(&mut self, cx: &mut Context<'_>) {
        while let Some((owner, objects)) = self.peers.borrowing.pop_first() {
            self.peers.fence.borrowed(owner);
            self.send_now(cx, owner, PeerBody::Borrow(objects));
        }
    }

    fn send_now(&mut self, cx: &mut Context<'_>, to: WorkerId, body: PeerBody) {
        if cx.shared.lost.contains(&to) {
            return;
        }
        let all = self.peers.addresses.len();
        let told = self.peers.told.insert(to, all).unwrap_or(0);
        if told < all {
            let new = self.peers.addresses[told..].iter().filter(|(worker, _)| *worker != to);
            self.emit(cx, to, PeerBody::Know(new.cloned().collect()));
        }
        self.emit(cx, to, body);
    }

    fn emit(&self, cx: &mut Context<'_>, worker: WorkerId, body: PeerBody) {
        cx.act(Action::SendPeer { worker, message: PeerMessage { job: self.id, body } });
    }

    /// How to reach a worker; by nobody if the address is empty. This one is told to others like any other, so that they can answer.
    pub(crate) fn know_peer(&mut self, cx: &mut Context<'_>, worker: WorkerId, address: String) {
        if address.is_empty() || !self.peers.known.insert(worker) {
            return;
        }
        self.peers.addresses.push((worker, address.clone()));
        if worker != self.worker {
            cx.act(Action::KnowPeer { worker, address });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_go_waits_for_the_answers_of_third_workers() {
        let (owner, third) = (WorkerId(1), WorkerId(2));
        let mut fence = Fence::default();
        fence.borrowed(owner);
        assert!(fence.lets_pass(fence.next, owner), "the owner hears of the borrow first");
        fence.borrowed(third);
        assert!(!fence.lets_pass(fence.next, owner));
        fence.held.push_back((fence.next, owner, PeerBody::Return(Vec::new())));
        fence.borrowed(third);
        fence.lent(third);
        assert_eq!(
            fence.next_passing(),
            Some((owner, PeerBody::Return(Vec::new()))),
            "the later borrow does not matter"
        );
        assert!(!fence.lets_pass(fence.next, owner));
        fence.lost(third);
        assert!(fence.lets_pass(fence.next, owner));
    }
}
