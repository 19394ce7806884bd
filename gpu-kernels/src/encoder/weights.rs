//! The weights of an encoder as a caller has them: slices in rows, checked by name before they are packed.

use super::EncoderShape;
use crate::KernelError;

/// The scale and shift of a layer normalisation: `hidden` values each.
#[derive(Debug, Clone, Copy)]
pub struct NormWeights<'a> {
    /// What normalised values are multiplied by.
    pub scale: &'a [f32],
    /// What is added then.
    pub shift: &'a [f32],
}

/// A linear map from `n` to `m` values: `m` rows of `n` weights, and `m` biases.
#[derive(Debug, Clone, Copy)]
pub struct LinearWeights<'a> {
    /// Row by row, one row for each value that comes out.
    pub weight: &'a [f32],
    /// One for each value that comes out.
    pub bias: &'a [f32],
}

/// What tokens become before the first layer.
#[derive(Debug)]
pub struct EmbeddingWeights<'a> {
    /// A row of `hidden` values for each word of the vocabulary. The encoder keeps it as it is.
    pub words: Vec<f32>,
    /// A row of `hidden` values for each position.
    pub positions: &'a [f32],
    /// The row of the token type that all tokens have.
    pub token_type: &'a [f32],
    /// The norm of their sum.
    pub norm: NormWeights<'a>,
}

/// The weights of a layer.
#[derive(Debug, Clone, Copy)]
pub struct LayerWeights<'a> {
    /// From `hidden` to `hidden` values: the queries.
    pub query: LinearWeights<'a>,
    /// From `hidden` to `hidden` values: the keys.
    pub key: LinearWeights<'a>,
    /// From `hidden` to `hidden` values: the values.
    pub value: LinearWeights<'a>,
    /// From `hidden` to `hidden` values: what becomes of the heads.
    pub attention_output: LinearWeights<'a>,
    /// The norm after the attention.
    pub attention_norm: NormWeights<'a>,
    /// From `hidden` to `feed_forward` values.
    pub up: LinearWeights<'a>,
    /// From `feed_forward` to `hidden` values.
    pub down: LinearWeights<'a>,
    /// The norm at the end.
    pub output_norm: NormWeights<'a>,
}

impl NormWeights<'_> {
    fn check(&self, hidden: usize) -> Result<(), KernelError> {
        check("scale of a norm", self.scale, hidden)?;
        check("shift of a norm", self.shift, hidden)
    }
}

impl LinearWeights<'_> {
    fn check(&self, from: usize, to: usize) -> Result<(), KernelError> {
        check("weight of a linear map", self.weight, from * to)?;
        check("bias of a linear map", self.bias, to)
    }
}

impl EmbeddingWeights<'_> {
    /// Refuses weights of another shape, and those that are no numbers.
    pub(super) fn check(&self, shape: &EncoderShape) -> Result<(), KernelError> {
        check("words", &self.words, shape.vocabulary * shape.hidden)?;
        check("positions", self.positions, shape.positions * shape.hidden)?;
        check("token_type", self.token_type, shape.hidden)?;
        self.norm.check(shape.hidden)
    }
}

impl LayerWeights<'_> {
    /// Refuses weights of another shape, and those that are no numbers.
    pub(super) fn check(&self, shape: &EncoderShape) -> Result<(), KernelError> {
        for linear in [self.query, self.key, self.value, self.attention_output] {
            linear.check(shape.hidden, shape.hidden)?;
        }
        self.up.check(shape.hidden, shape.feed_forward)?;
        self.down.check(shape.feed_forward, shape.hidden)?;
        self.attention_norm.check(shape.hidden)?;
        self.output_norm.check(shape.hidden)
    }
}

fn check(what: &'static str, values: &[f32], expected: usize) -> Result<(), KernelError> {
    KernelError::check_length(what, values.len(), expected)?;
    KernelError::check_finite(what, values)
}
