//! The thread that owns the database: collects entries, writes each batch with one sync, answers those who wait.
//!
//! When a write fails, waiting callers are told, the database is opened again, and what went behind is kept and tried
//! again with the next batch or after a second.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::error::JournalError;
use super::folder::DataFolder;
use super::record::Entry;
use super::tables::Tables;

/// How long entries that nobody waits for gather before they are synced.
const GATHER: Duration = Duration::from_millis(5);
const RETRY: Duration = Duration::from_secs(1);
const MAX_BATCH: usize = 1024;

type Answer = oneshot::Sender<Result<(), JournalError>>;

/// What the journal asks of its thread.
pub(super) enum Request {
    /// Write and answer when it is on disk.
    Synced(Entry, Answer),
    /// Write soon.
    Behind(Entry),
    /// Answer when everything before is on disk.
    Flush(Answer),
}

pub(super) struct Writer {
    folder: DataFolder,
    /// None after a failed write, until it can be opened again.
    tables: Option<Tables>,
    inbox: Receiver<Request>,
    /// Not on disk yet, oldest first.
    unwritten: Vec<Entry>,
}

/// Requests that are written with one sync.
#[derive(Default)]
struct Batch {
    entries: Vec<(Entry, Option<Answer>)>,
    flushes: Vec<Answer>,
}

impl Batch {
    fn add(&mut self, request: Request) {
        match request {
            Request::Synced(entry, answer) => self.entries.push((entry, Some(answer))),
            Request::Behind(entry) => self.entries.push((entry, None)),
            Request::Flush(answer) => self.flushes.push(answer),
        }
    }

    fn someone_waits(&self) -> bool {
        !self.flushes.is_empty() || self.entries.iter().any(|(_, answer)| answer.is_some())
    }
}

impl Writer {
    pub(super) fn new(folder: DataFolder, tables: Tables, inbox: Receiver<Request>) -> Self {
        Self { folder, tables: Some(tables), inbox, unwritten: Vec::new() }
    }

    /// Runs until the journal is dropped.
    pub(super) fn run(mut self) {
        loop {
            let first = if self.unwritten.is_empty() {
                self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.inbox.recv_timeout(RETRY)
            };
            match first {
                Ok(request) => {
                    let batch = self.gather(request);
                    self.write(batch);
                }
                Err(RecvTimeoutError::Timeout) => self.write(Batch::default()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if !self.unwritten.is_empty() {
            self.write(Batch::default());
        }
    }

    fn gather(&self, first: Request) -> Batch {
        let until = Instant::now() + GATHER;
        let mut batch = Batch::default();
        batch.add(first);
        while batch.entries.len() < MAX_BATCH {
            let wait =
                if batch.someone_waits() { Duration::ZERO } else { until.saturating_duration_since(Instant::now()) };
            match self.inbox.recv_timeout(wait) {
                Ok(request) => batch.add(request),
                Err(_) => break,
            }
        }
        batch
    }

    fn write(&mut self, batch: Batch) {
        let entries = self.unwritten.iter().chain(batch.entries.iter().map(|(entry, _)| entry));
        let written = match &self.tables {
            _ if self.unwritten.is_empty() && batch.entries.is_empty() => Ok(()),
            Some(tables) => tables.write(entries),
            None => Tables::reopen(&self.folder).and_then(|tables| {
                let written = tables.write(entries);
                self.tables = Some(tables);
                written
            }),
        };
        if let Err(error) = &written {
            tracing::warn!(%error, "the journal could not be written, trying again");
            // A failed write poisons redb's handle; the file itself is at the last synced batch.
            self.tables = None;
        } else {
            self.unwritten.clear();
        }
        for (entry, answer) in batch.entries {
            if written.is_err() {
                self.unwritten.extend(left_to_write(entry, answer.is_some()));
            }
            if let Some(answer) = answer {
                // The caller may have gone; then nobody needs the answer.
                let _ = answer.send(written.clone());
            }
        }
        for answer in batch.flushes {
            let _ = answer.send(written.clone());
        }
    }
}

/// What is still to be written about an entry whose write failed. A failed sync may have reached the disk: what its caller
/// now takes for refused must not come back after a restart.
fn left_to_write(entry: Entry, caller_was_told: bool) -> Option<Entry> {
    match (entry, caller_was_told) {
        (Entry::Accepted(job), true) => Some(Entry::Forget(job.job)),
        (Entry::Intent { job, .. }, true) => Some(Entry::WithdrawIntent(job)),
        (entry, _) => Some(entry),
    }
}
