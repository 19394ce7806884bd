//! `tandem memory`: which objects take memory, who made them, and who keeps them.

use std::collections::BTreeMap;
use std::io::Write;

use super::{OfJob, objects};
use crate::cli::Failure;
use crate::cli::session::Session;
use crate::output::units::format_bytes;
use crate::output::{ObjectView, OutputFormat, print_list, tell};

/// Objects that are listed for people; all are in other forms.
const LISTED: usize = 50;

pub(in crate::cli) async fn execute(job: OfJob, session: &Session) -> Result<(), Failure> {
    let objects = objects::list(session, &job, "").await?;
    let kept: Vec<_> = objects.into_iter().filter(|object| object.local && object.bytes > 0).collect();
    if session.format() != OutputFormat::Table {
        return print_list(session.format(), &kept);
    }
    let totals = totals(&kept);
    print_list(OutputFormat::Table, &kept[..kept.len().min(LISTED)])?;
    let mut out = std::io::stdout().lock();
    writeln!(out)?;
    for (worker, (objects, bytes)) in &totals {
        writeln!(out, "{worker}: {objects} objects, {}", format_bytes(*bytes))?;
    }
    let all: usize = totals.values().map(|(objects, _)| objects).sum();
    if all > LISTED {
        tell!("note: the largest {LISTED} of {all} objects; -o json shows all");
    }
    Ok(())
}

/// Objects and bytes in the memory of each worker.
fn totals(kept: &[ObjectView]) -> BTreeMap<&str, (usize, u64)> {
    let mut totals: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for object in kept {
        let (objects, bytes) = totals.entry(&object.known_by).or_default();
        *objects += 1;
        *bytes += object.bytes;
    }
    totals
}
