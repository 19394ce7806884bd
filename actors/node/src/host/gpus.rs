//! Which GPUs of this worker are whose. A lease of whole ones has them alone; parts of one share it. The coordinator counts them one by one
//! too, but does not know which are whose: so a lease may have to wait here until one has so much free, and those behind it wait too.

use std::collections::VecDeque;

use tandem_actor_protocol::JobId;
use tandem_actor_protocol::resources::GPUS;

use crate::event::LeaseGrant;

/// Thousandths of each GPU that are free, by index.
#[derive(Debug, Default)]
pub(crate) struct Gpus {
    free_milli: Vec<u64>,
    /// Leases that wait for theirs.
    waiting: VecDeque<LeaseGrant>,
}

/// What a lease took of GPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GpuShare {
    pub(crate) indices: Vec<u32>,
    milli_each: u64,
}

const WHOLE: u64 = 1000;

impl Gpus {
    pub(crate) fn new(count: u32) -> Self {
        Self { free_milli: vec![WHOLE; count as usize], waiting: VecDeque::new() }
    }

    /// Takes what a lease needs; none as long as that has to wait.
    pub(crate) fn take_for(&mut self, grant: &LeaseGrant) -> Option<GpuShare> {
        let milli = needed(grant);
        let share = if milli == 0 || self.waiting.is_empty() { self.take_all(milli) } else { None };
        if share.is_none() {
            self.waiting.push_back(grant.clone());
        }
        share
    }

    /// The next lease that has waited and need not any more.
    pub(crate) fn next(&mut self) -> Option<(LeaseGrant, GpuShare)> {
        let share = self.take_all(needed(self.waiting.front()?))?;
        Some((self.waiting.pop_front()?, share))
    }

    pub(crate) fn is_waiting(&self, lease: u64) -> bool {
        self.waiting.iter().any(|grant| grant.lease == lease)
    }

    /// Leases of a job that wait, or one of them, do so no more. Returns which these are.
    pub(crate) fn forget(&mut self, job: JobId, lease: Option<u64>) -> Vec<u64> {
        let forgotten = |grant: &LeaseGrant| grant.job == job && lease.is_none_or(|lease| lease == grant.lease);
        let gone = self.waiting.iter().filter(|grant| forgotten(grant)).map(|grant| grant.lease).collect();
        self.waiting.retain(|grant| !forgotten(grant));
        gone
    }

    /// Takes so much, or nothing. Less only if there never is so much: then the coordinator counts otherwise than this worker.
    fn take_all(&mut self, milli: u64) -> Option<GpuShare> {
        let share = self.take(milli);
        let wanted = usize::try_from(milli.div_ceil(WHOLE)).unwrap_or(usize::MAX).min(self.free_milli.len());
        if share.indices.len() < wanted {
            self.give_back(&share);
            return None;
        }
        Some(share)
    }

    /// Takes so much, or what there is of it.
    pub(crate) fn take(&mut self, milli: u64) -> GpuShare {
        if milli == 0 {
            return GpuShare::default();
        }
        let (wanted, milli_each) = if milli < WHOLE { (1, milli) } else { (milli.div_ceil(WHOLE), WHOLE) };
        // The fullest that still fits, so that whole ones stay whole.
        let mut fitting: Vec<usize> =
            (0..self.free_milli.len()).filter(|index| self.free_milli[*index] >= milli_each).collect();
        fitting.sort_by_key(|index| self.free_milli[*index]);
        fitting.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
        fitting.sort_unstable();
        fitting.iter().for_each(|index| self.free_milli[*index] -= milli_each);
        GpuShare { indices: fitting.into_iter().map(|index| index as u32).collect(), milli_each }
    }

    pub(crate) fn give_back(&mut self, share: &GpuShare) {
        for index in &share.indices {
            if let Some(free) = self.free_milli.get_mut(*index as usize) {
                *free = (*free + share.milli_each).min(WHOLE);
            }
        }
    }
}

fn needed(grant: &LeaseGrant) -> u64 {
    grant.shape.milli.get(GPUS).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_one_and_whole_ones_are_alone() {
        let mut gpus = Gpus::new(3);
        let half = gpus.take(500);
        let quarter = gpus.take(250);
        assert_eq!((half.indices.clone(), quarter.indices), (vec![0], vec![0]));
        let two = gpus.take(2000);
        assert_eq!(two.indices, [1, 2]);
        assert!(gpus.take(500).indices.is_empty(), "a quarter is left");
        gpus.give_back(&half);
        gpus.give_back(&two);
        assert_eq!(gpus.take(1000).indices, [1]);
        assert_eq!(gpus.take(0), GpuShare::default());
    }
}
