//! What one runs on a machine with a device: finds it, compares every operation with the CPU, then measures. Prints one JSON
//! object a line; a section that fails says so and the next one goes on with a new handle. Exit code 1 if any failed.
//!
//! ```sh
//! cargo run --release -p tandem-kernels --example device_check -- [SECTION…]
//! ```
//!
//! Sections: those of `CHECKS` and `RATES` below; `checks` and `rates` are all of a kind; none: everything, which takes
//! under four minutes on a machine with 16 cores. Inputs are generated. NVRTC is looked for as the tests do: `TANDEM_NVRTC`,
//! the packages of `python3`, the system. Compiled kernels are kept in `TANDEM_KERNEL_CACHE` if that is set.

mod checks;
mod data;
mod rates;

#[path = "../../tests/kernels/device/encoder_reference.rs"]
mod encoder_reference;
#[path = "../../tests/kernels/device/find.rs"]
mod find;

use std::process::ExitCode;
use std::time::Instant;

use tandem_kernels::device::{Choice, Device, DeviceConfig, DeviceError, open};

/// What a section answers: members of its JSON object, or what is wrong.
type Answer = Result<String, Box<dyn std::error::Error>>;
/// A section: its name and what it runs.
type Section = (&'static str, fn(&Device) -> Answer);

const CHECKS: &[Section] = &[
    ("memory", checks::memory),
    ("funk-batched", checks::funk_batched),
    ("funk-fast", checks::funk_fast),
    ("top-k", checks::top_k),
    ("ials", checks::ials),
    ("encoder", checks::encoder),
];

const RATES: &[Section] = &[
    ("rate-encoder", rates::encoder),
    ("rate-top-k", rates::top_k),
    ("rate-ials", rates::ials),
    ("rate-funk", rates::funk),
    ("rate-funk-half", rates::funk_half),
];

fn open_device() -> Result<Device, DeviceError> {
    let cache = std::env::var_os("TANDEM_KERNEL_CACHE").map(Into::into);
    let config = DeviceConfig { choice: Choice::Cuda, nvrtc: find::nvrtc(), cache, ..DeviceConfig::default() };
    let (device, probe) = open(&config)?;
    eprintln!("{probe}");
    Ok(device.expect("cuda was asked for and is no error"))
}

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let of =
        |kind: &str, (name, _): &&Section| asked.is_empty() || asked.iter().any(|asked| asked == name || asked == kind);
    let sections: Vec<&Section> = CHECKS
        .iter()
        .filter(|section| of("checks", section))
        .chain(RATES.iter().filter(|section| of("rates", section)))
        .collect();
    if sections.is_empty() {
        eprintln!("no such section");
        return ExitCode::FAILURE;
    }
    let mut failed = false;
    for (name, run) in sections {
        let start = Instant::now();
        let answer = open_device().map_err(Into::into).and_then(|device| run(&device));
        let seconds = start.elapsed().as_secs_f64();
        match answer {
            Ok(members) => println!("{{\"section\":\"{name}\",\"ok\":true,{members},\"seconds\":{seconds:.2}}}"),
            Err(error) => {
                failed = true;
                println!(
                    "{{\"section\":\"{name}\",\"ok\":false,\"error\":{:?},\"seconds\":{seconds:.2}}}",
                    error.to_string()
                );
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// An error unless `good`.
fn check(good: bool, what: impl FnOnce() -> String) -> Result<(), Box<dyn std::error::Error>> {
    if good { Ok(()) } else { Err(what().into()) }
}
