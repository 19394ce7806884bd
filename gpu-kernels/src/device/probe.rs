//! Finds out what there is to compute on, and opens it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::driver::Cuda;
use super::nvrtc::Nvrtc;
use super::{Device, DeviceError, Missing, self_test};

/// What to compute on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// A device if there is one, else the CPU; the probe says why.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A device; an error if there is none.
    Cuda,
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            other => Err(format!("unknown device {other}, expected auto, cpu or cuda")),
        }
    }
}

/// How to open a device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceConfig {
    /// What to compute on.
    pub choice: Choice,
    /// Which device, counted from 0.
    pub ordinal: usize,
    /// The share of the device's memory that the handle may hold: above 0, up to 1.
    pub memory_fraction: f64,
    /// Where compiled kernels are kept; none: they are compiled in every process.
    pub cache: Option<PathBuf>,
    /// NVRTC's library or its folder; none: where the system has it.
    pub nvrtc: Option<PathBuf>,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self { choice: Choice::Auto, ordinal: 0, memory_fraction: 0.9, cache: None, nvrtc: None }
    }
}

/// What a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its maker's name for it.
    pub name: String,
    /// Its number.
    pub ordinal: usize,
    /// All of its memory.
    pub memory_bytes: u64,
    /// Compute capability, before and behind the point.
    pub capability: (u32, u32),
    /// How many multiprocessors it has.
    pub multiprocessors: u32,
    /// Most shared memory that a block can have.
    pub shared_bytes: u32,
    /// The CUDA version of the driver.
    pub driver_version: (i32, i32),
    /// The version of the compiler.
    pub nvrtc_version: (i32, i32),
}

/// What was found. Shown, it is one line for the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// What was asked for.
    pub choice: Choice,
    /// The device, which passed the self-test; or why there is none.
    pub device: Result<DeviceInfo, DeviceError>,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.device {
            Ok(info) => {
                let DeviceInfo { name, memory_bytes, capability: (major, minor), .. } = info;
                let ((driver, driver_minor), (nvrtc, nvrtc_minor)) = (info.driver_version, info.nvrtc_version);
                write!(f, "cuda: {name}, {memory_bytes} bytes, compute capability {major}.{minor}, ")?;
                write!(f, "driver {driver}.{driver_minor}, NVRTC {nvrtc}.{nvrtc_minor}, self-test passed")
            }
            Err(reason) => {
                // One line, also where a compiler's log has more.
                let reason = reason.to_string();
                write!(f, "cpu: {}", reason.lines().next().unwrap_or_default())
            }
        }
    }
}

/// Opens what `config` chooses, and says what was found. No device means: use the CPU.
///
/// # Errors
/// Why there is no device, if [`Choice::Cuda`] was asked for. [`crate::KernelError::Parameter`] for a fraction that is
/// none.
pub fn open(config: &DeviceConfig) -> Result<(Option<Device>, Probe), DeviceError> {
    let fraction = config.memory_fraction;
    if !(fraction > 0.0 && fraction <= 1.0) {
        let expected = "above 0, up to 1";
        return Err(crate::KernelError::Parameter { name: "memory_fraction", value: fraction, expected }.into());
    }
    let choice = config.choice;
    if choice == Choice::Cpu {
        return Ok((None, Probe { choice, device: Err(Missing::NotAsked.into()) }));
    }
    match open_cuda(config) {
        Ok(device) => {
            let found = Probe { choice, device: Ok(device.info().clone()) };
            Ok((Some(device), found))
        }
        Err(reason) if choice == Choice::Cuda => Err(reason),
        Err(reason) => Ok((None, Probe { choice, device: Err(reason) })),
    }
}

fn open_cuda(config: &DeviceConfig) -> Result<Device, DeviceError> {
    // Without a driver the compiler does not matter.
    super::library::check()?;
    let nvrtc = Nvrtc::open(config.nvrtc.as_deref())?;
    let cuda = Cuda::open(config.ordinal, nvrtc, config.cache.as_deref())?;
    let device = Device::new(Box::new(cuda), config.memory_fraction);
    self_test(&device)?;
    Ok(device)
}
