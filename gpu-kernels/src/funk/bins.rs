//! Deals the ids of one side to the bins of the grid, so that all bins carry about the same number of ratings.
//! Follows from counts and seed alone: not from threads, workers, or the order in which ratings arrived.
//!
//! Ids are shuffled, then sorted by count, and each in turn goes to the bin with the least ratings so far. Within a bin
//! rows keep that order, so rows that are used most lie next to each other.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use crate::KernelError;
use crate::random::Random;

/// Where the row of an id lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The bin.
    pub bin: u32,
    /// The row within the bin.
    pub row: u32,
}

/// All ids of one side, dealt to bins. Rows are numbered bin after bin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bins {
    places: Vec<Place>,
    /// First row of each bin, and at the end the number of rows.
    starts: Vec<usize>,
}

impl Bins {
    /// Deals the ids `0..counts.len()`; `counts[id]` is the number of its ratings. Bins may stay empty.
    ///
    /// # Errors
    /// [`KernelError::Parameter`] for 0 bins or more than 2¹⁶, or more than 2³² ids.
    pub fn deal(counts: &[u64], bins: usize, seed: u64) -> Result<Self, KernelError> {
        let check = |name, value, good, expected| {
            if good { Ok(()) } else { Err(KernelError::Parameter { name, value: value as f64, expected }) }
        };
        check("bins", bins, (1..=1 << 16).contains(&bins), "1 to 65536")?;
        check("ids", counts.len(), u32::try_from(counts.len()).is_ok(), "fewer than 2^32")?;

        let mut ids: Vec<u32> = (0..counts.len() as u32).collect();
        Random::new(seed, DEAL).shuffle(&mut ids);
        ids.sort_by_key(|id| Reverse(counts[*id as usize]));

        let mut places = vec![Place { bin: 0, row: 0 }; ids.len()];
        let mut sizes = vec![0; bins];
        let mut loads: BinaryHeap<_> = (0..bins).map(|bin| Reverse((0, bin))).collect();
        for id in ids {
            let Reverse((load, bin)) = loads.pop().expect("at least one bin");
            places[id as usize] = Place { bin: bin as u32, row: sizes[bin] as u32 };
            sizes[bin] += 1;
            // An id without ratings still is a row.
            loads.push(Reverse((load + counts[id as usize] + 1, bin)));
        }

        let mut starts = vec![0; bins + 1];
        for bin in 0..bins {
            starts[bin + 1] = starts[bin] + sizes[bin];
        }
        Ok(Self { places, starts })
    }

    /// How many bins there are.
    pub fn bins(&self) -> usize {
        self.starts.len() - 1
    }

    /// How many ids, which is to say rows, there are.
    pub fn ids(&self) -> usize {
        self.places.len()
    }

    /// Where the row of `id` lies. Panics if there is no such id.
    pub fn place(&self, id: u32) -> Place {
        self.places[id as usize]
    }

    /// The number of the row of `id` when all bins lie one after another.
    pub fn row(&self, id: u32) -> usize {
        let Place { bin, row } = self.place(id);
        self.starts[bin as usize] + row as usize
    }

    /// The rows of a bin when all bins lie one after another.
    pub fn rows(&self, bin: usize) -> Range<usize> {
        self.starts[bin]..self.starts[bin + 1]
    }
}

/// The purpose of the random numbers used here.
const DEAL: u64 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_id_has_one_row_and_bins_are_even(
            counts in proptest::collection::vec(0u64..50, 0..300), bins in 1usize..40, seed in any::<u64>(),
        ) {
            let dealt = Bins::deal(&counts, bins, seed).expect("good parameters");
            let mut rows: Vec<usize> = (0..counts.len() as u32).map(|id| dealt.row(id)).collect();
            let mut loads = vec![0; bins];
            for (id, row) in rows.iter().enumerate() {
                let place = dealt.place(id as u32);
                prop_assert!(dealt.rows(place.bin as usize).contains(row));
                loads[place.bin as usize] += counts[id] + 1;
            }
            rows.sort_unstable();
            prop_assert!(rows.into_iter().eq(0..counts.len()));
            let (least, most) = (loads.iter().min().expect("a bin"), loads.iter().max().expect("a bin"));
            prop_assert!(most - least <= 50, "the last id of a bin makes all the difference: {:?}", loads);
        }
    }

    #[test]
    fn another_seed_deals_otherwise() {
        let deal = |seed| Bins::deal(&[1; 100], 4, seed).expect("good parameters");
        assert_eq!(deal(1), deal(1));
        assert_ne!(deal(1), deal(2));
        assert!(Bins::deal(&[], 0, 1).is_err());
    }
}
