//! The journal's records. On disk each is one version byte and the postcard form of its `Stored…` or own type.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tandem_proto::{JobId, Term};
use tandem_scheduler::{Fact, JobPlan, StagedFile, Timestamp};

use super::error::JournalError;
use super::seal::Sealer;

/// The version of every record written here. A change of any record's shape, and of the planned jobs in them, takes the next
/// number; what another version wrote is refused by name.
pub(super) const VERSION: u8 = 7;

/// One change of the journal.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    Accepted(AcceptedJob),
    Fact(Fact),
    Intent {
        job: JobId,
        files: Vec<StagedFile>,
    },
    WithdrawIntent(JobId),
    Committed(JobId),
    Report {
        job: JobId,
        report: StoredReport,
    },
    /// The job has ended and nothing of it is left to do: its plans and secrets are not needed any more.
    Release(JobId),
    Forget(JobId),
}

/// A job whose submission was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AcceptedJob {
    /// Its id.
    pub(crate) job: JobId,
    /// The client's id of the submission; a repeat gets the same job.
    pub(crate) submission: String,
    /// When.
    pub(crate) accepted: Timestamp,
    /// In which reign.
    pub(crate) term: Term,
    /// What the state machine knows of it.
    pub(crate) shape: Arc<JobPlan>,
    /// What running it takes; none once it is released.
    pub(crate) work: Option<JobWork>,
}

/// The part of a job that is only needed until it has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobWork {
    /// The planned job without its secrets, opaque here.
    pub(crate) planned: Bytes,
    /// Sealed on disk.
    pub(crate) secrets: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredJob {
    submission: String,
    accepted: Timestamp,
    term: Term,
    shape: JobPlan,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredWork {
    planned: Bytes,
    sealed_secrets: Bytes,
}

impl AcceptedJob {
    pub(super) fn to_bytes(&self, path: &Path) -> Result<Vec<u8>, JournalError> {
        let stored = StoredJob {
            submission: self.submission.clone(),
            accepted: self.accepted,
            term: self.term,
            shape: JobPlan::clone(&self.shape),
        };
        encode(&stored, path)
    }

    pub(super) fn from_bytes(
        job: JobId,
        data: &[u8],
        work: Option<JobWork>,
        path: &Path,
    ) -> Result<Self, JournalError> {
        let StoredJob { submission, accepted, term, shape } = decode(data, path)?;
        Ok(Self { job, submission, accepted, term, shape: Arc::new(shape), work })
    }
}

impl JobWork {
    pub(super) fn to_bytes(&self, job: JobId, sealer: &Sealer, path: &Path) -> Result<Vec<u8>, JournalError> {
        let sealed_secrets = sealer.seal(job, &self.secrets)?;
        encode(&StoredWork { planned: self.planned.clone(), sealed_secrets }, path)
    }

    pub(super) fn from_bytes(job: JobId, data: &[u8], sealer: &Sealer, path: &Path) -> Result<Self, JournalError> {
        let StoredWork { planned, sealed_secrets } = decode(data, path)?;
        Ok(Self { planned, secrets: sealer.open(job, &sealed_secrets)? })
    }
}

/// How far the publication of a job's files is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Commit {
    /// To be published, now or after a restart.
    Intended(Vec<StagedFile>),
    /// Published.
    Done,
}

/// The report of a job that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredReport {
    /// `summary.json`.
    pub(crate) summary_json: String,
    /// The same for people.
    pub(crate) markdown: String,
}

/// A job as the journal knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JournaledJob {
    /// What was accepted.
    pub(crate) accepted: AcceptedJob,
    /// How far its publication is; none when it had not begun.
    pub(crate) commit: Option<Commit>,
    /// Its report, once it ended.
    pub(crate) report: Option<StoredReport>,
}

pub(super) fn encode<T: Serialize>(record: &T, path: &Path) -> Result<Vec<u8>, JournalError> {
    // Cannot fail for these types: none has a sequence of unknown length. An error is still better told than a panic.
    postcard::to_extend(record, vec![VERSION]).map_err(|error| JournalError::damaged(path, error))
}

pub(super) fn decode<T: DeserializeOwned>(data: &[u8], path: &Path) -> Result<T, JournalError> {
    match data.split_first() {
        Some((&VERSION, payload)) => match postcard::take_from_bytes(payload) {
            Ok((record, [])) => Ok(record),
            Ok(_) => Err(JournalError::damaged(path, "a record is longer than its content")),
            Err(error) => Err(JournalError::damaged(path, format!("a record cannot be read: {error}"))),
        },
        Some((&found, _)) => Err(JournalError::Version { path: path.to_owned(), found, known: VERSION }),
        None => Err(JournalError::damaged(path, "a record is empty")),
    }
}
