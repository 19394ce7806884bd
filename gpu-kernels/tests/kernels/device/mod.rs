//! Devices and kernels on them.

mod compile;
pub(crate) mod emulator;
mod executor;
pub(crate) mod find;

use tandem_kernels::device::Device;

/// Every device that an operation can be tested on: kernels on the host in several orders, and a real one. Lines say what
/// is missing.
pub(crate) fn devices() -> Vec<Device> {
    let mut devices = emulator::emulated();
    devices.extend(find::device());
    devices
}
