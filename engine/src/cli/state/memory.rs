//! `tandem memory`: which objects take memory, who made them, and who keeps them.

use std::collections::BTreeMap;

use tandem_proto::v1::StateKind;

use super::{OfJob, ask, objects};
use crate::cli::Failure;
use crate::cli::session::Session;
use crate::output::units::format_bytes;
use crate::output::{ObjectView, OutputFormat, print_list};

/// Objects that are listed for people; all are in other forms.
const LISTED: usize = 50;

pub(in crate::cli) async fn execute(job: OfJob, session: &Session) -> Result<(), Failure> {
    let found = ask(session, StateKind::Objects, &job, "").await?;
    let workers: Vec<String> = found.workers.values().cloned().collect();
    let kept: Vec<_> = objects::views(found).into_iter().filter(|object| object.local && object.bytes > 0).collect();
    if session.format() != OutputFormat::Table {
        return print_list(session.format(), &kept);
    }
    let totals = totals(&workers, &kept);
    print_list(OutputFormat::Table, &kept[..kept.len().min(LISTED)])?;
    println!();
    for (worker, (objects, bytes)) in &totals {
        println!("{worker}: {objects} objects, {}", format_bytes(*bytes));
    }
    let all: usize = totals.values().map(|(objects, _)| objects).sum();
    if all > LISTED {
        eprintln!("note: the largest {LISTED} of {all} objects; -o json shows all");
    }
    Ok(())
}

/// Objects and bytes in the memory of each worker.
fn totals<'a>(workers: &'a [String], kept: &'a [ObjectView]) -> BTreeMap<&'a str, (usize, u64)> {
    let mut totals: BTreeMap<&str, (usize, u64)> = workers.iter().map(|name| (name.as_str(), (0, 0))).collect();
    for object in kept {
        let (objects, bytes) = totals.entry(&object.known_by).or_default();
        *objects += 1;
        *bytes += object.bytes;
    }
    totals
}
