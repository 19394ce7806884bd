//! Random sequences of everything that can happen, against a model that only knows who has pinned what.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::id::ExecutorId;

const MIB: u64 = 1 << 20;
const CONFIG: ArenaConfig = ArenaConfig {
    extent_bytes: 4 * MIB,
    quota_bytes: 24 * MIB,
    min_lease_bytes: MIB,
    max_lease_bytes: 2 * MIB,
    max_objects: 60,
};

#[derive(Debug, Clone)]
enum Step {
    Lease(Holder, u64),
    /// Builds an object at the front of a lease, as far as the lease is known to have room.
    Publish(Index, u64),
    /// Names any range, as a hostile executor may.
    Claim(Holder, Index, u64, u64),
    Pin(Holder, Index),
    Unpin(Holder, Index),
    GiveBack(Index),
    GiveUp(Index),
    Gone(Holder),
    Shrink(u64),
}

fn holder() -> impl Strategy<Value = Holder> {
    prop_oneof![1 => Just(Holder::Worker), 4 => (0..3_u64).prop_map(|id| Holder::Executor(ExecutorId(id)))]
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop_oneof![4 => 0..5_000_u64, 2 => 5_000..MIB, 1 => MIB..10 * MIB];
    let index = any::<Index>;
    prop_oneof![
        4 => (holder(), bytes()).prop_map(|(holder, bytes)| Step::Lease(holder, bytes)),
        8 => (index(), bytes()).prop_map(|(lease, bytes)| Step::Publish(lease, bytes)),
        2 => (holder(), index(), 0..5 * MIB, bytes()).prop_map(|(h, lease, at, bytes)| Step::Claim(h, lease, at, bytes)),
        6 => (holder(), index()).prop_map(|(holder, object)| Step::Pin(holder, object)),
        8 => (holder(), index()).prop_map(|(holder, object)| Step::Unpin(holder, object)),
        2 => index().prop_map(Step::GiveBack),
        1 => index().prop_map(Step::GiveUp),
        1 => holder().prop_map(Step::Gone),
        1 => (0..10 * MIB).prop_map(Step::Shrink),
    ]
}

/// What the caller of an allocator knows.
#[derive(Default)]
struct Model {
    /// Each lease with its writer and how much of it is used.
    leases: Vec<(Holder, Lease, u64)>,
    objects: BTreeMap<ObjectId, (Location, BTreeMap<Holder, u64>)>,
    named: u128,
}

impl Model {
    fn lease(&self, index: Index) -> Option<usize> {
        (!self.leases.is_empty()).then(|| index.index(self.leases.len()))
    }

    /// One of the objects there are, or one that never was.
    fn object(&self, index: Index) -> ObjectId {
        let at = index.index(self.objects.len() + 1);
        self.objects.keys().nth(at).copied().unwrap_or(ObjectId(u128::MAX))
    }

    fn published(&mut self, object: ObjectId, location: Location) {
        let new = range(location);
        for (other, (location, _)) in &self.objects {
            let other_range = range(*location);
            assert!(
                new.0 != other_range.0 || new.2 <= other_range.1 || other_range.2 <= new.1,
                "{object} is in {other}"
            );
        }
        self.objects.insert(object, (location, BTreeMap::from([(Holder::Worker, 1)])));
    }

    fn holder_gone(&mut self, holder: Holder) -> Vec<ObjectId> {
        self.leases.retain(|(writer, ..)| *writer != holder);
        let mut gone = Vec::new();
        self.objects.retain(|object, (_, pins)| {
            if pins.remove(&holder).is_some() && pins.is_empty() {
                gone.push(*object);
            }
            !pins.is_empty()
        });
        gone
    }
}

fn range(Location { extent, offset, length }: Location) -> (ExtentId, u64, u64) {
    (extent, offset, offset + padded(length).expect("a small number"))
}

