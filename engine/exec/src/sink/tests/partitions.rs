//! Partition columns: hostile values, and more values than files may be open.

use futures::StreamExt;

use datafusion::prelude::{ParquetReadOptions, SessionContext};

use super::*;
use crate::sink::{Reject, RejectWriter};
use crate::sink::{abort, rejects_sink};

fn by_key(path: &Path, format: SinkFormat) -> SinkSpec {
    SinkSpec { partition_by: vec!["key".to_owned()], ..folder_sink(path, format, SinkMode::Overwrite) }
}

async fn key_counts(target: &Path) -> BTreeMap<String, i64> {
    let context = SessionContext::new();
    let options =
        ParquetReadOptions::default().table_partition_cols(vec![("key".to_owned(), arrow::datatypes::DataType::Utf8)]);
    context.register_parquet("out", target.to_str().unwrap(), options).await.unwrap();
    let sql = "SELECT CAST(key AS VARCHAR) AS key, count(number) AS n FROM out GROUP BY 1";
    let mut counts = BTreeMap::new();
    for batch in context.sql(sql).await.unwrap().collect().await.unwrap() {
        let keys = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
        let keys = keys.as_any().downcast_ref::<StringArray>().unwrap().clone();
        let numbers = batch.column(1).as_any().downcast_ref::<Int64Array>().unwrap().clone();
        counts.extend((0..batch.num_rows()).map(|row| (keys.value(row).to_owned(), numbers.value(row))));
    }
    counts
}

#[tokio::test]
async fn hostile_values_are_folders_and_read_back() {
    let folder = scratch();
    let target = folder.path().join("table/out");
    let values = ["../../escape", "/etc/passwd", "..", ".", "a=b", "100%", "%2e%2e%2f", "x y", "a\nb", "é", "*", "#?"];
    let mut job = Job::new(by_key(&target, SinkFormat::Parquet), 1);
    job.write(0, 0, vec![keyed(values.map(str::to_owned)), keyed(values.map(str::to_owned))]).await.unwrap();
    job.publish().await;
    assert_eq!(
        visible(&tree(folder.path())),
        visible(&tree(folder.path())).into_iter().filter(|path| path.starts_with("table/out/key=")).collect()
    );
    assert_eq!(key_counts(&target).await, values.map(|value| (value.to_owned(), 2)).into());
}

#[tokio::test]
async fn more_values_than_open_files_make_one_file_each() {
    let folder = scratch();
    let target = folder.path().join("out");
    let values: Vec<String> = (0..1_000).map(|number| format!("k{number}")).collect();
    let mut job = Job::new(by_key(&target, SinkFormat::Parquet), 1);
    let few = keyed(values[..50].iter().cloned());
    let many = (0..4).map(|turn| keyed((0..1_000).map(|at| values[(at * 7 + turn) % 1_000].clone())));
    job.write(0, 0, [few].into_iter().chain(many).collect()).await.unwrap();
    assert!(job.files.len() <= 1_000 + 64, "{} files", job.files.len());
    job.publish().await;
    let counts = key_counts(&target).await;
    assert_eq!(counts.len(), 1_000);
    assert_eq!((counts["k0"], counts["k999"]), (5, 4));
}

#[tokio::test]
async fn little_memory_makes_smaller_row_groups_and_not_an_error() {
    let folder = scratch();
    let target = folder.path().join("out");
    let mut job = Job::new(by_key(&target, SinkFormat::Parquet), 1);
    let pool = Arc::new(GreedyMemoryPool::new(4 << 20));
    job.runtime = RuntimeEnvBuilder::new().with_memory_pool(pool.clone()).build_arc().unwrap();
    let batches = (0..50).map(|_| keyed((0..4_000).map(|at| format!("{}", at % 40))));
    job.write(0, 0, batches.collect()).await.unwrap();
    job.publish().await;
    assert_eq!(key_counts(&target).await.values().sum::<i64>(), 200_000);
    use datafusion::execution::memory_pool::MemoryPool;
    assert_eq!(pool.reserved(), 0);
}

