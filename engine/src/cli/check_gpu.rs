//! `tandem check-gpu`: whether the device of this machine computes what the CPU does.

use serde::Serialize;
use tandem_kernels::device::{self, Choice, DeviceConfig, DeviceError, DeviceInfo};

use super::Failure;
use super::failure::Exit;
use super::session::Session;
use crate::output::units::format_bytes;
use crate::output::{Record, print_one};

#[derive(Debug, clap::Args)]
pub(super) struct CheckGpuArgs {
    /// Which device, counted from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    device: usize,
}

/// A device that passed.
#[derive(Debug, Serialize)]
struct Found {
    host: String,
    device: usize,
    name: String,
    memory_bytes: u64,
    compute_capability: String,
    multiprocessors: u32,
    driver_version: String,
    nvrtc_version: String,
    self_test: &'static str,
}

impl Found {
    fn new(info: DeviceInfo) -> Self {
        let version = |(major, minor): (i32, i32)| format!("{major}.{minor}");
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            host: host.trim().to_owned(),
            device: info.ordinal,
            compute_capability: format!("{}.{}", info.capability.0, info.capability.1),
            driver_version: version(info.driver_version),
            nvrtc_version: version(info.nvrtc_version),
            memory_bytes: info.memory_bytes,
            multiprocessors: info.multiprocessors,
            name: info.name,
            // One that fails is not found.
            self_test: "passed",
        }
    }
}

impl Record for Found {
    const COLUMNS: &'static [&'static str] =
        &["host", "device", "name", "memory", "capability", "driver", "nvrtc", "self-test"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.host.clone(),
            self.device.to_string(),
            self.name.clone(),
            format_bytes(self.memory_bytes),
            self.compute_capability.clone(),
            self.driver_version.clone(),
            self.nvrtc_version.clone(),
            self.self_test.to_owned(),
        ]
    }
}

pub(super) fn execute(args: &CheckGpuArgs, session: &Session) -> Result<(), Failure> {
    let config = DeviceConfig { choice: Choice::Cuda, ordinal: args.device, ..DeviceConfig::default() };
    let (_, probe) = device::open(&config).map_err(|error| not_found(&error))?;
    let info = probe.device.map_err(|error| not_found(&error))?;
    print_one(session.format(), &Found::new(info))
}

fn not_found(error: &DeviceError) -> Failure {
    Failure::new(Exit::NotFound, error.to_string())
        .with_help("everything runs on the CPU without one; steps that can use a device find it by themselves")
}
