//! The classes of rows by their probabilities.

use crate::rows::Row;

/// A fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct NaiveBayes {
    labels: Vec<String>,
    log_priors: Vec<f64>,
    /// For each column those of all classes.
    log_likelihoods: Vec<f64>,
}

impl NaiveBayes {
    /// Takes as many priors as labels, and for each column as many likelihoods.
    pub(crate) fn from_parts(labels: Vec<String>, log_priors: Vec<f64>, log_likelihoods: Vec<f64>) -> Self {
        debug_assert!(log_priors.len() == labels.len() && log_likelihoods.len().is_multiple_of(labels.len()));
        Self { labels, log_priors, log_likelihoods }
    }

    /// The classes, ascending.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// How many columns rows have.
    pub fn width(&self) -> usize {
        self.log_likelihoods.len() / self.labels.len()
    }

    /// ln P(class), in the order of [`Self::labels`].
    pub fn log_priors(&self) -> &[f64] {
        &self.log_priors
    }

    /// ln P(column | class): for each column those of all classes.
    pub fn log_likelihoods(&self) -> &[f64] {
        &self.log_likelihoods
    }

    /// Writes how well each class fits a row: ln P(class) + Σ value × ln P(column | class). Panics if `scores` is no number
    /// for each class, or the row is wider than the model.
    pub fn joint_log_likelihoods(&self, row: Row<'_>, scores: &mut [f64]) {
        scores.copy_from_slice(&self.log_priors);
        add_products(row, &self.log_likelihoods, scores);
    }

    /// Writes ln P(class | row) for each class. Panics as [`Self::joint_log_likelihoods`].
    pub fn log_probabilities(&self, row: Row<'_>, scores: &mut [f64]) {
        self.joint_log_likelihoods(row, scores);
        log_softmax(scores);
    }
}

/// Adds the product of a row and a matrix that has as many numbers for each column as there are sums.
#[inline]
pub(crate) fn add_products(row: Row<'_>, matrix: &[f64], sums: &mut [f64]) {
    let classes = sums.len();
    for (column, value) in row.columns.iter().zip(row.values) {
        let weights = &matrix[*column as usize * classes..][..classes];
        sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += value * weight);
    }
}

/// Turns scores into logarithms of probabilities, and answers what was taken off each: ln Σ exp(score).
pub(crate) fn log_softmax(scores: &mut [f64]) -> f64 {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total = most + libm::log(scores.iter().map(|score| libm::exp(score - most)).sum());
    scores.iter_mut().for_each(|score| *score -= total);
    total
}

/// The position of the highest score; of equal ones the first.
pub(crate) fn best(scores: &[f64]) -> usize {
    let mut best = 0;
    for (at, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = at;
        }
    }
    best
}
