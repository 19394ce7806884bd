//! CUDA's driver as a [`Backend`]. Invariant: nothing is called before [`check`] has found the library and its functions.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::path::Path;
use std::sync::Mutex;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use cudarc::driver::sys::CUdevice_attribute_enum as Attribute;
use cudarc::driver::sys::cudaError_enum as Code;

use super::cache::Cache;
use super::library::{check, describe, is_fault};
use super::nvrtc::Nvrtc;
use super::program::{Program, key};
use super::{Backend, DeviceError, DeviceInfo, Missing, Stream, Threads};

/// The least compute capability that kernels need: bf16 tensor products and asynchronous copies.
const LEAST_CAPABILITY: (u32, u32) = (8, 0);
/// Shared memory of a block that a kernel need not ask for.
const USUAL_SHARED_BYTES: u32 = 48 << 10;

/// A device's primary context with two streams.
pub(super) struct Cuda {
    info: DeviceInfo,
    device: sys::CUdevice,
    context: sys::CUcontext,
    compute: sys::CUstream,
    copy: sys::CUstream,
    /// Whether memory comes and goes in the order of a stream.
    ordered: bool,
    nvrtc: Nvrtc,
    cache: Option<Cache>,
    programs: Mutex<HashMap<Program, sys::CUmodule>>,
}

// SAFETY: the driver's handles may be used from any thread; each call makes the context current first.
unsafe impl Send for Cuda {}
// SAFETY: as above; the driver synchronises itself.
unsafe impl Sync for Cuda {}

