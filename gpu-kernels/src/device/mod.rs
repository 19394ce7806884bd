//! Devices: what there is, and one handle to work with it. Nothing here needs CUDA to build or to start; what is missing
//! at run time is a value of [`Missing`].
//!
//! ```text
//! open(config) ─► Probe (one log line) + Device ─► upload ─► kernel, kernel, … ─► download
//!                                           │
//!                          Backend: CUDA's driver, or (in tests) plain C++ on the host
//! ```
//!
//! Kernels are texts (`.cu`) beside the CPU functions that compute the same. NVRTC compiles them when they are first
//! used, for the device at hand; machine code is kept in a folder that the caller names. The crate's documentation says
//! how to add one.

mod argument;
mod backend;
mod cache;
mod driver;
mod error;
mod executor;
mod library;
mod memory;
mod nvrtc;
mod probe;
mod program;
mod self_test;
mod transfer;

pub(crate) use argument::Argument;
pub use backend::{Backend, Stream, Threads};
pub use cache::Cache;
pub use error::{DeviceError, Missing, Remedy};
pub use executor::Device;
pub(crate) use executor::Kernel;
pub use memory::{Buffer, Pinned, Plain};
pub use nvrtc::Nvrtc;
pub use probe::{Choice, DeviceConfig, DeviceInfo, Probe, open};
pub use program::{PRELUDE, Program, Source, key, programs};
pub use self_test::self_test;
pub use transfer::Transfer;
