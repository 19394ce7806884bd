//! The objects of an arena: where each is, and in which order they were used.
//! Invariant: each object is in the order once, where it was used last.

use std::collections::{BTreeMap, HashMap};

use crate::id::ObjectId;
use crate::location::Location;

#[derive(Debug, Default)]
pub(super) struct Objects {
    known: HashMap<ObjectId, Known>,
    /// By when they were used last.
    order: BTreeMap<u64, ObjectId>,
    /// How often any of them was used.
    uses: u64,
}

#[derive(Debug)]
struct Known {
    location: Location,
    /// By counting uses.
    used: u64,
}

impl Objects {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn location(&self, object: ObjectId) -> Option<Location> {
        self.known.get(&object).map(|known| known.location)
    }

    /// Adds a new one, used now.
    pub(super) fn insert(&mut self, object: ObjectId, location: Location) {
        self.uses += 1;
        self.known.insert(object, Known { location, used: self.uses });
        self.order.insert(self.uses, object);
    }

    /// Notes that it is used now, and says where it is.
    pub(super) fn use_now(&mut self, object: ObjectId) -> Option<Location> {
        let known = self.known.get_mut(&object)?;
        self.uses += 1;
        self.order.remove(&known.used);
        self.order.insert(self.uses, object);
        known.used = self.uses;
        Some(known.location)
    }

    pub(super) fn remove(&mut self, object: ObjectId) -> Option<Location> {
        let Known { location, used } = self.known.remove(&object)?;
        self.order.remove(&used);
        Some(location)
    }

    /// All of them, with the one that was not used for the longest time first.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = (ObjectId, Location)> + '_ {
        self.order.values().map(|object| (*object, self.known[object].location))
    }
}
