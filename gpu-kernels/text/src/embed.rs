//! Texts in, vectors out: tokenised, sorted by length, packed, encoded by many threads, given back in their order.
//!
//! A text without any token has no vector and is no error: a table may have empty cells. A text with more tokens than the
//! model takes is cut, and says so.

use std::num::NonZeroUsize;
use std::sync::PoisonError;

use tandem_kernels::KernelError;
use tandem_kernels::device::DeviceError;
use tandem_kernels::parallel::check_threads;

use crate::claim::for_batches;
use crate::model::{Engine, Model};
use crate::wordpiece::Encoded;

/// Texts that are sorted and encoded together, so that what lies between takes little memory.
const WINDOW: usize = 8192;
/// Texts that a thread tokenises at once.
const CHUNK: usize = 64;

/// Why texts have no vectors.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("cannot embed texts: {0}")]
pub enum EmbedError {
    /// They cannot have any.
    Input(#[from] KernelError),
    /// The device that the model is on has failed.
    Device(#[from] DeviceError),
}

/// The vectors of some texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    dimension: usize,
    /// Of all texts that have one, one behind the other.
    vectors: Vec<f32>,
    texts: Vec<Text>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Text {
    /// Which of the vectors is its own; none if it has no tokens.
    vector: Option<usize>,
    /// With the first and the last one.
    tokens: usize,
    cut: bool,
}

impl Embeddings {
    /// Texts.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there are no texts.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Values of a vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The vector of text `text`, counted from 0; none if nothing in it is a token, as in empty texts.
    ///
    /// # Panics
    /// If there is no such text.
    pub fn vector(&self, text: usize) -> Option<&[f32]> {
        let vector = self.texts[text].vector?;
        Some(&self.vectors[vector * self.dimension..][..self.dimension])
    }

    /// The vectors in the order of texts, those that have none left out, one behind the other.
    pub fn vectors(&self) -> &[f32] {
        &self.vectors
    }

    /// Whether text `text` had more tokens than the model takes.
    ///
    /// # Panics
    /// If there is no such text.
    pub fn was_cut(&self, text: usize) -> bool {
        self.texts[text].cut
    }

    /// Tokens of text `text` that were encoded, the first and the last one included; 0 if it has no vector.
    ///
    /// # Panics
    /// If there is no such text.
    pub fn tokens_of(&self, text: usize) -> usize {
        self.texts[text].tokens
    }

    /// Tokens that were encoded in all.
    pub fn tokens(&self) -> usize {
        self.texts.iter().map(|text| text.tokens).sum()
    }
}

impl Model {
    /// The vectors of texts, on `threads` threads. A text has the same vector in any company, order and number of threads.
    ///
    /// # Errors
    /// For 0 threads, and if weights are so large that a vector is no number.
    pub fn embed<T: AsRef<str> + Sync>(&self, texts: &[T], threads: usize) -> Result<Embeddings, EmbedError> {
        let threads = check_threads(threads)?;
        let mut all = Embeddings { dimension: self.dimension(), vectors: Vec::new(), texts: Vec::new() };
        for texts in texts.chunks(WINDOW) {
            self.embed_window(texts, threads, &mut all)?;
        }
        Ok(all)
    }

    fn embed_window<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        threads: NonZeroUsize,
        all: &mut Embeddings,
    ) -> Result<(), EmbedError> {
        let (ids, starts, encoded) = self.tokenise(texts, threads).joined();
        let first = all.vectors.len() / all.dimension;
        let mut order: Vec<usize> = (0..texts.len()).filter(|text| encoded[*text].pieces > 0).collect();
        all.vectors.resize((first + order.len()) * all.dimension, 0.0);
        // By the position among texts with tokens, which is that of their vectors.
        let mut vectors = first..;
        all.texts.extend(starts.windows(2).zip(&encoded).map(|(start, encoded)| match encoded.pieces {
            0 => Text { vector: None, tokens: 0, cut: encoded.cut },
            _ => Text { vector: vectors.next(), tokens: start[1] - start[0], cut: encoded.cut },
        }));
        let of_window = all.texts.len() - texts.len();
        order.sort_by_key(|text| std::cmp::Reverse(all.texts[of_window + text].tokens));

        let (mut sorted, mut sorted_starts) = (Vec::with_capacity(ids.len()), vec![0]);
        for text in &order {
            sorted.extend_from_slice(&ids[starts[*text]..starts[text + 1]]);
            sorted_starts.push(sorted.len());
        }
        let of_sorted = self.encode(&sorted, &sorted_starts, threads)?;
        for (text, vector) in order.iter().zip(of_sorted.chunks_exact(all.dimension)) {
            let to = all.texts[of_window + text].vector.expect("only texts with tokens are encoded");
            all.vectors[to * all.dimension..][..all.dimension].copy_from_slice(vector);
        }
        Ok(())
    }

    /// The vectors of sentences, one behind the other.
    fn encode(&self, tokens: &[u32], starts: &[usize], threads: NonZeroUsize) -> Result<Vec<f32>, EmbedError> {
        match &self.engine {
            Engine::Cpu(encoder) => {
                let mut vectors = vec![0.0; (starts.len() - 1) * self.dimension()];
                encoder.encode(tokens, starts, threads.get(), &mut vectors)?;
                Ok(vectors)
            }
            Engine::Device(encoder) => {
                let starts: Vec<u32> = starts.iter().map(|start| *start as u32).collect();
                let mut encoder = encoder.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(encoder.encode(tokens, &starts)?)
            }
        }
    }

    /// The tokens of texts, tokenised by threads that claim some texts at a time.
    fn tokenise<T: AsRef<str> + Sync>(&self, texts: &[T], threads: NonZeroUsize) -> Tokenised {
        let mut chunks: Vec<(&[T], Chunk)> = texts.chunks(CHUNK).map(|texts| (texts, Chunk::default())).collect();
        for_batches(
            threads,
            &mut chunks,
            1,
            || (),
            |(), _, chunks| {
                for (texts, Chunk { ids, encoded }) in chunks {
                    for text in texts.iter() {
                        let before = ids.len();
                        let outcome = self.tokenizer.encode(text.as_ref(), self.longest, ids);
                        encoded.push((ids.len() - before, outcome));
                    }
                }
            },
        );
        Tokenised(chunks.into_iter().map(|(_, chunk)| chunk).collect())
    }
}

/// The ids of some texts, and of each text how many and what became of it.
#[derive(Default)]
struct Chunk {
    ids: Vec<u32>,
    encoded: Vec<(usize, Encoded)>,
}

/// All texts, in their order.
struct Tokenised(Vec<Chunk>);

impl Tokenised {
    /// In the order of texts: ids, where each text starts and the last one ends, and what became of each.
    fn joined(self) -> (Vec<u32>, Vec<usize>, Vec<Encoded>) {
        let (mut all, mut starts, mut encoded) = (Vec::new(), vec![0], Vec::new());
        for Chunk { ids, encoded: texts } in self.0 {
            let mut end = all.len();
            for (tokens, outcome) in texts {
                end += tokens;
                starts.push(end);
                encoded.push(outcome);
            }
            all.extend(ids);
        }
        (all, starts, encoded)
    }
}
