//! A disk that fills up while a sink writes.

#[path = "../../../../tests/support/small_disk.rs"]
#[allow(dead_code, unreachable_pub)]
mod small_disk;

use small_disk::SmallDisk;

use super::*;
use crate::sink::abort;

#[tokio::test]
async fn a_full_disk_is_a_named_limit_and_leaves_nothing() {
    let Some(disk) = SmallDisk::mount(512) else { return };
    for (format, compression) in [(SinkFormat::Csv, None), (SinkFormat::Parquet, Some(crate::sink::Compression::None))]
    {
        let target = disk.path().join("out");
        let mut spec = folder_sink(&target, format, SinkMode::Overwrite);
        spec.compression = compression;
        let mut job = Job::new(spec, 1);
        let error = job.write(0, 0, (0..100).map(|at| rows(at * 1_000, 1_000)).collect()).await.unwrap_err();
        assert!(matches!(error, TaskError::Resources(_)), "{error:?}");
        assert!(error.to_string().contains("No space left"), "{error}");
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0);
        abort(job.job, &job.spec, &job.files, &job.storage).await.unwrap();

        job.write(0, 1, vec![rows(0, 100)]).await.unwrap();
        job.publish().await;
        assert_eq!(visible(&tree(&target)).len(), 1, "the same disk serves a smaller job");
        fs::remove_dir_all(&target).unwrap();
    }
}
