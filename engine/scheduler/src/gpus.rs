//! GPUs, counted one by one: a share of less than one is a part of one GPU, any other has whole ones alone. So of two GPUs that are
//! taken by six tenths each, eight tenths are free in all, and no share of six tenths fits.

use std::collections::BTreeMap;

const WHOLE_MILLI: u64 = 1_000;
/// No worker has more.
const MOST_GPUS: u64 = 4_096;

/// The shares that are booked: how many there are of each size, in thousandths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GpuShares(BTreeMap<u64, u32>);

impl GpuShares {
    /// One more; of nothing there are no shares.
    pub(crate) fn add(&mut self, milli: u64) {
        if milli > 0 {
            *self.0.entry(milli).or_default() += 1;
        }
    }

    /// One less. What was never added is not there to be taken.
    pub(crate) fn remove(&mut self, milli: u64) {
        if let Some(count) = self.0.get_mut(&milli) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&milli);
            }
        }
    }

    /// Whether one more fits beside them.
    pub(crate) fn has_room(&self, gpus_milli: u64, more_milli: u64) -> bool {
        if more_milli == 0 {
            return true;
        }
        let mut all = self.clone();
        all.add(more_milli);
        all.fit(gpus_milli)
    }

    /// Whether all of them are on so many GPUs, in thousandths, when each goes where the least is free that is enough, the largest ones
    /// first.
    pub(crate) fn fit(&self, gpus_milli: u64) -> bool {
        let gpus_milli = gpus_milli.min(MOST_GPUS * WHOLE_MILLI);
        let mut free = vec![WHOLE_MILLI; (gpus_milli / WHOLE_MILLI) as usize];
        free.push(gpus_milli % WHOLE_MILLI);
        let all = self.0.iter().rev().flat_map(|(milli, count)| std::iter::repeat_n(*milli, *count as usize));
        let mut parts = all.flat_map(|milli| match milli {
            0..WHOLE_MILLI => std::iter::repeat_n(milli, 1),
            _ => std::iter::repeat_n(WHOLE_MILLI, milli.div_ceil(WHOLE_MILLI) as usize),
        });
        parts.all(|part| {
            let least = free.iter_mut().filter(|free| **free >= part).min();
            least.map(|free| *free -= part).is_some()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_a_gpu_and_whole_ones_are_alone() {
        let cases: [(u64, &[u64], bool); 9] = [
            (2_000, &[600, 600], true),
            (2_000, &[600, 600, 600], false),
            (2_000, &[600, 400, 600, 400], true),
            (2_000, &[1_000, 500, 500], true),
            (2_000, &[1_000, 500, 250, 500], false),
            (2_000, &[2_000], true),
            (2_000, &[1_500, 500], false),
            (500, &[500], true),
            (500, &[600], false),
        ];
        for (gpus, shares, fit) in cases {
            let mut booked = GpuShares::default();
            shares.iter().for_each(|share| booked.add(*share));
            assert_eq!(booked.fit(gpus), fit, "{shares:?} on {gpus}");
            shares.iter().for_each(|share| booked.remove(*share));
            assert_eq!(booked, GpuShares::default());
        }
    }
}
