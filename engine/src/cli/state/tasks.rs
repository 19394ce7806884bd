//! `tandem task list | get`.

use clap::Subcommand;
use tandem_client::ClusterState;
use tandem_proto::v1::{StateKind, TaskRecord};

use super::lists::{Limit, not_found, print_limited};
use super::{OfJob, ask};
use crate::cli::Failure;
use crate::cli::session::Session;
use crate::output::{FineTaskView, print_list, tell};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TaskCommand {
    /// Tasks and calls of actors: those that wait and run, and those that ended lately
    List {
        #[command(flatten)]
        job: OfJob,
        /// In this state: pending, scheduled, running, blocked, finished or failed
        #[arg(long, value_parser = ["pending", "scheduled", "running", "blocked", "finished", "failed"], ignore_case = true)]
        state: Option<String>,
        /// Of this function or method, with or without its module
        #[arg(long)]
        function: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Every attempt of one task
    Get {
        /// Its id
        id: String,
    },
}

pub(in crate::cli) async fn execute(command: TaskCommand, session: &Session) -> Result<(), Failure> {
    match command {
        TaskCommand::List { job, state, function, limit } => {
            let found = ask(session, StateKind::Tasks, &job, "").await?;
            say_forgotten(&found);
            let workers = found.workers;
            let tasks = latest(found.tasks).map(|task| FineTaskView::new(task, &workers));
            let wanted = |task: &FineTaskView| {
                state.as_ref().is_none_or(|state| task.state.eq_ignore_ascii_case(state))
                    && function.as_ref().is_none_or(|function| is_function(&task.function, function))
            };
            print_limited(session.format(), tasks.filter(wanted).collect(), &limit, "tasks")
        }
        TaskCommand::Get { id } => {
            let found = ask(session, StateKind::Tasks, &OfJob { job: None }, &id).await?;
            let workers = found.workers;
            let attempts: Vec<_> = found.tasks.into_iter().map(|task| FineTaskView::new(task, &workers)).collect();
            if attempts.is_empty() {
                let help = "workers keep the last 8,192 attempts that ended well and 2,048 that did not";
                return Err(not_found("task", &id).with_help(help));
            }
            print_list(session.format(), &attempts)
        }
    }
}

/// The last known attempt of each; attempts of one task follow each other.
fn latest(tasks: Vec<TaskRecord>) -> impl Iterator<Item = TaskRecord> {
    let mut tasks = tasks.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut task = tasks.next()?;
        while let Some(later) = tasks.next_if(|next| next.id == task.id) {
            task = later;
        }
        Some(task)
    })
}

pub(super) fn is_function(full: &str, wanted: &str) -> bool {
    full == wanted || full.strip_suffix(wanted).is_some_and(|module| module.ends_with("::"))
}

fn say_forgotten(found: &ClusterState) {
    if found.forgotten > 0 {
        tell!("note: {} older attempts have ended that workers do not keep any more", found.forgotten);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_attempt_of_each_task_is_listed() {
        let task = |id: &str, attempt| TaskRecord { id: id.to_owned(), attempt, ..TaskRecord::default() };
        let listed: Vec<_> = latest(vec![task("a", 0), task("a", 1), task("b", 0)]).collect();
        assert_eq!(listed, [task("a", 1), task("b", 0)]);
    }

    #[test]
    fn functions_are_found_with_and_without_their_module() {
        assert!(is_function("app::area", "area") && is_function("app::area", "app::area"));
        assert!(!is_function("app::area", "rea"));
    }
}
