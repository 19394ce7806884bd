//! Sixteen systems of linear equations at a time, by Cholesky's method, one system in each lane.
//!
//!   A = L Lᵀ        Lⱼⱼ = √(Aⱼⱼ − Σₚ Lⱼₚ²)        Lᵢⱼ = (Aᵢⱼ − Σₚ Lᵢₚ Lⱼₚ) / Lⱼⱼ   for i > j, sums over p < j
//!   L z = b, then Lᵀ x = z
//!
//! ```text
//! lower triangle, row by row, each entry sixteen floats (one of each system):
//! A₀₀ │ A₁₀ A₁₁ │ A₂₀ A₂₁ A₂₂ │ …        entry (r, c) at r(r+1)/2 + c
//! ```
//!
//! Lanes know nothing of each other: a system's bits do not depend on its neighbours. Four rows of a column are
//! computed side by side, because each sum is a chain of multiply-adds.
//!
//! Source: Cholesky-Crout (column by column), G. Golub, C. Van Loan, "Matrix computations", section 4.2.

use crate::simd::{Kernel, Lanes};

/// Systems solved together.
pub(super) const LANES: usize = 16;

/// One number of each system.
pub(super) type Wide = [f32; LANES];

/// Where entry (`row`, `column`) of the lower triangle lies.
pub(super) fn entry(row: usize, column: usize) -> usize {
    row * (row + 1) / 2 + column
}

/// Solves `triangle · x = right` for each lane. The triangle is overwritten with its factor, with the reciprocals of
/// the diagonal on it, and `right` with x. Answers which lanes have no solution: a pivot that is not a number above 0.
pub(super) struct Solve<'a> {
    pub(super) triangle: &'a mut [Wide],
    pub(super) right: &'a mut [Wide],
}

impl Kernel for Solve<'_> {
    type Output = [bool; LANES];

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let Self { triangle, right } = self;
        let n = right.len();
        let mut singular = [false; LANES];
        for j in 0..n {
            let (upper, lower) = triangle.split_at_mut(entry(j + 1, 0));
            let pivot_row = &mut upper[entry(j, 0)..];
            let (before, diagonal) = pivot_row.split_at_mut(j);
            let [pivot] = remaining(lanes, [&*before], before, [&diagonal[0]]);
            let mut checked = [0.0; LANES];
            lanes.store16(pivot, &mut checked);
            for (singular, pivot) in singular.iter_mut().zip(&checked) {
                *singular |= !(*pivot > 0.0 && pivot.is_finite());
            }
            let inverse = lanes.div16(lanes.splat16(1.0), lanes.sqrt16(pivot));
            lanes.store16(inverse, &mut diagonal[0]);
            scale_column(lanes, lower, before, inverse, j, n);
        }
        substitute(lanes, triangle, right);
        singular
    }
}

/// `starts[m] − Σ rows[m]ₚ · with[p]` for each of `N` rows, p from 0.
#[inline(always)]
fn remaining<L: Lanes, const N: usize>(lanes: L, rows: [&[Wide]; N], with: &[Wide], starts: [&Wide; N]) -> [L::F16; N] {
    let mut sums = [lanes.splat16(0.0); N];
    for (p, with) in with.iter().enumerate() {
        let with = lanes.load16(with);
        for (sum, row) in sums.iter_mut().zip(rows) {
            *sum = lanes.fma16(lanes.load16(&row[p]), with, *sum);
        }
    }
    for (sum, start) in sums.iter_mut().zip(starts) {
        *sum = lanes.sub16(lanes.load16(start), *sum);
    }
    sums
}

/// Computes column `j` of the rows below the pivot's; `lower` starts with row `j + 1`.
#[inline(always)]
fn scale_column<L: Lanes>(lanes: L, mut lower: &mut [Wide], pivot: &[Wide], inverse: L::F16, j: usize, n: usize) {
    let mut i = j + 1;
    while i + 4 <= n {
        let (a, rest) = lower.split_at_mut(i + 1);
        let (b, rest) = rest.split_at_mut(i + 2);
        let (c, rest) = rest.split_at_mut(i + 3);
        let (d, rest) = rest.split_at_mut(i + 4);
        let values = remaining(lanes, [&*a, &*b, &*c, &*d], pivot, [&a[j], &b[j], &c[j], &d[j]]);
        for (row, value) in [a, b, c, d].into_iter().zip(values) {
            lanes.store16(lanes.mul16(value, inverse), &mut row[j]);
        }
        (lower, i) = (rest, i + 4);
    }
    while i < n {
        let (row, rest) = lower.split_at_mut(i + 1);
        let [value] = remaining(lanes, [&*row], pivot, [&row[j]]);
        lanes.store16(lanes.mul16(value, inverse), &mut row[j]);
        (lower, i) = (rest, i + 1);
    }
}

/// Both triangular systems; the diagonal holds reciprocals.
#[inline(always)]
fn substitute<L: Lanes>(lanes: L, triangle: &[Wide], right: &mut [Wide]) {
    let n = right.len();
    for i in 0..n {
        let row = &triangle[entry(i, 0)..][..=i];
        let (known, unknown) = right.split_at_mut(i);
        let [rest] = remaining(lanes, [row], known, [&unknown[0]]);
        lanes.store16(lanes.mul16(rest, lanes.load16(&row[i])), &mut unknown[0]);
    }
    // Row by row from below: once xᵢ is known, it leaves all equations above.
    for i in (0..n).rev() {
        let row = &triangle[entry(i, 0)..][..=i];
        let (above, this) = right.split_at_mut(i);
        let x = lanes.mul16(lanes.load16(&this[0]), lanes.load16(&row[i]));
        lanes.store16(x, &mut this[0]);
        let minus = lanes.sub16(lanes.splat16(0.0), x);
        for (above, factor) in above.iter_mut().zip(row) {
            let value = lanes.fma16(lanes.load16(factor), minus, lanes.load16(above));
            lanes.store16(value, above);
        }
    }
}
