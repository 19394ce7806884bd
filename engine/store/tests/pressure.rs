//! Memory and disk run short, readers and drops meet writers: nothing is lost, nothing is left, every byte is counted.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use datafusion::execution::memory_pool::MemoryConsumer;
use futures::StreamExt;
use support::{Fixture, batch, integers, key, noise, numbers};
use tandem_ipc::{BodyCompression, END_OF_STREAM, encode_schema};
use tandem_proto::{JobId, StageId};
use tandem_store::{ShuffleStore, StoreConfig, StoreError};

fn pushes(outputs: usize, rows: i64) -> Vec<(usize, arrow::record_batch::RecordBatch)> {
    (0..rows / 1000).map(|i| (i as usize % outputs, numbers(i * 1000..(i + 1) * 1000))).collect()
}

#[tokio::test]
async fn a_full_pool_leads_to_one_file_per_task() {
    let fixture = Fixture::with_pool(1 << 30, 1 << 20);
    let operator = MemoryConsumer::new("operator").register(&fixture.pool);
    fixture.write(key(1, 0), 4, &pushes(4, 64_000)).await;
    assert_eq!(fixture.store.stats().spilled_bytes, 0);
    operator.grow((1 << 20) - fixture.pool.reserved());
    fixture.write(key(1, 1), 4, &pushes(4, 64_000)).await;
    assert_eq!(fixture.files().len(), 1, "the finished output made room");
    assert_eq!(fixture.files()[0].metadata().unwrap().len(), fixture.store.stats().spilled_bytes);
    for task in 0..2 {
        for output in 0..4 {
            let expected: Vec<_> = (0..64_000).filter(|n| n / 1000 % 4 == output).collect();
            let read = fixture.read(key(1, task), output as usize..output as usize + 1).await.unwrap();
            assert_eq!(integers(&read), expected);
        }
    }
    drop(operator);
    fixture.store.drop_stage(JobId(7), StageId(1));
    fixture.assert_empty().await;
}

#[tokio::test]
async fn a_file_is_passed_on_as_it_is() {
    let fixture = Fixture::new(0);
    let written = pushes(4, 64_000);
    fixture.write(key(1, 0), 4, &written).await;
    // The second output is too much together with the first, so all of the first goes to its file.
    fixture.write(key(1, 1), 4, &written).await;
    let schema = fixture.store.read(key(1, 0), 0..1).unwrap().schema().clone();
    let file = fs::read(&fixture.files()[0]).unwrap();
    let stream = fixture.read_ipc(&[key(1, 0)], 0..4).await.unwrap().concat();
    assert_eq!(stream, [encode_schema(&schema).as_slice(), &file, &END_OF_STREAM].concat());
}

#[tokio::test]
async fn an_unfinished_writer_leaves_nothing() {
    let fixture = Fixture::new(64 << 10);
    let mut writer = fixture.store.writer(key(1, 0), numbers(0..1).schema(), 2);
    for (output, batch) in pushes(2, 100_000) {
        writer.push(output, batch).await.unwrap();
    }
    assert!(fixture.store.stats().spilled_bytes > 0);
    assert!(matches!(fixture.store.read(key(1, 0), 0..2), Err(StoreError::NotFound { .. })));
    drop(writer);
    fixture.assert_empty().await;
}

