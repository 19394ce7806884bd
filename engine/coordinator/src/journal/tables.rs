//! The journal's tables in redb: reading all of them at the start, then writing batches of entries.

use std::fs::Permissions;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{Builder, Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::de::DeserializeOwned;
use tandem_proto::{JobId, Term, WorkerId};
use tandem_scheduler::{ActorName, Fact, Namespace};

use super::Restored;
use super::error::{AtPath, JournalError};
use super::folder::DataFolder;
use super::record::{AcceptedJob, Commit, Entry, JobWork, JournaledJob, decode, encode};
use super::seal::Sealer;

type ById = TableDefinition<'static, u64, &'static [u8]>;

const TERM: TableDefinition<'_, (), u64> = TableDefinition::new("term");
const WORKERS: TableDefinition<'_, u64, &str> = TableDefinition::new("workers");
/// By job (zero for a namespace that all jobs share), namespace and name.
const NAMES: TableDefinition<'_, (u64, &str, &str), &[u8]> = TableDefinition::new("names");
/// By the group's id.
const GROUPS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("placement_groups");
const JOBS: ById = TableDefinition::new("jobs");
const WORK: ById = TableDefinition::new("work");
const COMMITS: ById = TableDefinition::new("commits");
const REPORTS: ById = TableDefinition::new("reports");
/// By job and a number that grows with each fact of the job.
const FACTS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("facts");

/// Pages kept in memory. The journal is written, not read; a few pages serve the upper levels of its trees.
const CACHE_BYTES: usize = 4 << 20;

/// The open database.
pub(super) struct Tables {
    database: Database,
    sealer: Sealer,
    path: PathBuf,
}

impl Tables {
    /// Opens and checks the file, raises the term and reads everything.
    pub(super) fn open(folder: &DataFolder) -> Result<(Self, Restored), JournalError> {
        let path = folder.journal();
        if !path.try_exists().map_err(|source| JournalError::io(&path, source))? {
            create(folder, &path)?;
        }
        guarded(&path, || {
            let mut tables = Self::reopen(folder)?;
            if !tables.database.check_integrity().at(&path)? {
                return Err(JournalError::damaged(&path, "its pages do not match their checksums"));
            }
            let term = tables.raise_term()?;
            let restored = tables.read_all(term)?;
            Ok((tables, restored))
        })
    }

    /// Opens the file again after a failed write, in the same reign. redb goes back to the last synced batch.
    pub(super) fn reopen(folder: &DataFolder) -> Result<Self, JournalError> {
        let path = folder.journal();
        let database = Builder::new().set_cache_size(CACHE_BYTES).open(&path).at(&path)?;
        Ok(Self { database, sealer: Sealer::open_key(&folder.key())?, path })
    }

    /// Writes all entries or none of them, synced.
    pub(super) fn write<'a>(&self, entries: impl IntoIterator<Item = &'a Entry>) -> Result<(), JournalError> {
        let transaction = self.database.begin_write().at(&self.path)?;
        for entry in entries {
            self.apply(&transaction, entry)?;
        }
        transaction.commit().at(&self.path)
    }

    fn apply(&self, transaction: &WriteTransaction, entry: &Entry) -> Result<(), JournalError> {
        match entry {
            Entry::Accepted(job) => {
                self.insert(transaction, JOBS, job.job, &job.to_bytes(&self.path)?)?;
                match &job.work {
                    Some(work) => {
                        self.insert(transaction, WORK, job.job, &work.to_bytes(job.job, &self.sealer, &self.path)?)
                    }
                    None => Ok(()),
                }
            }
            Entry::Fact(fact) => self.add_fact(transaction, fact),
            Entry::Intent { job, files } => {
                self.insert(transaction, COMMITS, *job, &encode(&Commit::Intended(files.clone()), &self.path)?)
            }
            Entry::WithdrawIntent(job) => self.remove(transaction, COMMITS, *job),
            Entry::Committed(job) => self.insert(transaction, COMMITS, *job, &encode(&Commit::Done, &self.path)?),
            Entry::Report { job, report } => self.insert(transaction, REPORTS, *job, &encode(report, &self.path)?),
            Entry::Release(job) => self.remove(transaction, WORK, *job),
            Entry::Forget(job) => {
                for table in [JOBS, WORK, COMMITS, REPORTS] {
                    self.remove(transaction, table, *job)?;
                }
                let mut facts = transaction.open_table(FACTS).at(&self.path)?;
                facts.retain_in(keys_of(*job), |_, _| false).at(&self.path)
            }
        }
    }

    fn insert(&self, transaction: &WriteTransaction, table: ById, job: JobId, data: &[u8]) -> Result<(), JournalError> {
        transaction.open_table(table).at(&self.path)?.insert(job.0, data).at(&self.path)?;
        Ok(())
    }

    fn remove(&self, transaction: &WriteTransaction, table: ById, job: JobId) -> Result<(), JournalError> {
        transaction.open_table(table).at(&self.path)?.remove(job.0).at(&self.path)?;
        Ok(())
    }

    fn add_fact(&self, transaction: &WriteTransaction, fact: &Fact) -> Result<(), JournalError> {
        let path = &self.path;
        match fact {
            Fact::WorkerJoined { worker, name } => {
                transaction.open_table(WORKERS).at(path)?.insert(worker.0, name.as_str()).at(path)?;
            }
            Fact::WorkerGone { worker } => {
                transaction.open_table(WORKERS).at(path)?.remove(worker.0).at(path)?;
            }
            Fact::NameClaimed { name, actor } => {
                let actor = encode(actor, path)?;
                transaction.open_table(NAMES).at(path)?.insert(key_of(name), &actor[..]).at(path)?;
            }
            Fact::NameFreed { name } => {
                transaction.open_table(NAMES).at(path)?.remove(key_of(name)).at(path)?;
            }
            Fact::GroupReserved { plan, .. } => {
                let reserved = encode(fact, path)?;
                transaction.open_table(GROUPS).at(path)?.insert(plan.group.0, &reserved[..]).at(path)?;
            }
            Fact::GroupRemoved { group } => {
                transaction.open_table(GROUPS).at(path)?.remove(group.0).at(path)?;
            }
            fact => {
                let Some(job) = fact.job() else { return Ok(()) };
                // It may come behind the end of its job.
                if transaction.open_table(JOBS).at(path)?.get(job.0).at(path)?.is_none() {
                    return Ok(());
                }
                let mut facts = transaction.open_table(FACTS).at(path)?;
                let last = facts.range(keys_of(job)).at(path)?.next_back().transpose().at(path)?;
                let next = last.map_or(0, |(key, _)| key.value().1 + 1);
                facts.insert((job.0, next), &encode(fact, path)?[..]).at(path)?;
            }
        }
        Ok(())
    }

    fn raise_term(&self) -> Result<Term, JournalError> {
        let path = &self.path;
        let transaction = self.database.begin_write().at(path)?;
        let term = {
            let mut table = transaction.open_table(TERM).at(path)?;
            let term = table.get(()).at(path)?.map_or(0, |term| term.value()) + 1;
            table.insert((), term).at(path)?;
            Term(term)
        };
        // A journal of before there were names of actors or placement groups does not have these.
        transaction.open_table(NAMES).at(path)?;
        transaction.open_table(GROUPS).at(path)?;
        transaction.commit().at(path)?;
        Ok(term)
    }

    fn read_all(&self, term: Term) -> Result<Restored, JournalError> {
        let path = &self.path;
        let transaction = self.database.begin_read().at(path)?;
        let mut jobs = Vec::new();
        for row in transaction.open_table(JOBS).at(path)?.iter().at(path)? {
            let (id, data) = row.at(path)?;
            jobs.push(self.read_job(&transaction, JobId(id.value()), data.value())?);
        }
        jobs.sort_by_key(|job| (job.accepted.accepted, job.accepted.job));
        Ok(Restored { term, jobs, facts: self.read_facts(&transaction)? })
    }

    fn read_job(&self, transaction: &ReadTransaction, job: JobId, data: &[u8]) -> Result<JournaledJob, JournalError> {
        let path = &self.path;
        let work = match transaction.open_table(WORK).at(path)?.get(job.0).at(path)? {
            Some(data) => Some(JobWork::from_bytes(job, data.value(), &self.sealer, path)?),
            None => None,
        };
        Ok(JournaledJob {
            accepted: AcceptedJob::from_bytes(job, data, work, path)?,
            commit: self.read(transaction, COMMITS, job)?,
            report: self.read(transaction, REPORTS, job)?,
        })
    }

    fn read<T: DeserializeOwned>(
        &self,
        transaction: &ReadTransaction,
        table: ById,
        job: JobId,
    ) -> Result<Option<T>, JournalError> {
        let table = transaction.open_table(table).at(&self.path)?;
        let data = table.get(job.0).at(&self.path)?;
        data.map(|data| decode(data.value(), &self.path)).transpose()
    }

    fn read_facts(&self, transaction: &ReadTransaction) -> Result<Vec<Fact>, JournalError> {
        let path = &self.path;
        let mut facts = Vec::new();
        for row in transaction.open_table(WORKERS).at(path)?.iter().at(path)? {
            let (worker, name) = row.at(path)?;
            facts.push(Fact::WorkerJoined { worker: WorkerId(worker.value()), name: name.value().to_owned() });
        }
        for row in transaction.open_table(NAMES).at(path)?.iter().at(path)? {
            let (key, actor) = row.at(path)?;
            facts.push(Fact::NameClaimed { name: name_of(key.value()), actor: decode(actor.value(), path)? });
        }
        for row in transaction.open_table(GROUPS).at(path)?.iter().at(path)? {
            let (_, reserved) = row.at(path)?;
            facts.push(decode(reserved.value(), path)?);
        }
        for row in transaction.open_table(FACTS).at(path)?.iter().at(path)? {
            let (_, data) = row.at(path)?;
            facts.push(decode(data.value(), path)?);
        }
        Ok(facts)
    }
}

