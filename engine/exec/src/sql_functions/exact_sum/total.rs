//! A sum of doubles that nothing is lost of.

use std::ops::Range;

use smallvec::SmallVec;

/// A sum without rounding, so that it does not depend on the order in which values were added. Most values are added to an
/// integer, those that it has no place for to doubles.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Total {
    window: Window,
    parts: Parts,
}

impl Total {
    /// Adds a value if the integer has a place for it.
    #[inline]
    pub(super) fn add_to_window(&mut self, value: f64) -> bool {
        self.window.add(value)
    }

    /// Adds any value.
    pub(super) fn add(&mut self, value: f64) {
        if self.window.add(value) || value == 0.0 {
            return;
        }
        if self.window.is_due() {
            self.settle();
            self.window = Window::around(value);
            if self.window.add(value) {
                return;
            }
        }
        self.parts.add(value);
    }

    /// Moves what the integer holds to the doubles.
    fn settle(&mut self) {
        let window = std::mem::take(&mut self.window);
        window.parts().into_iter().for_each(|part| self.parts.add(part));
    }

    /// Doubles that add up to it.
    pub(super) fn into_parts(mut self) -> SmallVec<[f64; 2]> {
        self.settle();
        self.parts.0
    }

    /// The double next to the sum; of two that are as near, the even one.
    pub(super) fn rounded(mut self) -> f64 {
        self.settle();
        self.parts.rounded()
    }

    /// Bytes that it has beside itself.
    pub(super) fn heap_bytes(&self) -> usize {
        self.parts.heap_bytes()
    }
}

/// Values of similar size, as one integer in units of the smallest bit that it has a place for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Window {
    units: i128,
    /// The exponent, as doubles store it, of those whose last bit is a unit. 0: it has no place for anything.
    exponent: u16,
    /// Values that had no place in it.
    missed: u16,
    /// Values that may still be added before it could overflow.
    room: u32,
}

impl Window {
    /// The largest exponent is so much above the smallest one: factors of 10⁸ to both sides of the middle.
    const SPAN: u16 = 54;
    /// 2²⁰ values of 53 bits, shifted by up to 54, stay below 2¹²⁷.
    const ROOM: u32 = 1 << 20;
    /// Its middle moves after so many misses.
    const MISSES: u16 = 16;
    /// Exponents of values that may be its middle: all its parts are doubles then, and none is so small that it has fewer digits.
    const MIDDLES: Range<u16> = 128..1_900;

    /// An empty one with `value` in its middle; without a place for anything if that is next to the largest or smallest double.
    fn around(value: f64) -> Self {
        let exponent = exponent_of(value);
        if Self::MIDDLES.contains(&exponent) {
            Self { exponent: exponent - Self::SPAN / 2, room: Self::ROOM, ..Self::default() }
        } else {
            Self::default()
        }
    }

    #[inline]
    fn add(&mut self, value: f64) -> bool {
        let shift = exponent_of(value).wrapping_sub(self.exponent);
        if shift > Self::SPAN || self.room == 0 {
            self.missed = self.missed.saturating_add(1);
            return false;
        }
        let digits = (value.to_bits() & DIGITS) | (DIGITS + 1);
        // Halves, since shifting 128 bits by any number takes longer.
        let high = (digits >> 1) >> (63 - shift);
        let units = (i128::from(high) << 64) | i128::from(digits << shift);
        let sign = i128::from(value.to_bits().cast_signed() >> 63);
        self.units += (units ^ sign) - sign;
        self.room -= 1;
        true
    }

    /// Whether it should be emptied and moved.
    fn is_due(&self) -> bool {
        self.room == 0 || self.missed >= Self::MISSES
    }

    /// Its sum as doubles.
    fn parts(self) -> [f64; 3] {
        let digits = |place: u32| ((self.units.unsigned_abs() >> (53 * place)) as u64) & (2 * DIGITS + 1);
        let sign = if self.units < 0 { -1.0 } else { 1.0 };
        let unit = i32::from(self.exponent) - EXPONENT_OF_UNITS;
        [0, 1, 2].map(|place| sign * digits(place) as f64 * 2_f64.powi(unit + 53 * place as i32))
    }
}

