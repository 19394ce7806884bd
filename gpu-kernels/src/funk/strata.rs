//! The order of blocks in an epoch: a Latin square. Every stratum has one block of each row and of each column of the
//! grid, so its blocks share no factor and may run at the same time; strata follow one another.
//!
//!   stratum s, user bin b: item bin columns[(b + s) mod G]      columns: a permutation of each epoch's own
//!
//! A worker that owns user bins sees the item bins come round as on a ring. Whatever number of threads or workers run
//! the blocks, each row of factors sees its updates in the same order.
//!
//! Source: R. Gemulla et al., "Large-scale matrix factorization with distributed stochastic gradient descent", KDD
//! 2011.

use crate::random::Random;

/// The order of blocks of one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strata {
    columns: Vec<usize>,
}

impl Strata {
    /// The order of `epoch`, counted from 0, in a grid of `bins` × `bins` blocks.
    pub fn of_epoch(bins: usize, seed: u64, epoch: u32) -> Self {
        let mut columns: Vec<usize> = (0..bins).collect();
        Random::new(seed, STRATA + (u64::from(epoch) << 8)).shuffle(&mut columns);
        Self { columns }
    }

    /// How many strata there are, which is the number of bins of each side.
    pub fn bins(&self) -> usize {
        self.columns.len()
    }

    /// The item bin that `user_bin` meets in `stratum`.
    pub fn item_bin(&self, stratum: usize, user_bin: usize) -> usize {
        self.columns[(user_bin + stratum) % self.columns.len()]
    }
}

/// The purpose of the random numbers used here.
const STRATA: u64 = 3;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_epoch_has_every_block_once_and_a_stratum_every_column() {
        for bins in [1, 2, 7, 32] {
            let strata = Strata::of_epoch(bins, 5, 3);
            let mut blocks = BTreeSet::new();
            for stratum in 0..bins {
                let columns: BTreeSet<_> = (0..bins).map(|row| strata.item_bin(stratum, row)).collect();
                assert_eq!(columns.len(), bins);
                blocks.extend((0..bins).map(|row| (row, strata.item_bin(stratum, row))));
            }
            assert_eq!(blocks.len(), bins * bins);
        }
    }

    #[test]
    fn epochs_differ() {
        assert_ne!(Strata::of_epoch(32, 5, 0), Strata::of_epoch(32, 5, 1));
        assert_eq!(Strata::of_epoch(32, 5, 1), Strata::of_epoch(32, 5, 1));
    }
}