fn apply(allocator: &mut Allocator, model: &mut Model, step: Step) {
    match step {
        Step::Lease(holder, bytes) => match allocator.lease(holder, bytes) {
            Ok(Leased { lease, .. }) => {
                assert!(lease.bytes >= bytes.max(1) && lease.offset.is_multiple_of(64), "{lease:?} for {bytes}");
                for (writer, other, _) in &model.leases {
                    assert!(
                        *writer == holder || other.extent != lease.extent,
                        "{lease:?} beside {other:?} of {writer}"
                    );
                }
                model.leases.push((holder, lease, 0));
            }
            Err(LeaseError::Full { .. }) => {}
            Err(LeaseError::TooLarge { .. }) => panic!("{bytes} bytes fit the quota"),
        },
        Step::Publish(index, length) => {
            let Some(at) = model.lease(index) else { return };
            let (writer, lease, used) = model.leases[at];
            let location = Location { extent: lease.extent, offset: lease.offset + used, length };
            let bytes = padded(length).expect("a small number");
            if used + bytes > lease.bytes {
                return;
            }
            let object = ObjectId(model.named);
            match allocator.publish(writer, Published { object, location }) {
                Ok(accepted) => assert_eq!(accepted, Accepted::New),
                Err(PublishError::TooMany { limit }) => return assert_eq!(model.objects.len(), limit),
                Err(error) => panic!("{error}"),
            }
            let again = allocator.publish(writer, Published { object, location });
            assert_eq!(again, Ok(Accepted::Repeated));
            model.named += 1;
            model.leases[at].2 += bytes;
            model.published(object, location);
        }
        Step::Claim(holder, index, offset, length) => {
            let extent = model.lease(index).map_or(ExtentId(0), |at| model.leases[at].1.extent);
            let location = Location { extent, offset, length };
            let object = ObjectId(model.named);
            if allocator.publish(holder, Published { object, location }).is_ok() {
                assert!(offset.is_multiple_of(64));
                // Space of what is gone may be leased again inside an older lease, so there may be two.
                let mut leased = false;
                for (writer, lease, used) in &mut model.leases {
                    let end = lease.offset + lease.bytes;
                    if *writer == holder && lease.extent == extent && lease.offset <= offset && range(location).2 <= end
                    {
                        *used = (*used).max(range(location).2 - lease.offset);
                        leased = true;
                    }
                }
                assert!(leased, "{location:?} was not leased to {holder}");
                model.named += 1;
                model.published(object, location);
            }
        }
        Step::Pin(holder, index) => {
            let object = model.object(index);
            let expected = model.objects.get_mut(&object).map(|(location, pins)| {
                *pins.entry(holder).or_default() += 1;
                *location
            });
            assert_eq!(allocator.pin(holder, object).ok(), expected);
        }
        Step::Unpin(holder, index) => {
            let object = model.object(index);
            let mut expected = None;
            if let Some((_, pins)) = model.objects.get_mut(&object)
                && let Some(count) = pins.get_mut(&holder)
            {
                *count -= 1;
                if *count == 0 {
                    pins.remove(&holder);
                }
                expected = Some(pins.is_empty());
            }
            if expected == Some(true) {
                model.objects.remove(&object);
            }
            assert_eq!(allocator.unpin(holder, object).ok(), expected);
        }
        Step::GiveBack(index) => {
            let Some(at) = model.lease(index) else { return };
            let (writer, lease, _) = model.leases.swap_remove(at);
            allocator.give_back(writer, lease).expect("its own lease");
        }
        Step::GiveUp(index) => {
            let Some(at) = model.lease(index) else { return };
            let (writer, lease, _) = model.leases[at];
            allocator.give_up(writer, lease.extent).expect("its own extent");
            model.leases.retain(|(_, other, _)| other.extent != lease.extent);
        }
        Step::Gone(holder) => assert_eq!(allocator.holder_gone(holder), model.holder_gone(holder)),
        Step::Shrink(bytes) => {
            for released in allocator.shrink(bytes) {
                let mut objects = model.objects.values();
                assert!(objects.all(|(location, _)| location.extent != released), "{released} has objects");
                assert!(model.leases.iter().all(|(_, lease, _)| lease.extent != released), "{released} is leased");
            }
        }
    }
}

