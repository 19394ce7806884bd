//! `tandem object list | get`.

use std::collections::HashMap;

use clap::Subcommand;
use tandem_client::ClusterState;
use tandem_proto::v1::StateKind;

use super::lists::{Limit, not_found, print_limited};
use super::{OfJob, ask};
use crate::cli::Failure;
use crate::cli::session::Session;
use crate::output::{ObjectView, print_list};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ObjectCommand {
    /// All objects of jobs that run, the largest first, as each worker that knows one sees it
    List {
        #[command(flatten)]
        job: OfJob,
        #[command(flatten)]
        limit: Limit,
    },
    /// One object, as each worker that knows it sees it
    Get {
        /// Its id
        id: String,
    },
}

pub(in crate::cli) async fn execute(command: ObjectCommand, session: &Session) -> Result<(), Failure> {
    match command {
        ObjectCommand::List { job, limit } => {
            let objects = list(session, &job, "").await?;
            print_limited(session.format(), objects, &limit, "objects")
        }
        ObjectCommand::Get { id } => {
            let objects = list(session, &OfJob { job: None }, &id).await?;
            if objects.is_empty() {
                return Err(not_found("object", &id));
            }
            print_list(session.format(), &objects)
        }
    }
}

/// The objects that are looked for, the largest first.
pub(super) async fn list(session: &Session, job: &OfJob, id: &str) -> Result<Vec<ObjectView>, Failure> {
    let mut found = ask(session, StateKind::Objects, job, id).await?;
    // What ran on another worker than that of the object is known there.
    if found.objects.iter().any(|(_, object)| object.made_by.is_empty() && !object.task.is_empty()) {
        let tasks = ask(session, StateKind::Tasks, job, "").await?.tasks;
        let functions: HashMap<_, _> = tasks.into_iter().map(|task| (task.id, task.function)).collect();
        for (_, object) in found.objects.iter_mut().filter(|(_, object)| object.made_by.is_empty()) {
            object.made_by = functions.get(&object.task).cloned().unwrap_or_default();
        }
    }
    Ok(views(found))
}

fn views(found: ClusterState) -> Vec<ObjectView> {
    let workers = found.workers;
    let objects = found.objects.into_iter().map(|(worker, object)| ObjectView::new(worker, object, &workers));
    let mut objects: Vec<_> = objects.collect();
    objects.sort_by(|left, right| (right.bytes, &left.id).cmp(&(left.bytes, &right.id)));
    objects
}
