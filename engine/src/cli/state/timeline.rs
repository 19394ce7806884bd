//! `tandem timeline`: when which task ran where, in the trace format that browsers and Perfetto show: tasks and calls of programs by
//! the process that ran them, tasks of stages by the slot that they took.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use tandem_client::Client;
use tandem_proto::JobId;
use tandem_proto::v1::StateKind;

use super::{OfJob, ask};
use crate::cli::Failure;
use crate::cli::session::Session;
use crate::output::{FineTaskView, tell};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TimelineArgs {
    #[command(flatten)]
    job: OfJob,
    /// Where to write it; open it in chrome://tracing or ui.perfetto.dev
    #[arg(long, value_name = "FILE", default_value = "trace.json")]
    out: PathBuf,
}

/// One bar.
struct Span {
    worker: String,
    lane: Lane,
    name: String,
    began_us: i64,
    ended_us: i64,
    about: Value,
}

/// The row of a bar, below its worker.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    /// Of a process.
    Process(u32),
    /// Of tasks of stages that follow each other.
    Slot(u32),
}

pub(in crate::cli) async fn execute(args: TimelineArgs, session: &Session) -> Result<(), Failure> {
    let found = ask(session, StateKind::Tasks, &args.job, "").await?;
    if found.forgotten > 0 {
        tell!("note: {} older attempts are missing: workers do not keep them any more", found.forgotten);
    }
    let workers = found.workers;
    let tasks = found.tasks.into_iter().map(|task| FineTaskView::new(task, &workers));
    let mut spans: Vec<Span> = tasks.filter_map(fine_span).collect();
    let client = session.connect().await?;
    for job in jobs(&client, &args.job).await? {
        spans.extend(stage_spans(&client, job).await?);
    }
    let count = spans.len();
    let trace = json!({ "displayTimeUnit": "ms", "traceEvents": events(&spans) });
    let text = serde_json::to_vec(&trace).map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?;
    std::fs::write(&args.out, text)
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", args.out.display())))?;
    tell!("{count} tasks in {}; open it in chrome://tracing or ui.perfetto.dev", args.out.display());
    Ok(())
}

async fn jobs(client: &Client, wanted: &OfJob) -> Result<Vec<JobId>, Failure> {
    match wanted.job {
        Some(job) => Ok(vec![job]),
        None => Ok(client.list().await?.into_iter().map(|job| JobId(job.job)).collect()),
    }
}

/// What has begun; to now if it has not ended.
fn fine_span(task: FineTaskView) -> Option<Span> {
    if task.began_us == 0 {
        return None;
    }
    let about = json!({
        "id": task.id, "job": task.job, "state": task.state, "attempt": task.attempt, "actor": task.actor,
        "parent": task.parent, "reason": task.reason,
    });
    let ended_us = if task.ended_us == 0 { crate::output::since_epoch_ms() * 1_000 } else { task.ended_us };
    Some(Span {
        worker: task.worker,
        lane: Lane::Process(task.pid),
        name: task.name,
        began_us: task.began_us,
        ended_us,
        about,
    })
}

async fn stage_spans(client: &Client, job: JobId) -> Result<Vec<Span>, Failure> {
    let mut tasks = client.tasks(job).await?;
    tasks.retain(|task| task.started_ms > 0);
    tasks.sort_by_key(|task| task.started_ms);
    // When the last task of each slot of each worker ends.
    let mut slots: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let spans = tasks.into_iter().map(|task| {
        let ended_ms = if task.ended_ms == 0 { crate::output::since_epoch_ms() } else { task.ended_ms };
        let ends = slots.entry(task.worker.clone()).or_default();
        let slot = match ends.iter().position(|end| *end <= task.started_ms) {
            Some(free) => free,
            None => {
                ends.push(0);
                ends.len() - 1
            }
        };
        ends[slot] = ended_ms;
        let state = task.state().as_str_name().trim_start_matches("TASK_STATE_");
        let attempt = task.attempt.unwrap_or_default();
        let about = json!({
            "job": job.to_string(), "stage": attempt.stage, "task": attempt.task, "attempt": attempt.attempt,
            "state": state, "rows": task.rows, "bytes": task.bytes, "message": task.message,
        });
        Span {
            worker: task.worker,
            lane: Lane::Slot(u32::try_from(slot).unwrap_or(u32::MAX)),
            name: task.stage_name,
            began_us: task.started_ms * 1_000,
            ended_us: ended_ms * 1_000,
            about,
        }
    });
    Ok(spans.collect())
}

/// The bars, and the names of their rows. A trace knows processes and threads: here workers and lanes.
fn events(spans: &[Span]) -> Vec<Value> {
    let mut rows: BTreeMap<&str, BTreeMap<&Lane, usize>> = BTreeMap::new();
    for span in spans {
        rows.entry(&span.worker).or_default().insert(&span.lane, 0);
    }
    let mut events = Vec::with_capacity(spans.len());
    let mut numbers: BTreeMap<(&str, &Lane), (usize, usize)> = BTreeMap::new();
    for (pid, (worker, lanes)) in (1..).zip(&rows) {
        events.push(json!({ "ph": "M", "name": "process_name", "pid": pid, "args": { "name": worker } }));
        for (tid, lane) in (1..).zip(lanes.keys()) {
            let name = match lane {
                Lane::Process(os_pid) => format!("process {os_pid}"),
                Lane::Slot(slot) => format!("slot {slot}"),
            };
            events.push(json!({ "ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": { "name": name } }));
            numbers.insert((worker, lane), (pid, tid));
        }
    }
    events.extend(spans.iter().map(|span| {
        let (pid, tid) = numbers[&(span.worker.as_str(), &span.lane)];
        json!({
            "ph": "X", "name": span.name, "pid": pid, "tid": tid, "ts": span.began_us,
            "dur": (span.ended_us - span.began_us).max(0), "args": span.about,
        })
    }));
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_named_and_bars_are_in_them() {
        let span = |worker: &str, lane, began_us| Span {
            worker: worker.to_owned(),
            lane,
            name: "area".to_owned(),
            began_us,
            ended_us: began_us + 30,
            about: json!({}),
        };
        let spans = [span("w1", Lane::Process(77), 5), span("w2", Lane::Slot(0), 9), span("w1", Lane::Process(77), 50)];
        let events = events(&spans);
        let names: Vec<_> =
            events.iter().filter(|event| event["ph"] == "M").map(|event| &event["args"]["name"]).collect();
        assert_eq!(names, ["w1", "process 77", "w2", "slot 0"]);
        let bars: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
        assert_eq!((bars.len(), &bars[0]["tid"], &bars[0]["dur"]), (3, &json!(1), &json!(30)));
        assert_eq!(bars[0]["pid"], bars[2]["pid"]);
        assert_ne!(bars[0]["pid"], bars[1]["pid"]);
    }
}
