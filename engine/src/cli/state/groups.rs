//! `tandem pg list | get`: the placement groups, which the coordinator knows.

use clap::Subcommand;

use super::OfJob;
use super::lists::{Limit, not_found, print_limited};
use crate::cli::Failure;
use crate::cli::session::Session;
use crate::output::{GroupView, print_one};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum GroupCommand {
    /// The placement groups of jobs that run
    List {
        #[command(flatten)]
        job: OfJob,
        #[command(flatten)]
        limit: Limit,
    },
    /// One placement group, with where its bundles are
    Get {
        /// Its id or name
        group: String,
    },
}

pub(in crate::cli) async fn execute(command: GroupCommand, session: &Session) -> Result<(), Failure> {
    let client = session.connect().await?;
    match command {
        GroupCommand::List { job, limit } => {
            let groups = client.groups(job.job).await?.into_iter().map(GroupView::from).collect();
            print_limited(session.format(), groups, &limit, "placement groups")
        }
        GroupCommand::Get { group } => {
            let mut groups = client.groups(None).await?.into_iter().map(GroupView::from);
            let found = groups.find(|known| known.is_called(&group));
            print_one(session.format(), &found.ok_or_else(|| not_found("placement group", &group))?)
        }
    }
}
