//! The rows of a sentence become its vector.

use super::shape::{EncoderShape, Pooling};

/// The shortest length that a vector is divided by, so that a vector of zeros stays one.
const SHORTEST: f64 = 1e-12;

/// Fills `vector` with what `rows`, those of one sentence, are pooled to.
pub(super) fn pool(shape: &EncoderShape, rows: &[f32], vector: &mut [f32]) {
    match shape.pooling {
        Pooling::First => vector.copy_from_slice(&rows[..shape.hidden]),
        Pooling::Mean => mean(shape, rows, vector),
    }
    if shape.normalise {
        let squares: f64 = vector.iter().map(|value| f64::from(*value).powi(2)).sum();
        let length = squares.sqrt().max(SHORTEST);
        vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
}

fn mean(shape: &EncoderShape, rows: &[f32], vector: &mut [f32]) {
    let stride = shape.stride();
    vector.fill(0.0);
    for row in rows.chunks_exact(stride) {
        vector.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    let tokens = (rows.len() / stride) as f32;
    vector.iter_mut().for_each(|sum| *sum /= tokens);
}
