//! Checks what a caller gives, cuts it into packs, and has threads take them.

use super::arithmetic::Arithmetic;
use super::full::Full;
#[cfg(target_arch = "x86_64")]
use super::int8::Int8;
use super::lines::Lines;
use super::norm::Norm;
use super::pass::{Layer, Stack, Table, Workspace};
use super::{EmbeddingWeights, EncoderShape, LayerWeights, Precision};
use crate::parallel::{check_threads, for_each_piece};
#[cfg(target_arch = "x86_64")]
use crate::simd::Bf16;
use crate::{Cpu, KernelError};

/// Tokens of a pack, unless one sentence has more.
const PACK: usize = 512;
/// Packs are made smaller, but not below this, when there are few tokens for the threads.
const LEAST_PACK: usize = 128;
/// Packs that each thread should have, so that all are done at about the same time.
const PACKS_PER_THREAD: usize = 4;

/// An encoder with packed weights.
pub struct Encoder {
    cpu: Cpu,
    shape: EncoderShape,
    table: Table,
    layers: Layers,
}

/// The layers, in their precision.
enum Layers {
    F32(Full, Vec<Layer<Full>>),
    #[cfg(target_arch = "x86_64")]
    Bf16(Bf16, Vec<Layer<Bf16>>),
    #[cfg(target_arch = "x86_64")]
    Int8(Int8, Vec<Layer<Int8>>),
}

impl Encoder {
    /// An encoder without layers, which [`Encoder::push_layer`] adds. `cpu` is the path of all that is `f32`.
    ///
    /// # Errors
    /// [`KernelError::Parameter`] for a shape of no encoder, [`KernelError::Length`] for weights of another shape,
    /// [`KernelError::NotFinite`] for weights that are no numbers, [`KernelError::Instructions`] for a precision that this
    /// processor lacks.
    pub fn new(
        cpu: Cpu,
        precision: Precision,
        shape: EncoderShape,
        weights: EmbeddingWeights,
    ) -> Result<Self, KernelError> {
        shape.check()?;
        weights.check(&shape)?;
        let layers = Layers::new(cpu, precision)?;
        let mut positions = Lines::zeros(shape.positions * shape.stride());
        for (row, position) in
            positions.chunks_exact_mut(shape.stride()).zip(weights.positions.chunks_exact(shape.hidden))
        {
            let sums = position.iter().zip(weights.token_type).map(|(position, token_type)| position + token_type);
            row.iter_mut().zip(sums).for_each(|(value, sum)| *value = sum);
        }
        let norm = Norm::new(&shape, &weights.norm);
        Ok(Self { cpu, shape, table: Table { words: weights.words, positions, norm }, layers })
    }

    /// Packs one more layer, behind those before.
    ///
    /// # Errors
    /// [`KernelError::Length`] or [`KernelError::NotFinite`] for weights of another shape or that are no numbers, and
    /// [`KernelError::Parameter`] for more layers than the shape has.
    pub fn push_layer(&mut self, weights: &LayerWeights) -> Result<(), KernelError> {
        if self.layers.count() == self.shape.layers {
            return Err(self.wrong_layers(self.layers.count() + 1));
        }
        weights.check(&self.shape)?;
        self.layers.push(&self.shape, weights);
        Ok(())
    }

    /// The shape.
    pub fn shape(&self) -> &EncoderShape {
        &self.shape
    }

    /// What the products compute in.
    pub fn precision(&self) -> Precision {
        match self.layers {
            Layers::F32(..) => Precision::F32,
            #[cfg(target_arch = "x86_64")]
            Layers::Bf16(..) => Precision::Bf16,
            #[cfg(target_arch = "x86_64")]
            Layers::Int8(..) => Precision::Int8,
        }
    }

