//! The folder where a local cluster keeps everything: token, addresses, logs, journal, spill. Readable by its user only.
//!
//! ```text
//! lock            held by the supervisor while it lives
//! cluster.json    where the cluster is
//! control.sock    where the supervisor listens
//! token           what the cluster asks for
//! logs/           one file per process
//! journal/        the coordinator's
//! spill/          the workers'
//! private.lock    held while a folder in `private` is made or removed
//! private/        a folder like this one for each running `run` or `sql --local`
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tandem_client::{ClusterFolder, ClusterFolderError, ClusterRecord, FolderLock, Occupancy};
use tandem_proto::transport::{Token, TokenError};

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    #[error("cannot use the state folder: {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the state folder belongs to another user: {}", .0.display())]
    Foreign(PathBuf),
    #[error(transparent)]
    Found(#[from] ClusterFolderError),
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// A folder whose supervisor this process is.
pub(crate) type OwnFolder = (StateFolder, FolderLock);

/// One state folder. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct StateFolder {
    found: ClusterFolder,
}

impl StateFolder {
    /// The user's own: `$XDG_STATE_HOME/tandem`.
    pub(crate) fn of_user() -> Result<Self, FolderError> {
        Ok(Self { found: ClusterFolder::of_user()? })
    }

    fn at(root: PathBuf) -> Self {
        Self { found: ClusterFolder::at(root) }
    }

    pub(crate) fn root(&self) -> &Path {
        self.found.root()
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.found.token_file()
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.root().join("logs")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.root().join("journal")
    }

    pub(crate) fn spill(&self) -> PathBuf {
        self.root().join("spill")
    }

    pub(crate) fn control_socket(&self) -> PathBuf {
        self.root().join("control.sock")
    }

    fn private_folders(&self) -> PathBuf {
        self.root().join("private")
    }

    /// Makes the folder and what belongs in it, and refuses one that others could write to.
    pub(crate) fn create(&self) -> Result<(), FolderError> {
        for folder in [self.root().to_owned(), self.logs()] {
            create_private(&folder)?;
        }
        let about = std::fs::metadata(self.root()).map_err(|source| self.io(self.root(), source))?;
        if about.uid() != rustix::process::geteuid().as_raw() {
            return Err(FolderError::Foreign(self.root().to_owned()));
        }
        if about.permissions().mode() & 0o077 != 0 {
            std::fs::set_permissions(self.root(), std::fs::Permissions::from_mode(0o700))
                .map_err(|source| self.io(self.root(), source))?;
        }
        Ok(())
    }

    /// The token, made now if there is none.
    pub(crate) fn token(&self) -> Result<Token, FolderError> {
        let path = self.token_file();
        if path.exists() {
            return Ok(Token::read(&path)?);
        }
        let token = Token::generate();
        token.write(&path)?;
        Ok(token)
    }

    /// Becomes the folder's supervisor unless there is one.
    pub(crate) fn occupy(&self) -> Result<Occupancy, FolderError> {
        Ok(self.found.occupy()?)
    }

    /// Where the running cluster is; none when there is none, whatever a crash left behind.
    pub(crate) fn running(&self) -> Result<Option<ClusterRecord>, FolderError> {
        Ok(self.found.running()?)
    }

    /// Says where the cluster is.
    pub(crate) fn write_record(&self, record: &ClusterRecord) -> Result<(), FolderError> {
        Ok(self.found.write_record(record)?)
    }

    /// Removes what belongs to a running cluster only. The token, the journal and the logs stay.
    pub(crate) fn sweep(&self) -> Result<(), FolderError> {
        for file in [self.found.record_file(), self.control_socket()] {
            ignore_missing(std::fs::remove_file(&file)).map_err(|source| self.io(&file, source))?;
        }
        let spill = self.spill();
        ignore_missing(std::fs::remove_dir_all(&spill)).map_err(|source| self.io(&spill, source))
    }

    /// A new folder for a private cluster, and those whose owners are gone.
    pub(crate) fn new_private(&self) -> Result<(OwnFolder, Vec<OwnFolder>), FolderError> {
        create_private(&self.private_folders())?;
        // One at a time: a folder that is being made has no owner for a moment.
        let _turn = self.private_turn()?;
        let dead = self.dead_private()?;
        let private = Self::at(self.private_folders().join(format!("{:016x}", rand::random::<u64>())));
        private.create()?;
        match private.occupy()? {
            Occupancy::Free(lock) => Ok(((private, lock), dead)),
            Occupancy::Taken => Err(self.io(private.root(), io::ErrorKind::ResourceBusy.into())),
        }
    }

    fn private_turn(&self) -> Result<File, FolderError> {
        let path = self.root().join("private.lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(|source| self.io(&path, source))?;
        file.lock().map_err(|source| self.io(&path, source))?;
        Ok(file)
    }

    fn dead_private(&self) -> Result<Vec<OwnFolder>, FolderError> {
        let folder = self.private_folders();
        let mut all_dead = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(|source| self.io(&folder, source))? {
            let path = entry.map_err(|source| self.io(&folder, source))?.path();
            let dead = Self::at(path);
            if dead.found.lock_file().exists()
                && let Ok(Occupancy::Free(lock)) = dead.occupy()
            {
                all_dead.push((dead, lock));
            }
        }
        Ok(all_dead)
    }

    /// Removes the folder with all that is in it.
    pub(crate) fn remove(&self) -> Result<(), FolderError> {
        ignore_missing(std::fs::remove_dir_all(self.root())).map_err(|source| self.io(self.root(), source))
    }

    fn io(&self, path: &Path, source: io::Error) -> FolderError {
        FolderError::Io { path: path.to_owned(), source }
    }
}

fn create_private(path: &Path) -> Result<(), FolderError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| FolderError::Io { path: path.to_owned(), source })
}

fn ignore_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, StateFolder) {
        let temp = tempfile::tempdir().unwrap();
        let folder = StateFolder::at(temp.path().join("tandem"));
        folder.create().unwrap();
        (temp, folder)
    }

    #[test]
    fn the_folder_and_its_token_are_the_users_alone() {
        let (_temp, folder) = folder();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let token = folder.token().unwrap();
        assert_eq!(mode(folder.root()), 0o700);
        assert_eq!(mode(&folder.token_file()), 0o600);
        assert_eq!(folder.token().unwrap(), token, "the token stays");
    }

    #[test]
    fn folders_of_dead_private_clusters_go_to_the_next() {
        let (_temp, folder) = folder();
        let roots =
            |folders: &[OwnFolder]| folders.iter().map(|(folder, _)| folder.root().to_owned()).collect::<Vec<_>>();
        let ((first, first_lock), dead) = folder.new_private().unwrap();
        assert!(dead.is_empty());
        drop(first_lock);
        let (_second, dead) = folder.new_private().unwrap();
        assert_eq!(roots(&dead), [first.root()]);
        let (_third, none) = folder.new_private().unwrap();
        assert!(none.is_empty(), "it has an owner again");
    }
}
