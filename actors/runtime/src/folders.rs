//! The folders that processes of a job run in: one for each job, removed with it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use tandem_actor_protocol::JobId;
use tracing::warn;

/// All of them, in one folder that nobody else uses.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    root: PathBuf,
}

impl Folders {
    /// Removes what is in `root`, and makes it if it is missing.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn open(root: PathBuf) -> io::Result<Self> {
        match fs::remove_dir_all(&root) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
        Ok(Self { root: root.canonicalize()? })
    }

    /// The folder of a job, made if it is missing.
    pub(crate) fn of(&self, job: JobId) -> io::Result<PathBuf> {
        let path = self.path(job);
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(path)
    }

    /// Removes the folder of a job.
    pub(crate) fn remove(&self, job: JobId) {
        let path = self.path(job);
        match fs::remove_dir_all(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => warn!(path = %path.display(), %error, "folder of a job could not be removed"),
        }
    }

    /// Removes all of it.
    pub(crate) fn close(&self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            warn!(path = %self.root.display(), %error, "folder of executors could not be removed");
        }
    }

    fn path(&self, job: JobId) -> PathBuf {
        self.root.join(job.to_string())
    }
}
