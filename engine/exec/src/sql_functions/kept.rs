//! Values that many share, kept for a while after the last of them has let go. Pure: whoever calls says what time it is.
//! Invariant: after [`Kept::tidy`] at most `most` values are here that nobody uses, and none for `idle` or longer.
//!
//! ```text
//!   used ──── tidy finds that nobody has it ───► idle since then ──── for too long, or too many are ───► given up
//!     ◀──────────────── get ───────────────────────┘
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

/// Values by key.
#[derive(Debug)]
pub(super) struct Kept<K, V> {
    most: usize,
    idle: Duration,
    entries: Vec<Entry<K, V>>,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: Arc<V>,
    /// None while it is used.
    idle_since: Option<Instant>,
}

impl<K, V> Entry<K, V> {
    /// New users get theirs from here, so nobody has it when this is the only one.
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.value) > 1
    }
}

impl<K: PartialEq, V> Kept<K, V> {
    /// Nothing yet. Of what nobody uses up to `most` values will be kept, each for `idle`.
    pub(super) const fn new(most: usize, idle: Duration) -> Self {
        Self { most, idle, entries: Vec::new() }
    }

    /// The value of `key`, if there is one.
    pub(super) fn get(&mut self, key: &K) -> Option<Arc<V>> {
        let entry = self.entries.iter_mut().find(|entry| entry.key == *key)?;
        entry.idle_since = None;
        Some(Arc::clone(&entry.value))
    }

    /// Makes `value` the one of `key`; whoever uses the one before goes on with it.
    pub(super) fn insert(&mut self, key: K, value: Arc<V>) {
        self.entries.retain(|entry| entry.key != key);
        self.entries.push(Entry { key, value, idle_since: None });
    }

    /// Finds out what nobody uses, and gives up what has been idle for too long, and what has been for the longest while too
    /// much is. Answers these, to be dropped.
    pub(super) fn tidy(&mut self, now: Instant) -> Vec<Arc<V>> {
        for entry in &mut self.entries {
            entry.idle_since = if entry.is_used() { None } else { Some(entry.idle_since.unwrap_or(now)) };
        }
        let limit = self.idle;
        let mut given = self.give_up(|since| now.saturating_duration_since(since) >= limit);
        while let Some(at) = self.one_too_many() {
            given.push(self.entries.remove(at).value);
        }
        given
    }

    /// What has been idle for the longest, if more is idle than may be.
    fn one_too_many(&self) -> Option<usize> {
        let idle: Vec<(Instant, usize)> =
            self.entries.iter().enumerate().filter_map(|(at, entry)| Some((entry.idle_since?, at))).collect();
        idle.iter().min().filter(|_| idle.len() > self.most).map(|(_, at)| *at)
    }

    /// Gives up all that nobody uses, to be dropped.
    pub(super) fn take_idle(&mut self, now: Instant) -> Vec<Arc<V>> {
        self.tidy(now).into_iter().chain(self.give_up(|_| true)).collect()
    }

    /// Takes away those idle values that `choose` says by the time since when they are.
    fn give_up(&mut self, choose: impl Fn(Instant) -> bool) -> Vec<Arc<V>> {
        let given = self.entries.extract_if(.., |entry| entry.idle_since.is_some_and(&choose));
        given.map(|entry| entry.value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    fn seconds(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn what_nobody_uses_is_kept_for_a_while_and_found_again() {
        let start = Instant::now();
        let mut kept = Kept::new(2, IDLE);
        let value = Arc::new(1);
        kept.insert("a", Arc::clone(&value));
        assert!(kept.tidy(seconds(start, 1000)).is_empty(), "it is used");
        drop(value);
        assert!(kept.tidy(seconds(start, 1001)).is_empty());
        assert!(kept.tidy(seconds(start, 1060)).is_empty());
        let again = kept.get(&"a").expect("it is kept");
        assert!(kept.tidy(seconds(start, 1061)).is_empty(), "it is used again");
        drop(again);
        assert!(kept.tidy(seconds(start, 1062)).is_empty(), "its time starts anew");
        assert!(kept.tidy(seconds(start, 1121)).is_empty());
        assert_eq!(kept.tidy(seconds(start, 1122)), [Arc::new(1)]);
        assert_eq!(kept.get(&"a"), None);
    }

    #[test]
    fn of_too_many_those_go_first_that_have_been_idle_for_the_longest() {
        let start = Instant::now();
        let mut kept = Kept::new(2, IDLE);
        let used: Vec<Arc<u32>> = (0..5).map(Arc::new).collect();
        used.iter().for_each(|value| kept.insert(**value, Arc::clone(value)));
        let mut used = used.into_iter();
        for (at, given) in [(1, None), (2, None), (3, Some(0)), (4, Some(1))] {
            drop(used.next());
            assert_eq!(kept.tidy(seconds(start, at)).first().map(|value| **value), given, "at {at}");
        }
        assert_eq!(kept.get(&0), None);
        assert!(kept.get(&4).is_some() && kept.get(&3).is_some() && kept.get(&2).is_some());
        // Two at the same moment: one of them stays.
        let mut kept = Kept::new(1, IDLE);
        kept.insert("a", Arc::new(1));
        kept.insert("b", Arc::new(2));
        assert_eq!(kept.tidy(start).len(), 1);
        assert!(kept.get(&"a").is_some() != kept.get(&"b").is_some());
    }

    #[test]
    fn what_is_used_is_never_given_up_and_the_rest_when_it_is_asked_for() {
        let start = Instant::now();
        let mut kept = Kept::new(3, IDLE);
        let used = Arc::new(1);
        kept.insert("a", Arc::clone(&used));
        kept.insert("b", Arc::new(2));
        kept.insert("c", Arc::new(3));
        let mut idle: Vec<i32> = kept.take_idle(start).iter().map(|value| **value).collect();
        idle.sort_unstable();
        assert_eq!(idle, [2, 3]);
        assert_eq!(kept.get(&"a"), Some(used));
    }

    #[test]
    fn another_value_takes_the_place_of_the_one_before() {
        let mut kept = Kept::new(3, IDLE);
        let before = Arc::new(1);
        kept.insert("a", Arc::clone(&before));
        kept.insert("a", Arc::new(2));
        assert_eq!(kept.get(&"a").as_deref(), Some(&2));
        assert_eq!(Arc::strong_count(&before), 1);
    }
}
