//! iALS: matrix factorisation of implicit feedback, where what was not seen counts too.
//!
//! Rows are plain factors, padded with zeros to [`stride`] floats. [`train()`] runs in one process; [`gram()`] and
//! [`solve()`] are its two steps, for trainers whose rows lie on several machines.

mod cholesky;
pub mod cuda;
mod gram;
mod params;
mod solve;
mod train;

pub use gram::gram;
pub use params::{IalsParams, stride};
pub use solve::solve;
pub use train::{IalsModel, IalsOptions, train};
