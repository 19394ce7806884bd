//! Which task goes to which slot: two pure functions over a snapshot.
//!
//! [`shares`] says how much of what is free each job gets: one slot or lease after the other to the job that has the least.
//! [`place`] gives each task a worker: the one that holds most of its input if it has a free slot, else the
//! one with the most free slots, never one where the task failed before.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use tandem_proto::{TaskId, WorkerId};

/// How much a job wants. Jobs come in the order in which ties are broken. Amounts are thousandths of processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    /// What it has.
    pub(crate) used: u64,
    /// Tasks that could start, or leases that it wants.
    pub(crate) pending: u32,
    /// What each of them takes; never 0.
    pub(crate) unit: u64,
}

/// Divides what is `free`, into `limit` parts at most: each goes to the job that has the least and wants one more.
pub(crate) fn shares(mut free: u64, limit: u32, demands: &[Demand]) -> Vec<u32> {
    let mut given = vec![0; demands.len()];
    let wanting = demands.iter().enumerate().filter(|(_, demand)| demand.pending > 0);
    let mut queue: BinaryHeap<_> = wanting.map(|(job, demand)| Reverse((demand.used, job))).collect();
    let mut left = limit;
    while left > 0
        && let Some(Reverse((used, job))) = queue.pop()
    {
        let Demand { pending, unit, .. } = demands[job];
        // Too large for what is left; others may take less.
        let Some(rest) = free.checked_sub(unit) else { continue };
        (free, left) = (rest, left - 1);
        given[job] += 1;
        if given[job] < pending {
            queue.push(Reverse((used + unit, job)));
        }
    }
    given
}

/// The most that everyone may have, of those who want it, when no more than `total` is there.
pub(crate) fn fair_level(total: u64, wants: &[u64]) -> u64 {
    let mut wants = wants.to_vec();
    wants.sort_unstable();
    let (mut left, mut others) = (total, wants.len() as u64);
    for want in wants {
        if want > left / others {
            return left / others;
        }
        (left, others) = (left - want, others - 1);
    }
    u64::MAX
}

/// Free slots of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The worker.
    pub(crate) worker: WorkerId,
    /// Slots that are free.
    pub(crate) free: u32,
}

/// A task that wants a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The task.
    pub(crate) task: TaskId,
    /// The worker that holds most of its input.
    pub(crate) prefer: Option<WorkerId>,
    /// Workers where it must not run.
    pub(crate) avoid: Vec<WorkerId>,
}

/// Offers and wishes, the most urgent wish first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Each worker once.
    pub(crate) offers: Vec<Offer>,
    /// What wants to run.
    pub(crate) wishes: Vec<Wish>,
}

