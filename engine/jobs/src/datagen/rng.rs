//! Randomness by row number: the same seed and row give the same values on any machine and in any order, for ever, so a
//! range of rows can be made without the rows before it. That is why it is ours and not a library's: data made today
//! must be made again, byte for byte, by later versions.

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Random values of one row.
#[derive(Debug, Clone)]
pub(super) struct RowRng(u64);

impl RowRng {
    /// The values of `row`; `stream` tells tables of one seed apart.
    pub(super) fn new(seed: u64, stream: u64, row: u64) -> Self {
        Self(mix(seed ^ mix(stream)).wrapping_add(row.wrapping_mul(GOLDEN)))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN.rotate_left(17) | 1);
        mix(self.0)
    }

    /// A number from 0 up to, not including, `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        ((self.next() >> 11) as f64) < probability * (1u64 << 53) as f64
    }
}

/// Spreads every bit of `x` over all bits (the finaliser of SplitMix64).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Data made by an older version must stay the same.
    #[test]
    fn the_sequence_never_changes() {
        let mut rng = RowRng::new(42, 1, 7);
        let first = [rng.next(), rng.next()];
        assert_eq!(first, {
            let mut again = RowRng::new(42, 1, 7);
            [again.next(), again.next()]
        });
        assert_ne!(first[0], RowRng::new(42, 1, 8).next());
        assert_ne!(first[0], RowRng::new(42, 2, 7).next());
        assert_ne!(first[0], RowRng::new(43, 1, 7).next());
    }

    #[test]
    fn values_are_spread_evenly() {
        let mut counts = [0u32; 10];
        for row in 0..100_000 {
            counts[RowRng::new(1, 1, row).below(10) as usize] += 1;
        }
        assert!(counts.iter().all(|&count| (9_000..11_000).contains(&count)), "{counts:?}");
        let hits = (0..100_000).filter(|&row| RowRng::new(1, 2, row).chance(0.01)).count();
        assert!((800..1200).contains(&hits), "{hits}");
    }
}
