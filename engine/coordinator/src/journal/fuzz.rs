//! What must hold of the journal's records whatever bytes they are read from.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tandem_jobs::planned::PlannedJob;
use tandem_proto::{JobId, StageId, WorkerId};
use tandem_scheduler::{
    ActorId, Fact, GroupPlan, NamedActor, PlacementGroupId, Shape, StagedFile, Strategy, Timestamp,
};

use super::record::{Commit, StoredJob, StoredReport, StoredWork, decode, encode};

/// Reads `bytes` as a record of every kind there is. What is read can be written and read again.
///
/// # Panics
/// When it cannot.
pub fn journal_record(bytes: &[u8]) {
    read_again::<StoredJob>(bytes);
    read_again::<StoredWork>(bytes);
    read_again::<Commit>(bytes);
    read_again::<StoredReport>(bytes);
    read_again::<Fact>(bytes);
    read_again::<NamedActor>(bytes);
    read_again::<PlannedJob>(bytes);
}

fn read_again<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let path = Path::new("journal");
    let Ok(record) = decode::<T>(bytes, path) else { return };
    let written = encode(&record, path).expect("what was read can be written");
    let read = decode::<T>(&written, path).expect("what was written can be read");
    assert_eq!(encode(&read, path).expect("what was read can be written"), written);
}

/// Some sound records, to damage.
pub fn journal_records() -> Vec<Vec<u8>> {
    let path = Path::new("journal");
    let file = StagedFile {
        sink: "out".to_owned(),
        staged_path: "/out/.staged/part-0".to_owned(),
        final_path: "part-0.parquet".to_owned(),
        rows: 10,
        bytes: 1_000,
        multipart_id: "upload".to_owned(),
        parts: vec!["etag".to_owned()],
    };
    let finished = Fact::StageReopened { job: JobId(1), stage: StageId(2) };
    let retried = Fact::JobRetried { job: JobId(1), retries_used: 1 };
    let started = Fact::JobStarted { job: JobId(1), at: Timestamp(7) };
    let named = NamedActor { actor: ActorId(1 << 64), job: JobId(1), class: "Stock".to_owned() };
    let plan = GroupPlan {
        group: PlacementGroupId(1 << 64),
        job: JobId(1),
        name: "train".to_owned(),
        strategy: Strategy::StrictSpread,
        bundles: vec![Shape::default(); 2],
    };
    let reserved = Fact::GroupReserved { plan, hosts: vec![WorkerId(1), WorkerId(2)] };
    let records = [
        encode(&Commit::Intended(vec![file.clone(), file]), path),
        encode(&finished, path),
        encode(&retried, path),
        encode(&started, path),
        encode(&named, path),
        encode(&reserved, path),
        encode(&PlannedJob { name: "job".to_owned(), ..PlannedJob::default() }, path),
    ];
    records.into_iter().map(|record| record.expect("a sound record")).collect()
}