#[test]
fn a_lease_inside_another_is_not_given_back_with_it() {
    let mut allocator = Allocator::new(CONFIG);
    let outer = allocator.lease(A, 4 * MIB).expect("room").lease;
    allocator.publish(A, published(1, outer, 0, 2 * MIB)).expect("its own lease");
    allocator.unpin(Holder::Worker, ObjectId(1)).expect("the worker's pin");
    let inner = allocator.lease(A, 2 * MIB).expect("room").lease;
    assert_eq!((inner.extent, inner.offset), (outer.extent, outer.offset));
    allocator.give_back(A, outer).expect("its own lease");
    allocator.publish(A, published(2, inner, 0, 2 * MIB)).expect("its own lease");
}

/// What always holds, and that the allocator knows exactly the objects of the model.
fn check(allocator: &Allocator, model: &Model) {
    let mut stats = ArenaStats::default();
    let mut free = Vec::new();
    let mut objects = 0;
    for (id, extent) in &allocator.extents {
        let (mut next, mut was_free) = (0, false);
        for (offset, bytes, span) in extent.spans() {
            assert_eq!(offset, next, "spans of {id} leave no gaps");
            next += bytes;
            let is_free = matches!(span, Span::Free);
            assert!(bytes > 0 && !(is_free && was_free), "free neighbours in {id}");
            was_free = is_free;
            match span {
                Span::Free => free.push((extent.writer(), FreeSpan { extent: *id, offset, bytes })),
                Span::Leased(_) => stats.leased_bytes += bytes,
                Span::Object(object) => {
                    stats.object_bytes += bytes;
                    objects += 1;
                    assert_eq!(range(model.objects[&object].0), (*id, offset, offset + bytes));
                }
            }
        }
        assert_eq!(next, extent.bytes());
        stats.extent_bytes += extent.bytes();
    }
    assert_eq!(objects, model.objects.len());
    assert_eq!(allocator.objects.len(), model.objects.len());
    assert_eq!(allocator.stats(), stats);
    assert!(stats.extent_bytes <= CONFIG.quota_bytes);
    let in_order: Vec<_> =
        allocator.objects.oldest_first().map(|(object, location)| (object, range(location))).collect();
    assert_eq!(in_order.len(), objects, "each object is in the order once");
    assert!(in_order.iter().all(|(object, known)| *known == range(model.objects[object].0)));
    let known: Vec<_> = allocator.free.iter().collect();
    assert_eq!(known.len(), free.len());
    assert!(free.iter().all(|span| known.contains(span)), "{free:?} but {known:?}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 400 })
    })]

    #[test]
    fn pinned_objects_stay_and_nothing_leaks(steps in prop::collection::vec(step(), 1..150)) {
        let mut allocator = Allocator::new(CONFIG);
        let mut model = Model::default();
        for step in steps {
            apply(&mut allocator, &mut model, step);
            check(&allocator, &model);
        }
        for holder in (0..3).map(|id| Holder::Executor(ExecutorId(id))).chain([Holder::Worker]) {
            apply(&mut allocator, &mut model, Step::Gone(holder));
        }
        check(&allocator, &model);
        let ArenaStats { object_bytes, leased_bytes, .. } = allocator.stats();
        prop_assert_eq!((object_bytes, leased_bytes), (0, 0));
        allocator.shrink(u64::MAX);
        prop_assert_eq!(allocator.stats(), ArenaStats::default());
    }
}

const A: Holder = Holder::Executor(ExecutorId(1));
const B: Holder = Holder::Executor(ExecutorId(2));

fn published(object: u128, lease: Lease, at: u64, length: u64) -> Published {
    let location = Location { extent: lease.extent, offset: lease.offset + at, length };
    Published { object: ObjectId(object), location }
}

