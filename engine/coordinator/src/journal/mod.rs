//! What must survive the coordinator: accepted jobs, finished stages, commits, names of actors and the last ended jobs, in one
//! redb file of the data folder.
//!
//! One thread owns the database; everything else sends it entries. What is *synced* is on disk when the call returns.
//! What goes *behind* is on disk a few milliseconds later, many entries with one sync; losing it costs only work.
//! Invariants: the folder has one owner; the term only rises; a job is accepted before anything else is written about it;
//! a failed write leaves the file as it was.
//!
//! ```text
//!   accept ─► facts ─► intend ─► committed ─► report ─► release ─► forget
//!        └───────┴─────────────────────────────►┘
//! ```

mod error;
mod folder;
pub(crate) mod fuzz;
mod record;
mod seal;
mod tables;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tandem_proto::{JobId, Term};
use tokio::sync::oneshot;

pub use error::JournalError;
pub(crate) use record::{AcceptedJob, Commit, JobWork, JournaledJob, StoredReport};

use tandem_scheduler::{Fact, StagedFile};

use folder::DataFolder;
use record::Entry;
use tables::Tables;
use writer::{Request, Writer};

/// The journal of one reign. Dropping it writes what is still behind and frees the folder.
#[derive(Debug)]
pub(crate) struct Journal {
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

/// What the journal held when it was opened.
#[derive(Debug)]
pub(crate) struct Restored {
    /// The term of this reign, higher than any before.
    pub(crate) term: Term,
    /// Jobs that are not forgotten, in the order they were accepted.
    pub(crate) jobs: Vec<JournaledJob>,
    /// The workers that were there, the names that were taken, then for each job its facts in the order they were recorded.
    pub(crate) facts: Vec<Fact>,
}

impl Journal {
    /// Takes the folder, creating it when missing, and raises the term.
    pub(crate) fn open(path: &Path) -> Result<(Self, Restored), JournalError> {
        let folder = DataFolder::lock(path)?;
        let (tables, restored) = Tables::open(&folder)?;
        let (requests, inbox) = mpsc::channel();
        let writer = Writer::new(folder, tables, inbox);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| JournalError::io(path, source))?;
        Ok((Self { requests: Some(requests), thread: Some(thread) }, restored))
    }

    /// Writes down that a job was accepted. When this fails the job must be refused: it is not on disk, also not later.
    pub(crate) async fn accept(&self, job: AcceptedJob) -> Result<(), JournalError> {
        self.synced(Entry::Accepted(job)).await
    }

    /// Writes down, behind, what the state machine must know after a restart.
    pub(crate) fn record(&self, fact: Fact) {
        self.behind(Entry::Fact(fact));
    }

    /// Writes down what is about to be published. When this returns, a restart publishes it; when it fails, none will.
    pub(crate) async fn intend(&self, job: JobId, files: Vec<StagedFile>) -> Result<(), JournalError> {
        self.synced(Entry::Intent { job, files }).await
    }

    /// Takes back, behind, an intent that came to nothing.
    pub(crate) fn withdraw(&self, job: JobId) {
        self.behind(Entry::WithdrawIntent(job));
    }

    /// Writes down that everything of a job is published. When this fails it is tried again behind; until it succeeds a
    /// restart publishes once more, which changes nothing.
    pub(crate) async fn committed(&self, job: JobId) -> Result<(), JournalError> {
        self.synced(Entry::Committed(job)).await
    }

    /// Keeps, behind, the report of a job that ended.
    pub(crate) fn report(&self, job: JobId, report: StoredReport) {
        self.behind(Entry::Report { job, report });
    }

    /// Drops, behind, the plans and secrets of a job that ended and of which nothing is left to do.
    pub(crate) fn release(&self, job: JobId) {
        self.behind(Entry::Release(job));
    }

    /// Drops, behind, all that is known about a job.
    pub(crate) fn forget(&self, job: JobId) {
        self.behind(Entry::Forget(job));
    }

    /// Returns when all entries sent before are on disk, or the reason why they are not yet.
    pub(crate) async fn flush(&self) -> Result<(), JournalError> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Flush(answer));
        answered.await.unwrap_or(Err(JournalError::Closed))
    }

    async fn synced(&self, entry: Entry) -> Result<(), JournalError> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Synced(entry, answer));
        answered.await.unwrap_or(Err(JournalError::Closed))
    }

    fn behind(&self, entry: Entry) {
        self.send(Request::Behind(entry));
    }

    /// The channel has no bound of its own: callers of synced entries wait for their answer, and what goes behind is one
    /// entry per stage or job of the live tables.
    fn send(&self, request: Request) {
        // The receiver is gone only when the writer panicked; waiting callers then see their answer dropped.
        if let Some(requests) = &self.requests {
            let _ = requests.send(request);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread panicked");
        }
    }
}
