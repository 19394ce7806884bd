//! A sum of doubles that nothing is lost of.

use smallvec::SmallVec;

/// A sum without rounding: doubles that do not overlap, the smallest first, which add up to it exactly. So it does not depend on the
/// order in which values were added. Most sums need two.
///
/// Adding is the expansion sum of J. R. Shewchuk, "Adaptive Precision Floating-Point Arithmetic and Fast Robust Geometric
/// Predicates" (1997), section 2. An infinity or NaN stands alone: what it was added to does not matter any more. So does a sum
/// that passes the largest double on its way.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Total {
    parts: SmallVec<[f64; 2]>,
}

impl Total {
    /// Adds one value.
    pub(super) fn add(&mut self, value: f64) {
        let held = self.parts.last().copied().unwrap_or_default();
        if !(value.is_finite() && held.is_finite()) {
            return self.stand_alone(held + value);
        }
        let (mut carried, mut kept) = (value, 0);
        for at in 0..self.parts.len() {
            let (sum, lost) = two_sum(carried, self.parts[at]);
            if lost != 0.0 {
                self.parts[kept] = lost;
                kept += 1;
            }
            carried = sum;
        }
        self.parts.truncate(kept);
        if !carried.is_finite() {
            self.stand_alone(carried);
        } else if carried != 0.0 {
            self.parts.push(carried);
        }
    }

    fn stand_alone(&mut self, value: f64) {
        self.parts.clear();
        self.parts.push(value);
    }

    /// Its parts, which may be added to another.
    pub(super) fn parts(&self) -> &[f64] {
        &self.parts
    }

    /// The double next to the sum; of two that are as near, the even one.
    pub(super) fn rounded(&self) -> f64 {
        let mut rest = self.parts.iter().rev().copied();
        let Some(mut sum) = rest.next() else { return 0.0 };
        while let Some(part) = rest.next() {
            let (next, lost) = two_sum(sum, part);
            sum = next;
            if lost != 0.0 {
                // Half a unit in the last place was rounded to even, but what follows says on which side of the middle the sum is.
                let further = rest.next().unwrap_or_default();
                let (up, exact) = (sum + 2.0 * lost, (sum + 2.0 * lost) - sum == 2.0 * lost);
                let same_side = (lost < 0.0 && further < 0.0) || (lost > 0.0 && further > 0.0);
                return if same_side && exact { up } else { sum };
            }
        }
        sum
    }

    /// Bytes that it has beside itself.
    pub(super) fn heap_bytes(&self) -> usize {
        if self.parts.spilled() { self.parts.capacity() * size_of::<f64>() } else { 0 }
    }
}

/// The sum of two doubles, and what rounding it has lost. (D. E. Knuth, "The Art of Computer Programming", volume 2, section 4.2.2.)
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn total(values: &[f64]) -> Total {
        let mut total = Total::default();
        values.iter().for_each(|value| total.add(*value));
        total
    }

    #[test]
    fn sums_are_the_nearest_double() {
        let tiny = f64::EPSILON / 2.0;
        for (values, expected) in [
            (&[][..], 0.0),
            (&[0.1; 10], 1.0),
            (&[1e100, 1.0, -1e100], 1.0),
            (&[1.0, tiny], 1.0),
            (&[1.0, tiny, f64::MIN_POSITIVE], 1.0 + f64::EPSILON),
            (&[1.0, tiny, -f64::MIN_POSITIVE], 1.0),
            (&[1.0 + f64::EPSILON, tiny], 1.0 + 2.0 * f64::EPSILON),
            (&[2f64.powi(53), 1.0, 1.0], 2f64.powi(53) + 2.0),
            (&[5.0, -5.0], 0.0),
            (&[f64::INFINITY, 1.0], f64::INFINITY),
            (&[1.0, f64::NEG_INFINITY, 7.0], f64::NEG_INFINITY),
            (&[f64::MAX, f64::MAX], f64::INFINITY),
        ] {
            assert_eq!(total(values).rounded(), expected, "{values:?}");
        }
        assert!(total(&[f64::INFINITY, 1.0, f64::NEG_INFINITY]).rounded().is_nan());
        assert!(total(&[f64::NAN, 1.0]).rounded().is_nan());
    }

    proptest! {
        #[test]
        fn order_and_grouping_do_not_matter(
            values in prop::collection::vec((-1i64 << 53..1 << 53, -300i32..300), 0..60),
            seed in any::<u64>(),
            split in 0usize..60,
        ) {
            let values: Vec<f64> = values.into_iter().map(|(digits, power)| digits as f64 * 2f64.powi(power)).collect();
            let expected = total(&values).rounded();
            let mut shuffled = values.clone();
            shuffled.sort_by_key(|value| value.to_bits().wrapping_mul(seed | 1));
            prop_assert_eq!(total(&shuffled).rounded().to_bits(), expected.to_bits());
            let (left, right) = shuffled.split_at(split.min(shuffled.len()));
            let mut merged = total(left);
            total(right).parts().iter().for_each(|part| merged.add(*part));
            prop_assert_eq!(merged.rounded().to_bits(), expected.to_bits());
        }

        #[test]
        fn whole_numbers_are_summed_as_integers(values in prop::collection::vec(-1i64 << 53..1 << 53, 0..60)) {
            let exact: i128 = values.iter().map(|value| i128::from(*value)).sum();
            let values: Vec<f64> = values.into_iter().map(|value| value as f64).collect();
            prop_assert_eq!(total(&values).rounded(), exact as f64);
        }
    }
}
