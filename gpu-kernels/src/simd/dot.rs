//! The dot product of two rows, in the one order of additions that all paths share.

use super::Lanes;

/// `a · b` in every lane. The lengths are equal and a multiple of eight.
#[inline(always)]
pub(crate) fn dot<L: Lanes>(lanes: L, a: &[f32], b: &[f32]) -> L::F8 {
    lanes.sum8(products(lanes, a, b))
}

/// `a · b` before its last eight sums are added up: for [`Lanes::sum8`] or [`Lanes::sums8`].
#[inline(always)]
pub(crate) fn products<L: Lanes>(lanes: L, a: &[f32], b: &[f32]) -> L::F8 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut sums = lanes.splat16(0.0);
    for (a, b) in a.iter().zip(b) {
        sums = lanes.fma16(lanes.load16(a), lanes.load16(b), sums);
    }
    let (mut even, odd) = lanes.halves(sums);
    if let ([a, ..], [b, ..]) = (a_rest.as_chunks::<8>().0, b_rest.as_chunks::<8>().0) {
        even = lanes.fma8(lanes.load8(a), lanes.load8(b), even);
    }
    lanes.add8(even, odd)
}
