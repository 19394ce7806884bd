//! What was seen of actors that count their calls. It must be as if all calls had happened one after the other, each once.

use std::collections::{BTreeMap, BTreeSet};

use tandem_actor_protocol::{ActorId, CallId};

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// It gives the count.
    Read,
    /// It counts, and gives the count after that.
    Count,
    /// It counts when it has yielded items.
    Yield,
}

/// What a process has to tell of such an actor.
#[derive(Debug)]
pub(crate) enum Count {
    Made {
        actor: ActorId,
        call: CallId,
        /// Calls in a group have an order of their own.
        in_group: bool,
        does: Does,
    },
    /// The count after the call.
    Got { call: CallId, number: u64 },
    /// A call that yields items has ended well.
    Ended { call: CallId },
}

/// All that was told.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    calls: BTreeMap<CallId, Called>,
    /// The highest count that anyone has seen.
    highest: BTreeMap<ActorId, u64>,
}

#[derive(Debug)]
struct Called {
    actor: ActorId,
    in_group: bool,
    does: Does,
    /// What somebody had seen before this call was made.
    before: u64,
    number: Option<u64>,
    /// It has yielded all of its items.
    ended: bool,
}

impl Called {
    /// What it adds before it gives the count.
    fn adds(&self) -> u64 {
        u64::from(self.does == Does::Count)
    }
}

impl Counts {
    pub(crate) fn told(&mut self, count: Count) {
        match count {
            Count::Made { actor, call, in_group, does } => {
                let before = self.highest.get(&actor).copied().unwrap_or(0);
                self.calls.insert(call, Called { actor, in_group, does, before, number: None, ended: false });
            }
            Count::Ended { call } => {
                let called = self.calls.get_mut(&call).expect("it was made");
                assert!(!std::mem::replace(&mut called.ended, true), "{call} ends once");
            }
            Count::Got { call, number } => {
                let called = self.calls.get_mut(&call).expect("it was made");
                assert_eq!(called.number.replace(number), None, "{call} is answered once");
                let least = called.before + called.adds();
                assert!(number >= least, "{call} gives {number}, made when {} was seen", called.before);
                let highest = self.highest.entry(called.actor).or_default();
                *highest = number.max(*highest);
            }
        }
    }

    /// Looks at all of it. Returns how many calls have counted and were answered.
    pub(crate) fn check(&self) -> usize {
        let mut answered = 0;
        for actor in self.calls.values().map(|called| called.actor).collect::<BTreeSet<_>>() {
            let of_it = || self.calls.iter().filter(|(_, called)| called.actor == actor);
            let all = |does| of_it().filter(move |(_, called)| called.does == does);
            let (made, streams) = (all(Does::Count).count(), all(Does::Yield).count());
            let counts: Vec<u64> = all(Does::Count).filter_map(|(_, it)| it.number).collect();
            let different: BTreeSet<u64> = counts.iter().copied().collect();
            assert_eq!(different.len(), counts.len(), "{actor} has given a count twice: {counts:?}");
            let highest = self.highest.get(&actor).copied().unwrap_or(0);
            assert!(highest <= (made + streams) as u64, "{actor} has counted {highest} of {made} and {streams} calls");
            if counts.len() == made {
                // A stream counts without saying so.
                let left_out = (1..=highest).filter(|count| !different.contains(count)).count();
                assert!(left_out <= streams, "{actor} has left counts out: {counts:?}");
            }
            // Ids of one process grow.
            let mut last: BTreeMap<(u128, bool), u64> = BTreeMap::new();
            for (call, called) in of_it() {
                let last = last.entry((call.0 >> 40, called.in_group)).or_default();
                if called.ended {
                    *last += 1;
                }
                let Some(number) = called.number else { continue };
                assert!(number >= *last + called.adds(), "{call} gives {number} after {last}");
                *last = number;
            }
            answered += counts.len();
        }
        answered
    }
}