/// The bits of a double's digits but for the first, which is 1.
const DIGITS: u64 = (1 << 52) - 1;
/// The exponent, as doubles store it, of those whose last bit is 1.
const EXPONENT_OF_UNITS: i32 = 1_075;

/// As doubles store it: 0 of those that have no first digit, 2047 of those that are no numbers.
fn exponent_of(value: f64) -> u16 {
    (value.to_bits() >> 52) as u16 & 0x7FF
}

/// Doubles that do not overlap, the smallest first, which add up to a sum exactly. Most sums need two.
///
/// Adding is the expansion sum of J. R. Shewchuk, "Adaptive Precision Floating-Point Arithmetic and Fast Robust Geometric
/// Predicates" (1997), section 2. An infinity or NaN stands alone: what it was added to does not matter any more. So does a sum
/// that passes the largest double on its way.
#[derive(Debug, Clone, Default, PartialEq)]
struct Parts(SmallVec<[f64; 2]>);

impl Parts {
    fn add(&mut self, value: f64) {
        let held = self.0.last().copied().unwrap_or_default();
        if !(value.is_finite() && held.is_finite()) {
            return self.stand_alone(held + value);
        }
        let (mut carried, mut kept) = (value, 0);
        for at in 0..self.0.len() {
            let (sum, lost) = two_sum(carried, self.0[at]);
            if lost != 0.0 {
                self.0[kept] = lost;
                kept += 1;
            }
            carried = sum;
        }
        self.0.truncate(kept);
        if !carried.is_finite() {
            self.stand_alone(carried);
        } else if carried != 0.0 {
            self.0.push(carried);
        }
    }

    fn stand_alone(&mut self, value: f64) {
        self.0.clear();
        self.0.push(value);
    }

    fn rounded(&self) -> f64 {
        let mut rest = self.0.iter().rev().copied();
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

    fn heap_bytes(&self) -> usize {
        if self.0.spilled() { self.0.capacity() * size_of::<f64>() } else { 0 }
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

    #[test]
    fn a_window_is_emptied_before_it_overflows() {
        let most = f64::from_bits(1.0_f64.to_bits() - 1) * 2_f64.powi(27);
        let mut sum = total(&[1.0]);
        for _ in 0..3 << 20 {
            sum.add(most);
        }
        let mut expected = Parts::default();
        expected.add(1.0);
        let part = most * f64::from(1 << 20);
        (0..3).for_each(|_| expected.add(part));
        assert_eq!(sum.rounded(), expected.rounded());
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
            total(right).into_parts().into_iter().for_each(|part| merged.add(part));
            prop_assert_eq!(merged.rounded().to_bits(), expected.to_bits());
        }

        #[test]
        fn values_of_any_size_are_summed_as_by_parts_alone(
            values in prop::collection::vec((any::<f64>(), 0usize..4), 0..40), rounds in 1usize..40,
        ) {
            let near = |(value, kind): (f64, usize)| match kind {
                0 => value,
                1 => (value.to_bits() % 100_000) as f64 * 0.01,
                2 => -((value.to_bits() % 1_000) as f64) * 1e-12,
                _ => 0.0,
            };
            let values: Vec<f64> = values.into_iter().map(near).collect();
            let (mut sum, mut by_parts) = (Total::default(), Parts::default());
            for value in values.iter().cycle().take(values.len() * rounds) {
                sum.add(*value);
                by_parts.add(*value);
            }
            // What passes the largest double on its way depends on the way.
            if by_parts.rounded().is_finite() && sum.clone().rounded().is_finite() {
                prop_assert_eq!(sum.rounded().to_bits(), by_parts.rounded().to_bits());
            }
        }

        #[test]
        fn whole_numbers_are_summed_as_integers(values in prop::collection::vec(-1i64 << 53..1 << 53, 0..60)) {
            let exact: i128 = values.iter().map(|value| i128::from(*value)).sum();
            let values: Vec<f64> = values.into_iter().map(|value| value as f64).collect();
            prop_assert_eq!(total(&values).rounded(), exact as f64);
        }
    }
}
