//! Weights in panels of 32 columns, so that a tile reads them in the order in which they lie.
//!
//! ```text
//!   panel 0: depth 0: columns 0 … 31 │ depth 1: columns 0 … 31 │ …        then panel 1: columns 32 … 63
//! ```
//!
//! A panel's depth is that of padded rows; weights of the padding are zero. Maps that read the same rows (queries, keys,
//! values) become one product, each starting with a panel of its own.

use super::shape::PANEL;
use super::weights::LinearWeights;

/// Where a weight goes.
pub(super) struct Place {
    /// The panel.
    pub(super) panel: usize,
    /// Which value of a row it is multiplied by.
    pub(super) depth: usize,
    /// The column in the panel.
    pub(super) column: usize,
}

/// How many columns the maps have together, each padded to whole panels.
pub(super) fn columns(maps: &[LinearWeights]) -> usize {
    maps.iter().map(|map| map.bias.len().next_multiple_of(PANEL)).sum()
}

/// The biases of the maps, as long as [`columns`] says.
pub(super) fn biases(maps: &[LinearWeights]) -> Vec<f32> {
    let mut biases = Vec::with_capacity(columns(maps));
    for map in maps {
        biases.extend_from_slice(map.bias);
        biases.resize(biases.len().next_multiple_of(PANEL), 0.0);
    }
    biases
}

/// Calls `place` for each column of weights, with its number and its weights.
pub(super) fn for_columns<'a>(maps: &[LinearWeights<'a>], mut place: impl FnMut(usize, &'a [f32])) {
    let mut first = 0;
    for map in maps {
        let depth = map.weight.len() / map.bias.len();
        for (column, weights) in map.weight.chunks_exact(depth).enumerate() {
            place(first + column, weights);
        }
        first += map.bias.len().next_multiple_of(PANEL);
    }
}

/// Calls `put` for each weight with its place.
pub(super) fn for_weights(maps: &[LinearWeights], mut put: impl FnMut(Place, f32)) {
    for_columns(maps, |number, weights| {
        for (depth, weight) in weights.iter().enumerate() {
            put(Place { panel: number / PANEL, depth, column: number % PANEL }, *weight);
        }
    });
}
