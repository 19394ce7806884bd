//! The terms a model knows, and texts as rows of their weights.

use std::num::NonZeroUsize;

use super::Analyzer;
use super::analyze::Words;
use crate::claim::for_batches;
use crate::rows::{Row, SparseRows};
use crate::terms::Terms;

/// Texts that a thread makes rows of before it claims more.
const BATCH: usize = 256;

/// A fitted model. Column `c` of a row is the weight of term `c`; terms are in ascending order.
#[derive(Debug, Clone, PartialEq)]
pub struct Tfidf {
    analyzer: Analyzer,
    terms: Terms,
    idf: Vec<f64>,
    sublinear: bool,
}

impl Tfidf {
    /// Takes terms in ascending order and as many weights.
    pub(crate) fn from_parts(analyzer: Analyzer, terms: Terms, idf: Vec<f64>, sublinear: bool) -> Self {
        debug_assert!(terms.len() == idf.len() && terms.iter().is_sorted());
        Self { analyzer, terms, idf, sublinear }
    }

    /// How many columns rows have.
    pub fn width(&self) -> usize {
        self.idf.len()
    }

    /// The terms by column.
    pub fn vocabulary(&self) -> impl Iterator<Item = &str> {
        self.terms.iter()
    }

    /// The weight of each term by column: the rarer, the higher.
    pub fn idf(&self) -> &[f64] {
        &self.idf
    }

    /// How texts become terms.
    pub(crate) fn analyzer(&self) -> &Analyzer {
        &self.analyzer
    }

    /// Whether a term's weight grows with the logarithm of its count.
    pub(crate) fn sublinear(&self) -> bool {
        self.sublinear
    }

    /// One row for each text, made on `threads` threads. A text without any known term has a row without values.
    pub fn transform(&self, texts: &[impl AsRef<str> + Sync], threads: NonZeroUsize) -> SparseRows {
        let mut parts = vec![SparseRows::new(self.width()); texts.len().div_ceil(BATCH)];
        for_batches(
            threads,
            &mut parts,
            1,
            || RowBuffer::new(self),
            |buffer, number, parts| {
                for text in &texts[number * BATCH..texts.len().min((number + 1) * BATCH)] {
                    parts[0].push(self.row(text.as_ref(), buffer)).expect("columns ascend within the width");
                }
            },
        );
        let mut rows = SparseRows::new(self.width());
        parts.iter().for_each(|part| rows.append(part));
        rows
    }

    /// The row of one text.
    pub(crate) fn row<'a>(&self, text: &str, buffer: &'a mut RowBuffer) -> Row<'a> {
        let RowBuffer { words, times, columns, values } = buffer;
        columns.clear();
        values.clear();
        self.analyzer.terms(text, words, |hash, term| {
            if let Some(id) = self.terms.find(hash, term) {
                let times = &mut times[id as usize];
                if *times == 0 {
                    columns.push(id);
                }
                *times += 1;
            }
        });
        columns.sort_unstable();
        let mut squares = 0.0;
        for id in columns.iter() {
            let times = f64::from(std::mem::take(&mut times[*id as usize]));
            let times = if self.sublinear { 1.0 + libm::log(times) } else { times };
            let value = times * self.idf[*id as usize];
            squares += value * value;
            values.push(value);
        }
        let norm = squares.sqrt();
        values.iter_mut().for_each(|value| *value /= norm);
        Row { columns, values }
    }
}

/// What making a row needs, in buffers that many texts share.
#[derive(Debug)]
pub(crate) struct RowBuffer {
    words: Words,
    /// By column, 0 between texts.
    times: Vec<u32>,
    columns: Vec<u32>,
    values: Vec<f64>,
}

impl RowBuffer {
    pub(crate) fn new(model: &Tfidf) -> Self {
        Self { words: Words::default(), times: vec![0; model.width()], columns: Vec::new(), values: Vec::new() }
    }
}
