//! The state folder of a local cluster, as far as others than the cluster itself look into it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::record::ClusterRecord;

/// Why the local cluster cannot be looked for.
#[derive(Debug, thiserror::Error)]
pub enum ClusterFolderError {
    /// The folder or a file in it cannot be used.
    #[error("cannot use the state folder: {}: {source}", path.display())]
    Io {
        /// What cannot be used.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The user has no folder.
    #[error("no place for the state folder: neither XDG_STATE_HOME nor HOME is set")]
    NoHome,
    /// What is written there is not to be understood.
    #[error("cannot read where the cluster is: {}: {reason}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Who uses a folder.
#[derive(Debug)]
pub enum Occupancy {
    /// Nobody, and now the caller does for as long as it keeps this.
    Free(FolderLock),
    /// A supervisor that lives.
    Taken,
}

/// Proof that this process is the folder's supervisor. Ends with the process at the latest.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// One state folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ClusterFolder {
    root: PathBuf,
}

impl ClusterFolder {
    /// The user's own: `$XDG_STATE_HOME/tandem`.
    ///
    /// # Errors
    /// When the user has no home.
    pub fn of_user() -> Result<Self, ClusterFolderError> {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        let base = variable("XDG_STATE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
            .ok_or(ClusterFolderError::NoHome)?;
        Ok(Self::at(base.join("tandem")))
    }

    /// This one.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the cluster asks for.
    pub fn token_file(&self) -> PathBuf {
        self.root.join("token")
    }

    /// Where it is written where the cluster is.
    pub fn record_file(&self) -> PathBuf {
        self.root.join("cluster.json")
    }

    /// Held by the supervisor while it lives.
    pub fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Becomes the folder's supervisor unless there is one.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn occupy(&self) -> Result<Occupancy, ClusterFolderError> {
        let path = self.lock_file();
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let unusable = |source| ClusterFolderError::Io { path: path.clone(), source };
        let file = file.map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Occupancy::Free(FolderLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(Occupancy::Taken),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }

    /// Where the running cluster is; none when there is none, whatever a crash left behind.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn running(&self) -> Result<Option<ClusterRecord>, ClusterFolderError> {
        if !self.lock_file().exists() {
            return Ok(None);
        }
        match self.occupy()? {
            Occupancy::Free(_) => Ok(None),
            Occupancy::Taken => ClusterRecord::read(&self.record_file()),
        }
    }

    /// Says where the cluster is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_record(&self, record: &ClusterRecord) -> Result<(), ClusterFolderError> {
        record.write(&self.record_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_left_is_not_a_running_cluster() {
        let temp = tempfile::tempdir().unwrap();
        let folder = ClusterFolder::at(temp.path().to_owned());
        folder.write_record(&ClusterRecord { address: "127.0.0.1:1".to_owned(), supervisor_pid: 1 }).unwrap();
        assert!(folder.running().unwrap().is_none());
        let Occupancy::Free(lock) = folder.occupy().unwrap() else { panic!("nobody holds the lock") };
        assert!(matches!(folder.occupy().unwrap(), Occupancy::Taken));
        assert!(folder.running().unwrap().is_some());
        drop(lock);
        assert!(folder.running().unwrap().is_none());
    }
}
