//! Counts who keeps which object.
//! Invariant: the total of an object is the sum of its holders' counts, and none of these is zero.

use std::collections::{BTreeMap, HashMap};

use crate::id::{Holder, ObjectId};

#[derive(Debug, Default)]
pub(super) struct Pins {
    totals: HashMap<ObjectId, u64>,
    /// Ordered, so that the end of a holder frees in the same order each time.
    by_holder: BTreeMap<(Holder, ObjectId), u64>,
}

impl Pins {
    pub(super) fn add(&mut self, holder: Holder, object: ObjectId) {
        *self.by_holder.entry((holder, object)).or_default() += 1;
        *self.totals.entry(object).or_default() += 1;
    }

    /// Takes one pin away; false when there is none.
    pub(super) fn remove(&mut self, holder: Holder, object: ObjectId) -> bool {
        let Some(count) = self.by_holder.get_mut(&(holder, object)) else { return false };
        *count -= 1;
        if *count == 0 {
            self.by_holder.remove(&(holder, object));
        }
        self.lower(object, 1);
        true
    }

    /// Takes all pins of a holder away. Returns the objects it had pinned.
    pub(super) fn remove_all(&mut self, holder: Holder) -> Vec<ObjectId> {
        let from = (holder, ObjectId(0))..=(holder, ObjectId(u128::MAX));
        let pinned: Vec<(ObjectId, u64)> =
            self.by_holder.range(from).map(|((_, object), count)| (*object, *count)).collect();
        for (object, count) in &pinned {
            self.by_holder.remove(&(holder, *object));
            self.lower(*object, *count);
        }
        pinned.into_iter().map(|(object, _)| object).collect()
    }

    /// Takes all pins of an object away.
    pub(super) fn forget(&mut self, object: ObjectId) {
        self.by_holder.retain(|(_, pinned), _| *pinned != object);
        self.totals.remove(&object);
    }

    pub(super) fn total(&self, object: ObjectId) -> u64 {
        self.totals.get(&object).copied().unwrap_or(0)
    }

    pub(super) fn is_pinned(&self, object: ObjectId) -> bool {
        self.totals.contains_key(&object)
    }

    fn lower(&mut self, object: ObjectId, by: u64) {
        let total = self.totals.get_mut(&object).expect("a pinned object has a total");
        *total -= by;
        if *total == 0 {
            self.totals.remove(&object);
        }
    }
}
