//! What the executor needs of a device, and no more: memory, copies, programs, launches, on two streams. CUDA
//! implements it; tests implement it with plain C++ on the host, so that the same wrappers run there.

use std::ffi::c_void;

use super::program::Program;
use super::{DeviceError, DeviceInfo};

/// Commands of a stream run one after another; those of two streams run side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Kernels, and all that belongs between them.
    Compute,
    /// Transfers that overlap with kernels.
    Copy,
}

/// How many threads run a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threads {
    /// Blocks, in three dimensions. Without any, nothing is launched.
    pub blocks: [u32; 3],
    /// Threads of a block.
    pub per_block: u32,
    /// Bytes of shared memory of a block, beside those that the kernel declares.
    pub shared_bytes: u32,
}

/// A device. Commands are queued unless it says otherwise. Addresses are the device's.
pub trait Backend: Send + Sync {
    /// What it is.
    fn info(&self) -> &DeviceInfo;

    /// Bytes of memory that are free.
    fn free_bytes(&self) -> Result<u64, DeviceError>;

    /// Takes memory, for use on [`Stream::Compute`] from here on. `bytes` is not 0.
    fn allocate(&self, bytes: usize) -> Result<u64, DeviceError>;

    /// Gives memory back once all that was queued on [`Stream::Compute`] is done.
    ///
    /// # Safety
    /// The address is of [`Backend::allocate`], and nothing queued later or elsewhere uses it.
    unsafe fn release(&self, address: u64);

    /// Takes host memory that the device can copy from and to by itself. `bytes` is not 0.
    fn allocate_host(&self, bytes: usize) -> Result<*mut u8, DeviceError>;

    /// Gives it back at once.
    ///
    /// # Safety
    /// The pointer is of [`Backend::allocate_host`], and no transfer uses it any more.
    unsafe fn release_host(&self, pointer: *mut u8);

    /// Sets bytes to 0, on [`Stream::Compute`].
    ///
    /// # Safety
    /// The memory belongs to the caller.
    unsafe fn clear(&self, address: u64, bytes: usize) -> Result<(), DeviceError>;

    /// Copies to the device.
    ///
    /// # Safety
    /// Both sides have that many bytes and stay as they are until the copy is done.
    unsafe fn copy_in(&self, stream: Stream, to: u64, from: *const u8, bytes: usize) -> Result<(), DeviceError>;

    /// Copies to the host.
    ///
    /// # Safety
    /// As for [`Backend::copy_in`]; nobody looks at `to` until the copy is done.
    unsafe fn copy_out(&self, stream: Stream, to: *mut u8, from: u64, bytes: usize) -> Result<(), DeviceError>;

    /// Copies on the device, on [`Stream::Compute`].
    ///
    /// # Safety
    /// Both sides have that many bytes and do not overlap.
    unsafe fn copy_within(&self, to: u64, from: u64, bytes: usize) -> Result<(), DeviceError>;

    /// Lets what is queued on `waiting` from here on wait for all that is queued on `first` by now.
    fn order(&self, waiting: Stream, first: Stream) -> Result<(), DeviceError>;

    /// Waits until all that is queued on a stream is done.
    fn synchronize(&self, stream: Stream) -> Result<(), DeviceError>;

    /// Compiles (or finds) and loads a program, which stays as long as the backend does. Answers a handle.
    fn load(&self, program: &Program) -> Result<u64, DeviceError>;

    /// A kernel of a program, which may ask for up to `shared_bytes` when launched. Answers a handle.
    fn kernel(&self, program: u64, name: &'static str, shared_bytes: u32) -> Result<u64, DeviceError>;

    /// Runs a kernel on [`Stream::Compute`]; `arguments` point to one value each.
    ///
    /// # Safety
    /// The arguments have the types of the kernel's parameters, and the memory they name is as large as it takes.
    unsafe fn launch(&self, kernel: u64, threads: Threads, arguments: &mut [*mut c_void]) -> Result<(), DeviceError>;
}
