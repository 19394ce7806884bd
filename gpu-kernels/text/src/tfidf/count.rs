//! Counts terms over texts, and decides which of them a model keeps.
//! Invariant: a model follows from the set of texts; batches, workers and the order of merging have no say.

use std::num::NonZeroUsize;

use super::analyze::Words;
use super::{Analyzer, Tfidf};
use crate::FitError;
use crate::claim::for_batches;
use crate::tensors::{Malformed, Tensors, malformed};
use crate::terms::Terms;

/// Texts that a thread counts before it claims more.
const BATCH: usize = 1024;

/// No counts are higher; those that are still fit once many are added up.
const MOST: u64 = 1 << 53;
/// What bytes say they are. Another number is another form.
const FORMAT: &str = "tandem-term-counts-1";

/// How many texts a term must or may be in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Frequency {
    /// A number of texts.
    Texts(u64),
    /// A share of all texts, from 0 to 1.
    Share(f64),
}

/// Which terms a model keeps, and how it weighs them.
#[derive(Debug, Clone, PartialEq)]
pub struct TfidfOptions {
    /// Terms in fewer texts are left out.
    pub min_df: Frequency,
    /// Terms in more texts are left out.
    pub max_df: Frequency,
    /// At most so many terms are kept, those that come up most often.
    pub max_features: Option<usize>,
    /// Counts one more text that has every term.
    pub smooth_idf: bool,
    /// A term that is in a text `n` times weighs `1 + ln n` instead of `n`.
    pub sublinear_tf: bool,
}

/// The options scikit-learn starts from.
impl Default for TfidfOptions {
    fn default() -> Self {
        Self {
            min_df: Frequency::Texts(1),
            max_df: Frequency::Share(1.0),
            max_features: None,
            smooth_idf: true,
            sublinear_tf: false,
        }
    }
}

/// How often terms are in texts.
#[derive(Debug, Clone)]
pub struct TermCounts {
    analyzer: Analyzer,
    texts: u64,
    terms: Terms,
    counts: Vec<Count>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    texts: u64,
    times: u64,
    /// The number of the last text that had it, counted from 1.
    last: u64,
}

impl TermCounts {
    /// Of no texts.
    pub fn new(analyzer: Analyzer) -> Self {
        Self { analyzer, texts: 0, terms: Terms::default(), counts: Vec::new() }
    }

    /// How many texts were counted.
    pub fn texts(&self) -> u64 {
        self.texts
    }

    /// Counts texts on `threads` threads.
    pub fn add(&mut self, texts: &[impl AsRef<str> + Sync], threads: NonZeroUsize) {
        let threads = threads.min(NonZeroUsize::new(texts.len().div_ceil(BATCH)).unwrap_or(NonZeroUsize::MIN));
        if threads == NonZeroUsize::MIN {
            let mut words = Words::default();
            texts.iter().for_each(|text| self.add_text(text.as_ref(), &mut words));
            return;
        }
        // One part of the texts for each thread: parts of parts would only mean more merging.
        let size = texts.len().div_ceil(threads.get());
        let mut parts: Vec<Self> = texts.chunks(size).map(|_| Self::new(self.analyzer.clone())).collect();
        for_batches(threads, &mut parts, 1, Words::default, |words, number, parts| {
            for text in texts.chunks(size).nth(number).expect("a part for each") {
                parts[0].add_text(text.as_ref(), words);
            }
        });
        parts.iter().for_each(|part| self.take(part));
    }

    fn add_text(&mut self, text: &str, words: &mut Words) {
        self.texts += 1;
        let Self { analyzer, texts, terms, counts } = self;
        analyzer.terms(text, words, |hash, term| {
            let id = terms.intern(hash, term) as usize;
            if id == counts.len() {
                counts.push(Count::default());
            }
            let count = &mut counts[id];
            count.times += 1;
            count.texts += u64::from(count.last != *texts);
            count.last = *texts;
        });
    }

    /// Adds the counts of other texts.
    ///
    /// # Errors
    /// [`FitError::OtherAnalyzer`] if those texts were cut into terms in another way.
    pub fn merge(&mut self, other: &Self) -> Result<(), FitError> {
        if self.analyzer != other.analyzer {
            return Err(FitError::OtherAnalyzer);
        }
        self.take(other);
        Ok(())
    }

