//! What was seen of actors that count their calls. It must be as if all calls had happened one after the other, each once.

use std::collections::{BTreeMap, BTreeSet};

use tandem_actor_protocol::{ActorId, CallId};

/// What a process has to tell of such an actor.
#[derive(Debug)]
pub(crate) enum Count {
    Made {
        actor: ActorId,
        call: CallId,
        reads: bool,
    },
    /// The count after the call.
    Got {
        call: CallId,
        number: u64,
    },
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
    reads: bool,
    /// What somebody had seen before this call was made.
    before: u64,
    number: Option<u64>,
}

impl Counts {
    pub(crate) fn told(&mut self, count: Count) {
        match count {
            Count::Made { actor, call, reads } => {
                let before = self.highest.get(&actor).copied().unwrap_or(0);
                self.calls.insert(call, Called { actor, reads, before, number: None });
            }
            Count::Got { call, number } => {
                let called = self.calls.get_mut(&call).expect("it was made");
                assert_eq!(called.number.replace(number), None, "{call} is answered once");
                let least = called.before + u64::from(!called.reads);
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
            let made = of_it().filter(|(_, called)| !called.reads).count();
            let counts: Vec<u64> =
                of_it().filter(|(_, called)| !called.reads).filter_map(|(_, it)| it.number).collect();
            let different: BTreeSet<u64> = counts.iter().copied().collect();
            assert_eq!(different.len(), counts.len(), "{actor} has given a count twice: {counts:?}");
            let highest = self.highest.get(&actor).copied().unwrap_or(0);
            assert!(highest <= made as u64, "{actor} has counted {highest} of {made} calls");
            if counts.len() == made {
                assert!(different.into_iter().eq(1..=made as u64), "{actor} has left a count out: {counts:?}");
            }
            // Ids of one process grow.
            let mut last: BTreeMap<u128, u64> = BTreeMap::new();
            for (call, called) in of_it() {
                let Some(number) = called.number else { continue };
                let last = last.entry(call.0 >> 40).or_default();
                assert!(number >= *last + u64::from(!called.reads), "{call} gives {number} after {last}");
                *last = number;
            }
            answered += counts.len();
        }
        answered
    }
}
