//! Each program here is a package: what a user's own `cargo build` gives.

use std::process::Command;

use tandem_package::{Platform, inspect};

const PROGRAMS: [(&str, &str); 15] = [
    (env!("CARGO_BIN_EXE_carry"), "next"),
    (env!("CARGO_BIN_EXE_circle"), "Asker"),
    (env!("CARGO_BIN_EXE_counted"), "Counter"),
    (env!("CARGO_BIN_EXE_functions"), "label"),
    (env!("CARGO_BIN_EXE_handover"), "Reader"),
    (env!("CARGO_BIN_EXE_hello"), "count_words"),
    (env!("CARGO_BIN_EXE_mapped"), "square_except"),
    (env!("CARGO_BIN_EXE_micro"), "echo"),
    (env!("CARGO_BIN_EXE_mixed"), "Tally"),
    (env!("CARGO_BIN_EXE_needs"), "place"),
    (env!("CARGO_BIN_EXE_pi"), "inside"),
    (env!("CARGO_BIN_EXE_pools"), "Squarer"),
    (env!("CARGO_BIN_EXE_streams"), "items"),
    (env!("CARGO_BIN_EXE_tables"), "square"),
    (env!("CARGO_BIN_EXE_trouble"), "act"),
];

#[test]
fn programs_are_packages_of_this_platform() {
    for (program, _) in PROGRAMS {
        let package = inspect(program.as_ref(), u64::MAX).unwrap_or_else(|unfit| panic!("{program}: {unfit}"));
        Platform::current().check(&package.needs).unwrap_or_else(|unfit| panic!("{program}: {unfit}"));
    }
}

#[test]
fn programs_list_what_they_have_and_look_for_a_cluster() {
    for (program, function) in PROGRAMS {
        let listed = Command::new(program).arg("--list").output().expect("it runs");
        let listed = String::from_utf8(listed.stdout).expect("text");
        assert!(listed.lines().any(|line| line.ends_with(function)), "{program}: {listed}");
        let nobody = env!("CARGO_TARGET_TMPDIR");
        let by_hand = Command::new(program).env_clear().env("HOME", nobody).output().expect("it runs");
        let said = String::from_utf8(by_hand.stderr).expect("text");
        assert_eq!(by_hand.status.code(), Some(4), "{said}");
        assert!(said.starts_with("error: no cluster is running: ") && said.contains("\nhelp: start one"), "{said}");
    }
}
