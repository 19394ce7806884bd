//! The `tandem` binary: every command and every process of a cluster.

mod cli;
mod config;
mod local;
mod output;

fn main() -> std::process::ExitCode {
    cli::main()
}
