//! Attention with products of bfloat16, as `attention.rs` draws it. Scores, powers and their sums are `f32`; queries, keys,
//! values, and powers once they are summed, are rounded.

use super::arithmetic::{Heads, LEAST_EXPONENT, NO_KEY};
use super::attention::scale;
use super::lines::Lines;
use super::math::{exp2, largest, total};
use super::shape::{EncoderShape, PANEL};
use super::store::Store;
use super::tiles::{Left, Right, TILE_ROWS, multiply, tiles};
use crate::simd::{Bf16, Bf16Kernel, Lanes};

/// Whether heads are whole panels, as those of all well-known models are.
pub(super) fn suits(shape: &EncoderShape) -> bool {
    shape.head().is_multiple_of(PANEL)
}

/// What an attention computes on its way.
pub(super) struct Scratch {
    /// Rows of pairs.
    queries: Lines<u32>,
    /// Panels of keys, in pairs of depth.
    keys: Lines<u32>,
    /// Panels of 32 columns, in pairs of keys.
    values: Lines<u32>,
    /// 0 for each key, and [`NO_KEY`] behind them.
    mask: Vec<f32>,
    /// Rows of scores.
    scores: Lines<f32>,
    /// Rows of pairs of powers.
    powers: Lines<u32>,
    /// Rows of what values add up to.
    answers: Lines<f32>,
}

impl Scratch {
    /// Room for sentences of up to `longest` tokens.
    pub(super) fn new(shape: &EncoderShape, longest: usize) -> Self {
        let (keys, width) = (longest.next_multiple_of(PANEL), shape.head());
        Self {
            queries: Lines::zeros(longest * width / 2),
            keys: Lines::zeros(keys * width / 2),
            values: Lines::zeros(keys * width / 2),
            mask: vec![0.0; keys],
            scores: Lines::zeros(TILE_ROWS * keys),
            powers: Lines::zeros(TILE_ROWS * keys / 2),
            answers: Lines::zeros(TILE_ROWS * PANEL),
        }
    }
}

/// One attention of all sentences of a pack.
pub(super) struct Attend<'a> {
    pub(super) heads: Heads<'a>,
    pub(super) scratch: &'a mut Scratch,
}

impl Bf16Kernel for Attend<'_> {
    #[inline(always)]
    fn run(mut self, bf16: Bf16) {
        for sentence in 0..self.heads.starts.len() - 1 {
            let (first, tokens) = self.heads.begin(sentence, &mut self.scratch.mask);
            for head in 0..self.heads.shape.heads {
                self.head(bf16, first, tokens, head);
            }
        }
    }
}

impl Attend<'_> {
    /// One head of the sentence of `tokens` rows from `first` on.
    #[inline(always)]
    fn head(&mut self, bf16: Bf16, first: usize, tokens: usize, head: usize) {
        let Heads { shape, attended, .. } = self.heads;
        let (width, stride, factor) = (shape.head(), shape.attended_stride(), self.heads.factor());
        let of_head = Rows { values: &attended[first * stride + head * width..], stride, count: tokens, width };
        self.scratch.pack(bf16, of_head, shape.stride());
        let Scratch { queries, keys, values, mask, scores, powers, answers } = &mut *self.scratch;
        let (padded, pairs) = (tokens.next_multiple_of(PANEL), tokens.div_ceil(2));
        for (query, count) in tiles(tokens, TILE_ROWS) {
            let left = Left { rows: &queries[query * width / 2..], stride: width / 2, count };
            for panel in (0..padded).step_by(PANEL) {
                let values = &keys[panel * width / 2..][..PANEL * width / 2];
                let right = Right { values, stride: PANEL, depth: width / 2, start: &mask[panel..][..PANEL] };
                multiply(bf16, left, right, &mut Store::<false> { out: &mut scores[panel..], stride: padded });
            }
            let mut shares = [0.0; TILE_ROWS];
            let rows = scores.chunks_exact(padded).zip(powers.chunks_exact_mut(padded / 2));
            for ((scores, powers), share) in rows.take(count).zip(&mut shares) {
                let (scores, powers) = (scores.as_chunks::<16>().0, powers.as_chunks_mut::<8>().0);
                *share = 1.0 / take_powers(bf16, scores, powers, factor);
            }
            let left = Left { rows: &powers[..], stride: padded / 2, count };
            for column in (0..width).step_by(PANEL) {
                let values = &values[column * padded / 2..][..pairs * PANEL];
                let right = Right { values, stride: PANEL, depth: pairs, start: &[0.0; PANEL] };
                multiply(bf16, left, right, &mut Store::<false> { out: answers, stride: PANEL });
                for (row, share) in shares[..count].iter().enumerate() {
                    let context = (first + query + row) * shape.stride() + head * width + column;
                    let answer = answers[row * PANEL..][..PANEL].as_chunks::<16>().0;
                    let context = self.heads.context[context..][..PANEL].as_chunks_mut::<16>().0;
                    scale(bf16.lanes(), answer, *share, context);
                }
            }
        }
    }
}