/// Makes an empty journal, whole or not at all: a file that was cut to nothing is never taken for a new one.
fn create(folder: &DataFolder, path: &Path) -> Result<(), JournalError> {
    let draft = path.with_extension("draft");
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(JournalError::io(&draft, error)),
        _ => {}
    }
    let database = Builder::new().set_cache_size(CACHE_BYTES).create(&draft).at(&draft)?;
    let transaction = database.begin_write().at(&draft)?;
    for table in [JOBS, WORK, COMMITS, REPORTS] {
        transaction.open_table(table).at(&draft)?;
    }
    transaction.open_table(TERM).at(&draft)?;
    transaction.open_table(FACTS).at(&draft)?;
    transaction.open_table(WORKERS).at(&draft)?;
    transaction.open_table(NAMES).at(&draft)?;
    transaction.open_table(GROUPS).at(&draft)?;
    transaction.commit().at(&draft)?;
    drop(database);
    // Plans name paths and carry the job's environment: nobody else's business, whatever folder it is in.
    let private = Permissions::from_mode(0o600);
    std::fs::set_permissions(&draft, private).map_err(|source| JournalError::io(&draft, source))?;
    std::fs::rename(&draft, path).map_err(|source| JournalError::io(path, source))?;
    folder.sync()
}

fn key_of(name: &ActorName) -> (u64, &str, &str) {
    match &name.namespace {
        Namespace::Job(job) => (job.0, "", &name.name),
        Namespace::Shared(namespace) => (0, namespace, &name.name),
    }
}

fn name_of((job, namespace, name): (u64, &str, &str)) -> ActorName {
    let namespace = match job {
        0 => Namespace::Shared(namespace.to_owned()),
        job => Namespace::Job(JobId(job)),
    };
    ActorName { namespace, name: name.to_owned() }
}

fn keys_of(job: JobId) -> RangeInclusive<(u64, u64)> {
    (job.0, 0)..=(job.0, u64::MAX)
}

/// redb checks its pages, but a file made to mislead it may still meet an assertion. That, too, is a damaged file to the
/// user, not a crash.
fn guarded<T>(path: &Path, open: impl FnOnce() -> Result<T, JournalError>) -> Result<T, JournalError> {
    catch_unwind(AssertUnwindSafe(open))
        .unwrap_or_else(|_| Err(JournalError::damaged(path, "its structure is inconsistent")))
}
