//! How one large object gets from worker to worker while several want it. Pure; kept by the owner of the object, for as long as anyone
//! copies it or waits for that.
//!
//! ```text
//!   wants it ─► waiting ─turn─► copying ─here─► source ─► others copy from it
//!                  ▲               │  └─unwanted─► gone
//!                  └───unreadable──┘
//! ```
//!
//! With `n` copies from each source at once there are `n + 1` times as many sources after each round of copying, so the time grows with the
//! logarithm of the number of workers.
//! Invariants: no source is copied from more often at once than it may be; nobody gets a turn at a source that it could not read; each turn
//! is ended once; who waits gets its turn, or hears that there is nobody, when all turns have ended at the latest.

use std::collections::VecDeque;

use tandem_actor_protocol::WorkerId;
use tandem_actor_protocol::peer::CopyEnd;

/// See the module's header.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    sources: Vec<Source>,
    copying: Vec<Copying>,
    waiting: VecDeque<Wanting>,
}

/// A worker that is said to have the object.
#[derive(Debug)]
struct Source {
    worker: WorkerId,
    /// How many copy from it now.
    readers: u32,
    /// Someone could not read it there. Others may, but it is the last one to be tried.
    doubted: bool,
}

#[derive(Debug)]
struct Copying {
    from: WorkerId,
    wanting: Wanting,
}

#[derive(Debug)]
struct Wanting {
    by: WorkerId,
    /// Where it could not read the object.
    tried: Vec<WorkerId>,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) by: WorkerId,
    /// From whom it may read; none: there is nobody left.
    pub(crate) from: Option<WorkerId>,
}

impl Spread {
    /// A worker wants a copy, of which it has none. It or the owner knows of workers that may have one.
    pub(crate) fn want(&mut self, by: WorkerId, known: impl IntoIterator<Item = WorkerId>) {
        self.sources.retain(|source| source.worker != by);
        known.into_iter().filter(|worker| *worker != by).for_each(|worker| self.add_source(worker));
        self.waiting.push_back(Wanting { by, tried: Vec::new() });
    }

    /// A turn of a worker has ended. False: it had none.
    pub(crate) fn ended(&mut self, by: WorkerId, from: WorkerId, end: CopyEnd) -> bool {
        let Some(at) = self.copying.iter().position(|copying| copying.from == from && copying.wanting.by == by) else {
            return false;
        };
        let mut wanting = self.copying.swap_remove(at).wanting;
        self.let_go(from);
        match end {
            CopyEnd::Here => self.add_source(by),
            CopyEnd::Unwanted => {}
            CopyEnd::Unreadable => {
                self.source(from).into_iter().for_each(|source| source.doubted = true);
                wanting.tried.push(from);
                // It has waited for longer than the others.
                self.waiting.push_front(wanting);
            }
        }
        true
    }

    /// A worker is gone. Whoever reads from it will say that it cannot.
    pub(crate) fn lost(&mut self, worker: WorkerId) {
        self.sources.retain(|source| source.worker != worker);
        self.waiting.retain(|wanting| wanting.by != worker);
        let gone = self.copying.extract_if(.., |copying| copying.wanting.by == worker);
        let read: Vec<WorkerId> = gone.map(|copying| copying.from).collect();
        read.into_iter().for_each(|from| self.let_go(from));
    }

    /// Gives the next turn, if anyone can have one now.
    pub(crate) fn next(&mut self, copies_at_once: u32) -> Option<Turn> {
        let Wanting { by, tried } = self.waiting.front()?;
        let by = *by;
        let may = |source: &&mut Source| source.worker != by && !tried.contains(&source.worker);
        let source = self.sources.iter_mut().filter(may).min_by_key(|source| (source.doubted, source.readers));
        match source {
            Some(source) if source.readers < copies_at_once => {
                source.readers += 1;
                let from = source.worker;
                let wanting = self.waiting.pop_front()?;
                self.copying.push(Copying { from, wanting });
                Some(Turn { by, from: Some(from) })
            }
            // There will be more when those who copy now have it.
            Some(_) => None,
            None if !self.copying.is_empty() => None,
            None => {
                self.waiting.pop_front();
                Some(Turn { by, from: None })
            }
        }
    }

    /// Whether another worker than this one may have it, or will soon.
    pub(crate) fn is_elsewhere(&self, than: WorkerId) -> bool {
        let sources = self.sources.iter().map(|source| source.worker);
        sources.chain(self.copying.iter().map(|copying| copying.from)).any(|worker| worker != than)
    }

    /// Whether nobody copies it, or waits for that.
    pub(crate) fn is_over(&self) -> bool {
        self.copying.is_empty() && self.waiting.is_empty()
    }

    fn source(&mut self, worker: WorkerId) -> Option<&mut Source> {
        self.sources.iter_mut().find(|source| source.worker == worker)
    }

    /// Those who copied from it before it was forgotten are not counted any more.
    fn add_source(&mut self, worker: WorkerId) {
        if self.source(worker).is_none() {
            let readers = self.copying.iter().filter(|copying| copying.from == worker).count() as u32;
            self.sources.push(Source { worker, readers, doubted: false });
        }
    }