/// The part of rows that belongs to a head.
#[derive(Clone, Copy)]
struct Rows<'a> {
    values: &'a [f32],
    stride: usize,
    count: usize,
    width: usize,
}

impl<'a> Rows<'a> {
    #[inline(always)]
    fn row(&self, row: usize) -> &'a [[f32; 16]] {
        self.values[row * self.stride..][..self.width].as_chunks().0
    }
}

impl Scratch {
    /// Rounds queries, keys and values, which are `apart` from each other, and puts them where products read them.
    #[inline(always)]
    fn pack(&mut self, bf16: Bf16, queries: Rows, apart: usize) {
        let Rows { count, width, .. } = queries;
        let keys = Rows { values: &queries.values[apart..], ..queries };
        let values = Rows { values: &queries.values[2 * apart..], ..queries };
        for (row, to) in self.queries.chunks_exact_mut(width / 2).take(count).enumerate() {
            for (from, to) in queries.row(row).iter().zip(to.as_chunks_mut::<8>().0) {
                bf16.store_neighbours(bf16.lanes().load16(from), to);
            }
        }
        // Keys that fill the last panel up are some key again: the mask counts, not their score.
        for (panel, to) in self.keys.chunks_exact_mut(width / 2 * PANEL).take(count.div_ceil(PANEL)).enumerate() {
            let to = to.as_chunks_mut::<PANEL>().0.as_chunks_mut::<16>().0;
            for (at, to) in to.iter_mut().enumerate() {
                for column in [0, 16] {
                    let mut sixteen = [&[[0.0; 16]; 2]; 16];
                    for (key, row) in sixteen.iter_mut().enumerate() {
                        let key = (panel * PANEL + column + key).min(count - 1);
                        *row = keys.row(key)[2 * at..].first_chunk().expect("heads of whole panels");
                    }
                    bf16.store_columns(sixteen, to, column);
                }
            }
        }
        let padded = count.next_multiple_of(PANEL);
        let zero = [[0.0; 16]; 2];
        for (panel, to) in self.values.chunks_exact_mut(padded / 2 * PANEL).take(width / PANEL).enumerate() {
            for (pair, to) in to.as_chunks_mut::<PANEL>().0.iter_mut().take(count.div_ceil(2)).enumerate() {
                let firsts = &values.row(2 * pair)[2 * panel..][..2];
                let seconds =
                    if 2 * pair + 1 < count { &values.row(2 * pair + 1)[2 * panel..][..2] } else { &zero[..] };
                for ((firsts, seconds), to) in firsts.iter().zip(seconds).zip(to.as_chunks_mut::<16>().0) {
                    bf16.store_pairs(bf16.lanes().load16(firsts), bf16.lanes().load16(seconds), to);
                }
            }
        }
    }
}

/// Writes the powers of scores, 1 for the largest, and answers their sum.
#[inline(always)]
fn take_powers(bf16: Bf16, row: &[[f32; 16]], powers: &mut [[u32; 8]], factor: f32) -> f32 {
    let lanes = bf16.lanes();
    let mut most = lanes.splat16(NO_KEY);
    for scores in row {
        most = lanes.max16(most, lanes.load16(scores));
    }
    let below = lanes.splat16(-(largest(lanes, most) * factor));
    let (factor, least) = (lanes.splat16(factor), lanes.splat16(LEAST_EXPONENT));
    let mut sum = lanes.splat16(0.0);
    for (scores, powers) in row.iter().zip(powers) {
        let exponent = lanes.max16(lanes.fma16(lanes.load16(scores), factor, below), least);
        let power = exp2::<_, true>(lanes, exponent);
        bf16.store_neighbours(power, powers);
        sum = lanes.add16(sum, power);
    }
    total(lanes, sum)
}
