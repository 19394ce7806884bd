//! What naive Bayes learns: for each class how many rows it has, and the sum of each column over them.
//! Invariant: sums are multiples of 2⁻⁶⁴ in 128 bits. A value is rounded once, by less than 2⁻⁶⁴; adding rounds nothing.

use std::collections::BTreeMap;

use super::NaiveBayes;
use crate::FitError;
use crate::rows::{Row, SparseRows};
use crate::tensors::{Malformed, Tensors, malformed};

/// Values above would leave too little room for sums.
const LARGEST: f64 = (1 << 20) as f64;
/// 2⁶⁴: how many units are 1.
const UNITS: f64 = 18_446_744_073_709_551_616.0;

/// Rows that a class may have, so that no sum of theirs overflows.
const MOST_ROWS: u64 = 1 << 43;
/// What bytes say they are. Another number is another form.
const FORMAT: &str = "tandem-bayes-sums-1";

/// How sums become probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NaiveBayesOptions {
    /// α: what is added to the sum of each term in each class. Above 0.
    pub alpha: f64,
    /// Whether a class is the more likely the more rows it has; else all are equally likely.
    pub fit_prior: bool,
}

/// The options scikit-learn starts from.
impl Default for NaiveBayesOptions {
    fn default() -> Self {
        Self { alpha: 1.0, fit_prior: true }
    }
}

/// Sums over labelled rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Sums {
    width: usize,
    classes: BTreeMap<String, ClassSums>,
}

#[derive(Debug, Clone, PartialEq)]
struct ClassSums {
    rows: u64,
    columns: Vec<u128>,
}

impl Sums {
    /// Over no rows yet, of `width` columns.
    pub fn new(width: usize) -> Self {
        Self { width, classes: BTreeMap::new() }
    }

    /// Adds rows with a label each.
    ///
    /// # Errors
    /// [`FitError::Length`] for another width or number of labels, [`FitError::Value`] for a value that is NaN, below 0 or
    /// above 2²⁰. Nothing is added then.
    pub fn add(&mut self, rows: &SparseRows, labels: &[impl AsRef<str>]) -> Result<(), FitError> {
        FitError::check_length("a row", rows.width(), self.width)?;
        FitError::check_length("labels", labels.len(), rows.len())?;
        for (row, values) in rows.iter().enumerate() {
            let bad = values.values.iter().position(|value| !(0.0..=LARGEST).contains(value));
            if let Some(at) = bad {
                let (column, value) = (values.columns[at] as usize, values.values[at]);
                return Err(FitError::Value { row, column, value, expected: "a number from 0 to 2²⁰" });
            }
        }
        rows.iter().zip(labels).for_each(|(row, label)| self.add_row(row, label.as_ref()));
        Ok(())
    }

    fn add_row(&mut self, row: Row<'_>, label: &str) {
        let class = self.class(label);
        class.rows += 1;
        for (column, value) in row.columns.iter().zip(row.values) {
            let sum = &mut class.columns[*column as usize];
            *sum = sum.saturating_add((value * UNITS) as u128);
        }
    }

    fn class(&mut self, label: &str) -> &mut ClassSums {
        if !self.classes.contains_key(label) {
            let none = ClassSums { rows: 0, columns: vec![0; self.width] };
            self.classes.insert(label.to_owned(), none);
        }
        self.classes.get_mut(label).expect("it was added")
    }

    /// Adds the sums over other rows.
    ///
    /// # Errors
    /// [`FitError::Length`] if those rows have another width.
    pub fn merge(&mut self, other: &Self) -> Result<(), FitError> {
        FitError::check_length("a row", other.width, self.width)?;
        for (label, more) in &other.classes {
            let class = self.class(label);
            class.rows = class.rows.saturating_add(more.rows);
            class.columns.iter_mut().zip(&more.columns).for_each(|(sum, more)| *sum = sum.saturating_add(*more));
        }
        Ok(())
    }

    /// The sums as bytes, for a worker that sends them to another.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut tensors = Tensors::default();
        tensors.put_text("format", FORMAT);
        tensors.put_text("width", &self.width.to_string());
        tensors.put_strings("labels", self.classes.keys().map(String::as_str));
        tensors.put_counts("rows", &[self.classes.len()], self.classes.values().map(|class| class.rows));
        let sums = self.classes.values().flat_map(|class| &class.columns);
        let halves = sums.flat_map(|sum| [*sum as u64, (*sum >> 64) as u64]);
        tensors.put_counts("sums", &[self.classes.len(), self.width, 2], halves);
        tensors.encode()
    }

    /// Sums from what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Malformed`] for other bytes, as far as there cannot be such sums.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let tensors = Tensors::decode(bytes)?;
        tensors.choice("format", &[(FORMAT, ())])?;
        let width = tensors.text("width")?.parse().map_err(|_| malformed("width", "it is not a number"))?;
        let labels = tensors.ascending("labels")?;
        let rows = tensors.counts("rows", &[labels.len()])?;
        let sums = tensors.counts("sums", &[labels.len(), width, 2])?;
        let mut read = Self::new(width);
        for (at, label) in labels.into_iter().enumerate() {
            let sums = sums[at * width * 2..(at + 1) * width * 2].as_chunks::<2>().0;
            let columns: Vec<u128> =
                sums.iter().map(|[low, high]| u128::from(*high) << 64 | u128::from(*low)).collect();
            let rows = rows[at];
            let most = u128::from(rows.min(MOST_ROWS)) * (LARGEST * UNITS) as u128;
            if rows == 0 || rows > MOST_ROWS || columns.iter().any(|sum| *sum > most) {
                return Err(malformed("sums", format!("class {at} cannot have such sums over {rows} rows")));
            }
            read.classes.insert(label.to_owned(), ClassSums { rows, columns });
        }
        Ok(read)
    }

    /// The model of all rows added. Labels are in ascending order.
    ///
    /// # Errors
    /// [`FitError::TooFewClasses`] unless there are two labels or more, [`FitError::Parameter`] for a bad option.
    pub fn finish(&self, options: &NaiveBayesOptions) -> Result<NaiveBayes, FitError> {
        let NaiveBayesOptions { alpha, fit_prior } = *options;
        FitError::check("alpha", alpha, alpha.is_finite() && alpha > 0.0, "a finite number above 0")?;
        let labels: Vec<String> = self.classes.keys().cloned().collect();
        if labels.len() < 2 {
            return Err(FitError::TooFewClasses { labels });
        }
        let all = self.classes.values().fold(0, |all: u64, class| all.saturating_add(class.rows));
        let prior = |class: &ClassSums| {
            if fit_prior {
                libm::log(class.rows as f64) - libm::log(all as f64)
            } else {
                -libm::log(labels.len() as f64)
            }
        };
        let log_priors = self.classes.values().map(prior).collect();
        let mut log_likelihoods = vec![0.0; self.width * labels.len()];
        for (number, class) in self.classes.values().enumerate() {
            let sums = class.columns.iter().fold(0, |all: u128, sum| all.saturating_add(*sum));
            let total = sums as f64 / UNITS + alpha * self.width as f64;
            let total = libm::log(total);
            for (column, sum) in class.columns.iter().enumerate() {
                log_likelihoods[column * labels.len() + number] = libm::log(*sum as f64 / UNITS + alpha) - total;
            }
        }
        Ok(NaiveBayes::from_parts(labels, log_priors, log_likelihoods))
    }
}
