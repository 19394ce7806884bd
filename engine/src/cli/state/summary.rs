//! `tandem summary tasks | actors | objects`.

use std::collections::BTreeMap;

use clap::Subcommand;
use tandem_proto::v1::StateKind;

use super::{OfJob, ask, objects};
use crate::cli::Failure;
use crate::cli::session::Session;
use crate::output::{ActorView, CountedView, FunctionView, print_list};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SummaryCommand {
    /// Tasks and calls by function: how many are in which state, and how long they ran
    Tasks(OfJob),
    /// Actors by class and state
    Actors(OfJob),
    /// Objects by what made them
    Objects(OfJob),
}

pub(in crate::cli) async fn execute(command: SummaryCommand, session: &Session) -> Result<(), Failure> {
    match command {
        SummaryCommand::Tasks(job) => {
            let found = ask(session, StateKind::Summary, &job, "").await?;
            let functions: Vec<_> = found.functions.into_iter().map(FunctionView::from).collect();
            print_list(session.format(), &functions)
        }
        SummaryCommand::Actors(job) => {
            let found = ask(session, StateKind::Actors, &job, "").await?;
            let actors = found.actors.into_iter().map(|actor| ActorView::new(actor, &found.workers));
            print_list(session.format(), &counted(actors.map(|actor| (actor.job, actor.class, actor.state, 0))))
        }
        SummaryCommand::Objects(job) => {
            // An object that several workers know is counted where it is owned.
            let owned =
                objects::list(session, &job, "").await?.into_iter().filter(|object| object.owner == object.known_by);
            print_list(
                session.format(),
                &counted(owned.map(|object| (object.job, object.made_by, object.state, object.bytes))),
            )
        }
    }
}

fn counted(all: impl Iterator<Item = (String, String, &'static str, u64)>) -> Vec<CountedView> {
    let mut counts: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for (job, kind, state, bytes) in all {
        let (count, sum) = counts.entry((job, kind, state)).or_default();
        *count += 1;
        *sum += bytes;
    }
    let view = |((job, kind, state), (count, bytes))| CountedView { job, kind, state, count, bytes };
    counts.into_iter().map(view).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_of_a_kind_are_counted() {
        let all = [("j", "A", 5), ("j", "B", 0), ("j", "A", 7)];
        let all = all.map(|(job, kind, bytes)| (job.to_owned(), kind.to_owned(), "READY", bytes));
        let counts: Vec<_> =
            counted(all.into_iter()).into_iter().map(|view| (view.kind, view.count, view.bytes)).collect();
        assert_eq!(counts, [("A".to_owned(), 2, 12), ("B".to_owned(), 1, 0)]);
    }
}
