//! The classes of rows by their probabilities.

use super::objective::add_dense;
use super::train::check_dense;
use crate::FitError;
use crate::naive_bayes::{add_products, log_softmax};
use crate::rows::Row;

/// A fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    labels: Vec<String>,
    /// For each column those of all classes.
    coefficients: Vec<f64>,
    intercepts: Vec<f64>,
}

impl Logistic {
    /// Takes as many intercepts as labels, and for each column as many coefficients.
    pub(crate) fn from_parts(labels: Vec<String>, coefficients: Vec<f64>, intercepts: Vec<f64>) -> Self {
        debug_assert!(intercepts.len() == labels.len() && coefficients.len().is_multiple_of(labels.len()));
        Self { labels, coefficients, intercepts }
    }

    /// The classes, ascending.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// How many columns rows have.
    pub fn width(&self) -> usize {
        self.coefficients.len() / self.labels.len()
    }

    /// For each column the weights of all classes.
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// One for each class.
    pub fn intercepts(&self) -> &[f64] {
        &self.intercepts
    }

    /// Writes ln P(class | row) for each class. Panics if `scores` is no number for each class, or the row is wider than
    /// the model.
    pub fn log_probabilities(&self, row: Row<'_>, scores: &mut [f64]) {
        scores.copy_from_slice(&self.intercepts);
        add_products(row, &self.coefficients, scores);
        log_softmax(scores);
    }

    /// P(class | row) for dense rows, one after the other: for each row those of all classes. A row that is not finite has
    /// NaN for all of them.
    ///
    /// # Errors
    /// [`FitError::Length`] unless the values are rows of the model's width.
    pub fn dense_probabilities(&self, values: &[f32]) -> Result<Vec<f64>, FitError> {
        let (width, classes) = (self.width(), self.labels.len());
        let rows = check_dense(values, width)?;
        let mut probabilities = vec![0.0; rows * classes];
        for (row, scores) in values.chunks_exact(width).zip(probabilities.chunks_exact_mut(classes)) {
            scores.copy_from_slice(&self.intercepts);
            add_dense(row, &self.coefficients, scores);
            log_softmax(scores);
            scores.iter_mut().for_each(|score| *score = libm::exp(*score));
            if row.iter().any(|value| !value.is_finite()) {
                scores.fill(f64::NAN);
            }
        }
        Ok(probabilities)
    }
}