/// A worker for each wish, in their order; none where no offered slot is left that it may use.
pub(crate) fn place(problem: &Problem) -> Vec<Option<WorkerId>> {
    let mut free: BTreeMap<WorkerId, u32> =
        problem.offers.iter().filter(|offer| offer.free > 0).map(|offer| (offer.worker, offer.free)).collect();
    let mut by_free: BTreeSet<_> = free.iter().map(|(&worker, &slots)| (Reverse(slots), worker)).collect();
    let mut placed = Vec::with_capacity(problem.wishes.len());
    for wish in &problem.wishes {
        let near = wish.prefer.filter(|worker| free.contains_key(worker) && !wish.avoid.contains(worker));
        let spread = || by_free.iter().map(|&(_, worker)| worker).find(|worker| !wish.avoid.contains(worker));
        let choice = near.or_else(spread);
        if let Some(worker) = choice
            && let Some(slots) = free.remove(&worker)
        {
            by_free.remove(&(Reverse(slots), worker));
            if slots > 1 {
                free.insert(worker, slots - 1);
                by_free.insert((Reverse(slots - 1), worker));
            }
        }
        placed.push(choice);
    }
    placed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tandem_proto::{JobId, StageId};

    use super::*;

    fn demands() -> impl Strategy<Value = Vec<Demand>> {
        let demand = |(slots, pending)| Demand { used: slots * 1_000, pending, unit: 1_000 };
        prop::collection::vec((0u64..20, 0u32..20).prop_map(demand), 0..12)
    }

    fn problems() -> impl Strategy<Value = Problem> {
        let offers = prop::collection::vec(0u32..6, 0..8).prop_map(|free| {
            let worker = |(id, free)| Offer { worker: WorkerId(id as u64), free };
            free.into_iter().enumerate().map(worker).collect::<Vec<_>>()
        });
        let wish = (prop::option::of(0u64..9), prop::collection::vec(0u64..9, 0..3));
        (offers, prop::collection::vec(wish, 0..40)).prop_map(|(offers, wishes)| {
            let wishes = wishes.into_iter().enumerate().map(|(index, (prefer, avoid))| Wish {
                task: TaskId { job: JobId(1), stage: StageId(1), index: index as u32 },
                prefer: prefer.map(WorkerId),
                avoid: avoid.into_iter().map(WorkerId).collect(),
            });
            Problem { offers, wishes: wishes.collect() }
        })
    }

    proptest! {
        #[test]
        fn shares_give_what_is_wanted_and_no_more(free in 0u32..100, demands in demands()) {
            let given = shares(u64::from(free) * 1_000, u32::MAX, &demands);
            prop_assert_eq!(&given, &shares(u64::MAX, free, &demands));
            let wanted: u32 = demands.iter().map(|demand| demand.pending).sum();
            prop_assert_eq!(given.iter().sum::<u32>(), free.min(wanted));
            for (given, demand) in given.iter().zip(&demands) {
                prop_assert!(*given <= demand.pending);
            }
        }

        #[test]
        fn shares_are_fair(free in 0u32..100, demands in demands()) {
            let given = shares(u64::from(free) * 1_000, u32::MAX, &demands);
            for (i, rich) in demands.iter().enumerate() {
                for (j, poor) in demands.iter().enumerate() {
                    // Nobody got a slot while someone who wanted it had two fewer.
                    let unserved = given[j] < poor.pending;
                    let has = |demand: &Demand, given: u32| demand.used / 1_000 + u64::from(given);
                    let unfair = given[i] > 0 && unserved && has(rich, given[i]) > has(poor, given[j]) + 1;
                    prop_assert!(!unfair, "{i} over {j}: {given:?}");
                }
            }
        }

        #[test]
        fn a_level_gives_everyone_the_same_or_all_they_want(total in 0u64..1_000, wants in prop::collection::vec(0u64..500, 0..9)) {
            let level = fair_level(total, &wants);
            let given = |level: u64| wants.iter().map(|want| (*want).min(level)).sum::<u64>();
            prop_assert!(given(level) <= total);
            let more = level.saturating_add(1);
            prop_assert!(given(more) > total || given(more) == given(level), "there is more to give");
        }

        #[test]
        fn parts_of_any_size_fit(free in 0u64..20_000, units in prop::collection::vec((0u64..9_000, 1u64..5_000), 0..9)) {
            let demand = |(used, unit)| Demand { used, pending: 3, unit };
            let demands: Vec<_> = units.into_iter().map(demand).collect();
            let given = shares(free, u32::MAX, &demands);
            let taken: u64 = given.iter().zip(&demands).map(|(given, demand)| u64::from(*given) * demand.unit).sum();
            prop_assert!(taken <= free);
            for (given, demand) in given.iter().zip(&demands) {
                prop_assert!(*given == demand.pending || free - taken < demand.unit, "some was left that fits");
            }
        }

        #[test]
        fn no_worker_is_overbooked(problem in problems()) {
            let placed = place(&problem);
            prop_assert_eq!(placed.len(), problem.wishes.len());
            for offer in &problem.offers {
                let taken = placed.iter().filter(|choice| **choice == Some(offer.worker)).count();
                prop_assert!(taken as u32 <= offer.free);
            }
            for (wish, choice) in problem.wishes.iter().zip(&placed) {
                prop_assert!(choice.is_none_or(|worker| !wish.avoid.contains(&worker)));
            }
        }

        #[test]
        fn no_slot_stays_free_that_a_wish_could_use(problem in problems()) {
            let placed = place(&problem);
            for (wish, choice) in problem.wishes.iter().zip(&placed) {
                for offer in &problem.offers {
                    let taken = placed.iter().filter(|choice| **choice == Some(offer.worker)).count() as u32;
                    let usable = taken < offer.free && !wish.avoid.contains(&offer.worker);
                    prop_assert!(choice.is_some() || !usable);
                }
            }
        }

        #[test]
        fn the_first_wish_gets_the_worker_that_holds_its_input(problem in problems()) {
            let Some(wish) = problem.wishes.first() else { return Ok(()) };
            let Some(prefer) = wish.prefer.filter(|worker| !wish.avoid.contains(worker)) else { return Ok(()) };
            if problem.offers.iter().any(|offer| offer.worker == prefer && offer.free > 0) {
                prop_assert_eq!(place(&problem)[0], Some(prefer));
            }
        }

        #[test]
        fn equal_workers_are_loaded_equally(workers in 1u64..8, free in 1u32..5, tasks in 1u32..40) {
            let offers = (0..workers).map(|id| Offer { worker: WorkerId(id), free }).collect();
            let wish = |index| Wish {
                task: TaskId { job: JobId(1), stage: StageId(1), index },
                prefer: None,
                avoid: Vec::new(),
            };
            let problem = Problem { offers, wishes: (0..tasks).map(wish).collect() };
            let placed = place(&problem);
            let load = |id| placed.iter().filter(|choice| **choice == Some(WorkerId(id))).count();
            let loads: Vec<_> = (0..workers).map(load).collect();
            prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1);
        }
    }
}
