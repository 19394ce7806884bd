//! Which workers the bundles of a placement group go to: a pure function of what is free, and all or nothing.
//!
//! Bundles that fit on few workers choose first, and of these the large ones. Each tries the workers in the order that the strategy
//! prefers; when a later bundle finds none, an earlier one tries its next. That finds a place for most groups that have one; where
//! it would take too long, it is given up.

use tandem_proto::WorkerId;
use tandem_proto::resources::GPUS;

use crate::gpus::GpuShares;
use crate::groups::Strategy;
use crate::resources::{CPUS, Resources, Shape};

/// So often a bundle is put somewhere before it is given up.
const MOST_TRIES: u32 = 2_000;

/// A worker that may get bundles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) worker: WorkerId,
    /// What is free there.
    pub(crate) free: Resources,
    /// What is there of GPUs, and what is booked of each.
    pub(crate) gpus_milli: u64,
    pub(crate) gpus: GpuShares,
    /// For each bundle, whether the worker has the labels it wants.
    pub(crate) accepts: Vec<bool>,
    /// Bundles of the group that are there already.
    pub(crate) bundles: u32,
}

/// Bundles that need a place.
#[derive(Debug)]
pub(crate) struct Problem<'a> {
    pub(crate) strategy: Strategy,
    pub(crate) bundles: Vec<&'a Shape>,
    /// Those that come first are preferred, if all else is the same.
    pub(crate) rooms: Vec<Room>,
}

/// A worker for each bundle; none if they do not fit all together.
pub(crate) fn pack(mut problem: Problem<'_>) -> Option<Vec<WorkerId>> {
    let mut order: Vec<usize> = (0..problem.bundles.len()).collect();
    let fitting = |bundle: usize| problem.rooms.iter().filter(|room| problem.fits(room, bundle)).count();
    let counts: Vec<usize> = order.iter().map(|bundle| fitting(*bundle)).collect();
    if counts.contains(&0) {
        return None;
    }
    order.sort_by_key(|&bundle| (counts[bundle], u64::MAX - problem.bundles[bundle].cpus(), bundle));
    let mut chosen = vec![None; order.len()];
    let mut tries = MOST_TRIES.max(order.len() as u32 * 2);
    if !problem.place(&order, &mut chosen, &mut tries) {
        return None;
    }
    chosen.into_iter().map(|room| room.map(|room: usize| problem.rooms[room].worker)).collect()
}

