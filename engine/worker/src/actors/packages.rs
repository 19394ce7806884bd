//! The executables of jobs and the files attached to them: each is downloaded once for all jobs, checked, unpacked if it is to be, and
//! removed when nobody uses it and room is short. Attached files have their names in a folder for each job, which is made for its first
//! process here.
//! Owned by the runtime's surroundings. A file that the client has named is used in place if it is what it should be: an executable when a
//! process starts, an attached file when its job begins here.
//!
//!   missing ─► part (grows, survives a broken stream) ─► checked ─► executable, or attached file ─► unpacked

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tandem_package::{ArchiveError, AttachError, PackageHash, ParseHashError, check_names, unpack, unpacked_name};
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
    /// An attached archive is none, or not one that may be unpacked.
    #[error("what is attached as `{name}` cannot be unpacked: {source}")]
    Archive {
        /// How its job calls it.
        name: String,
        /// Why not.
        source: ArchiveError,
    },
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
    /// These folders, each made once.
    linked: Mutex<HashMap<JobId, Arc<OnceCell<PathBuf>>>>,
}

/// What is kept of one kind.
#[derive(Debug)]
struct Kept {
    content: Content,
    folder: PathBuf,
    coordinator: CoordinatorCalls,
    known: Mutex<HashMap<PackageHash, Package>>,
    /// Numbers the folders of unpacked archives.
    next_folder: AtomicU64,
}

#[derive(Debug)]
struct Package {
    users: BTreeSet<JobId>,
    last_used: Instant,
    downloaded: Arc<OnceCell<PathBuf>>,
    unpacked: Arc<OnceCell<Arc<Unpacked>>>,
    /// Where a client has it, and what the file was when it was checked.
    in_place: Option<(PathBuf, Stamp)>,
}

/// What was in an archive. Dropped, it is removed.
#[derive(Debug)]
struct Unpacked {
    folder: PathBuf,
    bytes: u64,
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        if let Err(error) = remove_folder(&self.folder) {
            warn!(path = %self.folder.display(), %error, "an unpacked archive could not be removed");
        }
    }
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
            Kept { content, folder, coordinator, known: Mutex::default(), next_folder: AtomicU64::new(0) }
        };
        let (executables, attached) = (kept("packages", Content::Packages), kept("attached", Content::Attached));
        Self { executables, attached, jobs: folder.join("files"), linked: Mutex::default() }
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
        let linked = Arc::clone(self.linked().entry(job).or_default());
        linked.get_or_try_init(|| self.link(job, &program.files)).await.cloned().map(Some)
    }

    /// Gives files their names in the folder of a job.
    async fn link(&self, job: JobId, files: &[AttachedFile]) -> Result<PathBuf, PackageError> {
        check_names(files.iter().map(|file| file.name.as_str()))?;
        let folder = self.jobs.join(job.to_string());
        let mut links = Vec::with_capacity(files.len());
        for file in files {
            links.push(match unpacked_name(&file.name) {
                Some(name) => (folder.join(name), self.attached.unpacked(job, file).await?),
                None => (folder.join(&file.name), self.attached.get(job, &file.hash, &file.path).await?),
            });
        }
        let io = |source| PackageError::Io { path: folder.clone(), source };
        // What an earlier try has left.
        remove_folder(&folder).map_err(io)?;
        for (link, kept) in links {
            let linked = link.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| symlink(kept, &link));
            linked.map_err(|source| PackageError::Io { path: link, source })?;
        }
        Ok(folder)
    }

    /// A job is over. Removes what nobody has used for the longest time if there is too much of it.
    pub(crate) fn forget(&self, job: JobId) {
        self.linked().remove(&job);
        let folder = self.jobs.join(job.to_string());
        if let Err(error) = remove_folder(&folder) {
            warn!(path = %folder.display(), %error, "the links of attached files could not be removed");
        }
        self.executables.forget(job);
        self.attached.forget(job);
    }

    fn linked(&self) -> MutexGuard<'_, HashMap<JobId, Arc<OnceCell<PathBuf>>>> {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a folder that may not be there.
fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Kept {
    async fn get(&self, job: JobId, name: &str, path: &str) -> Result<PathBuf, PackageError> {
        let package = parse(name)?;
        if let Some(path) = self.in_place(job, package, Path::new(path)).await {
            return Ok(path);
        }
        let downloaded = self.used(job, package, |known| Arc::clone(&known.downloaded));
        downloaded.get_or_try_init(|| self.download(package)).await.cloned()
    }

    /// The folder with what is in an archive. It is the same for all jobs that have this one.
    async fn unpacked(&self, job: JobId, file: &AttachedFile) -> Result<PathBuf, PackageError> {
        let package = parse(&file.hash)?;
        let unpacked = self.used(job, package, |known| Arc::clone(&known.unpacked));
        let unpacked = unpacked.get_or_try_init(|| self.unpack(job, package, file)).await?;
        Ok(unpacked.folder.clone())
    }

    async fn unpack(
        &self,
        job: JobId,
        package: PackageHash,
        file: &AttachedFile,
    ) -> Result<Arc<Unpacked>, PackageError> {
        let io = |source| PackageError::Io { path: self.folder.clone(), source };
        fs::create_dir_all(&self.folder).map_err(io)?;
        loop {
            let archive = self.get(job, &file.hash, &file.path).await?;
            // One of its own for each try: a try may go on for a while when nobody waits for it any more.
            let folder = self.folder.join(format!("{package}-{}", self.next_folder.fetch_add(1, Ordering::Relaxed)));
            let from = archive.clone();
            let unpack = move || unpack(&from, &folder).map(|bytes| Unpacked { folder, bytes });
            let unpacked = tokio::task::spawn_blocking(unpack).await.map_err(|error| io(io::Error::other(error)))?;
            // A file of the client may have become another one meanwhile, and is not used then.
            let is_kept = archive.starts_with(&self.folder);
            if is_kept || self.in_place(job, package, &archive).await.is_some() {
                let unpacked = unpacked.map_err(|source| PackageError::Archive { name: file.name.clone(), source })?;
                info!(%package, bytes = unpacked.bytes, "attached archive unpacked");
                return Ok(Arc::new(unpacked));
            }
        }
    }

    fn forget(&self, job: JobId) {
        let mut known = self.lock();
        known.values_mut().for_each(|package| _ = package.users.remove(&job));
        let mut unused: Vec<_> = known
            .iter()
            .filter(|(_, package)| package.users.is_empty())
            .map(|(name, package)| (package.last_used, *name, package.downloaded.get(), package.unpacked.get()))
            .filter(|(.., downloaded, unpacked)| downloaded.is_some() || unpacked.is_some())
            .map(|(last_used, name, downloaded, unpacked)| (last_used, name, downloaded.cloned(), unpacked.cloned()))
            .collect();
        unused.sort_unstable_by_key(|(last_used, ..)| std::cmp::Reverse(*last_used));
        let mut bytes = 0;
        for (_, name, downloaded, unpacked) in unused {
            let file_bytes =
                downloaded.as_ref().and_then(|path| fs::metadata(path).ok()).map_or(0, |about| about.len());
            bytes += file_bytes + unpacked.as_ref().map_or(0, |unpacked| unpacked.bytes);
            if bytes > UNUSED_BYTES {
                known.remove(&name);
                if let Some((path, Err(error))) = downloaded.map(|path| (path.clone(), fs::remove_file(path))) {
                    warn!(path = %path.display(), %error, "package could not be removed");
                }
                // There may be many files in it.
                drop(tokio::task::spawn_blocking(move || drop(unpacked)));
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
            unpacked: Arc::default(),
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

fn parse(name: &str) -> Result<PackageHash, PackageError> {
    name.parse().map_err(|source| PackageError::Name { name: name.to_owned(), source })
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

    /// A file of a client as it is attached.
    fn attached(name: &str, path: &Path) -> AttachedFile {
        let hash = PackageHash::of_file(path).unwrap().to_string();
        let bytes = fs::metadata(path).unwrap().len();
        AttachedFile { name: name.to_owned(), hash, bytes, path: path.to_str().unwrap().to_owned() }
    }

    /// An archive with one file.
    fn archive(path: &Path, file: &str, content: &str) {
        let mut archive = tar::Builder::new(File::create(path).unwrap());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, file, content.as_bytes()).unwrap();
        archive.finish().unwrap();
    }

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
        let packages = packages(folder.path());
        let files = vec![attached("a", &path), attached("deep/b", &path)];
        let program = Program { files, ..Program::default() };
        let files = packages.files(JOB, &program).await.unwrap().unwrap();
        assert_eq!(fs::read(files.join("a")).unwrap(), b"weights");
        assert_eq!(fs::read(files.join("deep/b")).unwrap(), b"weights");

        // For another process nothing is done again.
        let inode = |path: PathBuf| fs::symlink_metadata(path).unwrap().ino();
        let link = inode(files.join("a"));
        fs::remove_file(files.join("deep/b")).unwrap();
        assert_eq!(packages.files(JOB, &program).await.unwrap().unwrap(), files);
        assert!(inode(files.join("a")) == link && !files.join("deep/b").exists());

        packages.forget(JOB);
        assert!(!files.exists() && path.exists());
        let again = packages.files(JOB, &program).await.unwrap().unwrap();
        assert!(again.join("deep/b").exists(), "a job that comes back has them all again");
        assert_eq!(packages.files(JOB, &Program::default()).await.unwrap(), None);
        let outside = Program { files: vec![attached("../x", &path)], ..Program::default() };
        assert!(matches!(packages.files(JobId(2), &outside).await, Err(PackageError::Attached(_))));
    }

    #[tokio::test]
    async fn an_archive_is_unpacked_once_for_all_jobs_that_have_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.tar");
        archive(&path, "model/weights", "heavy");
        let packages = packages(folder.path());
        let program = |name: &str| Program { files: vec![attached(name, &path)], ..Program::default() };
        let first = packages.files(JOB, &program("model/")).await.unwrap().unwrap();
        let second = packages.files(JobId(2), &program("other/name/")).await.unwrap().unwrap();
        assert_eq!(fs::read(first.join("model/model/weights")).unwrap(), b"heavy");
        let real = |path: PathBuf| path.canonicalize().unwrap();
        let unpacked = real(first.join("model"));
        assert_eq!(unpacked, real(second.join("other/name")));
        packages.forget(JOB);
        packages.forget(JobId(2));
        assert!(unpacked.exists() && !first.exists() && !second.exists(), "it is kept while there is room");
        drop(packages);
        assert!(!unpacked.exists());
    }

    #[tokio::test]
    async fn an_archive_that_cannot_be_unpacked_is_named_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.tar");
        fs::write(&path, "no archive").unwrap();
        let file = attached("model/", &path);
        let packages = packages(folder.path());
        let program = Program { files: vec![file], ..Program::default() };
        let refused = packages.files(JOB, &program).await.unwrap_err().to_string();
        assert!(refused.starts_with("what is attached as `model/` cannot be unpacked: it is no archive"), "{refused}");
        assert_eq!(fs::read_dir(folder.path().join("attached")).unwrap().count(), 0);
    }
}
