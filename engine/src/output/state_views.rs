//! Tasks, actors, objects and processes of programs as they are printed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tandem_proto::v1::{self, ActorRecordState, ObjectRecordState, TaskRecordState};
use tandem_proto::{JobId, WorkerId};

use super::records::Record;
use super::units::{format_bytes, format_count, format_duration};
use super::views::first_line;

/// The names of workers, by their ids.
pub(crate) type WorkerNames = BTreeMap<u64, String>;

/// An attempt of a task, or a call of an actor.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FineTaskView {
    pub(crate) id: String,
    pub(crate) job: String,
    pub(crate) name: String,
    pub(crate) function: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) actor: String,
    pub(crate) state: &'static str,
    pub(crate) attempt: u32,
    pub(crate) worker: String,
    pub(crate) pid: u32,
    /// Microseconds since the Unix epoch; 0 is unknown or not yet.
    pub(crate) began_us: i64,
    pub(crate) ended_us: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) parent: String,
    /// Why it waits, or why it failed.
    pub(crate) reason: String,
}

impl FineTaskView {
    pub(crate) fn new(task: v1::TaskRecord, workers: &WorkerNames) -> Self {
        Self {
            state: fine_task_state(task.state()),
            id: task.id,
            job: JobId(task.job).to_string(),
            name: task.name,
            function: task.function,
            actor: task.actor,
            attempt: task.attempt,
            worker: worker_name(task.host, workers),
            pid: task.pid,
            began_us: task.began_us,
            ended_us: task.ended_us,
            parent: task.parent,
            reason: task.reason,
        }
    }
}

impl Record for FineTaskView {
    const COLUMNS: &'static [&'static str] =
        &["id", "job", "name", "state", "attempt", "worker", "pid", "ran", "about"];

    fn cells(&self) -> Vec<String> {
        let ran_us = if self.began_us > 0 && self.ended_us > 0 { self.ended_us - self.began_us } else { 0 };
        vec![
            self.id.clone(),
            self.job.clone(),
            self.name.clone(),
            self.state.to_owned(),
            self.attempt.to_string(),
            self.worker.clone(),
            number_or_nothing(self.pid),
            if ran_us > 0 { format_us(ran_us.unsigned_abs()) } else { String::new() },
            first_line(&self.reason),
        ]
    }
}

/// An actor.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ActorView {
    pub(crate) id: String,
    pub(crate) job: String,
    pub(crate) class: String,
    pub(crate) name: String,
    pub(crate) state: &'static str,
    pub(crate) worker: String,
    pub(crate) pid: u32,
    pub(crate) starts: u32,
    pub(crate) calls: u64,
    pub(crate) reason: String,
}

impl ActorView {
    pub(crate) fn new(actor: v1::ActorRecord, workers: &WorkerNames) -> Self {
        let state = match actor.state() {
            ActorRecordState::Pending => "PENDING",
            ActorRecordState::Starting => "STARTING",
            ActorRecordState::Ready => "READY",
            ActorRecordState::Ending => "ENDING",
            ActorRecordState::Gone => "GONE",
            ActorRecordState::Unspecified => "UNKNOWN",
        };
        Self {
            state,
            id: actor.id,
            job: JobId(actor.job).to_string(),
            class: actor.class,
            name: actor.name,
            worker: worker_name(actor.host, workers),
            pid: actor.pid,
            starts: actor.starts,
            calls: actor.calls,
            reason: actor.reason,
        }
    }
}

impl Record for ActorView {
    const COLUMNS: &'static [&'static str] =
        &["id", "job", "class", "name", "state", "worker", "pid", "starts", "calls", "about"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.job.clone(),
            self.class.clone(),
            self.name.clone(),
            self.state.to_owned(),
            self.worker.clone(),
            number_or_nothing(self.pid),
            self.starts.to_string(),
            self.calls.to_string(),
            first_line(&self.reason),
        ]
    }
}

/// An object as one worker knows it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ObjectView {
    pub(crate) id: String,
    pub(crate) job: String,
    pub(crate) state: &'static str,
    pub(crate) bytes: u64,
    /// The worker that says so.
    pub(crate) known_by: String,
    pub(crate) owner: String,
    /// Where its bytes are, as far as this worker knows.
    pub(crate) held_by: String,
    pub(crate) made_by: String,
    pub(crate) processes: u32,
    pub(crate) pids: Vec<u32>,
    pub(crate) uses: u32,
    pub(crate) borrowers: u32,
    /// Its bytes are in the memory of the worker that says so.
    pub(crate) local: bool,
}

