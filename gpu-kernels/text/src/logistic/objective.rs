//! What training minimises, and its gradient, divided by the sum of the rows' weights.
//!
//!   parameters  for each column the weights of all classes, then the intercepts
//!   1. rows     loss and residual P(c | x) - [x is c] of each, times its weight      batches of rows, any thread
//!   2. columns  Σ value × residual over the rows, in their order                     batches of columns, any thread

use std::num::NonZeroUsize;

use crate::claim::for_batches;
use crate::naive_bayes::{add_products, log_softmax};
use crate::rows::SparseRows;

const ROWS: usize = 256;
const COLUMNS: usize = 64;

/// Rows in the form that both steps need.
pub(super) enum Design<'a> {
    Sparse { rows: &'a SparseRows, columns: SparseRows },
    Dense { values: &'a [f32], width: usize },
}

pub(super) struct Objective<'a> {
    pub(super) design: Design<'a>,
    pub(super) width: usize,
    pub(super) classes: usize,
    /// For each row its class.
    pub(super) targets: Vec<u32>,
    /// For each class the weight of its rows; the weights of all rows add up to 1.
    pub(super) weights: Vec<f64>,
    /// How hard each weight is pulled towards 0.
    pub(super) pull: f64,
    pub(super) intercept: bool,
    pub(super) threads: NonZeroUsize,
    /// For each row its residuals, and its loss.
    pub(super) residuals: Vec<f64>,
}

impl Objective<'_> {
    /// How many parameters there are.
    pub(super) fn parameters(&self) -> usize {
        (self.width + 1) * self.classes
    }

    /// Writes the gradient at `parameters`, answers the value there.
    pub(super) fn evaluate(&mut self, parameters: &[f64], gradient: &mut [f64]) -> f64 {
        let mut residuals = std::mem::take(&mut self.residuals);
        let stride = self.classes + 1;
        for_batches(
            self.threads,
            &mut residuals,
            ROWS * stride,
            || (),
            |(), first, batch| {
                let first = first / stride;
                batch.chunks_mut(stride).enumerate().for_each(|(at, out)| self.row(first + at, parameters, out));
            },
        );
        let (weights, intercepts) = parameters.split_at(self.width * self.classes);
        let (of_weights, of_intercepts) = gradient.split_at_mut(weights.len());
        for_batches(
            self.threads,
            of_weights,
            COLUMNS * self.classes,
            || (),
            |(), first, batch| {
                batch.copy_from_slice(&weights[first..first + batch.len()]);
                batch.iter_mut().for_each(|slope| *slope *= self.pull);
                self.columns(first / self.classes, &residuals, batch);
            },
        );
        debug_assert_eq!(intercepts.len(), of_intercepts.len());
        of_intercepts.fill(0.0);
        let mut loss = 0.0;
        for row in residuals.chunks_exact(stride) {
            loss += row[self.classes];
            if self.intercept {
                of_intercepts.iter_mut().zip(row).for_each(|(slope, residual)| *slope += residual);
            }
        }
        self.residuals = residuals;
        loss + 0.5 * self.pull * weights.iter().map(|weight| weight * weight).sum::<f64>()
    }

    /// Residuals and loss of one row.
    fn row(&self, row: usize, parameters: &[f64], out: &mut [f64]) {
        let (weights, intercepts) = parameters.split_at(self.width * self.classes);
        let (residuals, loss) = out.split_at_mut(self.classes);
        residuals.copy_from_slice(intercepts);
        match &self.design {
            Design::Sparse { rows, .. } => add_products(rows.row(row), weights, residuals),
            Design::Dense { values, width } => add_dense(&values[row * width..][..*width], weights, residuals),
        }
        log_softmax(residuals);
        let target = self.targets[row] as usize;
        let weight = self.weights[target];
        loss[0] = -weight * residuals[target];
        residuals.iter_mut().for_each(|residual| *residual = weight * libm::exp(*residual));
        residuals[target] -= weight;
    }

    /// Adds the gradient of the losses for the columns from `first` on.
    fn columns(&self, first: usize, residuals: &[f64], gradient: &mut [f64]) {
        let (classes, stride) = (self.classes, self.classes + 1);
        match &self.design {
            Design::Sparse { columns, .. } => {
                for (column, slopes) in gradient.chunks_exact_mut(classes).enumerate() {
                    let column = columns.row(first + column);
                    for (row, value) in column.columns.iter().zip(column.values) {
                        let residuals = &residuals[*row as usize * stride..][..classes];
                        slopes.iter_mut().zip(residuals).for_each(|(slope, residual)| *slope += value * residual);
                    }
                }
            }
            Design::Dense { values, width } => {
                let count = gradient.len() / classes;
                for (row, residuals) in values.chunks_exact(*width).zip(residuals.chunks_exact(stride)) {
                    let residuals = &residuals[..classes];
                    for (value, slopes) in row[first..first + count].iter().zip(gradient.chunks_exact_mut(classes)) {
                        let value = f64::from(*value);
                        slopes.iter_mut().zip(residuals).for_each(|(slope, residual)| *slope += value * residual);
                    }
                }
            }
        }
    }
}

/// Adds the product of a dense row and a matrix that has as many numbers for each column as there are sums.
pub(super) fn add_dense(row: &[f32], matrix: &[f64], sums: &mut [f64]) {
    for (value, weights) in row.iter().zip(matrix.chunks_exact(sums.len())) {
        let value = f64::from(*value);
        sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += value * weight);
    }
}
