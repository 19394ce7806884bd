//! Looks for circles of calls that wait for each other, over all workers of a job.
//!
//! ```text
//!   stuck call ─search─▶ what it waits for, however far ─ ─AskStalled─▶ worker that knows the rest of it
//!                                                       ◀─Stalled─ ─ ─
//!   circle ─ ─Deadlocked─▶ worker of one of its calls: that gets its failure
//! ```
//!
//! A call is searched from when it gets stuck: so whoever closes a circle finds it. What other workers say may be older or newer than
//! that; so a search that needed them is made again after a pause, as long as the call is in the same wait, and each pause is longer, so
//! that an honest wait costs little. A search without answers is dropped then. A circle that is here alone needs nobody, and is found at
//! once.
//! Invariant: one search from a wait at a time, and one question to each worker at a time for a search.

mod search;

use std::collections::BTreeMap;

use tandem_actor_protocol::peer::{Awaited, PeerBody, Stalled};
use tandem_actor_protocol::{CallId, WorkerId};

use super::Job;
use crate::context::Context;
use crate::timers::Timer;
use search::{Circle, Next, Search};

/// A search is made again after this, for the first time.
pub(super) const FIRST_PAUSE_MS: u64 = 1_000;
const LONGEST_PAUSE_MS: u64 = 30_000;
/// Searches that wait for answers at once. Others are put off.
const MOST_SEARCHES: usize = 64;

/// The searches of this worker that wait for answers.
#[derive(Debug, Default)]
pub(crate) struct Searches {
    /// How many searches there were.
    begun: u64,
    under_way: BTreeMap<u64, Search>,
}

impl Searches {
    /// A worker is lost, and does not answer.
    pub(crate) fn lost(&mut self, worker: WorkerId) {
        self.under_way.retain(|_, search| !search.asks(worker));
    }
}

/// How far a search came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// It needed no other worker.
    Here,
    /// It waits for others.
    Beyond,
    /// It would, but there are many that do.
    PutOff,
}

impl Job {
    /// Looks whether a call waits in a circle, or for one, if it is in this wait. Made again after so long, if it takes others.
    pub(super) fn search_circle(&mut self, cx: &mut Context<'_>, call: CallId, wait: u64, pause_ms: u64) {
        self.searches.under_way.retain(|_, search| search.wait() != wait);
        if !self.stuck.is_in(call, wait) {
            return;
        }
        let number = self.searches.begun;
        self.searches.begun += 1;
        let next_ms = match self.go_on_searching(cx, number, Search::new(self.worker, call, wait)) {
            Reach::Here => return,
            Reach::Beyond => (pause_ms * 2).min(LONGEST_PAUSE_MS),
            Reach::PutOff => pause_ms,
        };
        cx.timer(pause_ms, self.id, Timer::Stuck { call, wait, pause_ms: next_ms });
    }

    /// Goes on with a search until it needs answers or is over.
    fn go_on_searching(&mut self, cx: &mut Context<'_>, number: u64, mut search: Search) -> Reach {
        loop {
            match search.next() {
                Next::Ask(worker, awaited) if worker == self.worker => match self.stalled(awaited) {
                    Some(found) => search.heard(worker, found),
                    None => return Reach::Here,
                },
                Next::Ask(worker, awaited) => {
                    if self.searches.under_way.len() >= MOST_SEARCHES {
                        return Reach::PutOff;
                    }
                    self.send_peer(cx, worker, PeerBody::AskStalled { search: number, awaited });
                }
                Next::Wait => {
                    self.searches.under_way.insert(number, search);
                    return Reach::Beyond;
                }
                Next::Found(circle) => {
                    self.tell_deadlocked(cx, circle);
                    return Reach::Here;
                }
                Next::GiveUp => return Reach::Here,
            }
        }
    }

    fn tell_deadlocked(&mut self, cx: &mut Context<'_>, circle: Circle) {
        let Circle { call, at, wait, told } = circle;
        if at == self.worker {
            self.end_wait(cx, call, wait, &told);
        } else {
            self.send_peer(cx, at, PeerBody::Deadlocked { call, wait, circle: told });
        }
    }

    /// Another worker looks for a circle that comes through here.
    pub(super) fn tell_stalled(&mut self, cx: &mut Context<'_>, from: WorkerId, search: u64, awaited: Vec<Awaited>) {
        let found = self.stalled(awaited);
        self.send_peer(cx, from, PeerBody::Stalled { search, found });
    }

    /// Another worker says what it knows. That is of no use if the call has gone on.
    pub(super) fn heard_stalled(
        &mut self,
        cx: &mut Context<'_>,
        from: WorkerId,
        number: u64,
        found: Option<Vec<Stalled>>,
    ) {
        let Some(mut search) = self.searches.under_way.remove(&number) else { return };
        if let Some(found) = found
            && self.stuck.is_in(search.call(), search.wait())
        {
            search.heard(from, found);
            self.go_on_searching(cx, number, search);
        }
    }
}
