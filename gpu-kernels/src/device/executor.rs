//! A handle of a device: what is allocated through it, which kernels it has loaded, and whether its context is whole.
//! Invariant: once a call has said [`DeviceError::Faulted`], every later one says so too, with the first cause.

use std::collections::HashMap;
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{size_of, size_of_val};
use std::sync::{Arc, Mutex, OnceLock};

use super::memory::Budget;
use super::{Argument, Backend, Buffer, DeviceError, DeviceInfo, Pinned, Plain, Program, Stream, Threads};

/// An open device. Cheap to clone; clones share context, budget and kernels. Threads may share one: each operation
/// queues its commands in order, and operations of two threads follow each other in some order.
#[derive(Clone)]
pub struct Device {
    pub(super) shared: Arc<Shared>,
}

/// What clones of a handle, and all memory of a device, share.
pub(super) struct Shared {
    pub(super) backend: Box<dyn Backend>,
    pub(super) budget: Budget,
    fault: OnceLock<String>,
    kernels: Mutex<HashMap<(Program, &'static str, u32), Kernel>>,
}

/// A kernel that is ready to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel(u64);

impl Shared {
    /// Calls the backend unless the context is lost; remembers if it gets lost.
    pub(super) fn run<T>(&self, call: impl FnOnce(&dyn Backend) -> Result<T, DeviceError>) -> Result<T, DeviceError> {
        if let Some(cause) = self.fault.get() {
            return Err(DeviceError::Faulted { cause: cause.clone() });
        }
        let result = call(&*self.backend);
        if let Err(DeviceError::Faulted { cause }) = &result {
            let _ = self.fault.set(cause.clone());
        }
        result
    }
}

impl Device {
    /// A handle that may hold `fraction` (above 0, up to 1) of the memory of a backend's device.
    pub fn new(backend: Box<dyn Backend>, fraction: f64) -> Self {
        let limit = (backend.info().memory_bytes as f64 * fraction.clamp(0.0, 1.0)) as u64;
        let (budget, kernels) = (Budget::new(limit), Mutex::new(HashMap::new()));
        Self { shared: Arc::new(Shared { backend, budget, fault: OnceLock::new(), kernels }) }
    }

    /// What the device is.
    pub fn info(&self) -> &DeviceInfo {
        self.shared.backend.info()
    }

    /// Whether the context is lost, so that only a new handle helps.
    pub fn is_faulted(&self) -> bool {
        self.shared.fault.get().is_some()
    }

    /// Bytes that can still be allocated through this handle: what is left of its budget or of the device, whichever is
    /// less.
    ///
    /// # Errors
    /// [`DeviceError::Faulted`].
    pub fn free_bytes(&self) -> Result<u64, DeviceError> {
        Ok(self.shared.run(|backend| backend.free_bytes())?.min(self.shared.budget.free()))
    }

    /// Takes memory for `len` values, which may be anything.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`] beyond the budget or the device's memory.
    pub fn allocate<T: Plain>(&self, len: usize) -> Result<Buffer<T>, DeviceError> {
        // Drivers know no empty allocation.
        let bytes = len.saturating_mul(size_of::<T>()).max(16);
        self.shared.budget.charge(bytes as u64)?;
        let shared = self.shared.clone();
        match self.shared.run(|backend| backend.allocate(bytes)) {
            Ok(address) => Ok(Buffer { shared, address, len, charged_bytes: bytes as u64, values: PhantomData }),
            Err(error) => {
                self.shared.budget.give_back(bytes as u64);
                Err(error)
            }
        }
    }

    /// Takes memory for `len` zeros.
    ///
    /// # Errors
    /// As [`Device::allocate`].
    pub fn zeros<T: Plain>(&self, len: usize) -> Result<Buffer<T>, DeviceError> {
        let mut buffer = self.allocate(len)?;
        self.clear(&mut buffer)?;
        Ok(buffer)
    }

    /// Sets all values to zero.
    ///
    /// # Errors
    /// [`DeviceError::Faulted`].
    pub fn clear<T: Plain>(&self, buffer: &mut Buffer<T>) -> Result<(), DeviceError> {
        if buffer.is_empty() {
            return Ok(());
        }
        // SAFETY: the buffer has that many bytes.
        self.shared.run(|backend| unsafe { backend.clear(buffer.address, buffer.bytes()) })
    }

    /// Copies values into new memory.
    ///
    /// # Errors
    /// As [`Device::allocate`].
    pub fn upload<T: Plain>(&self, values: &[T]) -> Result<Buffer<T>, DeviceError> {
        let mut buffer = self.allocate(values.len())?;
        self.write(values, &mut buffer)?;
        Ok(buffer)
    }

    /// Overwrites all values of a buffer.
    ///
    /// # Errors
    /// [`crate::KernelError::Length`] if there are more or fewer, [`DeviceError::Faulted`].
    pub fn write<T: Plain>(&self, values: &[T], buffer: &mut Buffer<T>) -> Result<(), DeviceError> {
        crate::KernelError::check_length("values to copy", values.len(), buffer.len)?;
        if values.is_empty() {
            return Ok(());
        }
        self.shared.run(|backend| {
            // SAFETY: both sides have that many bytes, and both stay until the copy is done.
            unsafe { backend.copy_in(Stream::Compute, buffer.address, values.as_ptr().cast(), buffer.bytes())? };
            backend.synchronize(Stream::Compute)
        })
    }

