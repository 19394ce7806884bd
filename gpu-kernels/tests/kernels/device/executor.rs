//! The handle: memory and its budget, transfers, faults, and what is said without CUDA.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tandem_kernels::KernelError;
use tandem_kernels::device::{
    Backend, Choice, Device, DeviceConfig, DeviceError, DeviceInfo, Program, Remedy, Stream, Threads, open, self_test,
};

use super::devices;
use super::emulator::{Turns, emulate};

#[test]
fn the_first_kernel_computes_what_the_cpu_does() {
    for device in devices() {
        self_test(&device).expect("the self-test passes");
    }
}

#[test]
fn without_cuda_there_is_a_reason_and_no_panic() {
    let of = |choice| open(&DeviceConfig { choice, nvrtc: Some("/nowhere".into()), ..DeviceConfig::default() });
    let (device, probe) = of(Choice::Cpu).expect("no error");
    assert!(device.is_none());
    assert_eq!(probe.to_string(), "cpu: the CPU was asked for");

    let (device, probe) = of(Choice::Auto).expect("auto falls back");
    assert!(device.is_none(), "there is no compiler in /nowhere");
    assert!(matches!(probe.device, Err(DeviceError::Missing(_))), "{probe:?}");
    assert!(probe.to_string().starts_with("cpu: ") && !probe.to_string().contains('\n'), "{probe}");

    let error = of(Choice::Cuda).expect_err("cuda does not fall back");
    assert!(matches!(error, DeviceError::Missing(_)) && error.remedy() == Remedy::UseCpu, "{error}");
    for memory_fraction in [0.0, -1.0, 1.5, f64::NAN] {
        let config = DeviceConfig { memory_fraction, ..DeviceConfig::default() };
        assert!(matches!(
            open(&config),
            Err(DeviceError::Input(KernelError::Parameter { name: "memory_fraction", .. }))
        ));
    }
    assert_eq!("cuda".parse(), Ok(Choice::Cuda));
    assert_eq!("gpu".parse::<Choice>(), Err("unknown device gpu, expected auto, cpu or cuda".to_owned()));
}

#[test]
fn values_come_back_as_they_were_by_every_way() {
    let device = emulate(Turns::Forward, 1 << 20, 1.0);
    let values: Vec<u32> = (0..1000).collect();
    let buffer = device.upload(&values).expect("memory");
    assert_eq!(device.download(&buffer), Ok(values.clone()));
    let mut copy = device.zeros::<u32>(1000).expect("memory");
    assert_eq!(device.download(&copy), Ok(vec![0; 1000]));
    device.copy(&buffer, &mut copy).expect("equal lengths");
    assert_eq!(device.download(&copy), Ok(values.clone()));

    let mut pinned = device.pinned::<u32>(1000).expect("memory");
    assert!(pinned.iter().all(|value| *value == 0));
    pinned.copy_from_slice(&values);
    let empty = device.zeros(1000).expect("memory");
    let (mut pinned, buffer) = device.start_upload(pinned, empty).and_then(|transfer| transfer.finish()).expect("done");
    pinned.fill(7);
    let (pinned, _) = device.start_download(buffer, pinned).and_then(|transfer| transfer.finish()).expect("done");
    assert_eq!(&pinned[..], values);

    let nothing = device.upload::<f32>(&[]).expect("no memory is no error");
    assert_eq!(device.download(&nothing), Ok(vec![]));
    let error = device.read(&copy, &mut [0; 3]).expect_err("too short");
    assert_eq!(error.to_string(), "values to copy has 3 values, expected 1000");
}

#[test]
fn a_handle_keeps_to_its_share_of_the_memory() {
    let device = emulate(Turns::Forward, 10_000, 0.5);
    let first = device.zeros::<u8>(4000).expect("within the budget");
    assert_eq!(device.free_bytes(), Ok(1000));
    let error = device.clone().zeros::<f32>(251).map(|_| ()).expect_err("beyond the budget, which clones share");
    assert_eq!(error, DeviceError::OutOfMemory { asked_bytes: 1004, free_bytes: 1000 });
    assert_eq!(error.remedy(), Remedy::AskForLess);
    let second = device.zeros::<f32>(250).expect("just within it");
    drop((first, second));
    assert_eq!(device.free_bytes(), Ok(5000));
    assert!(matches!(device.zeros::<u64>(usize::MAX), Err(DeviceError::OutOfMemory { .. })));
}

