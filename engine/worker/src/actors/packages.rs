//! The executables of jobs and the files attached to them: each is downloaded once for all jobs, checked, and removed when nobody uses it
//! and room is short. Attached files have their names in a folder for each job.
//! Owned by the runtime's surroundings. A file that the client has named is used in place as long as it is what it should be.
//!
//!   missing ─► part (grows, survives a broken stream) ─► checked ─► executable, or attached file

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tandem_package::{AttachError, PackageHash, ParseHashError, check_names};
use tandem_proto::JobId;
use tandem_proto::v1::{AttachedFile, Program};
use tokio::sync::OnceCell;
use tracing::{debug, info, warn};

use crate::coordinator::CoordinatorCalls;

/// Bytes of all packages, or attached files, that nobody uses.
const UNUSED_BYTES: u64 = 2 << 30;
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Why a package cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackageError {
    /// Its name is none.
    #[error("`{name}` names no package: {source}")]
    Name {
        /// As it came.
        name: String,
        /// Why not.
        source: ParseHashError,
    },
    /// The coordinator does not have it.
    #[error("the coordinator gave no package {package}: {reason}")]
    Refused {
        /// Which.
        package: PackageHash,
        /// What it said.
        reason: String,
    },
    /// What came is something else.
    #[error("package {package} came as {found}")]
    Wrong {
        /// Which.
        package: PackageHash,
        /// What it is.
        found: PackageHash,
    },
    /// Attached files are called what they cannot be called.
    #[error(transparent)]
    Attached(#[from] AttachError),
    /// The disk.
    #[error("package cannot be kept at {}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Packages,
    Attached,
}

/// See the module's header.
#[derive(Debug)]
pub(crate) struct Packages {
    executables: Kept,
    attached: Kept,
    /// Has a folder for each job that has attached files.
    jobs: PathBuf,
    /// Held by who replaces a link.
    linking: Mutex<()>,
}

/// What is kept of one kind.
#[derive(Debug)]
struct Kept {
    content: Content,
    folder: PathBuf,
    coordinator: CoordinatorCalls,
    known: Mutex<HashMap<PackageHash, Package>>,
}

#[derive(Debug)]
struct Package {
    users: BTreeSet<JobId>,
    last_used: Instant,
    downloaded: Arc<OnceCell<PathBuf>>,
    /// Where a client has it, and what the file was when it was checked.
    in_place: Option<(PathBuf, Stamp)>,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Packages {
    /// No packages, in folders of their own in `folder`, which are made when they are needed.
    pub(crate) fn new(folder: &Path, coordinator: CoordinatorCalls) -> Self {
        let kept = |name, content| {
            let (folder, coordinator) = (folder.join(name), coordinator.clone());
            Kept { content, folder, coordinator, known: Mutex::default() }
        };
        let (executables, attached) = (kept("packages", Content::Packages), kept("attached", Content::Attached));
        Self { executables, attached, jobs: folder.join("files"), linking: Mutex::default() }
    }

    /// The executable that `job` runs. While the coordinator is away this waits.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn get(&self, job: JobId, program: &Program) -> Result<PathBuf, PackageError> {
        if program.package.is_empty() {
            let path = PathBuf::from("/proc/self/exe");
            return std::env::current_exe().map_err(|source| PackageError::Io { path, source });
        }
        self.executables.get(job, &program.package, &program.path).await
    }

    /// The folder with the files that are attached to what `job` runs, if there are any. While the coordinator is away this waits.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub(crate) async fn files(&self, job: JobId, program: &Program) -> Result<Option<PathBuf>, PackageError> {
        if program.files.is_empty() {
            return Ok(None);
        }
        check_names(program.files.iter().map(|file| file.name.as_str()))?;
        let folder = self.jobs.join(job.to_string());
        for AttachedFile { name, hash, path, .. } in &program.files {
            let kept = self.attached.get(job, hash, path).await?;
            let link = folder.join(name);
            let io = |source| PackageError::Io { path: link.clone(), source };
            link.parent().map_or(Ok(()), fs::create_dir_all).map_err(io)?;
            // Linked for another process of the job before, unless the file of the client is another one since then.
            if fs::read_link(&link).is_ok_and(|linked| linked == kept) {
                continue;
            }
            let _turn = self.linking.lock().unwrap_or_else(PoisonError::into_inner);
            match fs::remove_file(&link) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
                _ => symlink(&kept, &link).map_err(io)?,
            }
        }
        Ok(Some(folder))
    }

    /// A job is over. Removes what nobody has used for the longest time if there is too much of it.
    pub(crate) fn forget(&self, job: JobId) {
        let folder = self.jobs.join(job.to_string());
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(path = %folder.display(), %error, "the links of attached files could not be removed");
            }
            _ => {}
        }
        self.executables.forget(job);
        self.attached.forget(job);
    }
}