impl Problem<'_> {
    fn fits(&self, room: &Room, bundle: usize) -> bool {
        let wanted = &self.bundles[bundle].resources;
        let gpus = || room.gpus.has_room(room.gpus_milli, wanted.amount(GPUS));
        room.accepts[bundle] && room.free.has_room(&Resources::default(), wanted) && gpus()
    }

    /// Puts these bundles somewhere, or leaves all as it was.
    fn place(&mut self, bundles: &[usize], chosen: &mut [Option<usize>], tries: &mut u32) -> bool {
        let Some((&bundle, others)) = bundles.split_first() else { return true };
        for at in self.candidates(bundle) {
            if *tries == 0 {
                return false;
            }
            *tries -= 1;
            let shape = self.bundles[bundle];
            self.rooms[at].free.subtract(&shape.resources);
            self.rooms[at].gpus.add(shape.resources.amount(GPUS));
            self.rooms[at].bundles += 1;
            chosen[bundle] = Some(at);
            if self.place(others, chosen, tries) {
                return true;
            }
            self.rooms[at].free.add(&shape.resources);
            self.rooms[at].gpus.remove(shape.resources.amount(GPUS));
            self.rooms[at].bundles -= 1;
            chosen[bundle] = None;
        }
        false
    }

    /// The rooms for a bundle, as the strategy prefers them.
    fn candidates(&self, bundle: usize) -> Vec<usize> {
        let elsewhere = |at: usize| self.rooms.iter().enumerate().any(|(other, room)| other != at && room.bundles > 0);
        let allowed = |at: usize| match self.strategy {
            Strategy::Pack | Strategy::Spread => true,
            Strategy::StrictPack => !elsewhere(at),
            Strategy::StrictSpread => self.rooms[at].bundles == 0,
        };
        let fitting = (0..self.rooms.len()).filter(|at| self.fits(&self.rooms[*at], bundle) && allowed(*at));
        let mut fitting: Vec<usize> = fitting.collect();
        fitting.sort_by_key(|&at| {
            let room = &self.rooms[at];
            let free = u64::MAX - room.free.amount(CPUS);
            match self.strategy {
                Strategy::Pack | Strategy::StrictPack => {
                    (u32::MAX - room.bundles, u32::MAX - self.room_for(room), free)
                }
                Strategy::Spread | Strategy::StrictSpread => (room.bundles, 0, free),
            }
        });
        fitting
    }

    /// How many of the bundles a room could hold together, taken in their order.
    fn room_for(&self, room: &Room) -> u32 {
        let (mut taken, mut gpus) = (Resources::default(), room.gpus.clone());
        let mut count = 0;
        for (shape, accepts) in self.bundles.iter().zip(&room.accepts) {
            let share = shape.resources.amount(GPUS);
            if *accepts && room.free.has_room(&taken, &shape.resources) && gpus.has_room(room.gpus_milli, share) {
                taken.add(&shape.resources);
                gpus.add(share);
                count += 1;
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::{prop, prop_assert, proptest};

    use super::*;

    fn shape(cpus: u64, gpus: u64) -> Shape {
        let milli = [(CPUS, cpus * 1_000), ("gpus", gpus * 1_000)].into_iter().filter(|(_, amount)| *amount > 0);
        let milli = milli.map(|(name, amount)| (name.to_owned(), amount)).collect();
        Shape { resources: Resources { milli, memory_bytes: 0 }, labels: BTreeMap::new(), spread: false, here: false }
    }

    fn packed(strategy: Strategy, free: &[(u64, u64)], bundles: &[(u64, u64)]) -> Option<Vec<u64>> {
        let shapes: Vec<Shape> = bundles.iter().map(|&(cpus, gpus)| shape(cpus, gpus)).collect();
        let rooms = free.iter().zip(1..).map(|(&(cpus, gpus), worker)| Room {
            worker: WorkerId(worker),
            free: shape(cpus, gpus).resources,
            gpus_milli: gpus * 1_000,
            gpus: GpuShares::default(),
            accepts: vec![true; bundles.len()],
            bundles: 0,
        });
        let problem = Problem { strategy, bundles: shapes.iter().collect(), rooms: rooms.collect() };
        pack(problem).map(|workers| workers.into_iter().map(|worker| worker.0).collect())
    }

    #[test]
    fn each_strategy_chooses_as_it_says() {
        use Strategy::{Pack, Spread, StrictPack, StrictSpread};
        let two = [(1, 0), (1, 0)];
        let cases: [(Strategy, &[(u64, u64)], &[(u64, u64)], Option<&[u64]>); 15] = [
            (Pack, &[(2, 0), (4, 0)], &two, Some(&[2, 2])),
            (Pack, &[(1, 0), (1, 0)], &two, Some(&[1, 2])),
            (Pack, &[(1, 0), (3, 0), (2, 0)], &[(1, 0); 4], Some(&[2, 2, 2, 3])),
            (Pack, &[(1, 0)], &two, None),
            (Spread, &[(4, 0), (1, 0)], &two, Some(&[1, 2])),
            (Spread, &[(4, 0), (0, 0)], &two, Some(&[1, 1])),
            (StrictPack, &[(1, 0), (2, 0)], &two, Some(&[2, 2])),
            (StrictPack, &[(1, 0), (1, 0)], &two, None),
            (StrictSpread, &[(4, 0), (1, 0)], &two, Some(&[1, 2])),
            (StrictSpread, &[(4, 0)], &two, None),
            // The GPU is where processors are few: the other bundle must not take them.
            (Pack, &[(1, 1), (1, 0)], &[(1, 0), (1, 1)], Some(&[2, 1])),
            (StrictSpread, &[(2, 0), (9, 0)], &[(1, 0), (4, 0)], Some(&[1, 2])),
            (StrictPack, &[(4, 0), (2, 1)], &[(1, 0), (1, 1)], Some(&[2, 2])),
            (Spread, &[(1, 2), (1, 0)], &[(0, 1), (0, 1), (1, 0)], Some(&[1, 1, 2])),
            (Pack, &[(3, 0), (3, 0)], &[(2, 0), (2, 0), (1, 0), (1, 0)], Some(&[1, 2, 1, 2])),
        ];
        for (strategy, free, bundles, expected) in cases {
            let found = packed(strategy, free, bundles);
            assert_eq!(found.as_deref(), expected, "{strategy:?} of {bundles:?} on {free:?}");
        }
    }

    #[test]
    fn bundles_with_parts_of_gpus_share_them_one_by_one() {
        let part = |milli| Shape {
            resources: Resources { milli: [("gpus".to_owned(), milli)].into(), memory_bytes: 0 },
            ..Shape::default()
        };
        let room = |worker| Room {
            worker: WorkerId(worker),
            free: part(2_000).resources,
            gpus_milli: 2_000,
            gpus: GpuShares::default(),
            accepts: vec![true; 3],
            bundles: 0,
        };
        for (milli, expected) in [(600, None), (500, Some(vec![WorkerId(1); 3]))] {
            let bundles = [part(milli), part(milli), part(milli)];
            let problem = |rooms| Problem { strategy: Strategy::Pack, bundles: bundles.iter().collect(), rooms };
            assert_eq!(pack(problem(vec![room(1)])), expected, "{milli}");
            assert!(pack(problem(vec![room(1), room(2)])).is_some());
        }
    }

    fn amounts(most: u64, count: usize) -> impl proptest::strategy::Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0..=most, prop::sample::select(vec![0, 0, 0, 1, 2])), 1..count)
    }

    fn strategies() -> impl proptest::strategy::Strategy<Value = Strategy> {
        prop::sample::select(vec![Strategy::Pack, Strategy::Spread, Strategy::StrictPack, Strategy::StrictSpread])
    }

    /// Whether a strategy is kept by workers that have room.
    fn holds(strategy: Strategy, free: &[(u64, u64)], bundles: &[(u64, u64)], workers: &[u64]) -> bool {
        let distinct: BTreeSet<_> = workers.iter().collect();
        let kept = match strategy {
            Strategy::Pack | Strategy::Spread => true,
            Strategy::StrictPack => distinct.len() == 1,
            Strategy::StrictSpread => distinct.len() == bundles.len(),
        };
        let room = free.iter().zip(1..).all(|(free, worker)| {
            let here = bundles.iter().zip(workers).filter(|(_, at)| **at == worker).map(|(bundle, _)| bundle);
            let (cpus, gpus) = here.fold((0, 0), |sum, bundle| (sum.0 + bundle.0, sum.1 + bundle.1));
            cpus <= free.0 && gpus <= free.1
        });
        kept && room
    }

    /// Every way to put the bundles somewhere.
    fn any_way(strategy: Strategy, free: &[(u64, u64)], bundles: &[(u64, u64)]) -> bool {
        let ways = free.len().pow(bundles.len() as u32);
        (0..ways).any(|way| {
            let at = |bundle: usize| (way / free.len().pow(bundle as u32) % free.len()) as u64 + 1;
            let workers: Vec<u64> = (0..bundles.len()).map(at).collect();
            holds(strategy, free, bundles, &workers)
        })
    }

    proptest! {
        #[test]
        fn what_is_found_fits_and_what_fits_is_found(
            strategy in strategies(),
            free in amounts(6, 5),
            bundles in amounts(4, 6),
        ) {
            match packed(strategy, &free, &bundles) {
                Some(workers) => prop_assert!(holds(strategy, &free, &bundles, &workers), "{workers:?}"),
                None => prop_assert!(!any_way(strategy, &free, &bundles)),
            }
        }
    }
}
