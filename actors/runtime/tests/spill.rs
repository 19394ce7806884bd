//! Objects that go to real files and come back.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use support::{JOB, Stage};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::value::{Body, Format, Value};
use tandem_actor_protocol::{ExtentId, Location, ObjectId, SpaceLease, SpaceLeaseId};
use tandem_node::{Action, Event, RestoreError, SpillFile};
use tandem_runtime::SpillStats;

const EXTENT: ExtentId = ExtentId(3);
const EXTENT_BYTES: u64 = 8 << 20;
/// More than one chunk, and no whole number of them.
const BYTES: u64 = (2 << 20) + 7;
const FILE: SpillFile = SpillFile(4);
/// Where objects are built, and where they come back to.
const FROM: Location = Location { extent: EXTENT, offset: 64, length: BYTES };
const INTO: Location = Location { extent: EXTENT, offset: 4 << 20, length: BYTES };

/// A runtime with an object in its one extent, and a folder for files.
async fn stage(folder: &Path) -> Stage {
    let mut stage = Stage::with(|config| config.spill_dir = Some(folder.to_owned()));
    stage.act(Action::MakeExtent { job: JOB, extent: EXTENT, bytes: EXTENT_BYTES }).await;
    let runtime = stage.runtime.clone();
    let building = tokio::spawn(async move {
        let room = runtime.space(JOB, BYTES).await.expect("room");
        room.write(Format::Bytes, vec![Bytes::from(content())]).await.expect("room");
    });
    let wanted = |event| if let Event::SpaceWanted { ticket, .. } = event { Some(ticket) } else { None };
    let ticket = stage.until(wanted).await;
    let lease = SpaceLease { id: SpaceLeaseId(0), extent: EXTENT, offset: FROM.offset, bytes: BYTES };
    stage.act(Action::SpaceGiven { ticket, outcome: Ok(lease) }).await;
    building.await.expect("no panic");
    stage
}

fn content() -> Vec<u8> {
    (0..BYTES).map(|at| (at % 251) as u8).collect()
}

async fn write(stage: &mut Stage) -> Result<(), String> {
    stage.act(Action::Spill { job: JOB, file: FILE, from: FROM }).await;
    stage.until(|event| if let Event::Spilled { file: FILE, outcome, .. } = event { Some(outcome) } else { None }).await
}

async fn read(stage: &mut Stage) -> Result<(), RestoreError> {
    stage.act(Action::Restore { job: JOB, object: ObjectId(9), file: FILE, into: INTO }).await;
    stage.until(|event| if let Event::Restored { outcome, .. } = event { Some(outcome) } else { None }).await
}

fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path()).collect()
}

#[tokio::test]
async fn an_object_comes_back_as_it_was_and_its_file_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("objects");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("1.object"), b"of one that died").expect("a file");
    let mut stage = stage(&folder).await;
    assert_eq!(files(&folder), Vec::<PathBuf>::new());
    assert_eq!(write(&mut stage).await, Ok(()));
    assert_eq!(files(&folder).len(), 1);
    let on_disk = SpillStats { objects: 1, bytes: BYTES, written_bytes: BYTES, restored_bytes: 0 };
    assert_eq!(stage.runtime.spill_stats(), on_disk);

    assert_eq!(read(&mut stage).await, Ok(()));
    let executor = stage.executor().await;
    let shown = ToExecutor::Extent { extent: EXTENT, bytes: EXTENT_BYTES, writable: false };
    stage.send(executor, shown).await;
    let body = Body::Shared { format: Format::Bytes, object: ObjectId(9), location: INTO };
    let sum: u64 = content().iter().map(|byte| u64::from(*byte)).sum();
    assert_eq!(stage.call(executor, "sum", vec![Value { body, refs: Vec::new() }]).await, sum.to_string());

    stage.act(Action::DropSpilled { file: FILE }).await;
    while !files(&folder).is_empty() {
        tokio::task::yield_now().await;
    }
    let gone = SpillStats { objects: 0, bytes: 0, restored_bytes: BYTES, ..on_disk };
    assert_eq!(stage.runtime.spill_stats(), gone);
    assert_eq!(write(&mut stage).await, Ok(()));
    stage.runtime.stop().await;
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_damaged_file_is_told_from_a_whole_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut stage = stage(folder.path()).await;
    write(&mut stage).await.expect("room on disk");
    let file = files(folder.path()).pop().expect("a file");
    let whole = std::fs::read(&file).expect("our file");
    let mut flipped = whole.clone();
    flipped[1_500_000] ^= 1;
    let mut longer = whole.clone();
    longer.push(0);
    for damaged in [&flipped[..], &whole[..whole.len() - 1], &longer[..], &[]] {
        std::fs::write(&file, damaged).expect("our file");
        let outcome = read(&mut stage).await;
        let names_it = |error: &RestoreError| match error {
            RestoreError::Damaged(why) => why.contains(&file.display().to_string()),
            RestoreError::NoMemory(_) => false,
        };
        assert!(outcome.as_ref().is_err_and(names_it), "{} bytes: {outcome:?}", damaged.len());
    }
    std::fs::write(&file, &whole).expect("our file");
    assert_eq!(read(&mut stage).await, Ok(()));
    std::fs::remove_file(&file).expect("our file");
    assert!(matches!(read(&mut stage).await, Err(RestoreError::Damaged(_))));
}

/// Unmounts a folder when it is dropped.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_is_left_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder.path()).output();
    if !mount.as_ref().is_ok_and(|output| output.status.success()) {
        return eprintln!("skipped: no small tmpfs can be mounted here: {mount:?}");
    }
    let _mounted = Mounted(folder.path());
    let objects = folder.path().join("objects");
    let mut stage = stage(&objects).await;
    let why = write(&mut stage).await.expect_err("it is larger than the disk");
    assert!(why.contains(&objects.display().to_string()) && why.contains("No space left"), "{why}");
    assert_eq!(files(&objects), Vec::<PathBuf>::new());
    assert_eq!(stage.runtime.spill_stats(), SpillStats::default());
    stage.runtime.stop().await;
}

#[tokio::test]
async fn without_a_folder_nothing_is_written() {
    let mut stage = Stage::new();
    stage.act(Action::MakeExtent { job: JOB, extent: EXTENT, bytes: EXTENT_BYTES }).await;
    assert!(write(&mut stage).await.is_err_and(|why| why.contains("no folder")));
    stage.act(Action::Spill { job: JOB, file: FILE, from: Location { extent: ExtentId(8), ..FROM } }).await;
    let spilled = |event| if let Event::Spilled { outcome, .. } = event { Some(outcome) } else { None };
    assert!(stage.until(spilled).await.is_err_and(|why| why.contains("no memory")));
}
