//! The command that looks for a device to compute on.

use crate::support::Sandbox;

#[test]
fn a_machine_without_a_device_says_so() {
    let finished = Sandbox::new().run(&["check-gpu", "-o", "json"]);
    match finished.code {
        Some(0) => assert_eq!(finished.json()["self_test"], "passed"),
        _ => drop(finished.ended_with(3).tells(&["error: ", "help: everything runs on the CPU"])),
    }
}
