//! The device of this process: a worker shows a process the GPUs that its calls were given, and no others.

use std::sync::LazyLock;

use tandem_text::device::{Device, DeviceConfig, open};

/// Which devices a process may use, by their numbers.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

static DEVICE: LazyLock<Option<Device>> = LazyLock::new(|| {
    let given = std::env::var(VISIBLE).is_ok_and(|devices| !devices.is_empty());
    if !given {
        return None;
    }
    let opened = open(&DeviceConfig::default());
    // For the log of the job.
    match &opened {
        Ok((_, probe)) => eprintln!("{probe}"),
        Err(error) => eprintln!("cpu: {error}"),
    }
    opened.ok().and_then(|(device, _)| device)
});

/// The first of the GPUs that this process was given, if it was given any and they work.
pub(super) fn device() -> Option<&'static Device> {
    DEVICE.as_ref()
}