impl ObjectView {
    pub(crate) fn new(worker: u64, object: v1::ObjectRecord, workers: &WorkerNames) -> Self {
        let state = match object.state() {
            ObjectRecordState::Pending => "PENDING",
            ObjectRecordState::Ready => "READY",
            ObjectRecordState::Failed => "FAILED",
            ObjectRecordState::Unspecified => "UNKNOWN",
        };
        let holder = if object.local { worker } else { object.holder };
        Self {
            state,
            id: object.id,
            job: JobId(object.job).to_string(),
            bytes: object.bytes,
            known_by: worker_name(worker, workers),
            owner: worker_name(object.owner, workers),
            held_by: worker_name(holder, workers),
            made_by: object.made_by,
            processes: object.processes,
            pids: object.pids,
            uses: object.uses,
            borrowers: object.borrowers,
            local: object.local,
        }
    }

    /// Who keeps it from being freed, in words.
    fn kept_for(&self) -> String {
        let mut reasons = Vec::new();
        if self.processes > 0 {
            let pids: Vec<String> = self.pids.iter().map(u32::to_string).collect();
            let more = if self.processes as usize > pids.len() { ", …" } else { "" };
            reasons.push(format!("process {}{more}", pids.join(", ")));
        }
        if self.uses > 0 {
            reasons.push(counted(self.uses, "argument or value", "arguments or values"));
        }
        if self.borrowers > 0 {
            reasons.push(counted(self.borrowers, "other worker", "other workers"));
        }
        reasons.join("; ")
    }
}

impl Record for ObjectView {
    const COLUMNS: &'static [&'static str] =
        &["id", "job", "state", "size", "known by", "owner", "held by", "made by", "kept for"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.job.clone(),
            self.state.to_owned(),
            format_bytes(self.bytes),
            self.known_by.clone(),
            self.owner.clone(),
            self.held_by.clone(),
            self.made_by.clone(),
            self.kept_for(),
        ]
    }
}

/// The tasks or calls of one function.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FunctionView {
    job: String,
    function: String,
    pending: u64,
    scheduled: u64,
    running: u64,
    blocked: u64,
    finished: u64,
    failed: u64,
    run_us: u64,
    longest_us: u64,
}

impl From<v1::FunctionSummary> for FunctionView {
    fn from(sum: v1::FunctionSummary) -> Self {
        Self {
            job: JobId(sum.job).to_string(),
            function: sum.function,
            pending: sum.pending,
            scheduled: sum.scheduled,
            running: sum.running,
            blocked: sum.blocked,
            finished: sum.finished,
            failed: sum.failed,
            run_us: sum.run_us,
            longest_us: sum.longest_us,
        }
    }
}

impl Record for FunctionView {
    const COLUMNS: &'static [&'static str] =
        &["job", "function", "pending", "scheduled", "running", "blocked", "finished", "failed", "mean", "longest"];

    fn cells(&self) -> Vec<String> {
        let mean_us = self.run_us.checked_div(self.finished + self.failed).unwrap_or(0);
        vec![
            self.job.clone(),
            self.function.clone(),
            format_count(self.pending),
            format_count(self.scheduled),
            format_count(self.running),
            format_count(self.blocked),
            format_count(self.finished),
            format_count(self.failed),
            format_us(mean_us),
            format_us(self.longest_us),
        ]
    }
}

/// How many actors or objects of a kind are in which state.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CountedView {
    pub(crate) job: String,
    /// A class, or what made objects.
    pub(crate) kind: String,
    pub(crate) state: &'static str,
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

impl Record for CountedView {
    const COLUMNS: &'static [&'static str] = &["job", "kind", "state", "count", "size"];

    fn cells(&self) -> Vec<String> {
        let size = if self.bytes > 0 { format_bytes(self.bytes) } else { String::new() };
        vec![self.job.clone(), self.kind.clone(), self.state.to_owned(), format_count(self.count), size]
    }
}

fn fine_task_state(state: TaskRecordState) -> &'static str {
    match state {
        TaskRecordState::Pending => "PENDING",
        TaskRecordState::Scheduled => "SCHEDULED",
        TaskRecordState::Running => "RUNNING",
        TaskRecordState::Blocked => "BLOCKED",
        TaskRecordState::Finished => "FINISHED",
        TaskRecordState::Failed => "FAILED",
        TaskRecordState::Unspecified => "UNKNOWN",
    }
}

fn worker_name(worker: u64, workers: &WorkerNames) -> String {
    match worker {
        0 => String::new(),
        id => workers.get(&id).cloned().unwrap_or_else(|| WorkerId(id).to_string()),
    }
}

fn counted(count: u32, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn number_or_nothing(number: u32) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

/// `850 µs`, then as other times are.
fn format_us(us: u64) -> String {
    match us {
        0 => String::new(),
        1..1_000 => format!("{us}us"),
        _ => format_duration(Duration::from_micros(us)),
    }
}