    /// The counts as bytes, for a worker that sends them to another.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut tensors = Tensors::default();
        tensors.put_text("format", FORMAT);
        self.analyzer.put(&mut tensors);
        tensors.put_counts("documents", &[1], [self.texts].into_iter());
        tensors.put_strings("terms", self.terms.iter());
        tensors.put_counts("texts", &[self.counts.len()], self.counts.iter().map(|count| count.texts));
        tensors.put_counts("times", &[self.counts.len()], self.counts.iter().map(|count| count.times));
        tensors.encode()
    }

    /// Counts from what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Malformed`] for other bytes, as far as there cannot be such counts.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let tensors = Tensors::decode(bytes)?;
        tensors.choice("format", &[(FORMAT, ())])?;
        let mut read = Self::new(Analyzer::take(&tensors)?);
        read.texts = tensors.counts("documents", &[1])?[0];
        if read.texts > MOST {
            return Err(malformed("documents", format!("there are {}", read.texts)));
        }
        let terms = tensors.strings("terms")?;
        let texts = tensors.counts("texts", &[terms.len()])?;
        let times = tensors.counts("times", &[terms.len()])?;
        for (at, term) in terms.into_iter().enumerate() {
            if read.terms.insert(term) as usize != at {
                return Err(malformed("terms", format!("term {at} is there twice")));
            }
            let (texts, times) = (texts[at], times[at]);
            if texts == 0 || texts > times || texts > read.texts || times > MOST {
                return Err(malformed(
                    "texts",
                    format!("term {at} is {times} times in {texts} texts of {}", read.texts),
                ));
            }
            // No text read from now on is the last that had it.
            read.counts.push(Count { texts, times, last: 0 });
        }
        Ok(read)
    }

    fn take(&mut self, other: &Self) {
        self.texts = self.texts.saturating_add(other.texts);
        for (id, more) in other.counts.iter().enumerate() {
            let id = self.terms.intern(other.terms.hash(id as u32), other.terms.bytes(id as u32)) as usize;
            if id == self.counts.len() {
                self.counts.push(Count::default());
            }
            let count = &mut self.counts[id];
            count.texts = count.texts.saturating_add(more.texts);
            count.times = count.times.saturating_add(more.times);
        }
    }

    /// The model of all texts counted.
    ///
    /// # Errors
    /// [`FitError::NoWords`] or [`FitError::NothingLeft`] if no term is kept, [`FitError::Parameter`] naming a bad option.
    pub fn finish(&self, options: &TfidfOptions) -> Result<Tfidf, FitError> {
        let at_least = limit("min_df", options.min_df, self.texts)?;
        let at_most = limit("max_df", options.max_df, self.texts)?;
        FitError::check("max_features", 0.0, options.max_features != Some(0), "1 or more")?;
        if self.counts.is_empty() {
            return Err(FitError::NoWords { documents: self.texts });
        }
        FitError::check("max_df", at_most, at_most >= at_least, "no fewer texts than min_df")?;
        let within = |id: &u32| (at_least..=at_most).contains(&(self.counts[*id as usize].texts as f64));
        let mut kept: Vec<u32> = (0..self.counts.len() as u32).filter(within).collect();
        if kept.is_empty() {
            return Err(FitError::NothingLeft { terms: self.counts.len(), at_least, at_most });
        }
        kept.sort_unstable_by_key(|id| self.terms.bytes(*id));
        if let Some(most) = options.max_features.filter(|most| *most < kept.len()) {
            kept.sort_by_key(|id| std::cmp::Reverse(self.counts[*id as usize].times));
            kept.truncate(most);
            kept.sort_unstable_by_key(|id| self.terms.bytes(*id));
        }
        let more = if options.smooth_idf { 1.0 } else { 0.0 };
        let texts = self.texts as f64 + more;
        let idf = |id: &u32| libm::log(texts / (self.counts[*id as usize].texts as f64 + more)) + 1.0;
        let idf = kept.iter().map(idf).collect();
        let mut terms = Terms::default();
        for id in kept {
            terms.intern(self.terms.hash(id), self.terms.bytes(id));
        }
        Ok(Tfidf::from_parts(self.analyzer.clone(), terms, idf, options.sublinear_tf))
    }
}

/// A limit as a number of texts, which need not be whole.
fn limit(name: &'static str, frequency: Frequency, texts: u64) -> Result<f64, FitError> {
    match frequency {
        Frequency::Texts(limit) => {
            FitError::check(name, limit as f64, limit > 0, "1 text or more")?;
            Ok(limit as f64)
        }
        Frequency::Share(share) => {
            FitError::check(name, share, (0.0..=1.0).contains(&share), "a share from 0 to 1")?;
            Ok(share * texts as f64)
        }
    }
}
