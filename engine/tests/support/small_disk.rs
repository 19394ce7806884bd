//! A small filesystem in memory, for what must be shown of a full disk.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Unmounted when dropped.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// One of so many KiB; none, with a line that says what stands in the way, where this user may not mount.
    pub fn mount(kib: u32) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"])
            .arg(folder.path())
            .output();
        let reason = match mounted {
            Ok(output) if output.status.success() => return Some(Self(folder)),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        eprintln!("skipped: no small tmpfs can be mounted here: {reason}");
        None
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file that leaves no room for anything else.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.path().join("filler")).expect("a file");
        let error = std::io::copy(&mut std::io::repeat(0), &mut file).expect_err("the disk has an end");
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }

    /// Removes that file.
    pub fn make_room(&self) {
        std::fs::remove_file(self.path().join("filler")).expect("it is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmount = || Command::new("umount").arg(self.path()).output().is_ok_and(|output| output.status.success());
        // A process that is gone from the list may still be closing its files.
        let deadline = Instant::now() + Duration::from_secs(30);
        while !unmount() {
            if std::thread::panicking() {
                return;
            }
            assert!(Instant::now() < deadline, "{} stays mounted", self.path().display());
            std::thread::yield_now();
        }
    }
}
