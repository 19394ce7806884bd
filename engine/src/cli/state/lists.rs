//! What all lists of state have in common: a limit that is told, and the one thing that is asked for.

use crate::cli::{Exit, Failure};
use crate::output::{OutputFormat, Record, print_list, tell};

/// How much of a list is shown.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::cli) struct Limit {
    /// Show so many; 0 is all
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
}

/// Prints the first of them, and on standard error how many there are if these are not all.
pub(super) fn print_limited<R: Record>(
    format: OutputFormat,
    mut records: Vec<R>,
    limit: &Limit,
    noun: &str,
) -> Result<(), Failure> {
    let total = records.len();
    if limit.limit > 0 {
        records.truncate(limit.limit);
    }
    print_list(format, &records)?;
    if records.len() < total {
        tell!("note: {} of {total} {noun}; --limit 0 shows all", records.len());
    }
    Ok(())
}

/// What `get` says when there is none.
pub(super) fn not_found(noun: &str, id: &str) -> Failure {
    Failure::new(Exit::NotFound, format!("no such {noun}: {id}"))
}
