//! One search for a circle. Pure: says whom to ask, and takes what they answer.
//!
//! ```text
//!   first round ─all is stuck─► second round ─all is as before─► Found
//!        │                           └─something is not─► GiveUp
//!        └─too much─► GiveUp
//! ```
//!
//! What workers say is not of one moment, so it is not enough that all of it is stuck: a call that was looked at first may go on while the
//! last one is looked at. But all of the second round is asked for when all of the first one is there. Waits have numbers that do not
//! come again, so what is the same in both rounds was so all the time between. Then all of it was stuck at once, and stays so.

use std::collections::{BTreeMap, BTreeSet};

use tandem_actor_protocol::peer::{Awaited, Stalled};
use tandem_actor_protocol::{CallId, WorkerId};

/// Things that are looked at before a circle is given up for not found.
const MOST_AWAITED: usize = 10_000;

/// What there is to do for a search.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask a worker, which may be this one, what these wait for.
    Ask(WorkerId, Vec<Awaited>),
    /// Wait for an answer.
    Wait,
    /// There is a circle.
    Found(Circle),
    /// There is none that can be found.
    GiveUp,
}

/// Calls that wait for each other, as one of them is told: that with the latest wait of its worker. On one worker this is the call that
/// has closed the circle. Whoever finds the same circle names the same call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Circle {
    pub(super) call: CallId,
    pub(super) at: WorkerId,
    pub(super) wait: u64,
    /// All of them, in words, this one first.
    pub(super) told: String,
}

/// What is known to be stuck.
type Found = BTreeMap<Awaited, Stalled>;

/// See the module's header.
#[derive(Debug)]
pub(super) struct Search {
    /// The worker that searches.
    here: WorkerId,
    /// From where.
    call: CallId,
    wait: u64,
    /// What the first round has found, once it is over.
    first: Option<Found>,
    found: Found,
    /// Workers that have not answered, and for what.
    asked: BTreeMap<WorkerId, BTreeSet<Awaited>>,
    /// What is to be asked for.
    open: BTreeMap<WorkerId, BTreeSet<Awaited>>,
}

impl Search {
    /// A search from a call that is stuck on the worker that searches.
    pub(super) fn new(here: WorkerId, call: CallId, wait: u64) -> Self {
        let (found, asked, open) = (Found::new(), BTreeMap::new(), BTreeMap::new());
        let mut search = Self { here, call, wait, first: None, found, asked, open };
        search.want(search.start());
        search
    }

    pub(super) fn call(&self) -> CallId {
        self.call
    }

    pub(super) fn wait(&self) -> u64 {
        self.wait
    }

    /// Whether it waits for the answer of a worker.
    pub(super) fn asks(&self, worker: WorkerId) -> bool {
        self.asked.contains_key(&worker)
    }

    fn start(&self) -> Awaited {
        Awaited::Call { call: self.call, at: self.here }
    }

    /// What is next. All that is open at a worker is one question, and that has one at a time.
    pub(super) fn next(&mut self) -> Next {
        if self.found.len() + self.open.values().map(BTreeSet::len).sum::<usize>() > MOST_AWAITED {
            return Next::GiveUp;
        }
        let free = self.open.keys().find(|worker| !self.asks(**worker)).copied();
        if let Some((worker, awaited)) = free.and_then(|worker| self.open.remove_entry(&worker)) {
            let question = awaited.iter().copied().collect();
            self.asked.insert(worker, awaited);
            return Next::Ask(worker, question);
        }
        if !self.asked.is_empty() {
            return Next::Wait;
        }
        let found = std::mem::take(&mut self.found);
        match self.first.take() {
            Some(first) if first == found => self.circle(&found).map_or(Next::GiveUp, Next::Found),
            Some(_) => Next::GiveUp,
            None => {
                self.first = Some(found);
                self.want(self.start());
                self.next()
            }
        }
    }

    /// A worker has answered. What it left out is asked for again.
    pub(super) fn heard(&mut self, from: WorkerId, answer: Vec<Stalled>) {
        let Some(asked) = self.asked.remove(&from) else { return };
        let mut wanted: Vec<Awaited> = asked.into_iter().collect();
        for stalled in answer {
            wanted.extend(&stalled.waits_for);
            self.found.insert(stalled.awaited, stalled);
        }
        wanted.into_iter().for_each(|awaited| self.want(awaited));
    }

    /// Something is to be asked for, if it was not.
    fn want(&mut self, awaited: Awaited) {
        let worker = awaited.worker();
        let is_asked = self.asked.get(&worker).is_some_and(|asked| asked.contains(&awaited));
        if !is_asked && !self.found.contains_key(&awaited) {
            self.open.entry(worker).or_default().insert(awaited);
        }
    }