#[test]
fn what_a_writer_says_is_checked() {
    let mut allocator = Allocator::new(CONFIG);
    let lease = allocator.lease(A, 100).expect("room").lease;
    let extent = lease.extent;
    assert_eq!(allocator.publish(A, published(1, lease, 64, 100)), Ok(Accepted::New));
    let not_leased = |at, length| Err(PublishError::NotLeased { location: published(2, lease, at, length).location });
    let known = published(1, lease, 64, 100).location;
    let refused = [
        (A, published(2, lease, 0, 65), not_leased(0, 65)),
        (A, published(2, lease, 128, 1), not_leased(128, 1)),
        (A, published(2, lease, 200, 8), not_leased(200, 8)),
        (A, published(2, lease, CONFIG.max_lease_bytes - 64, 65), not_leased(CONFIG.max_lease_bytes - 64, 65)),
        (B, published(2, lease, 0, 1), Err(PublishError::NotTheWriter { extent, writer: B })),
        (A, published(1, lease, 192, 1), Err(PublishError::Duplicate { object: ObjectId(1), known })),
    ];
    for (writer, published, expected) in refused {
        assert_eq!(allocator.publish(writer, published), expected, "{published:?}");
    }
    for (offset, length) in [(0, u64::MAX), (u64::MAX - 63, 1), (4 * MIB, 1), (64, u64::MAX - 63), (4 * MIB - 64, 65)] {
        let location = Location { extent, offset, length };
        let refused = allocator.publish(A, Published { object: ObjectId(2), location });
        assert_eq!(refused, Err(PublishError::OutOfBounds { extent, offset, length }));
    }
    let location = Location { extent: ExtentId(7), offset: 0, length: 1 };
    let refused = allocator.publish(A, Published { object: ObjectId(2), location });
    assert_eq!(refused, Err(PublishError::NoSuchExtent { extent: ExtentId(7) }));
    assert_eq!(allocator.give_back(B, lease), Err(PublishError::NotTheWriter { extent, writer: B }));
    assert_eq!(allocator.unpin(B, ObjectId(1)), Err(PinError::NotPinned { object: ObjectId(1), holder: B }));
}

#[test]
fn an_extent_has_another_writer_only_when_the_first_is_gone() {
    let mut allocator = Allocator::new(CONFIG);
    let first = allocator.lease(A, 100).expect("room").lease;
    allocator.publish(A, published(1, first, 0, 100)).expect("its own lease");
    allocator.pin(B, ObjectId(1)).expect("it is there");
    allocator.give_back(A, first).expect("its own lease");
    let other = allocator.lease(B, 100).expect("room").lease;
    assert_ne!(other.extent, first.extent);
    assert_eq!(allocator.holder_gone(A), []);
    // All of what is left, since the second half was never leased.
    let taken = allocator.lease(B, 3 * MIB).expect("room");
    assert_eq!(taken.new_extent_bytes, None);
    assert_eq!((taken.lease.extent, taken.lease.offset, taken.lease.bytes), (first.extent, 128, 3 * MIB));
    assert_eq!(allocator.unpin(Holder::Worker, ObjectId(1)), Ok(false));
    assert_eq!(allocator.holder_gone(B), [ObjectId(1)]);
}

#[test]
fn space_is_used_again_before_there_is_more_and_the_quota_holds() {
    let mut allocator = Allocator::new(CONFIG);
    let large = allocator.lease(A, 9 * MIB).expect("room");
    assert_eq!(large.new_extent_bytes, Some(10 * MIB));
    allocator.publish(A, published(1, large.lease, 0, 9 * MIB)).expect("its own lease");
    allocator.unpin(Holder::Worker, ObjectId(1)).expect("the worker's pin");
    let again = allocator.lease(A, 9 * MIB).expect("room");
    assert_eq!((again.lease.extent, again.lease.offset, again.new_extent_bytes), (large.lease.extent, 0, None));
    let full = allocator.lease(B, 15 * MIB);
    assert_eq!(full, Err(LeaseError::Full { bytes: 15 * MIB, quota_bytes: 24 * MIB }));
    let too_large = allocator.lease(B, 24 * MIB + 1);
    assert_eq!(too_large, Err(LeaseError::TooLarge { bytes: 24 * MIB + 1, quota_bytes: 24 * MIB }));
    assert!(allocator.lease(B, u64::MAX).is_err());
    allocator.lease(B, 14 * MIB).expect("the rest of the quota");
    allocator.extent_failed(large.lease.extent);
    assert_eq!(allocator.stats().extent_bytes, 14 * MIB);
    assert_eq!(allocator.give_back(A, large.lease).map_err(drop), Err(()));
}

