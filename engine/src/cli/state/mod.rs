//! `tandem task|actor|object|pg list|get`, `summary`, `memory`, `timeline`: what programs do and hold, as workers say.

mod actors;
mod groups;
mod lists;
mod memory;
mod objects;
mod summary;
mod tasks;
mod timeline;

use tandem_client::ClusterState;
use tandem_proto::v1::{ListStateRequest, StateKind};
use tandem_proto::{JobId, ParseIdError};

use super::Failure;
use super::session::Session;
use crate::output::tell;

pub(super) use actors::{ActorCommand, execute as actor};
pub(super) use groups::{GroupCommand, execute as group};
pub(super) use memory::execute as memory;
pub(super) use objects::{ObjectCommand, execute as object};
pub(super) use summary::{SummaryCommand, execute as summary};
pub(super) use tasks::{TaskCommand, execute as task};
pub(super) use timeline::{TimelineArgs, execute as timeline};

/// Which jobs to look at.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct OfJob {
    /// Of this job only
    #[arg(long, value_name = "ID", value_parser = parse_job)]
    job: Option<JobId>,
}

fn parse_job(text: &str) -> Result<JobId, ParseIdError> {
    text.parse()
}

/// Asks all workers, and says on standard error what is missing of the answer.
async fn ask(session: &Session, kind: StateKind, job: &OfJob, id: &str) -> Result<ClusterState, Failure> {
    let request = ListStateRequest { kind: kind.into(), job: job.job.map_or(0, |job| job.0), id: id.to_owned() };
    let state = session.connect().await?.state(request).await?;
    for (worker, why) in &state.silent {
        tell!("note: worker {worker} did not answer: {why}");
    }
    if state.left_out > 0 {
        tell!("note: {} more were not asked for; name a job with --job to see all of its", state.left_out);
    }
    Ok(state)
}
