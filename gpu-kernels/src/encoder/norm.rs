//! Adds what a part of a layer gives to what came into it, and normalises each row.
//!
//!   v = row + added        row = (v - mean v) / √(variance of v + epsilon) · scale + shift
//!
//! Values behind the width of a row are zeros and stay so: their scale and shift are 0, and a mask keeps them out of the
//! variance.

use super::math::total;
use super::shape::{EncoderShape, PANEL};
use super::weights::NormWeights;
use crate::simd::{Kernel, Lanes};

/// A packed layer normalisation.
#[derive(Debug)]
pub(super) struct Norm {
    width: usize,
    epsilon: f32,
    scale: Vec<f32>,
    shift: Vec<f32>,
    mask: Vec<f32>,
}

impl Norm {
    /// Packs checked weights.
    pub(super) fn new(shape: &EncoderShape, weights: &NormWeights) -> Self {
        let padded = |values: &[f32]| {
            let mut padded = values.to_vec();
            padded.resize(shape.stride(), 0.0);
            padded
        };
        let mask = padded(&vec![1.0; shape.hidden]);
        let (scale, shift) = (padded(weights.scale), padded(weights.shift));
        Self { width: shape.hidden, epsilon: shape.epsilon, scale, shift, mask }
    }
}

/// Normalises `rows` plus `added`, in place.
pub(super) struct AddNorm<'a> {
    pub(super) norm: &'a Norm,
    pub(super) rows: &'a mut [f32],
    pub(super) added: &'a [f32],
}

impl Kernel for AddNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let stride = self.norm.scale.len();
        debug_assert!(stride.is_multiple_of(PANEL) && self.rows.len() == self.added.len());
        for (row, added) in self.rows.chunks_exact_mut(stride).zip(self.added.chunks_exact(stride)) {
            let (row, added) = (row.as_chunks_mut::<16>().0, added.as_chunks::<16>().0);
            self.norm.row(lanes, row, added);
        }
    }
}

impl Norm {
    #[inline(always)]
    fn row<L: Lanes>(&self, lanes: L, row: &mut [[f32; 16]], added: &[[f32; 16]]) {
        let (scale, shift) = (self.scale.as_chunks::<16>().0, self.shift.as_chunks::<16>().0);
        let width = self.width as f32;
        let mut sum = lanes.splat16(0.0);
        for (values, added) in row.iter_mut().zip(added) {
            let value = lanes.add16(lanes.load16(values), lanes.load16(added));
            lanes.store16(value, values);
            sum = lanes.add16(sum, value);
        }
        let below = lanes.splat16(-total(lanes, sum) / width);
        let mut squares = lanes.splat16(0.0);
        for (values, mask) in row.iter_mut().zip(self.mask.as_chunks::<16>().0) {
            let value = lanes.fma16(below, lanes.load16(mask), lanes.load16(values));
            lanes.store16(value, values);
            squares = lanes.fma16(value, value, squares);
        }
        let factor = lanes.splat16(1.0 / (total(lanes, squares) / width + self.epsilon).sqrt());
        for ((values, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
            let value = lanes.mul16(lanes.load16(values), factor);
            lanes.store16(lanes.fma16(value, lanes.load16(scale), lanes.load16(shift)), values);
        }
    }
}
