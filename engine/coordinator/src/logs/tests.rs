use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tandem_proto::v1::LogLine;
use tandem_proto::{JobId, WorkerId};
use tempfile::TempDir;

use super::*;

const JOB: JobId = JobId(7);
const WORKER: WorkerId = WorkerId(1);

fn open(folder: &TempDir, quota_bytes: u64) -> LogStore {
    LogStore::open(folder.path().join("logs"), LogsConfig { quota_bytes }, |job| job == JOB).unwrap()
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join(format!("logs/{JOB}.log"))
}

fn lines(numbers: std::ops::RangeInclusive<u64>) -> Vec<LogLine> {
    let line = |sequence| LogLine { sequence, job: JOB.0, text: format!("line {sequence}"), ..LogLine::default() };
    numbers.map(line).collect()
}

/// Says that these lines of a worker came.
fn append(store: &LogStore, worker: WorkerId, numbers: std::ops::RangeInclusive<u64>) {
    store.append(worker, [(JOB, lines(numbers))].into()).blocking_recv().unwrap();
}

fn extent(store: &LogStore) -> Extent {
    *store.watch(JOB).blocking_recv().unwrap().unwrap().borrow()
}

/// The numbers of all lines, and how many were dropped.
fn read(store: &LogStore) -> (Vec<u64>, u64) {
    let Extent { end, dropped } = extent(store);
    let (mut place, mut numbers) = (START, Vec::new());
    while place < end {
        let (lines, next) = store.read(JOB, place, end).unwrap();
        numbers.extend(lines.iter().map(|line| line.sequence));
        place = next;
    }
    (numbers, dropped)
}

#[test]
fn a_line_that_comes_again_is_kept_once_also_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, 1 << 20);
    append(&store, WORKER, 1..=2);
    append(&store, WORKER, 1..=3);
    append(&store, WorkerId(2), 1..=1);
    assert_eq!(read(&store), (vec![1, 2, 3, 1], 0));
    assert_eq!(fs::metadata(file(&folder)).unwrap().permissions().mode() & 0o777, 0o600);
    drop(store);
    let store = open(&folder, 1 << 20);
    append(&store, WORKER, 2..=4);
    append(&store, WorkerId(2), 1..=2);
    assert_eq!(read(&store), (vec![1, 2, 3, 1, 4, 2], 0));
}

#[test]
fn the_newest_lines_are_dropped_over_the_quota_and_counted() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, 200);
    append(&store, WORKER, 1..=100);
    let (numbers, dropped) = read(&store);
    let kept = numbers.len() as u64;
    assert_eq!(numbers, (1..=kept).collect::<Vec<_>>());
    assert!((1..20).contains(&kept) && dropped == 100 - kept, "{kept} kept, {dropped} dropped");
    assert!(fs::metadata(file(&folder)).unwrap().len() <= START + 200);
    append(&store, WORKER, 1..=100);
    append(&store, WORKER, 101..=300);
    assert_eq!(read(&store), (numbers.clone(), dropped + 200));
    drop(store);
    assert_eq!(read(&open(&folder, 200)), (numbers, dropped + 200));
}

#[test]
fn a_torn_record_is_cut_off_and_comes_again() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, 1 << 20);
    append(&store, WORKER, 1..=1);
    let first = extent(&store).end;
    append(&store, WORKER, 2..=2);
    let second = extent(&store).end;
    drop(store);
    for end in first..second {
        OpenOptions::new().write(true).open(file(&folder)).unwrap().set_len(end).unwrap();
        let store = open(&folder, 1 << 20);
        assert_eq!(read(&store).0, [1]);
        append(&store, WORKER, 1..=2);
        assert_eq!(read(&store).0, [1, 2]);
    }
    for garbage in [&[0; 64][..], &[0xff; 64], &[3, 0, 0, 0, 0xff, 0xff, 0xff]] {
        OpenOptions::new().append(true).open(file(&folder)).unwrap().write_all(garbage).unwrap();
        assert_eq!(read(&open(&folder, 1 << 20)).0, [1, 2]);
        assert_eq!(fs::metadata(file(&folder)).unwrap().len(), second);
    }
    for length in [0, 3] {
        fs::write(file(&folder), vec![0; length]).unwrap();
        assert_eq!(read(&open(&folder, 1 << 20)), (Vec::new(), 0));
    }
}

#[test]
fn records_of_any_size_are_read_back() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, 64 << 20);
    let long = LogLine { sequence: 1, text: "x".repeat(1 << 20), ..LogLine::default() };
    store.append(WORKER, [(JOB, vec![long])].into()).blocking_recv().unwrap();
    append(&store, WORKER, 2..=50_000);
    append(&store, WORKER, 50_001..=50_001);
    assert_eq!(read(&store), ((1..=50_001).collect(), 0));
}

#[test]
fn logs_of_forgotten_jobs_are_removed() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, 1 << 20);
    append(&store, WORKER, 1..=1);
    let mut watched = store.watch(JOB).blocking_recv().unwrap().unwrap();
    store.forget(JOB);
    assert!(read(&store).0.is_empty());
    assert!(!file(&folder).exists());
    assert!(watched.has_changed().is_err(), "{:?}", watched.borrow_and_update());
    drop(store);
    let stray = folder.path().join("logs").join(format!("{}.log", JobId(8)));
    fs::write(&stray, "").unwrap();
    fs::write(file(&folder), "").unwrap();
    let _store = open(&folder, 1 << 20);
    assert!(!stray.exists() && file(&folder).exists());
}

#[test]
fn a_log_that_cannot_be_written_loses_lines_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, 1 << 20);
    assert_eq!(extent(&store), Extent::default());
    // Not even root can write to a folder as to a file.
    fs::create_dir(file(&folder)).unwrap();
    append(&store, WORKER, 1..=3);
    assert_eq!(extent(&store), Extent { dropped: 3, ..Extent::default() });
    fs::remove_dir(file(&folder)).unwrap();
    append(&store, WORKER, 4..=5);
    assert_eq!(read(&store), (vec![4, 5], 3));
    append(&store, WORKER, 6..=6);
    assert_eq!(read(&store).0, [4, 5, 6]);
}
