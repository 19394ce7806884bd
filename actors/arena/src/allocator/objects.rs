//! The objects of an arena: where each is, who keeps it, and in which order they were used.
//! Invariants: an object is here exactly as long as someone has a pin of it; its pins are the sum of its holders' counts, and
//! none of these is zero; it is in the order once, where it was used last.

use std::collections::{BTreeMap, HashMap};

use crate::id::{Holder, ObjectId};
use crate::location::Location;

#[derive(Debug, Default)]
pub(super) struct Objects {
    known: HashMap<ObjectId, Known>,
    /// Ordered, so that the end of a holder frees in the same order each time.
    by_holder: BTreeMap<(Holder, ObjectId), u64>,
    /// By when they were used last.
    order: BTreeMap<u64, ObjectId>,
    /// How often any of them was used.
    uses: u64,
}

#[derive(Debug)]
struct Known {
    location: Location,
    /// Of all holders.
    pins: u64,
    /// By counting uses.
    used: u64,
}

/// What taking a pin away did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unpinned {
    /// Others keep the object.
    Kept,
    /// It is gone, and was here.
    Gone(Location),
}

impl Objects {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn location(&self, object: ObjectId) -> Option<Location> {
        self.known.get(&object).map(|known| known.location)
    }

    /// How many pins an object has.
    pub(super) fn pins(&self, object: ObjectId) -> u64 {
        self.known.get(&object).map_or(0, |known| known.pins)
    }

    /// Adds a new one, used now, that `holder` keeps.
    pub(super) fn insert(&mut self, object: ObjectId, location: Location, holder: Holder) {
        self.uses += 1;
        self.known.insert(object, Known { location, pins: 1, used: self.uses });
        self.order.insert(self.uses, object);
        self.by_holder.insert((holder, object), 1);
    }

    /// Keeps one for `holder`, once more if it does already, and says where it is. It is used now.
    pub(super) fn pin(&mut self, holder: Holder, object: ObjectId) -> Option<Location> {
        let known = self.known.get_mut(&object)?;
        known.pins += 1;
        if known.used != self.uses {
            self.uses += 1;
            self.order.remove(&known.used);
            self.order.insert(self.uses, object);
            known.used = self.uses;
        }
        *self.by_holder.entry((holder, object)).or_default() += 1;
        Some(known.location)
    }

    /// Takes one pin of `holder` away; none if it has none.
    pub(super) fn unpin(&mut self, holder: Holder, object: ObjectId) -> Option<Unpinned> {
        let count = self.by_holder.get_mut(&(holder, object))?;
        *count -= 1;
        if *count == 0 {
            self.by_holder.remove(&(holder, object));
        }
        Some(self.lower(object, 1))
    }

    /// Takes all pins of a holder away. Returns the objects that are gone, and where they were.
    pub(super) fn unpin_all(&mut self, holder: Holder) -> Vec<(ObjectId, Location)> {
        let from = (holder, ObjectId(0))..=(holder, ObjectId(u128::MAX));
        let pinned: Vec<(ObjectId, u64)> =
            self.by_holder.range(from).map(|((_, object), count)| (*object, *count)).collect();
        let mut gone = Vec::new();
        for (object, count) in pinned {
            self.by_holder.remove(&(holder, object));
            if let Unpinned::Gone(location) = self.lower(object, count) {
                gone.push((object, location));
            }
        }
        gone
    }

    /// Takes one away with all its pins, and says where it was.
    pub(super) fn forget(&mut self, object: ObjectId) -> Option<Location> {
        let Known { location, used, .. } = self.known.remove(&object)?;
        self.order.remove(&used);
        self.by_holder.retain(|(_, pinned), _| *pinned != object);
        Some(location)
    }

    /// All of them, with the one that was not used for the longest time first.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = (ObjectId, Location)> + '_ {
        self.order.values().map(|object| (*object, self.known[object].location))
    }

    fn lower(&mut self, object: ObjectId, by: u64) -> Unpinned {
        let known = self.known.get_mut(&object).expect("a pinned object is known");
        known.pins -= by;
        if known.pins > 0 {
            return Unpinned::Kept;
        }
        let Known { location, used, .. } = *known;
        self.known.remove(&object);
        self.order.remove(&used);
        Unpinned::Gone(location)
    }
}
