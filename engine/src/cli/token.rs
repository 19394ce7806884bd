//! `tandem token create`.

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;
use tandem_client::Token;

use super::Failure;
use super::cert::refuse_to_replace;
use crate::output::tell;

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a new token and print it, or write it to a file that only you can read
    Create {
        /// Where to write it instead of printing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

pub(super) fn execute(command: TokenCommand) -> Result<(), Failure> {
    let TokenCommand::Create { out } = command;
    let token = Token::generate();
    match out {
        Some(path) => {
            refuse_to_replace(&path, "file")?;
            token.write(&path).map_err(|error| Failure::failed(error.to_string()))?;
            tell!("wrote {}", path.display());
        }
        None => writeln!(std::io::stdout(), "{}", token.reveal())?,
    }
    Ok(())
}
