//! The journal against a plain model, against files cut or changed, and against a second owner.

#[path = "../../../tests/support/small_disk.rs"]
#[allow(dead_code, unreachable_pub)]
mod small_disk;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use small_disk::SmallDisk;
use tandem_proto::{Term, WorkerId};
use tandem_scheduler::{
    ActorId, ActorName, GroupPlan, JobPlan, NamedActor, Namespace, PlacementGroupId, Shape, Timestamp,
};
use tempfile::TempDir;

use super::record::VERSION;
use super::*;

fn accepted(job: u64) -> AcceptedJob {
    AcceptedJob {
        job: JobId(job),
        submission: format!("submission-{job}"),
        accepted: Timestamp(job),
        term: Term(1),
        shape: Arc::new(JobPlan::new("job", &Default::default())),
        work: Some(JobWork {
            planned: Bytes::from(vec![job as u8; 100]),
            secrets: BTreeMap::from([("KEY".to_owned(), format!("secret-{job}"))]),
        }),
    }
}

fn report() -> StoredReport {
    StoredReport { summary_json: "{}".to_owned(), markdown: "# report".to_owned() }
}

fn file(path: &str) -> StagedFile {
    StagedFile {
        sink: "sink".to_owned(),
        staged_path: path.to_owned(),
        final_path: "part-0".to_owned(),
        rows: 1,
        bytes: 2,
        multipart_id: String::new(),
        parts: Vec::new(),
    }
}

/// One of few names.
fn name(job: u64, byte: u8) -> ActorName {
    let namespace = match byte % 3 {
        0 => Namespace::Job(JobId(job)),
        1 => Namespace::Shared("prices".to_owned()),
        _ => Namespace::Shared("stock".to_owned()),
    };
    ActorName { namespace, name: format!("shard-{}", byte % 2) }
}

fn named(job: u64) -> NamedActor {
    NamedActor { actor: ActorId(job.into()), job: JobId(job), class: "Stock".to_owned() }
}

/// One of few placement groups.
fn group(job: u64) -> GroupPlan {
    let group = PlacementGroupId(u128::from(job) << 64);
    let bundles = vec![Shape::default(); 2];
    GroupPlan { group, job: JobId(job), name: "train".to_owned(), strategy: tandem_scheduler::Strategy::Pack, bundles }
}

/// What the journal should hold.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
struct Model {
    jobs: BTreeMap<JobId, JournaledJob>,
    workers: BTreeMap<WorkerId, String>,
    names: BTreeMap<ActorName, NamedActor>,
    groups: BTreeMap<PlacementGroupId, (GroupPlan, Vec<WorkerId>)>,
    facts: BTreeMap<JobId, Vec<String>>,
}

impl Model {
    fn apply(&mut self, entry: &Entry) {
        match entry.clone() {
            Entry::Accepted(accepted) => {
                self.jobs.insert(accepted.job, JournaledJob { accepted, commit: None, report: None });
            }
            Entry::Fact(Fact::WorkerJoined { worker, name }) => {
                self.workers.insert(worker, name);
            }
            Entry::Fact(Fact::WorkerGone { worker }) => {
                self.workers.remove(&worker);
            }
            Entry::Fact(Fact::NameClaimed { name, actor }) => {
                self.names.insert(name, actor);
            }
            Entry::Fact(Fact::NameFreed { name }) => {
                self.names.remove(&name);
            }
            Entry::Fact(Fact::GroupReserved { plan, hosts }) => {
                self.groups.insert(plan.group, (plan, hosts));
            }
            Entry::Fact(Fact::GroupRemoved { group }) => {
                self.groups.remove(&group);
            }
            Entry::Fact(fact) => {
                let job = fact.job().unwrap();
                if self.jobs.contains_key(&job) {
                    self.facts.entry(job).or_default().push(format!("{fact:?}"));
                }
            }
            Entry::Intent { job, files } => self.change(job, |job| job.commit = Some(Commit::Intended(files))),
            Entry::WithdrawIntent(job) => self.change(job, |job| job.commit = None),
            Entry::Committed(job) => self.change(job, |job| job.commit = Some(Commit::Done)),
            Entry::Report { job, report } => self.change(job, |job| job.report = Some(report)),
            Entry::Release(job) => self.change(job, |job| job.accepted.work = None),
            Entry::Forget(job) => {
                self.jobs.remove(&job);
                self.facts.remove(&job);
            }
        }
    }

