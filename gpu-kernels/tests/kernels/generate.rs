//! Inputs that follow from a seed.

use proptest::prelude::*;
use tandem_kernels::funk::{Rating, RowShape, Rows, Rule, SgdParams, Side};

use crate::reference::Matrix;

/// A stream of random numbers (SplitMix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// From 0 up to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From `-scale` to `scale`.
    pub(crate) fn within(&mut self, scale: f64) -> f32 {
        ((self.unit() * 2.0 - 1.0) * scale) as f32
    }

    /// An id below `limit`; small ids come up more often the more `skew` is above 1.
    pub(crate) fn id(&mut self, limit: usize, skew: u32) -> u32 {
        (0..skew).fold(limit as f64, |below, _| below * self.unit()) as u32
    }
}

/// Parameters that move rows far in a few steps.
pub(crate) fn params(rule: Rule, biases: bool) -> SgdParams {
    SgdParams { rule, mean: 2.5, learning_rate: 0.02, regularization: 0.05, biases }
}

/// Either rule.
pub(crate) fn rules() -> impl Strategy<Value = Rule> {
    prop_oneof![Just(Rule::Surprise), Just(Rule::R2)]
}

/// Ratings of 1 to 5 without any pattern in them.
pub(crate) fn ratings(numbers: &mut Numbers, count: usize, users: usize, items: usize) -> Vec<Rating> {
    let rating =
        |n: &mut Numbers| Rating { user: n.id(users, 1), item: n.id(items, 2), value: (1.0 + n.unit() * 4.0) as f32 };
    (0..count).map(|_| rating(numbers)).collect()
}

/// Rows with random factors and biases.
pub(crate) fn rows(numbers: &mut Numbers, side: Side, shape: RowShape, count: usize) -> Rows {
    let mut rows = Rows::zeros(count * shape.stride());
    for row in rows.chunks_mut(shape.stride()) {
        row[..2 + shape.factors()].fill_with(|| numbers.within(0.3));
        row[side.one_slot()] = 1.0;
    }
    rows
}

/// The same rows for the reference.
pub(crate) fn matrix(side: Side, shape: RowShape, rows: &[f32]) -> Matrix {
    let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect();
    let rows = rows.chunks(shape.stride());
    Matrix {
        factors: rows.clone().map(|row| wide(shape.factors_of(row))).collect(),
        biases: rows.map(|row| row[side.bias_slot()].into()).collect(),
    }
}

/// The bits of floats, to compare exactly; any NaN is equal to any other.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() }).collect()
}

/// A number that stands for all bits of some floats (FNV-1a).
pub(crate) fn digest(slices: &[&[f32]]) -> u64 {
    let values = slices.iter().flat_map(|slice| bits(slice));
    values.fold(0xCBF2_9CE4_8422_2325, |hash, bits| (hash ^ u64::from(bits)).wrapping_mul(0x0100_0000_01B3))
}

/// Ratings with taste in them: mean, biases, four hidden factors, noise, half stars. Some pairs come up more than once.
pub(crate) fn tastes(numbers: &mut Numbers, count: usize, users: usize, items: usize) -> Vec<Rating> {
    let mut hidden = |rows: usize, scale: f64| -> Vec<[f32; 5]> {
        let row = |_| std::array::from_fn(|at| numbers.within(if at == 4 { 0.8 } else { scale }));
        (0..rows).map(row).collect()
    };
    let (of_users, of_items) = (hidden(users, 1.0), hidden(items, 0.6));
    let rating = |_| {
        let (user, item) = (numbers.id(users, 1), numbers.id(items, 2));
        let (p, q) = (&of_users[user as usize], &of_items[item as usize]);
        let liked: f32 = p[..4].iter().zip(&q[..4]).map(|(p, q)| p * q).sum();
        let value = 3.4 + p[4] + q[4] + liked + numbers.within(1.2);
        Rating { user, item, value: (value * 2.0).round().clamp(1.0, 10.0) / 2.0 }
    };
    (0..count).map(rating).collect()
}
