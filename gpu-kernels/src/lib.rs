//! The numeric kernels: slices in, slices out, the same bits on every processor and for any number of threads (only the
//! lower precisions of `encoder` depend on the kind of processor).
//! Nothing here knows of jobs, files or the network; a trainer, distributed or not, calls these functions.
//!
//! With a [`device`] operations have a second form in a module `cuda` beside the first: the same inputs and outputs, and
//! where it says so the same bits.
//!
//! # How to add an operation
//!
//! By the example of the best items for each user, [`rank::top_k()`]:
//!
//! 1. **CPU.** `rank/top_k.rs` starts with maths, layout and source. A public function checks shapes and parameters and
//!    names what is wrong ([`KernelError`]); a struct with the inputs (`Score`) implements `Kernel` once, in safe code over
//!    `Lanes`, and is compiled for each path of the processor.
//! 2. **CUDA.** `rank/top_k.cu` starts in the same way. It is plain C++ over the functions of `device/prelude.cuh`: what
//!    needs an instruction of its own (loads past a cache, vector additions, tensor products) is a function there, and a
//!    function of the same name in `tests/kernels/device/host.h`. Products and sums are fused only where it says `fmaf`
//!    (NVRTC runs with `--fmad=false`), in the CPU's order if bits are to be the same. Sizes known ahead are macros.
//!    Shared memory whose size is not known ahead is declared with `SHARED_BYTES`.
//! 3. **Wrapper.** `rank/cuda.rs` has a `Source` with the text and the names of its kernels, a function that makes the
//!    [`device::Program`] for the input at hand, and `programs()`, which lists those of the usual inputs and is called by
//!    [`device::programs`]. The public function takes a [`device::Device`] and the CPU's arguments, makes the same checks,
//!    uploads, launches and downloads:
//!
//!    ```text
//!    let kernel = device.kernel(&program(k), "top_k", shared_bytes)?;      // compiled once, then found
//!    let users = device.upload(users)?;                                    // charged to the handle's budget
//!    unsafe { device.launch(kernel, threads, &[(&users).into(), …])? };    // SAFETY: the kernel's parameters, in order
//!    let best = device.download(&best)?;                                   // waits
//!    ```
//!
//!    Input that only the CPU takes is [`device::DeviceError::Unsupported`]; whoever calls falls back by
//!    [`device::DeviceError::remedy`].
//! 4. **Tests.** `tests/kernels/rank.rs` compares the CPU with plain code in `f64`, and every path with the scalar one.
//!    `tests/kernels/device/rank.rs` compares device and CPU on the same inputs for each of `devices()`: the kernel's text
//!    compiled by `g++` and run on the host, its threads in three orders, and a real device where there is one. That every
//!    program of `programs()` compiles for sm_80, sm_90 and sm_100 is tested in `tests/kernels/device/compile.rs`.
//! 5. **Example.** `examples/device_check` gets a section that checks it at a size that fills a device, and one for its
//!    rate.

pub mod device;
pub mod encoder;
mod error;
pub mod funk;
pub mod ials;
pub mod parallel;
mod random;
pub mod rank;
mod simd;
mod sparse;

pub use error::KernelError;
pub use simd::Cpu;
pub use sparse::Sparse;