    /// A circle of those that were found: each waits for another of them, so that one after the other comes back to one that was there.
    fn circle(&self, found: &Found) -> Option<Circle> {
        let (mut path, mut places) = (Vec::new(), BTreeMap::new());
        let mut next = self.start();
        let from = loop {
            if let Some(from) = places.insert(next, path.len()) {
                break from;
            }
            let stalled = found.get(&next)?;
            path.push(stalled);
            next = *stalled.waits_for.first()?;
        };
        let mut circle = path.split_off(from);
        let waits = circle.iter().enumerate().filter_map(|(place, stalled)| match stalled.awaited {
            Awaited::Call { call, at } => Some((stalled.wait?, at, call, place)),
            Awaited::Object(_) => None,
        });
        let (wait, at, call, place) = waits.max()?;
        circle.rotate_left(place);
        let calls = circle.iter().filter(|stalled| matches!(stalled.awaited, Awaited::Call { .. }));
        let names: Vec<&str> = calls.chain([&circle[0]]).map(|stalled| stalled.name.as_str()).collect();
        Some(Circle { call, at, wait, told: names.join(" waits for ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: WorkerId = WorkerId(1);
    const THERE: WorkerId = WorkerId(2);
    const BEYOND: WorkerId = WorkerId(3);

    fn call(number: u128, at: WorkerId) -> Awaited {
        Awaited::Call { call: CallId(number), at }
    }

    fn stalled(awaited: Awaited, wait: u64, waits_for: &[Awaited]) -> Stalled {
        let Awaited::Call { call: CallId(number), .. } = awaited else { panic!("a call") };
        Stalled { awaited, name: format!("f{number}"), wait: Some(wait), waits_for: waits_for.to_vec() }
    }

    /// A search from the first call, which is in its fourth wait.
    fn search() -> Search {
        Search::new(HERE, CallId(1), 4)
    }

    /// What is next is this question, and this is the answer.
    fn answer(search: &mut Search, worker: WorkerId, question: &[Awaited], answer: &[Stalled]) {
        assert_eq!(search.next(), Next::Ask(worker, question.to_vec()));
        search.heard(worker, answer.to_vec());
    }

    #[test]
    fn a_circle_is_one_that_two_rounds_find_the_same() {
        let (first, second) = (call(1, HERE), call(2, THERE));
        for (again, is_circle) in [(7, true), (8, false)] {
            let mut search = search();
            for wait in [7, again] {
                answer(&mut search, HERE, &[first], &[stalled(first, 4, &[second])]);
                answer(&mut search, THERE, &[second], &[stalled(second, wait, &[first])]);
            }
            let told = "f2 waits for f1 waits for f2".to_owned();
            let circle = Circle { call: CallId(2), at: THERE, wait: 7, told };
            assert_eq!(search.next(), if is_circle { Next::Found(circle) } else { Next::GiveUp }, "wait {again}");
        }
    }

    #[test]
    fn whoever_finds_a_circle_names_the_same_call_of_it() {
        let (one, two, three) = (call(1, HERE), call(2, THERE), call(3, BEYOND));
        let outside = call(9, BEYOND);
        let found = [
            stalled(one, 5, &[two]),
            stalled(two, 4, &[three]),
            stalled(three, 5, &[one]),
            stalled(outside, 8, &[two]),
        ];
        let found: Found = found.into_iter().map(|stalled| (stalled.awaited, stalled)).collect();
        for (at, from) in [(HERE, 1), (THERE, 2), (BEYOND, 3), (BEYOND, 9)] {
            let circle = Search::new(at, CallId(from), 0).circle(&found).expect("a circle");
            let told = "f3 waits for f1 waits for f2 waits for f3".to_owned();
            assert_eq!(circle, Circle { call: CallId(3), at: BEYOND, wait: 5, told }, "from {from}");
        }
    }

    #[test]
    fn a_worker_has_one_question_at_a_time_and_is_asked_for_what_it_left_out() {
        let first = call(1, HERE);
        let (two, three, four) = (call(2, THERE), call(3, THERE), call(4, THERE));
        let beyond = call(5, BEYOND);
        let mut search = search();
        answer(&mut search, HERE, &[first], &[stalled(first, 4, &[two, three, beyond])]);
        assert_eq!(search.next(), Next::Ask(THERE, vec![two, three]));
        assert_eq!(search.next(), Next::Ask(BEYOND, vec![beyond]));
        assert_eq!(search.next(), Next::Wait);
        search.heard(BEYOND, vec![stalled(beyond, 1, &[four])]);
        assert_eq!(search.next(), Next::Wait, "it has not answered yet");
        assert!(search.asks(THERE) && !search.asks(BEYOND));
        search.heard(THERE, vec![stalled(two, 1, &[first])]);
        answer(&mut search, THERE, &[three, four], &[stalled(three, 2, &[first]), stalled(four, 3, &[two])]);
        assert_eq!(search.next(), Next::Ask(HERE, vec![first]), "the second round");
        search.heard(BEYOND, vec![stalled(beyond, 1, &[])]);
        assert!(search.found.is_empty(), "it was not asked");
    }

    #[test]
    fn of_what_is_too_much_nothing_is_found() {
        let first = call(1, HERE);
        let many: Vec<Awaited> = (2..=MOST_AWAITED as u128 + 1).map(|number| call(number, THERE)).collect();
        let mut search = search();
        answer(&mut search, HERE, &[first], &[stalled(first, 4, &many[1..])]);
        assert_eq!(search.next(), Next::Ask(THERE, many[1..].to_vec()));
        let mut search = self::search();
        answer(&mut search, HERE, &[first], &[stalled(first, 4, &many)]);
        assert_eq!(search.next(), Next::GiveUp);
    }
}
