//! The numeric kernels: slices in, slices out, the same bits on every processor and for any number of threads.
//! Nothing here knows of jobs, files or the network; a trainer, distributed or not, calls these functions.

mod error;
pub mod funk;
pub mod ials;
mod parallel;
mod random;
pub mod rank;
mod simd;
mod sparse;

pub use error::KernelError;
pub use simd::Cpu;
pub use sparse::Sparse;
