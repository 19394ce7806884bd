//! `tandem completion SHELL`.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Failure;

/// Prints a completion script.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionArgs {
    /// Which shell
    shell: Shell,
}

pub(super) fn execute<C: CommandFactory>(args: &CompletionArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut C::command(), "tandem", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}
