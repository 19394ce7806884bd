//! A device that is plain C++ on this machine: kernels are compiled by `g++` with `host.h`, memory is fenced by pages that
//! nobody may touch. The wrappers cannot tell it from CUDA, so they are tested with the arguments they pass.

use std::collections::HashMap;
use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::null_mut;
use std::sync::Mutex;

use libloading::Library;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use tandem_kernels::device::{Backend, Device, DeviceError, DeviceInfo, Program, Stream, Threads, key};

const PAGE: usize = 4096;
const HOST: &str = include_str!("host.h");

/// The order in which threads of a block take turns.
#[derive(Clone, Copy)]
pub(crate) enum Turns {
    Forward = 0,
    Backward = 1,
    Mixed = 2,
}

pub(crate) struct Emulator {
    info: DeviceInfo,
    turns: Turns,
    libraries: Mutex<Vec<Library>>,
    /// The mapping of each allocation by its address.
    mappings: Mutex<HashMap<u64, (usize, usize)>>,
}

/// Devices that run threads in different orders, whose answers must be the same; none, and a line that says so, without
/// a C++ compiler.
pub(crate) fn emulated() -> Vec<Device> {
    if Command::new("g++").arg("--version").output().is_err() {
        println!("skipped: kernels on the host: no g++");
        return Vec::new();
    }
    [Turns::Forward, Turns::Backward, Turns::Mixed].map(|turns| emulate(turns, 1 << 30, 1.0)).to_vec()
}

/// One such device with that much memory, of which a handle may hold a fraction.
pub(crate) fn emulate(turns: Turns, memory_bytes: u64, fraction: f64) -> Device {
    let info = DeviceInfo {
        name: "host".to_owned(),
        ordinal: 0,
        memory_bytes,
        capability: (9, 0),
        multiprocessors: 2,
        shared_bytes: 227 << 10,
        driver_version: (0, 0),
        nvrtc_version: (0, 0),
    };
    let (libraries, mappings) = (Mutex::new(Vec::new()), Mutex::new(HashMap::new()));
    Device::new(Box::new(Emulator { info, turns, libraries, mappings }), fraction)
}

/// Compiles a program into a library that stays for other tests.
fn build(program: &Program) -> Result<PathBuf, DeviceError> {
    let mut text = format!("#define TANDEM_HOST 1\n{HOST}\n{}\n", program.text());
    for kernel in program.source.kernels {
        text.push_str(&format!("EXPORT({kernel})\n"));
    }
    let mut options: Vec<String> =
        ["-std=c++17", "-O1", "-shared", "-fPIC", "-ffp-contract=off", "-w", "-x", "c++"].map(str::to_owned).to_vec();
    if cfg!(target_arch = "x86_64") && std::arch::is_x86_feature_detected!("fma") {
        options.push("-mfma".to_owned());
    }
    options.extend(program.options());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = folder.join(format!("{}.so", key(&text, &options, (0, 0))));
    if library.exists() {
        return Ok(library);
    }
    let scratch = tempfile::tempdir_in(folder).expect("a folder for scratch files");
    let (source, built) = (scratch.path().join("kernel.cc"), scratch.path().join("kernel.so"));
    std::fs::write(&source, text).expect("a scratch file");
    let output = Command::new("g++").args(&options).arg(&source).arg("-o").arg(&built).output().expect("g++ runs");
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(DeviceError::Compile { kernel: program.source.path, log });
    }
    std::fs::rename(&built, &library).expect("a file moves within a folder");
    Ok(library)
}

impl Backend for Emulator {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn free_bytes(&self) -> Result<u64, DeviceError> {
        Ok(self.info.memory_bytes)
    }

    fn allocate(&self, bytes: usize) -> Result<u64, DeviceError> {
        // The end lies against a page that cannot be read: one step too far ends the test.
        let whole = bytes.next_multiple_of(PAGE);
        // SAFETY: new memory at no given place; the last page is within it.
        let start = unsafe {
            let flags = ProtFlags::READ | ProtFlags::WRITE;
            let start = mmap_anonymous(null_mut(), whole + PAGE, flags, MapFlags::PRIVATE).expect("memory");
            mprotect(start.byte_add(whole), PAGE, MprotectFlags::empty()).expect("a fence");
            // Memory of a device is not zero.
            start.cast::<u8>().write_bytes(0xA5, whole);
            start as usize
        };
        let address = (start + whole - bytes.next_multiple_of(16)) as u64;
        self.mappings.lock().expect("no test panicked here").insert(address, (start, whole + PAGE));
        Ok(address)
    }

