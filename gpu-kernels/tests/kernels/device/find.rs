//! Finds what a machine may lack: NVRTC and a device. `TANDEM_NVRTC` names a library or its folder; else the packages of
//! the `python3` on the path are searched; else the system's folders.

use std::path::PathBuf;
use std::process::Command;

use tandem_kernels::device::{Choice, Device, DeviceConfig, open};

/// Where NVRTC lies, if it is not where the system has its libraries.
pub(crate) fn nvrtc() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("TANDEM_NVRTC") {
        return Some(PathBuf::from(path));
    }
    let print = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let output = Command::new("python3").args(["-c", print]).output().ok()?;
    let packages = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()).join("nvidia");
    let mut folders: Vec<PathBuf> =
        packages.read_dir().ok()?.filter_map(|entry| Some(entry.ok()?.path().join("lib"))).collect();
    folders.sort();
    let holds = |folder: &PathBuf| {
        let mut names =
            folder.read_dir().into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.any(|name| name.starts_with("libnvrtc.so."))
    };
    folders.into_iter().rev().find(holds)
}

/// The device of this machine.
#[allow(dead_code, reason = "the example opens its own")]
pub(crate) fn device() -> Option<Device> {
    let config = DeviceConfig { choice: Choice::Auto, nvrtc: nvrtc(), ..DeviceConfig::default() };
    let (device, probe) = open(&config).expect("auto is no error");
    if device.is_none() {
        println!("skipped: on a device: {probe}");
    }
    device
}