    fn let_go(&mut self, from: WorkerId) {
        if let Some(source) = self.source(from) {
            source.readers -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const FIRST: WorkerId = WorkerId(0);

    fn turns(spread: &mut Spread, copies_at_once: u32) -> Vec<Turn> {
        std::iter::from_fn(|| spread.next(copies_at_once)).collect()
    }

    /// How many rounds it takes until so many workers have it that want it at once, if all copies of a round take the same time, and how
    /// many the first one sends.
    fn rounds(workers: u64, copies_at_once: u32) -> (u32, u32) {
        let mut spread = Spread::default();
        (1..=workers).for_each(|worker| spread.want(WorkerId(worker), [FIRST]));
        let (mut rounds, mut sent_by_first, mut have) = (0, 0, BTreeSet::from([FIRST]));
        while !spread.is_over() {
            let mut readers: BTreeMap<WorkerId, u32> = BTreeMap::new();
            let round = turns(&mut spread, copies_at_once);
            for turn in &round {
                let from = turn.from.expect("the first one has it");
                assert!(have.contains(&from), "{from} has no copy");
                *readers.entry(from).or_default() += 1;
            }
            assert!(readers.values().all(|readers| *readers <= copies_at_once), "{readers:?}");
            for Turn { by, from } in round {
                let from = from.expect("as above");
                assert!(spread.ended(by, from, CopyEnd::Here) && have.insert(by));
                sent_by_first += u32::from(from == FIRST);
            }
            rounds += 1;
        }
        assert_eq!(have.len() as u64, workers + 1);
        (rounds, sent_by_first)
    }

    #[test]
    fn rounds_grow_with_the_logarithm_of_the_workers() {
        for (workers, copies_at_once, expected, most_of_first) in [
            (1, 1, 1, 1),
            (20, 1, 5, 5),
            (20, 2, 3, 6),
            (26, 2, 3, 6),
            (27, 2, 4, 8),
            (1000, 2, 7, 14),
            (1000, 4, 5, 20),
        ] {
            let (rounds, sent_by_first) = rounds(workers, copies_at_once);
            assert_eq!(rounds, expected, "{workers} workers, {copies_at_once} at once");
            assert!(sent_by_first <= most_of_first, "{workers} workers: {sent_by_first}");
        }
    }

    #[test]
    fn who_could_not_read_it_is_sent_elsewhere_until_there_is_nobody() {
        let mut spread = Spread::default();
        let (a, b, other) = (WorkerId(1), WorkerId(2), WorkerId(3));
        spread.want(a, [FIRST, other]);
        let first = spread.next(2).and_then(|turn| turn.from).expect("two may have it");
        assert!(spread.ended(a, first, CopyEnd::Unreadable));
        spread.want(b, [FIRST, other]);
        let second = if first == FIRST { other } else { FIRST };
        let expected = [a, b].map(|by| Turn { by, from: Some(second) });
        assert_eq!(turns(&mut spread, 2), expected, "others do not begin with what could not be read");
        assert!(spread.ended(a, second, CopyEnd::Unreadable));
        assert_eq!(spread.next(2), None, "the other one may have it soon");
        assert!(spread.ended(b, second, CopyEnd::Here));
        assert_eq!(turns(&mut spread, 2), [Turn { by: a, from: Some(b) }]);
        assert!(spread.ended(a, b, CopyEnd::Unreadable));
        assert_eq!(turns(&mut spread, 2), [Turn { by: a, from: None }]);
        assert!(spread.is_over() && !spread.ended(a, b, CopyEnd::Here), "it has no turn any more");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Want { by: u64, at: u64 },
        End { which: usize, end: CopyEnd },
        Lose(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let end = prop_oneof![3 => Just(CopyEnd::Here), 2 => Just(CopyEnd::Unreadable), 1 => Just(CopyEnd::Unwanted)];
        prop_oneof![
            4 => (1..9_u64, 0..9_u64).prop_map(|(by, at)| Step::Want { by, at }),
            6 => (any::<usize>(), end).prop_map(|(which, end)| Step::End { which, end }),
            1 => (0..9_u64).prop_map(Step::Lose),
        ]
    }

    proptest! {
        #[test]
        fn everyone_gets_an_answer_and_no_source_too_many_readers(
            steps in proptest::collection::vec(step(), 0..80),
            copies_at_once in 1..4_u32,
        ) {
            let mut spread = Spread::default();
            // Those that wait, and those that copy.
            let (mut waiting, mut copying): (Vec<u64>, Vec<(WorkerId, WorkerId)>) = (Vec::new(), Vec::new());
            let wind_up = std::iter::repeat_n(Step::End { which: 0, end: CopyEnd::Here }, 100);
            for step in steps.into_iter().chain(wind_up) {
                match step {
                    Step::Want { by, at } => {
                        spread.want(WorkerId(by), [WorkerId(at)]);
                        waiting.push(by);
                    }
                    Step::End { .. } if copying.is_empty() => {}
                    Step::End { which, end } => {
                        let (by, from) = copying.swap_remove(which % copying.len());
                        prop_assert!(spread.ended(by, from, end));
                        if end == CopyEnd::Unreadable {
                            waiting.push(by.0);
                        }
                    }
                    Step::Lose(worker) => {
                        spread.lost(WorkerId(worker));
                        waiting.retain(|by| *by != worker);
                        copying.retain(|(by, _)| by.0 != worker);
                    }
                }
                for Turn { by, from } in turns(&mut spread, copies_at_once) {
                    let at = waiting.iter().position(|waits| *waits == by.0).expect("it waits");
                    waiting.swap_remove(at);
                    let Some(from) = from else { continue };
                    prop_assert_ne!(from, by);
                    copying.push((by, from));
                    let readers = copying.iter().filter(|(_, source)| *source == from).count();
                    prop_assert!(readers as u32 <= copies_at_once);
                }
            }
            prop_assert!(spread.is_over() && waiting.is_empty() && copying.is_empty());
        }
    }
}
