//! The items of a stream that are to be yielded, by their numbers, and how far it may go.
//! Invariant: all items before `until` that are not wanted are there already, or nobody wants them.

use std::collections::BTreeMap;

use tandem_actor_protocol::ObjectId;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    items: BTreeMap<u64, ObjectId>,
    until: u64,
}

impl Wanted {
    pub(crate) fn new(items: Vec<(u64, ObjectId)>, until: u64) -> Self {
        Self { items: items.into_iter().collect(), until }
    }

    /// One more item may be yielded. Returns its number.
    pub(crate) fn push(&mut self, item: ObjectId) -> u64 {
        let index = self.until;
        self.items.insert(index, item);
        self.until += 1;
        index
    }

    /// An item that was there is to be yielded again.
    pub(crate) fn insert(&mut self, index: u64, item: ObjectId) {
        self.items.insert(index, item);
    }

    pub(crate) fn get(&self, index: u64) -> Option<ObjectId> {
        self.items.get(&index).copied()
    }

    pub(crate) fn remove(&mut self, index: u64) -> bool {
        self.items.remove(&index).is_some()
    }

    /// The first that is wanted, or has to wait. If they come in their order, so many were there.
    pub(crate) fn first(&self) -> u64 {
        self.items.keys().next().copied().unwrap_or(self.until)
    }

    /// From this number on, items have to wait.
    pub(crate) fn until(&self) -> u64 {
        self.until
    }

    /// All of them, none of which is wanted any more.
    pub(crate) fn take(&mut self) -> BTreeMap<u64, ObjectId> {
        std::mem::take(&mut self.items)
    }

    /// As they are told to another worker.
    pub(crate) fn items(&self) -> Vec<(u64, ObjectId)> {
        self.items.iter().map(|(index, item)| (*index, *item)).collect()
    }

    /// As they are told to a process: the last range ends where items have to wait.
    pub(crate) fn ranges(&self) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for index in self.items.keys() {
            match ranges.last_mut().filter(|(_, end)| end == index) {
                Some((_, end)) => *end += 1,
                None => ranges.push((*index, *index + 1)),
            }
        }
        if ranges.last().is_none_or(|(_, end)| *end < self.until) {
            ranges.push((self.until, self.until));
        }
        ranges
    }
}

/// The first items, from those on which others have to wait.
impl FromIterator<ObjectId> for Wanted {
    fn from_iter<I: IntoIterator<Item = ObjectId>>(items: I) -> Self {
        let mut wanted = Self::default();
        items.into_iter().for_each(|item| _ = wanted.push(item));
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_what_is_missing_and_where_it_must_wait() {
        assert_eq!(Wanted::default().ranges(), [(0, 0)]);
        let mut wanted: Wanted = (0..4).map(ObjectId).collect();
        let numbers: Vec<u64> = (4..6).map(|id| wanted.push(ObjectId(id))).collect();
        assert_eq!((numbers, wanted.ranges()), (vec![4, 5], vec![(0, 6)]));
        assert!([0, 1, 3].into_iter().all(|index| wanted.remove(index)) && !wanted.remove(3));
        assert_eq!((wanted.ranges(), wanted.first()), (vec![(2, 3), (4, 6)], 2));
        assert!([2, 4, 5].into_iter().all(|index| wanted.remove(index)));
        assert_eq!(wanted.first(), 6);
        wanted.insert(1, ObjectId(1));
        assert_eq!((wanted.ranges(), wanted.get(1), wanted.until()), (vec![(1, 2), (6, 6)], Some(ObjectId(1)), 6));
    }
}
