//! Programs of users on real clusters: submitted by the built binary, run by real worker processes, and killed there.

#[path = "../support/mod.rs"]
mod support;

mod attached;
mod circle;
mod client;
mod detached;
mod drain;
mod faults;
mod feeds;
mod functions;
mod groups;
mod leaks;
mod mapped;
mod pools;
mod resources;
mod secrets;
mod sharing;
mod spill;
mod state;
mod step_resources;
mod streams;
mod submit;
mod tables;
mod texts;
mod trouble;
mod variables;

use std::path::PathBuf;
use std::process::{Child, Stdio};

use support::{Finished, Sandbox, TANDEM};

/// A program of `actors/programs`. It lies beside the binary under test.
fn program(name: &str) -> String {
    let path = PathBuf::from(TANDEM).with_file_name(name);
    assert!(path.is_file(), "{} is missing: build the whole workspace", path.display());
    path.to_str().expect("a UTF-8 path").to_owned()
}

/// `job submit PROGRAM -- ARGS`.
fn submit(sandbox: &Sandbox, name: &str, args: &[&str]) -> Finished {
    submit_with(sandbox, &[], name, args)
}

/// `job submit OPTIONS PROGRAM -- ARGS`.
fn submit_with(sandbox: &Sandbox, options: &[&str], name: &str, args: &[&str]) -> Finished {
    sandbox.run(&submission(options, &program(name), args))
}

/// The same in the background.
fn start(sandbox: &Sandbox, name: &str, args: &[&str]) -> Child {
    let program = program(name);
    let mut command = sandbox.command(&submission(&[], &program, args));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs")
}

fn submission<'a>(options: &[&'a str], program: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    [&["job", "submit"], options, &[program, "--"], args].concat()
}
