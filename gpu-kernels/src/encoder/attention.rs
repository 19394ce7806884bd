//! Attention in `f32`: every sentence and every head on its own.
//!
//! ```text
//!   keys of a head ─► panels of 32 keys          12 queries × keys ─► scores ─► 2^(score - largest), their sum
//!                                                12 rows of powers × values ─► ÷ sum ─► context
//! ```
//!
//! Softmax is taken with powers of two: the factor that turns them into powers of e is part of the scale of scores. Keys
//! that fill the last panel up have a score so low that their power is nothing. The 12 rows of scores of a step stay in
//! the first cache.

use super::arithmetic::{Heads, LEAST_EXPONENT, NO_KEY};
use super::lines::Lines;
use super::math::{exp2, largest, total};
use super::shape::{EncoderShape, PANEL};
use super::store::Store;
use super::tiles::{FullStep, Left, Right, TILE_ROWS, multiply, tiles};
use crate::simd::{Kernel, Lanes};

/// What an attention computes on its way.
pub(super) struct Scratch {
    /// Panels of keys.
    keys: Lines<f32>,
    /// 0 for each key, and [`NO_KEY`] behind them.
    mask: Vec<f32>,
    /// Rows of scores, then of powers.
    scores: Lines<f32>,
    /// Rows of what values add up to.
    answers: Lines<f32>,
}

impl Scratch {
    /// Room for sentences of up to `longest` tokens.
    pub(super) fn new(shape: &EncoderShape, longest: usize) -> Self {
        let keys = longest.next_multiple_of(PANEL);
        Self {
            keys: Lines::zeros(keys * shape.head()),
            mask: vec![0.0; keys],
            scores: Lines::zeros(TILE_ROWS * keys),
            answers: Lines::zeros(TILE_ROWS * PANEL),
        }
    }
}

/// One attention of all sentences of a pack.
pub(super) struct Attend<'a> {
    pub(super) heads: Heads<'a>,
    pub(super) scratch: &'a mut Scratch,
}

impl Kernel for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        for sentence in 0..self.heads.starts.len() - 1 {
            let (first, tokens) = self.heads.begin(sentence, &mut self.scratch.mask);
            for head in 0..self.heads.shape.heads {
                self.head(lanes, first, tokens, head);
            }
        }
    }
}

impl Attend<'_> {
    /// One head of the sentence of `tokens` rows from `first` on.
    #[inline(always)]
    fn head<L: Lanes>(&mut self, lanes: L, first: usize, tokens: usize, head: usize) {
        let Heads { shape, attended, .. } = self.heads;
        let (width, stride, factor) = (shape.head(), shape.attended_stride(), self.heads.factor());
        let queries = &attended[first * stride + head * width..];
        let (keys, values) = (&queries[shape.stride()..], &queries[2 * shape.stride()..]);
        let Scratch { keys: panels, mask, scores, answers } = &mut *self.scratch;
        let padded = tokens.next_multiple_of(PANEL);
        pack_keys(keys, stride, tokens, width, panels);
        for (query, count) in tiles(tokens, TILE_ROWS) {
            let left = Left { rows: &queries[query * stride..], stride, count };
            for panel in (0..padded).step_by(PANEL) {
                let values = &panels[panel * width..][..width * PANEL];
                let right = Right { values, stride: PANEL, depth: width, start: &mask[panel..][..PANEL] };
                let mut store = Store::<false> { out: &mut scores[panel..], stride: padded };
                multiply(FullStep(lanes), left, right, &mut store);
            }
            let mut shares = [0.0; TILE_ROWS];
            for (row, share) in scores.chunks_exact_mut(padded).take(count).zip(&mut shares) {
                *share = 1.0 / powers(lanes, row.as_chunks_mut::<16>().0, factor);
            }
            let left = Left { rows: &scores[..], stride: padded, count };
            for column in (0..width).step_by(PANEL) {
                let right = Right { values: &values[column..], stride, depth: tokens, start: &[0.0; PANEL] };
                multiply(FullStep(lanes), left, right, &mut Store::<false> { out: answers, stride: PANEL });
                let filled = PANEL.min(width - column);
                for (row, share) in shares[..count].iter().enumerate() {
                    let context = (first + query + row) * shape.stride() + head * width + column;
                    let context = &mut self.heads.context[context..][..filled];
                    let answer = answers[row * PANEL..][..PANEL].as_chunks::<16>().0;
                    if filled == PANEL {
                        scale(lanes, answer, *share, context.as_chunks_mut::<16>().0);
                        continue;
                    }
                    let mut scaled = [[0.0; 16]; PANEL / 16];
                    scale(lanes, answer, *share, &mut scaled);
                    context.copy_from_slice(&scaled.as_flattened()[..filled]);
                }
            }
        }
    }
}

/// Writes values times a factor.
#[inline(always)]
pub(super) fn scale<L: Lanes>(lanes: L, values: &[[f32; 16]], factor: f32, to: &mut [[f32; 16]]) {
    let factor = lanes.splat16(factor);
    for (values, to) in values.iter().zip(to) {
        lanes.store16(lanes.mul16(lanes.load16(values), factor), to);
    }
}

/// Puts the keys of a head side by side: one key is a column.
#[inline(always)]
fn pack_keys(keys: &[f32], stride: usize, tokens: usize, width: usize, panels: &mut [f32]) {
    for (panel, first) in panels.chunks_exact_mut(width * PANEL).zip((0..tokens).step_by(PANEL)) {
        let count = PANEL.min(tokens - first);
        for column in 0..count {
            let key = &keys[(first + column) * stride..][..width];
            for (row, value) in panel.chunks_exact_mut(PANEL).zip(key) {
                row[column] = *value;
            }
        }
        for row in panel.chunks_exact_mut(PANEL) {
            row[count..].fill(0.0);
        }
    }
}

/// Replaces scores by powers, 1 for the largest, and answers their sum.
#[inline(always)]
fn powers<L: Lanes>(lanes: L, row: &mut [[f32; 16]], factor: f32) -> f32 {
    let mut most = lanes.splat16(NO_KEY);
    for scores in row.iter() {
        most = lanes.max16(most, lanes.load16(scores));
    }
    let below = lanes.splat16(-(largest(lanes, most) * factor));
    let (factor, least) = (lanes.splat16(factor), lanes.splat16(LEAST_EXPONENT));
    let mut sum = lanes.splat16(0.0);
    for scores in row {
        let exponent = lanes.max16(lanes.fma16(lanes.load16(scores), factor, below), least);
        let power = exp2::<L, false>(lanes, exponent);
        lanes.store16(power, scores);
        sum = lanes.add16(sum, power);
    }
    total(lanes, sum)
}