#[test]
fn shrinking_takes_extents_that_nobody_needs_and_no_more_than_wanted() {
    let mut allocator = Allocator::new(CONFIG);
    let used = allocator.lease(A, 100).expect("room").lease;
    allocator.publish(A, published(1, used, 0, 100)).expect("its own lease");
    allocator.holder_gone(A);
    let unused = [4 * MIB, 8 * MIB].map(|bytes| allocator.lease(B, bytes).expect("room").lease.extent);
    let written = allocator.lease(Holder::Worker, 100).expect("room").lease;
    assert_eq!(allocator.shrink(u64::MAX), [], "all have writers or objects");
    allocator.holder_gone(B);
    assert_eq!(allocator.shrink(1), unused[..1]);
    assert_eq!(allocator.shrink(u64::MAX), unused[1..]);
    assert_eq!(allocator.shrink(u64::MAX), []);
    assert!(allocator.give_back(Holder::Worker, written).is_ok() && allocator.location(ObjectId(1)).is_some());
}

#[test]
fn victims_are_neighbours_that_were_not_used_for_longest_and_have_room_enough_together() {
    let mut allocator = Allocator::new(ArenaConfig { quota_bytes: 8 * MIB, max_lease_bytes: 4 * MIB, ..CONFIG });
    // Two extents of four objects each, and nothing else.
    for extent in 0..2_u32 {
        let lease = allocator.lease(A, 4 * MIB).expect("room").lease;
        for at in 0..4_u64 {
            let id = u128::from(extent) * 4 + u128::from(at);
            allocator.publish(A, published(id, lease, at * MIB, MIB)).expect("its own lease");
        }
    }
    for used in [0, 5, 1] {
        allocator.pin(B, ObjectId(used)).expect("it is there");
        allocator.unpin(B, ObjectId(used)).expect("it was pinned");
    }
    let victims = |allocator: &Allocator, bytes, useful, most, pinned: &[u128]| {
        let victims = allocator.victims(bytes, useful, most, |object| !pinned.contains(&object.0));
        victims.into_iter().map(|object| object.0).collect::<Vec<_>>()
    };
    let all = u64::MAX;
    assert_eq!(victims(&allocator, MIB, 0, all, &[]), [2], "the one that was used first");
    assert_eq!(victims(&allocator, MIB, 0, all, &[2, 3]), [4]);
    assert_eq!(victims(&allocator, 2 * MIB, 0, all, &[]), [2, 3]);
    assert_eq!(victims(&allocator, 2 * MIB, 0, all, &[3]), [6, 7], "what is used before or behind is no neighbour");
    assert_eq!(victims(&allocator, MIB, 2 * MIB, all, &[]), [2, 3], "more at once where there is more");
    assert_eq!(victims(&allocator, MIB, 2 * MIB, MIB, &[]), [2], "but no more than is wanted");
    assert_eq!(victims(&allocator, 3 * MIB, 0, all, &[1, 6]), [2, 3, 4], "where no neighbours are enough, the oldest");
    assert_eq!(victims(&allocator, MIB, 0, MIB - 1, &[]), [], "nothing is small enough");
    allocator.unpin(Holder::Worker, ObjectId(4)).expect("the worker's pin");
    assert_eq!(victims(&allocator, 2 * MIB, 0, all, &[2, 7]), [5], "a free neighbour counts");
    assert_eq!(victims(&allocator, MIB, 0, all, &[0, 1, 2, 3, 5, 6, 7]), []);
}