impl Kept {
    async fn get(&self, job: JobId, name: &str, path: &str) -> Result<PathBuf, PackageError> {
        let package = name.parse().map_err(|source| PackageError::Name { name: name.to_owned(), source })?;
        if let Some(path) = self.in_place(job, package, Path::new(path)).await {
            return Ok(path);
        }
        let downloaded = self.used(job, package, |known| Arc::clone(&known.downloaded));
        downloaded.get_or_try_init(|| self.download(package)).await.cloned()
    }

    fn forget(&self, job: JobId) {
        let mut known = self.lock();
        known.values_mut().for_each(|package| _ = package.users.remove(&job));
        let mut unused: Vec<(Instant, PackageHash, PathBuf)> = known
            .iter()
            .filter(|(_, package)| package.users.is_empty())
            .filter_map(|(name, package)| Some((package.last_used, *name, package.downloaded.get()?.clone())))
            .collect();
        unused.sort_unstable_by_key(|(last_used, ..)| std::cmp::Reverse(*last_used));
        let mut bytes = 0;
        for (_, name, path) in unused {
            bytes += fs::metadata(&path).map_or(0, |metadata| metadata.len());
            if bytes > UNUSED_BYTES {
                known.remove(&name);
                if let Err(error) = fs::remove_file(&path) {
                    warn!(path = %path.display(), %error, "package could not be removed");
                }
            }
        }
    }

    /// The file that a client has named, if it is this package.
    async fn in_place(&self, job: JobId, package: PackageHash, path: &Path) -> Option<PathBuf> {
        if !path.is_absolute() {
            return None;
        }
        let stamp = Stamp::of(path)?;
        let checked = (path.to_owned(), stamp);
        if self.used(job, package, |known| known.in_place.as_ref() == Some(&checked)) {
            return Some(checked.0);
        }
        let hashed = path.to_owned();
        let found = tokio::task::spawn_blocking(move || PackageHash::of_file(&hashed)).await.ok()?.ok()?;
        if found != package || Stamp::of(path) != Some(stamp) {
            debug!(path = %path.display(), %package, "the file of a client is another one here");
            return None;
        }
        let path = checked.0.clone();
        self.used(job, package, |known| known.in_place = Some(checked));
        Some(path)
    }

    async fn download(&self, package: PackageHash) -> Result<PathBuf, PackageError> {
        let (part, path) = (self.folder.join(format!("{package}.part")), self.folder.join(package.to_string()));
        let io = |source| PackageError::Io { path: part.clone(), source };
        fs::create_dir_all(&self.folder).map_err(io)?;
        let mut file = OpenOptions::new().create(true).append(true).open(&part).map_err(io)?;
        while let Err(status) = self.append(package, &mut file).await? {
            debug!(%package, %status, "a package goes on after a while");
            tokio::time::sleep(RETRY_DELAY).await;
        }
        drop(file);
        let hashed = part.clone();
        let found = tokio::task::spawn_blocking(move || PackageHash::of_file(&hashed)).await;
        let found = found.map_err(|error| io(io::Error::other(error)))?.map_err(io)?;
        if found != package {
            fs::remove_file(&part).map_err(io)?;
            return Err(PackageError::Wrong { package, found });
        }
        let mode = if self.content == Content::Packages { 0o700 } else { 0o400 };
        fs::set_permissions(&part, Permissions::from_mode(mode)).map_err(io)?;
        fs::rename(&part, &path).map_err(io)?;
        info!(%package, "package downloaded");
        Ok(path)
    }

