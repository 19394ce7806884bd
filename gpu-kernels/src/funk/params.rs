//! The update rules and their parameters.

use crate::KernelError;

/// How one rating changes its two rows. With error `e`, learning rate `γ` and regularisation `λ`:
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// `p ← p + γ(e·q − λ·p)` and `q ← q + γ(e·p − λ·q)`, both from the old values; biases alike, as factors against 1.
    Surprise,
    /// `e` is kept within ±10; `p` is updated first and `q` from the *new* `p`; then both are kept within ±10. The rule
    /// of recommenders that multiply a user's row by an item's with nothing else: trained without mean and biases.
    R2,
}

/// The bound that [`Rule::R2`] puts on errors and on factors.
pub const R2_BOUND: f32 = 10.0;

/// What an update needs to know besides ratings and rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdParams {
    /// How a rating changes its rows.
    pub rule: Rule,
    /// The rating that a pair of zero rows predicts.
    pub mean: f32,
    /// Step per update: above 0.
    pub learning_rate: f32,
    /// Pull of every factor and bias towards 0: 0 or above, and less than 1 / `learning_rate`.
    pub regularization: f32,
    /// Whether biases are learnt; if not they keep the values they have.
    pub biases: bool,
}

impl SgdParams {
    /// Checks each parameter.
    pub fn validate(&self) -> Result<(), KernelError> {
        let check = |name, value: f32, good, expected| {
            if good { Ok(()) } else { Err(KernelError::Parameter { name, value: value.into(), expected }) }
        };
        let (rate, pull) = (self.learning_rate, self.regularization);
        check("mean", self.mean, self.mean.is_finite(), "a finite number")?;
        check("learning_rate", rate, rate.is_finite() && rate > 0.0, "a finite number above 0")?;
        check("regularization", pull, pull >= 0.0 && pull * rate < 1.0, "0 or more, below 1 / learning_rate")
    }
}