    /// Floating-point operations of the products and attentions of a sentence of `tokens` tokens, as usually counted: two
    /// for each multiply-add, none for softmax, GELU and norms.
    pub fn operations(&self, tokens: usize) -> f64 {
        let EncoderShape { layers, hidden, feed_forward, .. } = self.shape;
        let by_token = 8.0 * (hidden * hidden) as f64 + 4.0 * (hidden * feed_forward) as f64;
        let attended = 4.0 * (hidden * tokens) as f64;
        layers as f64 * tokens as f64 * (by_token + attended)
    }

    /// Fills `vectors` with the vector of each sentence, on `threads` threads.
    ///
    /// Sentence `n` is `tokens[starts[n]..starts[n + 1]]`: from 1 token up to as many as there are positions. `vectors` has
    /// `hidden` values for each. Sentences of similar length, the longest first, keep threads evenly busy; the order
    /// changes no bit.
    ///
    /// # Errors
    /// [`KernelError::Length`] for slices of other lengths, [`KernelError::UnknownId`] for a token not in the vocabulary,
    /// [`KernelError::Parameter`] for 0 threads, a sentence without tokens or with too many, or missing layers, and
    /// [`KernelError::NotFinite`] if a vector is no number, as weights far too large make it.
    pub fn encode(
        &self,
        tokens: &[u32],
        starts: &[usize],
        threads: usize,
        vectors: &mut [f32],
    ) -> Result<(), KernelError> {
        self.check(tokens, starts, threads, vectors)?;
        match &self.layers {
            Layers::F32(full, layers) => self.run(full, layers, tokens, starts, threads, vectors),
            #[cfg(target_arch = "x86_64")]
            Layers::Bf16(bf16, layers) => self.run(bf16, layers, tokens, starts, threads, vectors),
            #[cfg(target_arch = "x86_64")]
            Layers::Int8(int8, layers) => self.run(int8, layers, tokens, starts, threads, vectors),
        }
        KernelError::check_finite("value of a vector", vectors)
    }

    fn check(&self, tokens: &[u32], starts: &[usize], threads: usize, vectors: &[f32]) -> Result<(), KernelError> {
        check_threads(threads)?;
        if self.layers.count() != self.shape.layers {
            return Err(self.wrong_layers(self.layers.count()));
        }
        let sentences = starts.len().saturating_sub(1);
        KernelError::check_length("tokens", tokens.len(), starts.last().copied().unwrap_or(0))?;
        KernelError::check_length("vectors", vectors.len(), sentences * self.shape.hidden)?;
        if starts.first().is_some_and(|first| *first != 0) {
            return Err(KernelError::Parameter { name: "starts[0]", value: starts[0] as f64, expected: "0" });
        }
        for sentence in starts.windows(2) {
            let tokens = sentence[1].saturating_sub(sentence[0]);
            if tokens == 0 || tokens > self.shape.positions {
                let expected = "1 up to the number of positions";
                return Err(KernelError::Parameter { name: "tokens of a sentence", value: tokens as f64, expected });
            }
        }
        let rows = self.shape.vocabulary;
        match tokens.iter().position(|token| *token as usize >= rows) {
            Some(entry) => Err(KernelError::UnknownId { what: "token", entry, id: tokens[entry], rows }),
            None => Ok(()),
        }
    }

    fn wrong_layers(&self, layers: usize) -> KernelError {
        KernelError::Parameter { name: "layers", value: layers as f64, expected: "as many as the shape has" }
    }