    /// Waits for all that is queued and copies the values of a buffer to the host.
    ///
    /// # Errors
    /// [`crate::KernelError::Length`] if `values` has more or fewer, [`DeviceError::Faulted`].
    pub fn read<T: Plain>(&self, buffer: &Buffer<T>, values: &mut [T]) -> Result<(), DeviceError> {
        crate::KernelError::check_length("values to copy", values.len(), buffer.len)?;
        self.read_start(buffer, values)
    }

    /// As [`Device::read`], for the first values of a buffer that has more.
    ///
    /// # Errors
    /// [`crate::KernelError::Length`] if `values` has more, [`DeviceError::Faulted`].
    pub fn read_start<T: Plain>(&self, buffer: &Buffer<T>, values: &mut [T]) -> Result<(), DeviceError> {
        let len = values.len();
        crate::KernelError::check_length("values to copy", len, len.min(buffer.len))?;
        if values.is_empty() {
            return self.synchronize();
        }
        self.shared.run(|backend| {
            let bytes = size_of_val(values);
            // SAFETY: both sides have that many bytes, and both stay until the copy is done.
            unsafe { backend.copy_out(Stream::Compute, values.as_mut_ptr().cast(), buffer.address, bytes)? };
            backend.synchronize(Stream::Compute)
        })
    }

    /// As [`Device::read`], into new memory.
    ///
    /// # Errors
    /// [`DeviceError::Faulted`].
    pub fn download<T: Plain + Default>(&self, buffer: &Buffer<T>) -> Result<Vec<T>, DeviceError> {
        let mut values = vec![T::default(); buffer.len];
        self.read(buffer, &mut values)?;
        Ok(values)
    }

    /// Copies one buffer over another of the same length.
    ///
    /// # Errors
    /// [`crate::KernelError::Length`], [`DeviceError::Faulted`].
    pub fn copy<T: Plain>(&self, from: &Buffer<T>, to: &mut Buffer<T>) -> Result<(), DeviceError> {
        crate::KernelError::check_length("values to copy", from.len, to.len)?;
        if from.is_empty() {
            return Ok(());
        }
        // SAFETY: two buffers of that many bytes; they are not the same, since one is borrowed to be written.
        self.shared.run(|backend| unsafe { backend.copy_within(to.address, from.address, from.bytes()) })
    }

    /// Takes host memory for `len` values, all zero, that overlapping transfers can use.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`] if the host has none to lock.
    pub fn pinned<T: Plain>(&self, len: usize) -> Result<Pinned<T>, DeviceError> {
        let bytes = len.saturating_mul(size_of::<T>()).max(16);
        let pointer = self.shared.run(|backend| backend.allocate_host(bytes))?.cast::<T>();
        // SAFETY: the memory has that many bytes, and zeros are a value of a plain type.
        unsafe { pointer.cast::<u8>().write_bytes(0, bytes) };
        Ok(Pinned { shared: self.shared.clone(), pointer, len })
    }

    /// Waits until all kernels are done.
    ///
    /// # Errors
    /// [`DeviceError::Faulted`] if one went wrong.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        self.shared.run(|backend| backend.synchronize(Stream::Compute))
    }

    /// Finds, or compiles and loads, a kernel that may ask for up to `shared_bytes` when launched.
    ///
    /// # Errors
    /// [`DeviceError::Compile`], [`DeviceError::Faulted`].
    pub(crate) fn kernel(
        &self,
        program: &Program,
        name: &'static str,
        shared_bytes: u32,
    ) -> Result<Kernel, DeviceError> {
        debug_assert!(program.source.kernels.contains(&name), "{name} is a kernel of {}", program.source.path);
        let key = (program.clone(), name, shared_bytes);
        let mut kernels = self.shared.kernels.lock().expect("loading a kernel does not panic");
        if let Some(kernel) = kernels.get(&key) {
            return Ok(*kernel);
        }
        let kernel = self.shared.run(|backend| {
            let program = backend.load(program)?;
            backend.kernel(program, name, shared_bytes)
        })?;
        kernels.insert(key, Kernel(kernel));
        Ok(Kernel(kernel))
    }

    /// Queues a kernel; nothing if there are no blocks.
    ///
    /// # Safety
    /// `arguments` are the kernel's parameters in their order, and all memory they name is as large as the kernel
    /// takes with these threads.
    pub(crate) unsafe fn launch(
        &self,
        kernel: Kernel,
        threads: Threads,
        arguments: &[Argument],
    ) -> Result<(), DeviceError> {
        if threads.blocks.contains(&0) {
            return Ok(());
        }
        let mut pointers: Vec<*mut c_void> = arguments.iter().map(Argument::pointer).collect();
        // SAFETY: as promised by the caller; each pointer is to a value that outlives the call.
        self.shared.run(|backend| unsafe { backend.launch(kernel.0, threads, &mut pointers) })
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("info", self.info()).field("faulted", &self.is_faulted()).finish()
    }
}
