//! A disk that fills up while a sink writes.

use std::process::Command;

use super::*;
use crate::sink::abort;

/// A small filesystem that is unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(kib: u32) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"])
            .arg(folder.path())
            .output()
            .map_err(|error| format!("mount: {error}"))?;
        if mounted.status.success() {
            Ok(Self(folder))
        } else {
            Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned())
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.0.path().display());
    }
}

#[tokio::test]
async fn a_full_disk_is_a_named_limit_and_leaves_nothing() {
    let disk = match SmallDisk::mount(512) {
        Ok(disk) => disk,
        Err(reason) => return eprintln!("skipped: no small tmpfs can be mounted here: {reason}"),
    };
    for (format, compression) in [(SinkFormat::Csv, None), (SinkFormat::Parquet, Some(crate::sink::Compression::None))]
    {
        let target = disk.0.path().join("out");
        let mut spec = folder_sink(&target, format, SinkMode::Overwrite);
        spec.compression = compression;
        let mut job = Job::new(spec, 1);
        let error = job.write(0, 0, (0..100).map(|at| rows(at * 1_000, 1_000)).collect()).await.unwrap_err();
        assert!(matches!(error, TaskError::Resources(_)), "{error:?}");
        assert!(error.to_string().contains("No space left"), "{error}");
        assert_eq!(fs::read_dir(disk.0.path()).unwrap().count(), 0);
        abort(job.job, &job.spec, &job.files, &job.storage).await.unwrap();

        job.write(0, 1, vec![rows(0, 100)]).await.unwrap();
        job.publish().await;
        assert_eq!(visible(&tree(&target)).len(), 1, "the same disk serves a smaller job");
        fs::remove_dir_all(&target).unwrap();
    }
}