    fn run<A: Arithmetic>(
        &self,
        arithmetic: &A,
        layers: &[Layer<A>],
        tokens: &[u32],
        starts: &[usize],
        threads: usize,
        mut vectors: &mut [f32],
    ) {
        let stack = Stack { cpu: self.cpu, arithmetic, shape: &self.shape, table: &self.table, layers };
        let mut packs = Vec::new();
        for pack in packs_of(starts, threads) {
            let (of_pack, rest) = vectors.split_at_mut((pack.len() - 1) * self.shape.hidden);
            packs.push((pack, of_pack));
            vectors = rest;
        }
        let most = packs.iter().map(|(pack, _)| pack[pack.len() - 1] - pack[0]).max().unwrap_or(0);
        let longest = starts.windows(2).map(|sentence| sentence[1] - sentence[0]).max().unwrap_or(0);
        for_each_piece(
            threads,
            packs,
            || (Workspace::new(&stack, most, longest), Vec::new()),
            |(work, of_pack), _, (pack, vectors)| {
                of_pack.clear();
                of_pack.extend(pack.iter().map(|start| start - pack[0]));
                stack.pass(&tokens[pack[0]..pack[pack.len() - 1]], of_pack, work, vectors);
                Ok(())
            },
        )
        .expect("threads were checked and a pass has no error");
    }
}

/// Cuts sentences into packs: the starts of each, with its end.
fn packs_of(starts: &[usize], threads: usize) -> Vec<&[usize]> {
    let tokens = starts.last().copied().unwrap_or(0);
    let most = match threads {
        1 => PACK,
        _ => tokens.div_ceil(threads * PACKS_PER_THREAD).clamp(LEAST_PACK, PACK),
    };
    let mut packs = Vec::new();
    let mut first = 0;
    while first + 1 < starts.len() {
        let mut end = first + 1;
        while end + 1 < starts.len() && starts[end + 1] - starts[first] <= most {
            end += 1;
        }
        packs.push(&starts[first..=end]);
        first = end;
    }
    packs
}

impl Layers {
    fn new(cpu: Cpu, precision: Precision) -> Result<Self, KernelError> {
        let missing = || KernelError::Instructions { precision, missing: precision.missing().unwrap_or("x86-64") };
        match precision {
            Precision::F32 => Ok(Self::F32(Full { cpu }, Vec::new())),
            #[cfg(target_arch = "x86_64")]
            Precision::Bf16 => Ok(Self::Bf16(Bf16::detect().ok_or_else(missing)?, Vec::new())),
            #[cfg(target_arch = "x86_64")]
            Precision::Int8 => Ok(Self::Int8(Int8::detect().ok_or_else(missing)?, Vec::new())),
            #[cfg(not(target_arch = "x86_64"))]
            Precision::Bf16 | Precision::Int8 => Err(missing()),
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::F32(_, layers) => layers.len(),
            #[cfg(target_arch = "x86_64")]
            Self::Bf16(_, layers) => layers.len(),
            #[cfg(target_arch = "x86_64")]
            Self::Int8(_, layers) => layers.len(),
        }
    }

    fn push(&mut self, shape: &EncoderShape, weights: &LayerWeights) {
        match self {
            Self::F32(full, layers) => layers.push(Layer::new(full, shape, weights)),
            #[cfg(target_arch = "x86_64")]
            Self::Bf16(bf16, layers) => layers.push(Layer::new(bf16, shape, weights)),
            #[cfg(target_arch = "x86_64")]
            Self::Int8(int8, layers) => layers.push(Layer::new(int8, shape, weights)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_hold_all_sentences_in_order_and_as_many_tokens_as_fit() {
        let starts: Vec<usize> = (0..=200).map(|sentence| sentence * 13).collect();
        for threads in [1, 2, 9] {
            let packs = packs_of(&starts, threads);
            let joined: Vec<usize> = packs.iter().flat_map(|pack| &pack[..pack.len() - 1]).copied().collect();
            assert_eq!(joined, starts[..200]);
            for pack in &packs[..packs.len() - 1] {
                let tokens = pack[pack.len() - 1] - pack[0];
                assert!((LEAST_PACK - 13..=PACK).contains(&tokens), "{tokens} tokens");
            }
        }
        assert_eq!(packs_of(&[0, 5, 5 + 2 * PACK, 9 + 2 * PACK], 1).len(), 3, "a long sentence has a pack of its own");
        assert!(packs_of(&[], 1).is_empty() && packs_of(&[0], 2).is_empty());
    }
}
