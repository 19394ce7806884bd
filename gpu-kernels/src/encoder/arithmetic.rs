//! What the three precisions have in common: all that a forward pass does with packed weights.

use super::EncoderShape;
use super::shape::PANEL;
use super::weights::LinearWeights;

/// A way to compute products and attention. Rows of `f32` come in and go out; within, each has its own form of them.
pub(super) trait Arithmetic: Sync {
    /// Weights in panels.
    type Panels: Send + Sync;
    /// Rows of activations as products read them.
    type Rows;
    /// What an attention needs beside its input and output.
    type Scratch;

    /// Packs maps that read the same rows, which are `stride` floats apart.
    fn pack(&self, maps: &[LinearWeights], stride: usize) -> Self::Panels;

    /// Room for `count` rows of `stride` values.
    fn rows(&self, count: usize, stride: usize) -> Self::Rows;

    /// Room for attention over up to `longest` tokens.
    fn scratch(&self, shape: &EncoderShape, longest: usize) -> Self::Scratch;

    /// Fills `rows` with as many rows as `values` has.
    fn convert(&self, values: &[f32], rows: &mut Self::Rows);

    /// The first `count` rows times the panels, plus the biases.
    fn multiply(&self, rows: &Self::Rows, count: usize, panels: &Self::Panels, out: &mut [f32]);

    /// GELU of what [`Arithmetic::multiply`] gives, as rows for the next product.
    fn multiply_gelu(&self, rows: &Self::Rows, count: usize, panels: &Self::Panels, out: &mut Self::Rows);

    /// Lets the tokens of each sentence attend to each other.
    fn attend(&self, heads: Heads, scratch: &mut Self::Scratch);
}

/// What an attention reads and writes.
pub(super) struct Heads<'a> {
    /// The encoder's shape.
    pub(super) shape: &'a EncoderShape,
    /// At which row each sentence starts, and where the last one ends.
    pub(super) starts: &'a [usize],
    /// Rows of queries, keys and values, and a panel of anything behind them.
    pub(super) attended: &'a [f32],
    /// Rows of what the heads answer.
    pub(super) context: &'a mut [f32],
}

impl Heads<'_> {
    /// What scores are multiplied with, so that powers of two of them are the powers of e that softmax asks for.
    pub(super) fn factor(&self) -> f32 {
        (std::f64::consts::LOG2_E / (self.shape.head() as f64).sqrt()) as f32
    }

    /// The first row and the rows of a sentence, for which `mask` is made ready: 0 for each of its keys, and [`NO_KEY`] for those
    /// that fill the last panel up.
    pub(super) fn begin(&self, sentence: usize, mask: &mut [f32]) -> (usize, usize) {
        let (first, end) = (self.starts[sentence], self.starts[sentence + 1]);
        let tokens = end - first;
        mask[..tokens].fill(0.0);
        mask[tokens..tokens.next_multiple_of(PANEL)].fill(NO_KEY);
        (first, tokens)
    }
}

/// The score of a key that does not exist: its power of two is nothing beside those of keys that do.
pub(super) const NO_KEY: f32 = -1e30;

/// The smallest exponent that is not rounded to a power of 0.
pub(super) const LEAST_EXPONENT: f32 = -126.0;