    unsafe fn release(&self, address: u64) {
        let mapping = self.mappings.lock().expect("no test panicked here").remove(&address);
        let (start, len) = mapping.expect("memory is released once");
        // SAFETY: it was mapped like this.
        unsafe { munmap(start as *mut c_void, len) }.expect("mapped memory");
    }

    fn allocate_host(&self, bytes: usize) -> Result<*mut u8, DeviceError> {
        self.allocate(bytes).map(|address| address as *mut u8)
    }

    unsafe fn release_host(&self, pointer: *mut u8) {
        // SAFETY: as promised by the caller.
        unsafe { self.release(pointer as u64) };
    }

    unsafe fn clear(&self, address: u64, bytes: usize) -> Result<(), DeviceError> {
        // SAFETY: as promised by the caller.
        unsafe { (address as *mut u8).write_bytes(0, bytes) };
        Ok(())
    }

    unsafe fn copy_in(&self, _: Stream, to: u64, from: *const u8, bytes: usize) -> Result<(), DeviceError> {
        // SAFETY: as promised by the caller.
        unsafe { (to as *mut u8).copy_from_nonoverlapping(from, bytes) };
        Ok(())
    }

    unsafe fn copy_out(&self, _: Stream, to: *mut u8, from: u64, bytes: usize) -> Result<(), DeviceError> {
        // SAFETY: as promised by the caller.
        unsafe { to.copy_from_nonoverlapping(from as *const u8, bytes) };
        Ok(())
    }

    unsafe fn copy_within(&self, to: u64, from: u64, bytes: usize) -> Result<(), DeviceError> {
        // SAFETY: as promised by the caller.
        unsafe { self.copy_in(Stream::Compute, to, from as *const u8, bytes) }
    }

    fn order(&self, _: Stream, _: Stream) -> Result<(), DeviceError> {
        Ok(())
    }

    fn synchronize(&self, _: Stream) -> Result<(), DeviceError> {
        Ok(())
    }

    fn load(&self, program: &Program) -> Result<u64, DeviceError> {
        let path = build(program)?;
        // SAFETY: a library built just now, whose initialisers have no conditions.
        let library = unsafe { Library::new(path) }.expect("a library built just now");
        // SAFETY: a number that the header defines.
        unsafe {
            let order = library.get::<*mut u32>(b"host_order").expect("the header defines it");
            order.write(self.turns as u32);
        }
        let mut libraries = self.libraries.lock().expect("no test panicked here");
        libraries.push(library);
        Ok(libraries.len() as u64 - 1)
    }

    fn kernel(&self, program: u64, name: &'static str, shared_bytes: u32) -> Result<u64, DeviceError> {
        let limit = self.info.shared_bytes as usize;
        if shared_bytes as usize > limit {
            let got = shared_bytes as usize;
            return Err(DeviceError::Unsupported { what: "shared memory of a block", got, limit });
        }
        let libraries = self.libraries.lock().expect("no test panicked here");
        // SAFETY: the address is looked up only.
        let symbol = unsafe { libraries[program as usize].get::<*const c_void>(format!("launch_{name}").as_bytes()) };
        Ok(*symbol.expect("the kernel is in its source") as u64)
    }

    unsafe fn launch(&self, kernel: u64, threads: Threads, arguments: &mut [*mut c_void]) -> Result<(), DeviceError> {
        assert!(threads.blocks[1] <= 65_535 && threads.blocks[2] <= 65_535 && threads.per_block <= 1024, "{threads:?}");
        type Launch = unsafe extern "C" fn(*const u32, u32, u32, *mut *mut c_void);
        // One kernel at a time in this process: blocks' shared memory is static there.
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().expect("no test panicked here");
        // SAFETY: the address is of such a function; the arguments are as promised by the caller.
        unsafe {
            let launch = std::mem::transmute::<*const c_void, Launch>(kernel as *const c_void);
            launch(threads.blocks.as_ptr(), threads.per_block, threads.shared_bytes, arguments.as_mut_ptr());
        }
        Ok(())
    }
}
