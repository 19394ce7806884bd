//! Where in its leases a writer builds the next object. Pure.
//! Invariant: what is reserved does not overlap, and is inside a lease.
//!
//!   region: │ objects … │ reserved │ free to the end of the lease
//!                                  └ cursor: only what ends here can grow or be given back

use crate::id::{ExtentId, LeaseId};
use crate::location::{Lease, padded};

/// With less left than this a region is used up once it has been passed over.
const SCRAP_BYTES: u64 = 64 << 10;

/// The leases of one writer.
#[derive(Debug, Default)]
pub(crate) struct Bump {
    /// The last one is used first.
    regions: Vec<Region>,
}

#[derive(Debug)]
struct Region {
    lease: Lease,
    cursor: u64,
    /// Reservations that are neither finished nor dropped.
    building: u32,
}

/// A range of an extent that one object is built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reserved {
    pub(crate) lease: LeaseId,
    pub(crate) extent: ExtentId,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

impl Bump {
    pub(crate) fn add(&mut self, lease: Lease) {
        self.regions.push(Region { lease, cursor: lease.offset, building: 0 });
    }

    /// Reserves room for `bytes`.
    pub(crate) fn reserve(&mut self, bytes: u64) -> Option<Reserved> {
        let bytes = padded(bytes)?;
        let region = self.regions.iter_mut().rev().find(|region| region.left() >= bytes)?;
        let offset = region.cursor;
        region.cursor += bytes;
        region.building += 1;
        Some(Reserved { lease: region.lease.id, extent: region.lease.extent, offset, bytes })
    }

    /// Makes a reservation hold `bytes`, if nothing is reserved behind it.
    pub(crate) fn grow(&mut self, reserved: &mut Reserved, bytes: u64) -> bool {
        let Some(bytes) = padded(bytes) else { return false };
        let region = self.region(*reserved);
        let more = bytes.saturating_sub(reserved.bytes);
        if more == 0 {
            return true;
        }
        if region.cursor != reserved.offset + reserved.bytes || region.left() < more {
            return false;
        }
        region.cursor += more;
        reserved.bytes = bytes;
        true
    }

    /// Gives back what is behind the first `bytes` of a reservation, if nothing is reserved there.
    pub(crate) fn trim(&mut self, reserved: &mut Reserved, bytes: u64) {
        let kept = padded(bytes).unwrap_or(reserved.bytes).min(reserved.bytes);
        let region = self.region(*reserved);
        if region.cursor == reserved.offset + reserved.bytes {
            region.cursor = reserved.offset + kept;
            reserved.bytes = kept;
        }
    }

    /// Ends a reservation of which `used` bytes are kept, all of them in an object or none.
    pub(crate) fn end(&mut self, reserved: Reserved, used: Option<u64>) {
        let kept = used.and_then(padded).unwrap_or(0).min(reserved.bytes);
        let region = self.region(reserved);
        region.building -= 1;
        if region.cursor == reserved.offset + reserved.bytes {
            region.cursor = reserved.offset + kept;
        }
    }

    /// The leases that are used up and not built in, except the newest. They go back to the worker.
    pub(crate) fn take_used_up(&mut self) -> Vec<Lease> {
        let Some(newest) = self.regions.pop() else { return Vec::new() };
        let used_up = |region: &mut Region| region.building == 0 && region.left() < SCRAP_BYTES;
        let used_up = self.regions.extract_if(.., used_up).map(|region| region.lease).collect();
        self.regions.push(newest);
        used_up
    }

    /// All leases in `extent`, if nothing is built there.
    pub(crate) fn take_extent(&mut self, extent: ExtentId) -> Option<Vec<Lease>> {
        if self.regions.iter().any(|region| region.lease.extent == extent && region.building > 0) {
            return None;
        }
        Some(self.regions.extract_if(.., |region| region.lease.extent == extent).map(|region| region.lease).collect())
    }

    fn region(&mut self, reserved: Reserved) -> &mut Region {
        let found = self.regions.iter_mut().rev().find(|region| region.lease.id == reserved.lease);
        found.expect("a lease stays while it is built in")
    }
}

impl Region {
    fn left(&self) -> u64 {
        self.lease.offset + self.lease.bytes - self.cursor
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Add(u64),
        Reserve(u64),
        Grow(Index, u64),
        Finish(Index, Index),
        Drop(Index),
        TakeUsedUp,
    }

    fn step() -> impl Strategy<Value = Step> {
        let size = || prop_oneof![4 => 0..300_u64, 1 => 300..200_000_u64];
        prop_oneof![
            1 => (1..40_u64).prop_map(|k| Step::Add(k * 8 * 1024)),
            6 => size().prop_map(Step::Reserve),
            3 => (any::<Index>(), size()).prop_map(|(i, bytes)| Step::Grow(i, bytes)),
            3 => (any::<Index>(), any::<Index>()).prop_map(|(i, used)| Step::Finish(i, used)),
            2 => any::<Index>().prop_map(Step::Drop),
            1 => Just(Step::TakeUsedUp),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(if cfg!(miri) { 5 } else { 300 })
        })]

        #[test]
        fn what_is_reserved_or_finished_never_overlaps(steps in prop::collection::vec(step(), 1..80)) {
            let mut bump = Bump::default();
            let (mut leases, mut building, mut finished) = (Vec::new(), Vec::<Reserved>::new(), Vec::<Reserved>::new());
            let mut next = 0;
            for step in steps {
                match step {
                    Step::Add(bytes) => {
                        let lease = Lease { id: LeaseId(next), extent: ExtentId(0), offset: next, bytes };
                        next += bytes;
                        leases.push(lease);
                        bump.add(lease);
                    }
                    Step::Reserve(bytes) => building.extend(bump.reserve(bytes)),
                    Step::Grow(i, bytes) if !building.is_empty() => {
                        let i = i.index(building.len());
                        let before = building[i];
                        let grown = bump.grow(&mut building[i], bytes);
                        prop_assert!(!grown || building[i].bytes >= bytes);
                        prop_assert!(grown || building[i] == before);
                    }
                    Step::Finish(i, used) if !building.is_empty() => {
                        let mut reserved = building.swap_remove(i.index(building.len()));
                        let used = used.index(reserved.bytes as usize) as u64;
                        bump.end(reserved, Some(used));
                        reserved.bytes = padded(used).expect("a small number");
                        finished.push(reserved);
                    }
                    Step::Drop(i) if !building.is_empty() => {
                        bump.end(building.swap_remove(i.index(building.len())), None);
                    }
                    Step::TakeUsedUp => {
                        for lease in bump.take_used_up() {
                            leases.retain(|known| *known != lease);
                            let inside = |r: &Reserved| (lease.offset..lease.offset + lease.bytes).contains(&r.offset);
                            prop_assert!(!building.iter().any(inside));
                        }
                    }
                    _ => {}
                }
                let mut all: Vec<&Reserved> = building.iter().chain(&finished).collect();
                all.sort_by_key(|reserved| reserved.offset);
                prop_assert!(all.windows(2).all(|pair| pair[0].offset + pair[0].bytes <= pair[1].offset));
                let leased = |r: &Reserved| leases.iter().any(|lease| {
                    lease.offset <= r.offset && r.offset + r.bytes <= lease.offset + lease.bytes
                });
                prop_assert!(building.iter().all(leased));
            }
        }
    }
}