#[tokio::test]
async fn a_dropped_job_ends_its_writers_and_readers() {
    for memory_limit_bytes in [0, 1 << 30] {
        let fixture = Fixture::new(memory_limit_bytes);
        // More than a reader takes at once and reads ahead, and nothing that compression could shrink to that.
        let whole = noise(1_000_000);
        let noise: Vec<_> = (0..100).map(|n| (0, whole.slice(n * 10_000, 10_000))).collect();
        fixture.write(key(1, 0), 1, &noise).await;
        fixture.write(key(2, 0), 1, &noise).await;
        let mut reader = fixture.store.read(key(1, 0), 0..1).unwrap();
        reader.next().await.unwrap().unwrap();
        let mut remote = fixture.store.read_ipc(vec![key(1, 0)], 0..1, BodyCompression::Lz4).unwrap();
        remote.next().await.unwrap().unwrap();
        let mut writer = fixture.store.writer(key(3, 0), numbers(0..1).schema(), 1);
        writer.push(0, numbers(0..100_000)).await.unwrap();

        fixture.store.drop_stage(JobId(7), StageId(1));
        assert_eq!(fixture.store.held(), [key(2, 0)]);
        // What a step had read already still comes; then it ends.
        let last = reader.by_ref().map(|item| item.map(drop)).collect::<Vec<_>>().await.pop();
        assert!(matches!(last, Some(Err(StoreError::NotFound { .. }))), "{last:?}");
        let last = remote.by_ref().map(|item| item.map(drop)).collect::<Vec<_>>().await.pop();
        assert!(matches!(last, Some(Err(StoreError::NotFound { .. }))), "{last:?}");

        fixture.store.drop_job(JobId(7));
        let push = writer.push(0, numbers(0..100_000)).await;
        assert!(matches!(push, Err(StoreError::NotFound { .. })), "{push:?}");
        assert!(matches!(writer.finish().await, Err(StoreError::NotFound { .. })));
        fixture.assert_empty().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_readers_and_drops_at_once() {
    let fixture = Arc::new(Fixture::new(256 << 10));
    let task = |stage: u32, partition: u32| {
        let fixture = Arc::clone(&fixture);
        async move {
            fixture.write(key(stage, partition), 3, &pushes(3, 60_000)).await;
            for round in 0..3 {
                let read = fixture.read(key(stage, partition), round..round + 1).await.unwrap();
                let expected: Vec<_> = (0..60_000).filter(|n| (n / 1000 % 3) as usize == round).collect();
                assert_eq!(integers(&read), expected);
                let pieces = fixture.read_ipc(&[key(stage, partition)], 0..3).await.unwrap();
                assert!(pieces.len() > 1);
            }
        }
    };
    let doomed = |stage: u32, partition: u32| {
        let fixture = Arc::clone(&fixture);
        async move {
            // May be dropped at any moment of its life; only that it was is an acceptable failure.
            let written = fixture.try_write(key(stage, partition), 3, &pushes(3, 60_000)).await;
            let read = fixture.read(key(stage, partition), 0..3).await;
            assert!(matches!(written, Ok(_) | Err(StoreError::NotFound { .. })), "{written:?}");
            assert!(matches!(read, Ok(_) | Err(StoreError::NotFound { .. })), "{read:?}");
        }
    };
    let mut tasks = tokio::task::JoinSet::new();
    for partition in 0..6 {
        tasks.spawn(task(1, partition));
        tasks.spawn(doomed(2, partition));
    }
    let mut done = 0;
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
        done += 1;
        if done % 2 == 1 {
            fixture.store.drop_stage(JobId(7), StageId(2));
        }
    }
    fixture.store.drop_stage(JobId(7), StageId(2));
    assert_eq!(fixture.store.held().len(), 6);
    assert_eq!(fixture.store.stats().memory_bytes, fixture.pool.reserved() as u64);
    fixture.store.drop_job(JobId(7));
    fixture.assert_empty().await;
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_no_file() {
    let fixture = Fixture::new(64 << 10);
    // Every write to this device says that the disk is full.
    for number in 0..100 {
        symlink("/dev/full", fixture.spill_dir().join(format!("{number}.spill"))).unwrap();
    }
    let mut writer = fixture.store.writer(key(1, 0), numbers(0..1).schema(), 2);
    let mut failed = None;
    for (output, batch) in pushes(2, 200_000) {
        failed = writer.push(output, batch).await.err();
        if failed.is_some() {
            break;
        }
    }
    let failed = failed.expect("memory is too small and the disk is full");
    assert!(matches!(failed, StoreError::NoSpace { .. }), "{failed}");
    assert!(failed.to_string().contains(&fixture.spill_dir().display().to_string()), "{failed}");
    let stats = fixture.store.stats();
    assert_eq!((stats.spilled_bytes, stats.memory_bytes), (0, fixture.pool.reserved() as u64));
    drop(writer);
    assert_eq!(fixture.pool.reserved(), 0);
}

#[tokio::test]
async fn a_damaged_file_is_lost_output() {
    let fixture = Fixture::new(0);
    fixture.write(key(1, 0), 1, &pushes(1, 64_000)).await;
    fixture.write(key(1, 1), 1, &pushes(1, 64_000)).await;
    let file = fs::File::options().write(true).open(&fixture.files()[0]).unwrap();
    file.set_len(100).unwrap();
    let error = fixture.read(key(1, 0), 0..1).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }) && error.is_lost(), "{error}");
    let error = fixture.read_ipc(&[key(1, 0)], 0..1).await.unwrap_err();
    assert!(error.is_lost(), "{error}");
}

#[tokio::test]
async fn what_does_not_fit_is_an_error() {
    let fixture = Fixture::new(1 << 20);
    let mut writer = fixture.store.writer(key(1, 0), numbers(0..1).schema(), 2);
    let error = writer.push(2, numbers(0..1)).await.unwrap_err();
    assert!(matches!(error, StoreError::NoSuchOutput { output: 2, outputs: 2, .. }), "{error}");
    let error = writer.push(0, batch(&[4], 0, 3)).await.unwrap_err();
    assert!(matches!(error, StoreError::Schema { .. }), "{error}");
    writer.finish().await.unwrap();
    let error = fixture.store.read(key(1, 0), 0..3).unwrap_err();
    assert!(matches!(error, StoreError::NoSuchOutput { .. }), "{error}");
}

#[tokio::test]
async fn a_finished_attempt_written_again_is_replaced() {
    let fixture = Fixture::new(1 << 20);
    fixture.write(key(1, 0), 1, &[(0, numbers(0..10_000))]).await;
    let before = fixture.store.stats();
    fixture.write(key(1, 0), 1, &[(0, numbers(10_000..20_000))]).await;
    assert_eq!(fixture.store.stats(), before);
    assert_eq!(integers(&fixture.read(key(1, 0), 0..1).await.unwrap())[0], 10_000);
}

#[test]
fn a_new_store_removes_what_a_dead_one_left() {
    let fixture = Fixture::new(1 << 20);
    let dead = fixture.dir.path().join("store-1-7");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("owner.lock"), b"").unwrap();
    fs::write(dead.join("0.spill"), b"left").unwrap();
    let config = StoreConfig::new(fixture.dir.path(), 1 << 20);
    let second = ShuffleStore::new(config, Arc::clone(&fixture.pool)).unwrap();
    assert!(!dead.exists());
    assert_eq!(fs::read_dir(fixture.dir.path()).unwrap().count(), 2, "both live stores have theirs");
    drop(second);
    assert_eq!(fs::read_dir(fixture.dir.path()).unwrap().count(), 1);
}
