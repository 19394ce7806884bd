//! Multinomial logistic regression (softmax) with L2 regularisation, on sparse rows of terms or on dense rows of
//! embeddings.
//!
//!   P(c | x) = exp(w_c · x + b_c) / Σ exp(w_k · x + b_k)
//!   minimised: Σ weight(class of x) × -ln P(class of x | x)  +  Σ |w_c|² / 2C        intercepts b are not pulled
//!
//! Two classes are pulled twice as hard. Then w₁ = -w₀, and P is that of binary logistic regression with the single vector
//! w₁ - w₀ and the pull |w₁ - w₀|² / 2C: what scikit-learn fits for two classes.
//!
//! Each number of the gradient is a sum over rows in their order, whoever computes it, so that the number of threads
//! changes nothing; exponentials are those of the `libm` crate, so that the system's maths library changes nothing either.

mod lbfgs;
mod model;
mod objective;
mod train;

pub use model::Logistic;
pub use train::{ClassWeights, Inputs, LogisticOptions, Trained, train};
