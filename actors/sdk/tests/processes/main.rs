//! Real processes of a program, driven by a node of this test over real links.

extern crate tandem_sdk as tandem;

mod app;
mod driver;
mod executor;
mod hosting;
mod node;
mod tasks;

use std::process::ExitCode;

/// What the processes run: this test again, which does nothing otherwise.
#[test]
fn executor_process() -> ExitCode {
    if std::env::var_os("TANDEM_EXECUTOR").is_some() { app::main() } else { ExitCode::SUCCESS }
}
