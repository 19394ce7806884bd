//! What can be wrong with the texts, rows and options that a model is fitted to or asked about.

/// Why there is no model or no answer. None of these is cured by trying again with the same input.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitError {
    /// A slice does not have the length that the others ask for.
    #[error("{what} has {got} values, expected {expected}")]
    Length {
        /// The slice.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length it must have.
        expected: usize,
    },
    /// A number that the model has no use for.
    #[error("row {row} has {value} in column {column}, expected {expected}")]
    Value {
        /// The row.
        row: usize,
        /// The column.
        column: usize,
        /// The number.
        value: f64,
        /// Which numbers there may be.
        expected: &'static str,
    },
    /// An option outside of its range.
    #[error("{name} is {value}, expected {expected}")]
    Parameter {
        /// The option.
        name: &'static str,
        /// Its value.
        value: f64,
        /// Which values it may have.
        expected: &'static str,
    },
    /// No text has a word that counts.
    #[error("there is no word in {documents} texts")]
    NoWords {
        /// How many texts there are.
        documents: u64,
    },
    /// All terms are too rare or too common.
    #[error("none of {terms} terms is in at least {at_least} and at most {at_most} texts")]
    NothingLeft {
        /// How many terms there are.
        terms: usize,
        /// The lower limit.
        at_least: f64,
        /// The upper limit.
        at_most: f64,
    },
    /// Nothing to tell apart.
    #[error("there are {} classes among the labels, expected 2 or more{}", .labels.len(), only(.labels))]
    TooFewClasses {
        /// Those there are: none or one.
        labels: Vec<String>,
    },
    /// The search for the best model did not end within its iterations.
    #[error("training has not converged after {iterations} iterations: the steepest slope is {slope:e}")]
    NotConverged {
        /// Iterations made.
        iterations: u32,
        /// The steepest slope where it ended.
        slope: f64,
    },
    /// Counts of different ways to cut texts into terms say nothing about each other.
    #[error("counts of another analyzer cannot be merged")]
    OtherAnalyzer,
}

fn only(labels: &[String]) -> String {
    labels.first().map_or(String::new(), |label| format!(": all are {label:?}"))
}

impl FitError {
    /// Checks the length of a slice.
    pub(crate) fn check_length(what: &'static str, got: usize, expected: usize) -> Result<(), Self> {
        if got == expected { Ok(()) } else { Err(Self::Length { what, got, expected }) }
    }

    /// Checks an option.
    pub(crate) fn check(name: &'static str, value: f64, good: bool, expected: &'static str) -> Result<(), Self> {
        if good { Ok(()) } else { Err(Self::Parameter { name, value, expected }) }
    }
}
