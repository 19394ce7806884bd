//! Whole programs on one worker, and some on several: real processes of a program that is written with our SDK, the real node, and this runtime. Only
//! the coordinator is played by the test.

extern crate tandem_sdk as tandem;

#[allow(dead_code, unreachable_pub, reason = "it is the program of other tests too")]
#[path = "../../../sdk/tests/processes/app.rs"]
mod app;
mod coordinator;
mod scenarios;
#[allow(dead_code, reason = "each test uses some of it")]
#[path = "../support/security.rs"]
mod security;

use std::process::ExitCode;

/// What the processes run: this test again, which does nothing otherwise.
#[test]
fn executor_process() -> ExitCode {
    if std::env::var_os("TANDEM_EXECUTOR").is_some() { app::main() } else { ExitCode::SUCCESS }
}
