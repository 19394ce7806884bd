//! What a caller of a kernel can get wrong, and what can go wrong with good input.

/// Why a kernel gave no result. None of these is cured by trying again with the same input.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum KernelError {
    /// A slice does not have the length that the shape asks for.
    #[error("{what} has {got} values, expected {expected}")]
    Length {
        /// The slice.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length it must have.
        expected: usize,
    },
    /// An id is not below the number of rows.
    #[error("{what} of entry {entry} is {id}, but there are {rows}")]
    UnknownId {
        /// Whose id: a user's or an item's.
        what: &'static str,
        /// Where in the input.
        entry: usize,
        /// The id.
        id: u32,
        /// How many rows there are.
        rows: usize,
    },
    /// NaN or infinity in the input.
    #[error("{what} {entry} is {value}, expected a finite number")]
    NotFinite {
        /// The slice.
        what: &'static str,
        /// Where in the input.
        entry: usize,
        /// The number.
        value: f32,
    },
    /// A parameter outside of its range.
    #[error("{name} is {value}, expected {expected}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// Which values it may have.
        expected: &'static str,
    },
    /// A precision that this processor cannot compute in.
    #[error("precision {precision} needs {missing}, which this processor lacks")]
    Instructions {
        /// The precision.
        precision: crate::encoder::Precision,
        /// What it needs.
        missing: &'static str,
    },
    /// The factors grew beyond what a float holds; a smaller learning rate helps.
    #[error("training diverged in epoch {epoch}")]
    Diverged {
        /// The epoch, counted from 0.
        epoch: u32,
    },
    /// The normal equations of a row have no stable solution; more regularisation helps.
    #[error("the equations of row {row} cannot be solved")]
    Singular {
        /// The row.
        row: usize,
    },
}

impl KernelError {
    /// Checks the length of a slice.
    pub(crate) fn check_length(what: &'static str, got: usize, expected: usize) -> Result<(), Self> {
        if got == expected { Ok(()) } else { Err(Self::Length { what, got, expected }) }
    }

    /// Checks that all values of a slice are finite.
    pub(crate) fn check_finite(what: &'static str, values: &[f32]) -> Result<(), Self> {
        match values.iter().position(|value| !value.is_finite()) {
            Some(entry) => Err(Self::NotFinite { what, entry, value: values[entry] }),
            None => Ok(()),
        }
    }
}