/// A device whose context can be lost, and whose memory is that of another.
struct Fragile {
    info: DeviceInfo,
    lost: Arc<AtomicBool>,
}

impl Fragile {
    fn check(&self) -> Result<(), DeviceError> {
        let cause = "an illegal memory access was encountered (700)".to_owned();
        if self.lost.load(Ordering::Relaxed) { Err(DeviceError::Faulted { cause }) } else { Ok(()) }
    }
}

impl Backend for Fragile {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }
    fn free_bytes(&self) -> Result<u64, DeviceError> {
        self.check().map(|()| 1000)
    }
    fn allocate(&self, _: usize) -> Result<u64, DeviceError> {
        self.check().map(|()| 4096)
    }
    unsafe fn release(&self, _: u64) {}
    fn allocate_host(&self, bytes: usize) -> Result<*mut u8, DeviceError> {
        Err(DeviceError::OutOfMemory { asked_bytes: bytes as u64, free_bytes: 0 })
    }
    unsafe fn release_host(&self, _: *mut u8) {}
    unsafe fn clear(&self, _: u64, _: usize) -> Result<(), DeviceError> {
        self.check()
    }
    unsafe fn copy_in(&self, _: Stream, _: u64, _: *const u8, _: usize) -> Result<(), DeviceError> {
        self.check()
    }
    unsafe fn copy_out(&self, _: Stream, _: *mut u8, _: u64, _: usize) -> Result<(), DeviceError> {
        self.check()
    }
    unsafe fn copy_within(&self, _: u64, _: u64, _: usize) -> Result<(), DeviceError> {
        self.check()
    }
    fn order(&self, _: Stream, _: Stream) -> Result<(), DeviceError> {
        self.check()
    }
    fn synchronize(&self, _: Stream) -> Result<(), DeviceError> {
        self.check()
    }
    fn load(&self, program: &Program) -> Result<u64, DeviceError> {
        Err(DeviceError::Compile { kernel: program.source.path, log: "no compiler".to_owned() })
    }
    fn kernel(&self, _: u64, _: &'static str, _: u32) -> Result<u64, DeviceError> {
        self.check().map(|()| 1)
    }
    unsafe fn launch(&self, _: u64, _: Threads, _: &mut [*mut c_void]) -> Result<(), DeviceError> {
        self.check()
    }
}

#[test]
fn a_lost_context_stays_lost_and_says_so() {
    let info = emulate(Turns::Forward, 1000, 1.0).info().clone();
    let lost = Arc::new(AtomicBool::new(false));
    let device = Device::new(Box::new(Fragile { info, lost: lost.clone() }), 1.0);
    let mut buffer = device.zeros::<f32>(10).expect("a whole context");
    let compile = self_test(&device).expect_err("no compiler");
    assert_eq!(compile.to_string(), "kernel device/self_test.cu does not compile: no compiler");
    assert!(!device.is_faulted(), "a kernel that does not compile does no harm");
    assert!(matches!(device.pinned::<u8>(5), Err(DeviceError::OutOfMemory { asked_bytes: 16, free_bytes: 0 })));

    lost.store(true, Ordering::Relaxed);
    let first = device.synchronize().expect_err("lost");
    assert_eq!(first.remedy(), Remedy::ReplaceHandle);
    assert!(device.is_faulted());
    lost.store(false, Ordering::Relaxed);
    assert_eq!(device.clear(&mut buffer), Err(first.clone()), "the handle remembers");
    assert_eq!(device.clone().zeros::<f32>(1).map(|_| ()), Err(first));
    assert!(device.free_bytes().is_err());
}