    fn change(&mut self, job: JobId, change: impl FnOnce(&mut JournaledJob)) {
        if let Some(job) = self.jobs.get_mut(&job) {
            change(job);
        }
    }

    fn of(restored: Restored) -> Self {
        let jobs = restored.jobs.into_iter().map(|job| (job.accepted.job, job)).collect();
        let mut model = Self { jobs, ..Self::default() };
        for fact in restored.facts {
            model.apply(&Entry::Fact(fact));
        }
        model
    }
}

/// Entries as a coordinator writes them: about jobs that were accepted, few of them, so that they meet.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let step = (0u8..14, 1u64..5, any::<u8>());
    prop::collection::vec(step, 1..20).prop_map(|steps| {
        let mut model = Model::default();
        let mut entries = Vec::new();
        for (kind, id, byte) in steps {
            let job = JobId(id);
            let worker = WorkerId(id);
            let entry = match kind {
                8 => Entry::Fact(Fact::WorkerJoined { worker, name: format!("worker-{byte}") }),
                9 => Entry::Fact(Fact::WorkerGone { worker }),
                10 => Entry::Fact(Fact::NameClaimed { name: name(id, byte), actor: named(id) }),
                11 => Entry::Fact(Fact::NameFreed { name: name(id, byte) }),
                12 => Entry::Fact(Fact::GroupReserved { plan: group(id), hosts: vec![WorkerId(byte.into()); 2] }),
                13 => Entry::Fact(Fact::GroupRemoved { group: group(id).group }),
                _ if !model.jobs.contains_key(&job) => Entry::Accepted(accepted(id)),
                0 | 1 => Entry::Fact(Fact::JobRetried { job, retries_used: byte.into() }),
                2 => Entry::Report { job, report: report() },
                3 => Entry::Intent { job, files: vec![file("staged"); byte.into()] },
                4 => Entry::Committed(job),
                5 => Entry::WithdrawIntent(job),
                6 => Entry::Release(job),
                _ => Entry::Forget(job),
            };
            model.apply(&entry);
            entries.push(entry);
        }
        entries
    })
}

