//! One pass of a pack through all layers, in any precision.

use super::EncoderShape;
use super::arithmetic::{Arithmetic, Heads};
use super::lines::Lines;
use super::norm::{AddNorm, Norm};
use super::pool::pool;
use super::shape::PANEL;
use super::tiles::TILE_ROWS;
use super::weights::LayerWeights;
use crate::Cpu;

/// Rows that pass through the products between two attentions together, at most.
const BLOCK: usize = 96;

/// What tokens become before the first layer.
pub(super) struct Table {
    /// A row for each word, without padding.
    pub(super) words: Vec<f32>,
    /// A padded row for each position, with the token type added.
    pub(super) positions: Lines<f32>,
    /// The norm of the sum.
    pub(super) norm: Norm,
}

/// A packed layer.
pub(super) struct Layer<A: Arithmetic> {
    attended: A::Panels,
    attention_output: A::Panels,
    attention_norm: Norm,
    up: A::Panels,
    down: A::Panels,
    output_norm: Norm,
}

impl<A: Arithmetic> Layer<A> {
    /// Packs checked weights.
    pub(super) fn new(arithmetic: &A, shape: &EncoderShape, weights: &LayerWeights) -> Self {
        let (hidden, inner) = (shape.stride(), shape.feed_forward.next_multiple_of(PANEL));
        Self {
            attended: arithmetic.pack(&[weights.query, weights.key, weights.value], hidden),
            attention_output: arithmetic.pack(&[weights.attention_output], hidden),
            attention_norm: Norm::new(shape, &weights.attention_norm),
            up: arithmetic.pack(&[weights.up], hidden),
            down: arithmetic.pack(&[weights.down], inner),
            output_norm: Norm::new(shape, &weights.output_norm),
        }
    }
}

/// All that a pass reads.
pub(super) struct Stack<'a, A: Arithmetic> {
    pub(super) cpu: Cpu,
    pub(super) arithmetic: &'a A,
    pub(super) shape: &'a EncoderShape,
    pub(super) table: &'a Table,
    pub(super) layers: &'a [Layer<A>],
}

/// What a thread's passes write, made once for all of them.
pub(super) struct Workspace<A: Arithmetic> {
    /// The rows of the pack.
    hidden: Lines<f32>,
    /// Queries, keys and values of the pack, and a panel behind them.
    attended: Lines<f32>,
    /// What the heads answer.
    context: Lines<f32>,
    /// What a product answers for the rows of a block.
    answer: Lines<f32>,
    /// The rows of a block, for a product.
    input: A::Rows,
    /// The rows of a block inside the feed-forward part.
    inner: A::Rows,
    scratch: A::Scratch,
}

impl<A: Arithmetic> Workspace<A> {
    /// Room for packs of up to `tokens` tokens whose sentences have up to `longest`.
    pub(super) fn new(stack: &Stack<A>, tokens: usize, longest: usize) -> Self {
        let Stack { arithmetic, shape, .. } = stack;
        let block = BLOCK.min(tokens);
        Self {
            hidden: Lines::zeros(tokens * shape.stride()),
            attended: Lines::zeros(tokens * shape.attended_stride() + PANEL),
            context: Lines::zeros(tokens * shape.stride()),
            answer: Lines::zeros(block * shape.stride()),
            input: arithmetic.rows(block, shape.stride()),
            inner: arithmetic.rows(block, shape.feed_forward.next_multiple_of(PANEL)),
            scratch: arithmetic.scratch(shape, longest),
        }
    }
}

impl<A: Arithmetic> Stack<'_, A> {
    /// Computes the vectors of the sentences that start at `starts` in `tokens`.
    pub(super) fn pass(&self, tokens: &[u32], starts: &[usize], work: &mut Workspace<A>, vectors: &mut [f32]) {
        self.embed(tokens, starts, work);
        for rows in blocks(tokens.len()) {
            self.attended(&self.layers[0], rows, work);
        }
        for (number, layer) in self.layers.iter().enumerate() {
            let (shape, attended) = (self.shape, &work.attended);
            let heads = Heads { shape, starts, attended, context: &mut work.context };
            self.arithmetic.attend(heads, &mut work.scratch);
            for rows in blocks(tokens.len()) {
                self.finish(layer, rows.clone(), work);
                if let Some(next) = self.layers.get(number + 1) {
                    self.attended(next, rows, work);
                }
            }
        }
        let stride = self.shape.stride();
        for (sentence, vector) in starts.windows(2).zip(vectors.chunks_exact_mut(self.shape.hidden)) {
            pool(self.shape, &work.hidden[sentence[0] * stride..sentence[1] * stride], vector);
        }
    }

    fn embed(&self, tokens: &[u32], starts: &[usize], work: &mut Workspace<A>) {
        let (hidden, stride) = (self.shape.hidden, self.shape.stride());
        for (token, row) in tokens.iter().zip(work.hidden.chunks_exact_mut(stride)) {
            row[..hidden].copy_from_slice(&self.table.words[*token as usize * hidden..][..hidden]);
            row[hidden..].fill(0.0);
        }
        for sentence in starts.windows(2) {
            let rows = &mut work.hidden[sentence[0] * stride..sentence[1] * stride];
            let added = &self.table.positions[..rows.len()];
            self.cpu.run(AddNorm { norm: &self.table.norm, rows, added });
        }
    }

    /// Queries, keys and values of a block.
    fn attended(&self, layer: &Layer<A>, rows: std::ops::Range<usize>, work: &mut Workspace<A>) {
        let (stride, wide) = (self.shape.stride(), self.shape.attended_stride());
        self.arithmetic.convert(&work.hidden[rows.start * stride..rows.end * stride], &mut work.input);
        let out = &mut work.attended[rows.start * wide..rows.end * wide];
        self.arithmetic.multiply(&work.input, rows.len(), &layer.attended, out);
    }

    /// What comes after the attention, for a block.
    fn finish(&self, layer: &Layer<A>, rows: std::ops::Range<usize>, work: &mut Workspace<A>) {
        let (arithmetic, count, stride) = (self.arithmetic, rows.len(), self.shape.stride());
        let rows = rows.start * stride..rows.end * stride;
        let (hidden, answer) = (&mut work.hidden[rows.clone()], &mut work.answer[..count * stride]);
        arithmetic.convert(&work.context[rows], &mut work.input);
        arithmetic.multiply(&work.input, count, &layer.attention_output, answer);
        self.cpu.run(AddNorm { norm: &layer.attention_norm, rows: hidden, added: answer });
        arithmetic.convert(hidden, &mut work.input);
        arithmetic.multiply_gelu(&work.input, count, &layer.up, &mut work.inner);
        arithmetic.multiply(&work.inner, count, &layer.down, answer);
        self.cpu.run(AddNorm { norm: &layer.output_norm, rows: hidden, added: answer });
    }
}

/// Blocks of about the same number of whole tiles that cover `rows` rows.
fn blocks(rows: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let height = rows.div_ceil(rows.div_ceil(BLOCK).max(1)).next_multiple_of(TILE_ROWS).max(TILE_ROWS);
    (0..rows).step_by(height).map(move |first| first..rows.min(first + height))
}
