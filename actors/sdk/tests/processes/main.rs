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

// With the feature it would be the client of whatever cluster the user has.
#[cfg(not(feature = "client"))]
#[test]
fn started_by_hand_it_says_what_to_type() {
    if std::env::var_os("TANDEM_EXECUTOR").is_none() {
        assert_eq!(format!("{:?}", app::main()), format!("{:?}", ExitCode::from(2)));
    }
}