/// By looking at all ranges of spans: how long at least one must go back to find neighbours with room for `needed`.
fn best_by_trying_all(allocator: &Allocator, needed: u64, may_go: impl Fn(ObjectId) -> bool) -> Option<usize> {
    let ages: BTreeMap<ObjectId, usize> =
        allocator.objects.oldest_first().enumerate().map(|(age, (object, _))| (object, age)).collect();
    let mut best = None;
    for extent in allocator.extents.values() {
        let spans: Vec<(u64, u64, Span)> = extent.spans().collect();
        for start in 0..spans.len() {
            let (mut bytes, mut age) = (0, None);
            for (_, span_bytes, span) in &spans[start..] {
                match span {
                    Span::Free => {}
                    Span::Object(object) if may_go(*object) => age = age.max(ages.get(object).copied()),
                    Span::Object(_) | Span::Leased(_) => break,
                }
                bytes += span_bytes;
                if let Some(age) = age.filter(|_| bytes >= needed) {
                    best = Some(best.unwrap_or(usize::MAX).min(age));
                    break;
                }
            }
        }
    }
    best
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 400 })
    })]

    #[test]
    fn no_neighbours_that_are_enough_were_used_less_lately_than_the_victims(
        steps in prop::collection::vec(step(), 1..150),
        bytes in prop_oneof![1..20_000_u64, 20_000..5 * MIB],
        most in prop_oneof![4 => Just(u64::MAX), 1 => 0..3 * MIB],
        pinned in 0..4_u128,
    ) {
        let mut allocator = Allocator::new(CONFIG);
        let mut model = Model::default();
        steps.into_iter().for_each(|step| apply(&mut allocator, &mut model, step));
        let may_go = |object: ObjectId| object.0 % 4 != pinned;
        let victims = allocator.victims(bytes, 0, most, may_go);
        let sizes = victims.iter().map(|object| range(model.objects[object].0)).map(|(_, start, end)| end - start);
        prop_assert!(sizes.sum::<u64>() <= most);
        prop_assert!(victims.iter().all(|object| may_go(*object)));
        let by_age: Vec<ObjectId> = allocator.objects.oldest_first().map(|(object, _)| object).collect();
        if most < u64::MAX {
            return Ok(());
        }
        prop_assert_eq!(victims.is_empty(), !by_age.iter().copied().any(may_go));
        let age = |object: &ObjectId| by_age.iter().position(|other| other == object);
        match best_by_trying_all(&allocator, padded(bytes).expect("a small number"), may_go) {
            Some(best) => {
                prop_assert_eq!(victims.iter().map(age).max(), Some(Some(best)));
                // Dropped, they make room for the lease, for who may write there.
                for object in victims {
                    let location = allocator.objects.forget(object).expect("it is known");
                    allocator.free_object(location);
                }
                let largest = allocator.free.iter().map(|(_, span)| span.bytes).max();
                prop_assert!(largest >= padded(bytes), "{largest:?}");
            }
            None => prop_assert!(victims.is_sorted_by_key(age), "the oldest first"),
        }
    }
}

#[test]
fn what_is_not_leased_is_given_up_and_what_is_stays() {
    let mut allocator = Allocator::new(ArenaConfig { quota_bytes: 4 * MIB, ..CONFIG });
    let lease = allocator.lease(Holder::Worker, 100).expect("room").lease;
    allocator.publish(Holder::Worker, published(1, lease, 0, 100)).expect("its own lease");
    allocator.give_up_unleased(Holder::Worker);
    assert!(allocator.lease(A, 100).is_err(), "a lease is left there");
    allocator.give_back(Holder::Worker, lease).expect("its own lease");
    allocator.give_up_unleased(Holder::Worker);
    assert!(allocator.lease(A, 100).is_ok_and(|leased| leased.lease.extent == lease.extent));
    assert_eq!(allocator.location(ObjectId(1)), Some(published(1, lease, 0, 100).location));
}
