//! How large an encoder is.

use crate::KernelError;

/// Columns of a panel, and what rows are padded to.
pub(super) const PANEL: usize = 32;

/// The shape of an encoder, and what it makes of the last layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EncoderShape {
    /// Layers.
    pub layers: usize,
    /// Values of a token between layers, and of a vector.
    pub hidden: usize,
    /// Heads of an attention; they divide `hidden`.
    pub heads: usize,
    /// Values of a token inside the feed-forward part.
    pub feed_forward: usize,
    /// Tokens known.
    pub vocabulary: usize,
    /// Tokens that a sentence may have.
    pub positions: usize,
    /// What is added to a variance.
    pub epsilon: f32,
    /// How the rows of a sentence become a vector.
    pub pooling: Pooling,
    /// Whether vectors are scaled to length 1.
    pub normalise: bool,
}

/// How the rows of a sentence become a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The row of the first token.
    First,
}

impl EncoderShape {
    /// Refuses shapes that make no encoder.
    pub(super) fn check(&self) -> Result<(), KernelError> {
        let counts = [
            ("layers", self.layers),
            ("hidden", self.hidden),
            ("heads", self.heads),
            ("feed_forward", self.feed_forward),
            ("vocabulary", self.vocabulary),
            ("positions", self.positions),
        ];
        for (name, count) in counts {
            if count == 0 || count > MOST {
                return Err(KernelError::Parameter { name, value: count as f64, expected: "1 to 16 million" });
            }
        }
        if !self.hidden.is_multiple_of(self.heads) {
            return Err(KernelError::Parameter {
                name: "heads",
                value: self.heads as f64,
                expected: "a number that divides hidden",
            });
        }
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return Err(KernelError::Parameter {
                name: "epsilon",
                value: self.epsilon.into(),
                expected: "a number from 0 on",
            });
        }
        Ok(())
    }

    /// Floats from one row of `hidden` values to the next.
    pub(super) fn stride(&self) -> usize {
        self.hidden.next_multiple_of(PANEL)
    }

    /// Floats from one row of queries, keys and values to the next; each of the three takes a [`EncoderShape::stride`].
    pub(super) fn attended_stride(&self) -> usize {
        3 * self.stride()
    }

    /// Values of a head.
    pub(super) fn head(&self) -> usize {
        self.hidden / self.heads
    }
}

/// The largest count of anything in a shape, far above any model, so that products of two do not overflow.
const MOST: usize = 16_000_000;
