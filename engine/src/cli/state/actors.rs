//! `tandem actor list | get`.

use clap::Subcommand;
use tandem_proto::v1::StateKind;

use super::lists::{Limit, not_found, print_limited};
use super::{OfJob, ask};
use crate::cli::Failure;
use crate::cli::session::Session;
use crate::output::{ActorView, print_list};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ActorCommand {
    /// All actors of jobs that run
    List {
        #[command(flatten)]
        job: OfJob,
        /// In this state: pending, starting, ready, ending or gone
        #[arg(long, value_parser = ["pending", "starting", "ready", "ending", "gone"], ignore_case = true)]
        state: Option<String>,
        /// Of this class, with or without its module
        #[arg(long)]
        class: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// One actor, or those with a name
    Get {
        /// Its id or name
        actor: String,
    },
}

pub(in crate::cli) async fn execute(command: ActorCommand, session: &Session) -> Result<(), Failure> {
    match command {
        ActorCommand::List { job, state, class, limit } => {
            let found = ask(session, StateKind::Actors, &job, "").await?;
            let workers = found.workers;
            let actors = found.actors.into_iter().map(|actor| ActorView::new(actor, &workers));
            let wanted = |actor: &ActorView| {
                state.as_ref().is_none_or(|state| actor.state.eq_ignore_ascii_case(state))
                    && class.as_ref().is_none_or(|class| super::tasks::is_function(&actor.class, class))
            };
            print_limited(session.format(), actors.filter(wanted).collect(), &limit, "actors")
        }
        ActorCommand::Get { actor } => {
            let found = ask(session, StateKind::Actors, &OfJob { job: None }, "").await?;
            let workers = found.workers;
            let named = found.actors.into_iter().filter(|known| known.id == actor || known.name == actor);
            let named: Vec<_> = named.map(|known| ActorView::new(known, &workers)).collect();
            if named.is_empty() {
                return Err(not_found("actor", &actor));
            }
            print_list(session.format(), &named)
        }
    }
}
