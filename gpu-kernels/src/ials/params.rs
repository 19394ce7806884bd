//! The parameters of the equations, and the length of a row.

use crate::KernelError;

/// Floats from one row of `factors` factors to the next: a multiple of eight.
pub fn stride(factors: usize) -> usize {
    factors.next_multiple_of(8)
}

/// The parameters of the equations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IalsParams {
    /// Factors of each row.
    pub factors: usize,
    /// α: what a unit of strength adds to the confidence of a pair, which is 1 for pairs that never occurred. 0 or
    /// above.
    pub alpha: f32,
    /// λ: pull of every row towards 0. Above 0.
    pub regularization: f32,
}

impl IalsParams {
    /// Checks each parameter.
    pub fn validate(&self) -> Result<(), KernelError> {
        let check = |name, value: f32, good, expected| {
            if good { Ok(()) } else { Err(KernelError::Parameter { name, value: value.into(), expected }) }
        };
        check("alpha", self.alpha, self.alpha.is_finite() && self.alpha >= 0.0, "a finite number, 0 or more")?;
        let pull = self.regularization;
        check("regularization", pull, pull.is_finite() && pull > 0.0, "a finite number above 0")
    }
}