/// A copy of the folder as a crash at this moment would leave it.
fn crashed_copy(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["journal.redb", "secrets.key"] {
        fs::copy(folder.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

fn restore(folder: &Path) -> Result<Restored, JournalError> {
    Journal::open(folder).map(|(_, restored)| restored)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn any_prefix_of_synced_entries_restores(entries in entries()) {
        let folder = tempfile::tempdir().unwrap();
        let lock = DataFolder::lock(folder.path()).unwrap();
        let (tables, _) = Tables::open(&lock).unwrap();
        let mut model = Model::default();
        for entry in &entries {
            tables.write([entry]).unwrap();
            model.apply(entry);
            let copy = crashed_copy(folder.path());
            prop_assert_eq!(Model::of(restore(copy.path()).unwrap()), model.clone());
        }
    }

    #[test]
    fn a_damaged_file_is_refused_or_reads_as_some_prefix(
        entries in entries(),
        place in 0.0f64..1.0,
        damage in prop_oneof![Just(None), (1u8..=255).prop_map(Some)],
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut prefixes = vec![Model::default()];
        {
            let lock = DataFolder::lock(folder.path()).unwrap();
            let (tables, _) = Tables::open(&lock).unwrap();
            for entry in &entries {
                tables.write([entry]).unwrap();
                let mut next = prefixes.last().unwrap().clone();
                next.apply(entry);
                prefixes.push(next);
            }
        }
        let path = folder.path().join("journal.redb");
        let mut data = fs::read(&path).unwrap();
        let at = (data.len() as f64 * place) as usize;
        match damage {
            None => data.truncate(at),
            Some(bits) => data[at] ^= bits,
        }
        fs::write(&path, &data).unwrap();
        match restore(folder.path()) {
            Ok(restored) => prop_assert!(prefixes.contains(&Model::of(restored))),
            Err(JournalError::Damaged { .. } | JournalError::Version { .. } | JournalError::Io { .. }) => {}
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

#[test]
fn each_reign_has_a_higher_term_and_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let (first, restored) = Journal::open(folder.path()).unwrap();
    assert_eq!(restored.term, Term(1));
    let error = Journal::open(folder.path()).unwrap_err();
    assert!(matches!(error, JournalError::Locked { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    drop(first);
    assert_eq!(restore(folder.path()).unwrap().term, Term(2));
}

#[tokio::test]
async fn what_goes_behind_is_on_disk_when_flushed_or_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path()).unwrap();
    journal.accept(accepted(1)).await.unwrap();
    let fact = Fact::JobStarted { job: JobId(1), at: Timestamp(5) };
    journal.record(fact.clone());
    journal.flush().await.unwrap();
    let copy = crashed_copy(folder.path());
    assert_eq!(restore(copy.path()).unwrap().facts, [fact]);
    journal.report(JobId(1), report());
    journal.release(JobId(1));
    drop(journal);
    let restored = restore(folder.path()).unwrap();
    assert_eq!(restored.jobs[0].report, Some(report()));
    assert_eq!(restored.jobs[0].accepted.work, None);
}

#[tokio::test]
async fn secrets_are_not_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path()).unwrap();
    journal.accept(accepted(1)).await.unwrap();
    drop(journal);
    let data = fs::read(folder.path().join("journal.redb")).unwrap();
    assert!(!data.windows(8).any(|window| window == b"secret-1"));
    fs::remove_file(folder.path().join("secrets.key")).unwrap();
    assert!(matches!(restore(folder.path()), Err(JournalError::Secrets { job: JobId(1), .. })));
}

#[test]
fn a_record_of_a_newer_version_is_named() {
    let error = record::decode::<Commit>(&[VERSION + 1, 0], Path::new("journal")).unwrap_err();
    assert!(matches!(error, JournalError::Version { found, .. } if found == VERSION + 1));
    for data in [&[][..], &[VERSION], &[VERSION, 9], &[VERSION, 1, 0]] {
        let error = record::decode::<Commit>(data, Path::new("journal")).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }), "{data:?}: {error}");
    }
}

#[test]
fn a_file_that_is_no_journal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for content in [&b""[..], b"not a journal at all", &[0; 1 << 16]] {
        fs::write(folder.path().join("journal.redb"), content).unwrap();
        let error = restore(folder.path()).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_a_job_and_breaks_nothing() {
    let Some(disk) = SmallDisk::mount(8 << 10) else { return };
    let folder = disk.path().join("data");
    let (journal, _) = Journal::open(&folder).unwrap();
    journal.accept(accepted(1)).await.unwrap();
    disk.fill();
    let mut big = accepted(2);
    big.work.as_mut().unwrap().planned = Bytes::from(vec![2; 4 << 20]);
    let error = journal.accept(big.clone()).await.unwrap_err();
    assert!(matches!(error, JournalError::Full { .. }), "{error:?}");
    disk.make_room();
    journal.accept(accepted(3)).await.unwrap();
    drop(journal);
    let jobs: Vec<_> = restore(&folder).unwrap().jobs.into_iter().map(|job| job.accepted).collect();
    assert_eq!(jobs, [accepted(1), accepted(3)]);
}