impl Cuda {
    /// Opens a device.
    pub(super) fn open(ordinal: usize, nvrtc: Nvrtc, cache: Option<&Path>) -> Result<Self, DeviceError> {
        check()?;
        let start = |error: DriverError| Missing::Start { cause: describe(error) };
        let count = match result::init().and_then(|()| result::device::get_count()) {
            Ok(count) => count.max(0) as usize,
            Err(DriverError(Code::CUDA_ERROR_NO_DEVICE)) => 0,
            Err(error) => return Err(start(error).into()),
        };
        if ordinal >= count {
            return Err(Missing::Device { ordinal, count }.into());
        }
        let device = result::device::get(ordinal as i32).map_err(start)?;
        // SAFETY: the device is of the call above.
        let attribute = |which| unsafe { result::device::get_attribute(device, which) }.map_err(start);
        let capability = (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)? as u32,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)? as u32,
        );
        if capability < LEAST_CAPABILITY {
            return Err(Missing::Capability { major: capability.0, minor: capability.1 }.into());
        }
        let mut driver = 0;
        // SAFETY: the pointer is to an integer.
        unsafe { sys::cuDriverGetVersion(&mut driver) }.result().map_err(start)?;
        let info = DeviceInfo {
            name: result::device::get_name(device).map_err(start)?,
            ordinal,
            // SAFETY: the device is of the call above.
            memory_bytes: unsafe { result::device::total_mem(device) }.map_err(start)? as u64,
            capability,
            multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as u32,
            shared_bytes: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)? as u32,
            driver_version: (driver / 1000, driver % 1000 / 10),
            nvrtc_version: nvrtc.version(),
        };
        let ordered = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)? > 0;
        // SAFETY: the device is of the call above; the context is released once, when this is dropped.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(start)?;
        let null = std::ptr::null_mut();
        let (cache, programs) = (cache.map(Cache::new), Mutex::new(HashMap::new()));
        let mut cuda = Self { info, device, context, compute: null, copy: null, ordered, nvrtc, cache, programs };
        cuda.bind()?;
        let stream = || result::stream::create(result::stream::StreamKind::NonBlocking);
        cuda.compute = stream().map_err(|error| cuda.error("cuStreamCreate", error))?;
        cuda.copy = stream().map_err(|error| cuda.error("cuStreamCreate", error))?;
        Ok(cuda)
    }

    fn stream(&self, stream: Stream) -> sys::CUstream {
        match stream {
            Stream::Compute => self.compute,
            Stream::Copy => self.copy,
        }
    }

    /// Makes the context that of this thread.
    fn bind(&self) -> Result<(), DeviceError> {
        // SAFETY: the context is held until this is dropped.
        unsafe { result::ctx::set_current(self.context) }.map_err(|error| self.error("cuCtxSetCurrent", error))
    }

    fn error(&self, call: &'static str, error: DriverError) -> DeviceError {
        if is_fault(error.0) {
            return DeviceError::Faulted { cause: describe(error) };
        }
        DeviceError::Driver { call, cause: describe(error) }
    }

    /// What an allocation's failure means.
    fn allocation_error(&self, call: &'static str, bytes: usize, error: DriverError) -> DeviceError {
        if error.0 != Code::CUDA_ERROR_OUT_OF_MEMORY {
            return self.error(call, error);
        }
        let free_bytes = result::mem_get_info().map_or(0, |(free, _)| free as u64);
        DeviceError::OutOfMemory { asked_bytes: bytes as u64, free_bytes }
    }

    /// The machine code of a program, from the cache or compiled.
    fn image(&self, program: &Program) -> Result<Vec<u8>, DeviceError> {
        let options = self.nvrtc.options(program, self.info.capability);
        let key = key(&program.text(), &options, self.nvrtc.version());
        if let Some(image) = self.cache.as_ref().and_then(|cache| cache.get(&key)) {
            return Ok(image);
        }
        let image = self.nvrtc.compile(program, &options)?;
        if let Some(cache) = &self.cache {
            cache.put(&key, &image);
        }
        Ok(image)
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // SAFETY: streams, modules and the context are this one's, and nothing uses them any more. If the context is
        // lost these calls fail, and there is nothing left to do about it.
        unsafe {
            let _ = result::ctx::set_current(self.context);
            for stream in [self.compute, self.copy] {
                if !stream.is_null() {
                    let _ = result::stream::synchronize(stream);
                    let _ = result::stream::destroy(stream);
                }
            }
            if let Ok(programs) = self.programs.lock() {
                for module in programs.values() {
                    let _ = result::module::unload(*module);
                }
            }
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

impl Backend for Cuda {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn free_bytes(&self) -> Result<u64, DeviceError> {
        self.bind()?;
        result::mem_get_info().map(|(free, _)| free as u64).map_err(|error| self.error("cuMemGetInfo", error))
    }

    fn allocate(&self, bytes: usize) -> Result<u64, DeviceError> {
        self.bind()?;
        // SAFETY: the stream lives as long as this.
        let address = unsafe {
            if self.ordered { result::malloc_async(self.compute, bytes) } else { result::malloc_sync(bytes) }
        };
        address.map_err(|error| self.allocation_error("cuMemAlloc", bytes, error))
    }

    unsafe fn release(&self, address: u64) {
        if self.bind().is_err() {
            return;
        }
        // SAFETY: as promised by the caller. A failure means a lost context, which the next call tells.
        unsafe {
            if self.ordered {
                let _ = result::free_async(address, self.compute);
            } else {
                let _ = result::stream::synchronize(self.compute);
                let _ = result::free_sync(address);
            }
        }
    }

    fn allocate_host(&self, bytes: usize) -> Result<*mut u8, DeviceError> {
        self.bind()?;
        // SAFETY: memory without conditions.
        let pointer = unsafe { result::malloc_host(bytes, 0) };
        pointer.map(|pointer| pointer.cast()).map_err(|error| self.allocation_error("cuMemHostAlloc", bytes, error))
    }

    unsafe fn release_host(&self, pointer: *mut u8) {
        if self.bind().is_ok() {
            // SAFETY: as promised by the caller.
            let _ = unsafe { result::free_host(pointer.cast()) };
        }
    }

    unsafe fn clear(&self, address: u64, bytes: usize) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: as promised by the caller.
        unsafe { result::memset_d8_async(address, 0, bytes, self.compute) }
            .map_err(|error| self.error("cuMemsetD8Async", error))
    }

    unsafe fn copy_in(&self, stream: Stream, to: u64, from: *const u8, bytes: usize) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: as promised by the caller.
        unsafe {
            let from = std::slice::from_raw_parts(from, bytes);
            result::memcpy_htod_async(to, from, self.stream(stream))
        }
        .map_err(|error| self.error("cuMemcpyHtoDAsync", error))
    }

    unsafe fn copy_out(&self, stream: Stream, to: *mut u8, from: u64, bytes: usize) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: as promised by the caller; the bytes are those of plain values.
        unsafe {
            let to = std::slice::from_raw_parts_mut(to, bytes);
            result::memcpy_dtoh_async(to, from, self.stream(stream))
        }
        .map_err(|error| self.error("cuMemcpyDtoHAsync", error))
    }

    unsafe fn copy_within(&self, to: u64, from: u64, bytes: usize) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: as promised by the caller.
        unsafe { result::memcpy_dtod_async(to, from, bytes, self.compute) }
            .map_err(|error| self.error("cuMemcpyDtoDAsync", error))
    }

    fn order(&self, waiting: Stream, first: Stream) -> Result<(), DeviceError> {
        self.bind()?;
        let wait = || -> Result<(), DriverError> {
            let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)?;
            // SAFETY: event and streams are this context's; an event may be destroyed while a stream waits for it.
            unsafe {
                let waited = result::event::record(event, self.stream(first)).and_then(|()| {
                    let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
                    result::stream::wait_event(self.stream(waiting), event, flags)
                });
                result::event::destroy(event).and(waited)
            }
        };
        wait().map_err(|error| self.error("cuStreamWaitEvent", error))
    }

    fn synchronize(&self, stream: Stream) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: the stream lives as long as this.
        unsafe { result::stream::synchronize(self.stream(stream)) }
            .map_err(|error| self.error("cuStreamSynchronize", error))
    }

    fn load(&self, program: &Program) -> Result<u64, DeviceError> {
        let mut programs = self.programs.lock().expect("loading a program does not panic");
        if let Some(module) = programs.get(program) {
            return Ok(*module as u64);
        }
        let mut image = self.image(program)?;
        // PTX is a text that must end in zero; machine code does not mind.
        image.push(0);
        self.bind()?;
        // SAFETY: the image is whole: it comes from the compiler or from a file with the right digest.
        let module = unsafe { result::module::load_data(image.as_ptr().cast()) }
            .map_err(|error| self.error("cuModuleLoadData", error))?;
        programs.insert(program.clone(), module);
        Ok(module as u64)
    }

    fn kernel(&self, program: u64, name: &'static str, shared_bytes: u32) -> Result<u64, DeviceError> {
        self.bind()?;
        let limit = self.info.shared_bytes;
        if shared_bytes > limit {
            let (got, limit) = (shared_bytes as usize, limit as usize);
            return Err(DeviceError::Unsupported { what: "shared memory of a block", got, limit });
        }
        let symbol = CString::new(name).expect("names of kernels have no zeros");
        // SAFETY: the handle is a loaded module, which stays as long as this.
        let function = unsafe { result::module::get_function(program as sys::CUmodule, symbol) }
            .map_err(|error| self.error("cuModuleGetFunction", error))?;
        if shared_bytes > USUAL_SHARED_BYTES {
            let which = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function is of the call above.
            unsafe { result::function::set_function_attribute(function, which, shared_bytes as i32) }
                .map_err(|error| self.error("cuFuncSetAttribute", error))?;
        }
        Ok(function as u64)
    }

    unsafe fn launch(&self, kernel: u64, threads: Threads, arguments: &mut [*mut c_void]) -> Result<(), DeviceError> {
        self.bind()?;
        let [x, y, z] = threads.blocks;
        let block = (threads.per_block, 1, 1);
        // SAFETY: as promised by the caller; the handle is a function of a loaded module.
        unsafe {
            let function = kernel as sys::CUfunction;
            result::launch_kernel(function, (x, y, z), block, threads.shared_bytes, self.compute, arguments)
        }
        .map_err(|error| self.error("cuLaunchKernel", error))
    }
}
