//! `tandem object list | get`.

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
            let objects = views(ask(session, StateKind::Objects, &job, "").await?);
            print_limited(session.format(), objects, &limit, "objects")
        }
        ObjectCommand::Get { id } => {
            let objects = views(ask(session, StateKind::Objects, &OfJob { job: None }, &id).await?);
            if objects.is_empty() {
                return Err(not_found("object", &id));
            }
            print_list(session.format(), &objects)
        }
    }
}

/// The largest first.
pub(super) fn views(found: ClusterState) -> Vec<ObjectView> {
    let workers = found.workers;
    let objects = found.objects.into_iter().map(|(worker, object)| ObjectView::new(worker, object, &workers));
    let mut objects: Vec<_> = objects.collect();
    objects.sort_by(|left, right| (right.bytes, &left.id).cmp(&(left.bytes, &right.id)));
    objects
}
