//! How to train a classifier from labelled texts.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;

use super::{Head, TextClassifier};
use crate::FitError;
use crate::logistic::{self, ClassWeights, Inputs, LogisticOptions};
use crate::naive_bayes::{NaiveBayesOptions, Sums};
use crate::tfidf::{Analyzer, Frequency, TermCounts, TfidfOptions, english_stop_words};

/// What to train.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Fewest and most words of a term.
    pub words: RangeInclusive<usize>,
    /// Words that are left out, in lower case.
    pub stop_words: Vec<String>,
    /// Which terms are kept.
    pub features: TfidfOptions,
    /// What reads them.
    pub head: HeadRecipe,
}

/// Which head, and how it is fitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HeadRecipe {
    /// Multinomial naive Bayes.
    NaiveBayes(NaiveBayesOptions),
    /// Logistic regression.
    Logistic(LogisticOptions),
}

impl Recipe {
    /// For topics: naive Bayes over words and pairs of words.
    pub fn topics() -> Self {
        let head = HeadRecipe::NaiveBayes(NaiveBayesOptions { alpha: 0.1, fit_prior: true });
        Self { words: 1..=2, stop_words: english(), features: frequent(), head }
    }

    /// For tones: logistic regression over up to three words, every tone counting the same.
    pub fn tones() -> Self {
        let options = LogisticOptions { class_weights: ClassWeights::Balanced, ..LogisticOptions::default() };
        Self { words: 1..=3, stop_words: english(), features: frequent(), head: HeadRecipe::Logistic(options) }
    }

    /// Trains on texts with a label each, on `threads` threads, whose number does not change the model.
    ///
    /// # Errors
    /// [`FitError`] of the step that fails; [`FitError::NotConverged`] if more iterations are needed.
    pub fn train(
        &self,
        texts: &[impl AsRef<str> + Sync],
        labels: &[impl AsRef<str>],
        version: &str,
        threads: NonZeroUsize,
    ) -> Result<TextClassifier, FitError> {
        FitError::check_length("labels", labels.len(), texts.len())?;
        let stop_words = self.stop_words.iter().map(String::as_str);
        let mut counts = TermCounts::new(Analyzer::new(self.words.clone(), stop_words)?);
        counts.add(texts, threads);
        let features = counts.finish(&self.features)?;
        let rows = features.transform(texts, threads);
        let head = match &self.head {
            HeadRecipe::NaiveBayes(options) => {
                let mut sums = Sums::new(features.width());
                sums.add(&rows, labels)?;
                Head::NaiveBayes(sums.finish(options)?)
            }
            HeadRecipe::Logistic(options) => {
                let trained = logistic::train(Inputs::Sparse(&rows), labels, options, threads)?;
                if !trained.converged {
                    return Err(FitError::NotConverged { iterations: trained.iterations, slope: trained.slope });
                }
                Head::Logistic(trained.model)
            }
        };
        TextClassifier::new(features, head, version)
    }
}

fn english() -> Vec<String> {
    english_stop_words().map(str::to_owned).collect()
}

fn frequent() -> TfidfOptions {
    TfidfOptions { min_df: Frequency::Texts(2), max_features: Some(5000), ..TfidfOptions::default() }
}