#[tokio::test]
async fn a_failed_attempt_removes_its_files_and_abort_the_rest() {
    let folder = scratch();
    let target = folder.path().join("out");
    let mut job = Job::new(by_key(&target, SinkFormat::Jsonl), 1);
    let long = "x".repeat(300);
    let batches = vec![keyed(["a".to_owned(), "b".to_owned()]), keyed([long])];
    let error = job.write(0, 0, batches).await.unwrap_err();
    assert!(matches!(error, TaskError::Fatal(_)) && error.to_string().contains("too long"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "the failed attempt left nothing");
    job.attempt(0, 1, vec![keyed(["a".to_owned()])]).await.unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "the attempt that reports nothing left nothing");
    job.attempt(0, 1, vec![keyed(["a".to_owned()])]).await.unwrap().files();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    job.write(0, 2, vec![keyed(["a".to_owned()])]).await.unwrap();
    abort(job.job, &job.spec, &job.files, &job.storage).await.unwrap();
    abort(job.job, &job.spec, &job.files, &job.storage).await.unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "the aborted job left nothing");
}

#[tokio::test]
async fn attempts_that_lost_are_not_published() {
    let folder = scratch();
    let target = folder.path().join("out");
    let mut job = Job::new(by_key(&target, SinkFormat::Parquet), 1);
    job.attempt(0, 0, vec![keyed(["a".to_owned()])]).await.unwrap().files();
    job.write(0, 1, vec![keyed(["a".to_owned()])]).await.unwrap();
    job.publish().await;
    assert_eq!(key_counts(&target).await, [("a".to_owned(), 1)].into());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn rejects_are_published_with_the_job() {
    let folder = scratch();
    let path = folder.path().join("rejects");
    let spec = rejects_sink(path.to_str().unwrap());
    let mut job = Job::new(spec.clone(), 9);
    let attempt = TaskAttempt { job: 9, stage: 1, task: 0, attempt: 0 };
    let scope = Arc::new(TaskScope::new(attempt, job.storage.clone()));
    for (source, count) in [("events", 2), ("users", 1), ("clean", 0)] {
        let mut writer = RejectWriter::new(source, &spec.path, 0);
        for line in 0..count {
            let reject =
                Reject { file: "a.csv", line, column: Some("quantity"), reason: "not an int: \"x\"", raw: "1,\"x\"\n" };
            writer.push(&reject).unwrap();
            writer.drain(&scope).await.unwrap();
        }
        writer.finish(&scope).await.unwrap();
    }
    job.files = scope.files();
    job.publish().await;
    let files = tree(&path);
    assert_eq!(visible(&files).len(), 2);
    let text: String = visible(&files).iter().map(|name| String::from_utf8(files[name].clone()).unwrap()).collect();
    assert_eq!(text.lines().count(), 3);
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["reason"], "not an int: \"x\"");
    assert_eq!(first.as_object().unwrap().keys().collect::<Vec<_>>(), ["file", "line", "column", "reason", "raw"]);

    let clean = Job::new(spec, 10);
    clean.publish().await;
    assert_eq!(visible(&tree(&path)).len(), 0, "a run without rejects leaves none of an older run");
}

#[tokio::test]
async fn a_cancelled_attempt_leaves_nothing() {
    let folder = scratch();
    let mut spec = by_key(&folder.path().join("out"), SinkFormat::Csv);
    spec.target_file_size_bytes = 1;
    let job = Job::new(spec, 1);
    let scope = Arc::new(TaskScope::new(TaskAttempt { job: 1, ..Default::default() }, job.storage.clone()));
    let context = SessionContext::new().task_ctx();
    let batch = keyed(["a".to_owned(), "b".to_owned()]);
    let schema = batch.schema();
    let endless = futures::stream::iter([Ok(batch)]).chain(futures::stream::pending());
    let endless = Box::pin(RecordBatchStreamAdapter::new(schema, endless));
    let mut writing = Box::pin(write_partition(&job.spec, 0, endless, &scope, &context));
    while fs::read_dir(folder.path()).unwrap().count() == 0 {
        assert!(futures::poll!(&mut writing).is_pending());
        tokio::task::yield_now().await;
    }
    drop(writing);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
