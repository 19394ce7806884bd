//! Fits a model to labelled rows.

use std::num::NonZeroUsize;

use super::Logistic;
use super::lbfgs::minimize;
use super::objective::{Design, Objective};
use crate::FitError;
use crate::rows::SparseRows;

/// Rows to learn from.
#[derive(Debug, Clone, Copy)]
pub enum Inputs<'a> {
    /// Rows of terms.
    Sparse(&'a SparseRows),
    /// Rows of `width` values each, one after the other: sentence vectors, for example.
    Dense {
        /// The values.
        values: &'a [f32],
        /// Values of a row; not 0.
        width: usize,
    },
}

/// How much the rows of each class count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassWeights {
    /// Every row the same.
    Equal,
    /// Every class the same: rows / (classes × rows of the class).
    Balanced,
}

/// What to fit and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogisticOptions {
    /// C: the higher, the less weights are pulled towards 0. Above 0.
    pub c: f64,
    /// How much rows count.
    pub class_weights: ClassWeights,
    /// Whether classes have intercepts.
    pub intercept: bool,
    /// Training ends where no slope of the minimised sum (over all rows, not per row) is steeper. Each weight is then off
    /// by at most about C times as much. Above 0.
    pub tolerance: f64,
    /// Training ends after so many iterations at the latest.
    pub max_iterations: u32,
}

impl Default for LogisticOptions {
    fn default() -> Self {
        Self { c: 1.0, class_weights: ClassWeights::Equal, intercept: true, tolerance: 1e-7, max_iterations: 1000 }
    }
}

/// A fitted model, and how the search for it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The model.
    pub model: Logistic,
    /// Iterations it took.
    pub iterations: u32,
    /// The steepest slope where it ended.
    pub slope: f64,
    /// Whether that is within the tolerance.
    pub converged: bool,
}

/// Fits a model to rows with a label each, on `threads` threads, whose number does not change it. Labels of the model are
/// in ascending order.
///
/// # Errors
/// [`FitError::TooFewClasses`] unless there are two labels or more, [`FitError::Length`] or [`FitError::Value`] for bad
/// rows, [`FitError::Parameter`] for a bad option.
pub fn train(
    inputs: Inputs<'_>,
    labels: &[impl AsRef<str>],
    options: &LogisticOptions,
    threads: NonZeroUsize,
) -> Result<Trained, FitError> {
    let LogisticOptions { c, class_weights, intercept, tolerance, max_iterations } = *options;
    let positive = |value: f64| value.is_finite() && value > 0.0;
    FitError::check("c", c, positive(c), "a finite number above 0")?;
    FitError::check("tolerance", tolerance, positive(tolerance), "a finite number above 0")?;
    let (rows, width) = check_inputs(inputs)?;
    FitError::check_length("labels", labels.len(), rows)?;
    let (classes, targets) = targets(labels)?;
    let mut objective = Objective {
        design: match inputs {
            Inputs::Sparse(rows) => Design::Sparse { rows, columns: rows.by_column() },
            Inputs::Dense { values, width } => Design::Dense { values, width },
        },
        width,
        classes: classes.len(),
        weights: weights(class_weights, &targets, classes.len()),
        targets,
        // Two classes share what is one vector elsewhere; see the module.
        pull: if classes.len() == 2 { 2.0 } else { 1.0 } / (c * rows as f64),
        intercept,
        threads,
        residuals: vec![0.0; rows * (classes.len() + 1)],
    };
    let start = vec![0.0; objective.parameters()];
    let limit = tolerance / rows as f64;
    let found = minimize(start, limit, max_iterations, |point, gradient| objective.evaluate(point, gradient));
    let mut coefficients = found.point;
    let intercepts = coefficients.split_off(width * classes.len());
    Ok(Trained {
        model: Logistic::from_parts(classes, coefficients, intercepts),
        iterations: found.iterations,
        slope: found.slope * rows as f64,
        converged: found.slope <= limit,
    })
}

/// Checks every value; answers rows and width.
fn check_inputs(inputs: Inputs<'_>) -> Result<(usize, usize), FitError> {
    let expected = "a finite number";
    match inputs {
        Inputs::Sparse(rows) => {
            for (number, row) in rows.iter().enumerate() {
                if let Some(at) = row.values.iter().position(|value| !value.is_finite()) {
                    let column = row.columns[at] as usize;
                    return Err(FitError::Value { row: number, column, value: row.values[at], expected });
                }
            }
            Ok((rows.len(), rows.width()))
        }
        Inputs::Dense { values, width } => {
            let rows = check_dense(values, width)?;
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                let value = values[at].into();
                return Err(FitError::Value { row: at / width, column: at % width, value, expected });
            }
            Ok((rows, width))
        }
    }
}

/// How many rows of `width` values there are.
pub(super) fn check_dense(values: &[f32], width: usize) -> Result<usize, FitError> {
    FitError::check("width", width as f64, width > 0, "1 or more")?;
    FitError::check_length("dense rows", values.len(), values.len() / width * width)?;
    Ok(values.len() / width)
}

/// The classes in ascending order, and the number of each row's class.
fn targets(labels: &[impl AsRef<str>]) -> Result<(Vec<String>, Vec<u32>), FitError> {
    let mut classes: Vec<&str> = labels.iter().map(AsRef::as_ref).collect();
    classes.sort_unstable();
    classes.dedup();
    if classes.len() < 2 {
        return Err(FitError::TooFewClasses { labels: classes.into_iter().map(str::to_owned).collect() });
    }
    let number = |label: &str| classes.binary_search(&label).expect("it is among the classes") as u32;
    let targets = labels.iter().map(|label| number(label.as_ref())).collect();
    Ok((classes.into_iter().map(str::to_owned).collect(), targets))
}

/// For each class the weight of each of its rows, so that those of all rows add up to 1.
fn weights(class_weights: ClassWeights, targets: &[u32], classes: usize) -> Vec<f64> {
    let mut counts = vec![0_usize; classes];
    targets.iter().for_each(|target| counts[*target as usize] += 1);
    let weight = |count: &usize| match class_weights {
        ClassWeights::Equal => 1.0 / targets.len() as f64,
        ClassWeights::Balanced => 1.0 / (classes * count) as f64,
    };
    counts.iter().map(weight).collect()
}
