//! Numbers that follow from a seed alone: the same on every platform, in any order, on any thread.
//! Invariant: everything here is integer arithmetic, or exact in `f32`, so that no maths library has a say.
//!
//! Source: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014). Normal numbers are
//! sums of twelve uniform ones (Irwin-Hall), which have variance 1 and end at ±6.

/// Mixes 64 bits so that each bit of the answer depends on all of them.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The stream of `seed` for one purpose; other purposes get streams of their own.
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        Self(mix(seed ^ mix(purpose.wrapping_add(0x9E37_79B9_7F4A_7C15))))
    }

    /// 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }

    /// A number with mean 0 and variance 1.
    pub(crate) fn normal(&mut self) -> f32 {
        let mut sum = 0;
        for _ in 0..3 {
            let bits = self.next();
            sum += (0..4).map(|part| (bits >> (16 * part)) as i32 & 0xFFFF).sum::<i32>();
        }
        // Twelve numbers from 0 to 65535 have the mean 12 × 32767.5.
        (sum - 393_210) as f32 / 65_536.0
    }

    /// Puts `values` into a random order.
    pub(crate) fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_mean_0_and_variance_1_and_never_change() {
        let mut random = Random::new(42, 7);
        let numbers: Vec<f32> = (0..100_000).map(|_| random.normal()).collect();
        let mean = numbers.iter().map(|&x| f64::from(x)).sum::<f64>() / 1e5;
        let variance = numbers.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 1e5 - mean * mean;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "mean {mean}, variance {variance}");
        assert_eq!(Random::new(1, 2).next(), PINNED, "models trained before would no longer be reproduced");
    }

    const PINNED: u64 = 5_196_188_657_185_181_188;

    #[test]
    fn a_shuffle_keeps_all_values() {
        let mut values: Vec<u32> = (0..100).collect();
        Random::new(3, 0).shuffle(&mut values);
        assert!(!values.is_sorted());
        values.sort_unstable();
        assert!(values.iter().copied().eq(0..100));
    }
}
