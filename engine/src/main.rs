//! The `tandem` binary: every command and every process of a cluster.

mod cli;
mod config;
mod executor;
mod local;
mod output;

fn main() -> std::process::ExitCode {
    if executor::is_one() { executor::main() } else { cli::main() }
}