    /// Appends what is missing; the inner error is one that may pass.
    async fn append(&self, package: PackageHash, file: &mut File) -> Result<Result<(), tonic::Status>, PackageError> {
        let io = |source| PackageError::Io { path: self.folder.join(package.to_string()), source };
        let offset = file.metadata().map_err(io)?.len();
        let attached = self.content == Content::Attached;
        let mut pieces = match self.coordinator.download(&package.to_string(), attached, offset).await {
            Ok(pieces) => pieces,
            Err(status) if crate::coordinator::is_final(&status) => {
                let reason = status.message().to_owned();
                return Err(PackageError::Refused { package, reason });
            }
            Err(status) => return Ok(Err(status)),
        };
        loop {
            match pieces.message().await {
                Ok(Some(piece)) => file.write_all(&piece.data).map_err(io)?,
                Ok(None) => return Ok(Ok(())),
                Err(status) => return Ok(Err(status)),
            }
        }
    }

    /// Looks at a package that `job` uses.
    fn used<T>(&self, job: JobId, package: PackageHash, look: impl FnOnce(&mut Package) -> T) -> T {
        let now = Instant::now();
        let mut known = self.lock();
        let entry = known.entry(package).or_insert_with(|| Package {
            users: BTreeSet::new(),
            last_used: now,
            downloaded: Arc::default(),
            in_place: None,
        });
        entry.users.insert(job);
        entry.last_used = now;
        look(entry)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PackageHash, Package>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::watch;

    const JOB: JobId = JobId(1);

    /// A coordinator that is never reached.
    fn packages(folder: &Path) -> Packages {
        let (_, channel) = watch::channel(None);
        Packages::new(folder, CoordinatorCalls::new(channel))
    }

    #[tokio::test]
    async fn a_file_of_the_client_is_used_as_long_as_it_is_the_package() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        fs::write(&path, "first").unwrap();
        let package = PackageHash::of_file(&path).unwrap().to_string();
        let packages = packages(folder.path());
        let program = Program { package, path: path.to_str().unwrap().to_owned(), ..Program::default() };
        assert_eq!(packages.get(JOB, &program).await.unwrap(), path);
        fs::write(&path, "other").unwrap();
        let refused = packages.get(JOB, &program).await.unwrap_err();
        assert!(matches!(&refused, PackageError::Refused { .. }), "{refused}");
    }

    #[tokio::test]
    async fn names_are_hashes() {
        let folder = tempfile::tempdir().unwrap();
        for package in ["../../etc/passwd", "ABC", &"A".repeat(64)] {
            let program = Program { package: package.to_owned(), ..Program::default() };
            let refused = packages(folder.path()).get(JOB, &program).await.unwrap_err();
            assert!(matches!(&refused, PackageError::Name { .. }), "{refused}");
        }
        assert!(packages(folder.path()).get(JOB, &Program::default()).await.unwrap().is_absolute());
    }

    #[tokio::test]
    async fn attached_files_have_their_names_as_long_as_the_job_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        fs::write(&path, "weights").unwrap();
        let hash = PackageHash::of_file(&path).unwrap().to_string();
        let path = path.to_str().unwrap().to_owned();
        let file =
            |name: &str| AttachedFile { name: name.to_owned(), hash: hash.clone(), bytes: 7, path: path.clone() };
        let packages = packages(folder.path());
        let program = Program { files: vec![file("a"), file("deep/b")], ..Program::default() };
        for _ in 0..2 {
            let files = packages.files(JOB, &program).await.unwrap().unwrap();
            assert_eq!(fs::read(files.join("a")).unwrap(), b"weights");
            assert_eq!(fs::read(files.join("deep/b")).unwrap(), b"weights");
        }
        let files = packages.files(JOB, &program).await.unwrap().unwrap();
        packages.forget(JOB);
        assert!(!files.exists() && Path::new(&path).exists());
        assert_eq!(packages.files(JOB, &Program::default()).await.unwrap(), None);
        let outside = Program { files: vec![file("../x")], ..Program::default() };
        assert!(matches!(packages.files(JOB, &outside).await, Err(PackageError::Attached(_))));
    }
}
