//! Devices and kernels on them.

mod compile;
pub(crate) mod emulator;
mod encoder;
mod encoder_reference;
mod executor;
pub(crate) mod find;
mod funk;
mod ials;
mod rank;

use tandem_kernels::device::Device;

/// Every device that an operation can be tested on: kernels on the host in several orders, and a real one. Lines say what
/// is missing.
pub(crate) fn devices() -> Vec<Device> {
    let mut devices = emulator::emulated();
    devices.extend(find::device());
    devices
}

/// As [`devices`] with one order only, for what takes long.
pub(crate) fn two_devices() -> Vec<Device> {
    let mut devices = devices();
    if devices.iter().any(|device| device.info().name == "host") {
        // Two of the three orders go.
        devices.drain(..2);
    }
    devices
}
