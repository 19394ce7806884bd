//! Which worker did what of a job.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

use serde::Serialize;
use tandem_proto::v1::{NodeStatus, TaskState, TaskStatus};

use super::grid::print_grid;
use super::units::{format_count, format_counted, format_duration};

/// What one worker did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct WorkDone {
    worker: String,
    /// None for a worker that is gone.
    slots: Option<u32>,
    tasks: u64,
    rows: u64,
    /// The time that its tasks took, added up.
    task_ms: u64,
    stages: BTreeSet<u32>,
}

/// What each worker did of the tasks that ended well, workers that did nothing included, by name.
pub(crate) fn work_done(tasks: &[TaskStatus], nodes: &[NodeStatus]) -> Vec<WorkDone> {
    let mut workers: BTreeMap<&str, WorkDone> = BTreeMap::new();
    for node in nodes {
        workers.entry(&node.name).or_default().slots = Some(node.slots);
    }
    for task in tasks.iter().filter(|task| task.state() == TaskState::Succeeded) {
        let worker = workers.entry(&task.worker).or_default();
        worker.tasks += 1;
        worker.rows += task.rows;
        worker.task_ms += u64::try_from(task.ended_ms - task.started_ms).unwrap_or(0);
        worker.stages.extend(task.attempt.map(|attempt| attempt.stage));
    }
    workers.into_iter().map(|(name, work)| WorkDone { worker: name.to_owned(), ..work }).collect()
}

/// Prints it for people, after what the cluster has.
pub(crate) fn print_work_done(out: &mut dyn Write, workers: &[WorkDone]) -> std::io::Result<()> {
    let here = workers.iter().filter_map(|worker| worker.slots);
    writeln!(
        out,
        "{}, {}",
        format_counted(here.clone().count() as u64, "worker"),
        format_counted(here.map(u64::from).sum::<u64>(), "slot")
    )?;
    let rows: Vec<Vec<String>> = workers.iter().map(cells).collect();
    print_grid(out, &["WORKER", "TASKS", "ROWS", "TASK TIME", "STAGES"].map(String::from), &rows)
}

fn cells(work: &WorkDone) -> Vec<String> {
    let stages: Vec<String> = work.stages.iter().map(u32::to_string).collect();
    vec![
        work.worker.clone(),
        format_count(work.tasks),
        format_count(work.rows),
        format_duration(Duration::from_millis(work.task_ms)),
        stages.join(" "),
    ]
}

#[cfg(test)]
mod tests {
    use tandem_proto::v1::TaskAttempt;

    use super::*;

    fn task(worker: &str, stage: u32, state: TaskState) -> TaskStatus {
        TaskStatus {
            attempt: Some(TaskAttempt { stage, ..Default::default() }),
            state: state.into(),
            worker: worker.to_owned(),
            rows: 1000,
            started_ms: 10,
            ended_ms: 15,
            ..Default::default()
        }
    }

    #[test]
    fn each_worker_has_its_share_also_those_that_are_gone_or_did_nothing() {
        let node = |name: &str| NodeStatus { name: name.to_owned(), slots: 2, ..Default::default() };
        let tasks = [
            task("worker-1", 1, TaskState::Succeeded),
            task("worker-1", 3, TaskState::Succeeded),
            task("worker-1", 3, TaskState::Failed),
            task("worker-9", 2, TaskState::Succeeded),
        ];
        let workers = work_done(&tasks, &[node("worker-1"), node("worker-2")]);
        let mut text = Vec::new();
        print_work_done(&mut text, &workers).unwrap();
        let expected = "2 workers, 4 slots\n\
                        WORKER    TASKS  ROWS   TASK TIME  STAGES\n\
                        worker-1  2      2,000  10 ms      1 3\n\
                        worker-2  0      0      0 ms\n\
                        worker-9  1      1,000  5 ms       2\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
