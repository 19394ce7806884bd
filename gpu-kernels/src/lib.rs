//! The numeric kernels: slices in, slices out, the same bits on every processor and for any number of threads.
//! Nothing here knows of jobs, files or the network; a trainer, distributed or not, calls these functions.
//!
//! To add an operation, follow `rank/top_k.rs`: a file that starts with maths, layout and source; a public function
//! that checks shapes and parameters and names what is wrong; a struct with the inputs that implements `Kernel` once,
//! in safe code over `Lanes`; and tests in `tests/kernels` against plain code in `f64` and of every path against the
//! scalar one.

pub mod device;
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
