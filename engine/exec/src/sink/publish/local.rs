//! Publishing on a filesystem: renames within one folder's parent.
//!
//! Replacing a folder, where `S` is the job's staging folder and `T` the target:
//!
//! ```text
//!  S/staged/… ─► S/new/…  ─► S/new/_tandem/manifest-<job> ─► S/new ⇄ T ─► S removed
//!   one rename per file        written last                  one step, or T ─► S/old, S/new ─► T
//! ```
//!
//! `T` with this job's manifest means that the swap is done; before it the old data is whole, in `T` or in `S/old`.
//! Adding to a folder moves each file to its final name, which no other commit uses, then writes the manifest. A
//! single file is one rename.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tandem_proto::JobId;
use tandem_proto::v1::StagedFile;

use super::SinkCommit;
use super::disk::Disk;
use crate::sink::error::SinkError;
use crate::sink::manifest::Manifest;
use crate::sink::spec::SinkMode;
use crate::sink::target::{LocalTarget, META_FOLDER, is_marker};

/// Publishes `commit` to `target`.
pub(super) fn publish(disk: &impl Disk, target: &LocalTarget, commit: &SinkCommit) -> Result<(), SinkError> {
    let publisher = Publisher { disk, target, commit, staging: target.staging(commit.job) };
    match (target.single_file, commit.spec.mode) {
        (true, _) => publisher.publish_file()?,
        (false, SinkMode::Append) => publisher.publish_additions()?,
        (false, SinkMode::Overwrite | SinkMode::Error) => publisher.publish_folder()?,
    }
    disk.remove_folder(&publisher.staging).map_err(SinkError::io("remove", &publisher.staging))?;
    publisher.sync(target.parent())
}

/// Whether `commit` could be published now, or was already; changes nothing.
pub(super) fn check(disk: &impl Disk, target: &LocalTarget, commit: &SinkCommit) -> Result<(), SinkError> {
    let publisher = Publisher { disk, target, commit, staging: target.staging(commit.job) };
    match (target.single_file, commit.spec.mode) {
        (true, _) => publisher.check_file(),
        (false, SinkMode::Append) => publisher.check_additions(),
        (false, SinkMode::Overwrite | SinkMode::Error) => publisher.check_folder(),
    }
}

/// Removes what `job` staged for `target`.
pub(super) fn abort(disk: &impl Disk, target: &LocalTarget, job: JobId) -> Result<(), SinkError> {
    let staging = target.staging(job);
    let old = staging.join("old");
    // Publishing was cut off between two renames: the old data goes back before its surroundings are removed.
    let cut_off = disk.exists(&old).and_then(|old| Ok(old && !disk.exists(&target.path)?));
    if cut_off.map_err(SinkError::io("look at", &old))? {
        disk.rename(&old, &target.path).map_err(SinkError::io("restore", &target.path))?;
    }
    disk.remove_folder(&staging).map_err(SinkError::io("remove", &staging))
}

struct Publisher<'a, D> {
    disk: &'a D,
    target: &'a LocalTarget,
    commit: &'a SinkCommit,
    staging: PathBuf,
}

impl<D: Disk> Publisher<'_, D> {
    /// Replaces the one file.
    fn publish_file(&self) -> Result<(), SinkError> {
        self.check_file()?;
        self.commit.files.iter().try_for_each(|file| self.place(file, &self.target.path))
    }

    fn check_file(&self) -> Result<(), SinkError> {
        match self.commit.files.as_slice() {
            [] => Ok(()),
            [file] => {
                let replaces = self.is_staged(file, &self.target.path)? && self.exists(&self.target.path)?;
                if replaces && self.commit.spec.mode == SinkMode::Error { Err(self.occupied()) } else { Ok(()) }
            }
            [_, second, ..] => Err(SinkError::Refused {
                path: second.staged_path.clone(),
                reason: "the sink is one file and another was staged for it",
            }),
        }
    }

    /// Adds files to the folder.
    fn publish_additions(&self) -> Result<(), SinkError> {
        let folder = &self.target.path;
        if self.exists(&manifest_path(folder, self.commit.job))? {
            return Ok(());
        }
        self.fill(folder)?;
        self.write_manifest(folder)
    }

    fn check_additions(&self) -> Result<(), SinkError> {
        let folder = &self.target.path;
        if self.exists(&manifest_path(folder, self.commit.job))? { Ok(()) } else { self.check_files(folder) }
    }

    /// Replaces the folder.
    fn publish_folder(&self) -> Result<(), SinkError> {
        let target = &self.target.path;
        if self.exists(&manifest_path(target, self.commit.job))? {
            return Ok(());
        }
        let new = self.staging.join("new");
        if !self.exists(&manifest_path(&new, self.commit.job))? {
            self.fill(&new)?;
            self.write_manifest(&new)?;
        }
        self.swap(&new, target)?;
        self.sync(self.target.parent())
    }

    fn check_folder(&self) -> Result<(), SinkError> {
        if self.exists(&manifest_path(&self.target.path, self.commit.job))? {
            return Ok(());
        }
        let new = self.staging.join("new");
        if !self.exists(&manifest_path(&new, self.commit.job))? {
            self.check_files(&new)?;
        }
        if self.exists(&self.target.path)? { self.check_vacant() } else { Ok(()) }
    }

    /// Whether each file is staged, or in its place below `folder` already.
    fn check_files(&self, folder: &Path) -> Result<(), SinkError> {
        self.commit.files.iter().try_for_each(|file| self.is_staged(file, &folder.join(&file.final_path)).map(drop))
    }

    /// Fails when the folder that is there must not be replaced.
    fn check_vacant(&self) -> Result<(), SinkError> {
        let occupied = self.commit.spec.mode == SinkMode::Error && has_entries(&self.target.path)?;
        if occupied { Err(self.occupied()) } else { Ok(()) }
    }

    fn occupied(&self) -> SinkError {
        SinkError::Occupied { path: self.target.path.display().to_string() }
    }

    /// Puts `new` where `target` is. The old data, if any, ends up below the staging folder.
    fn swap(&self, new: &Path, target: &Path) -> Result<(), SinkError> {
        if self.exists(target)? {
            self.check_vacant()?;
            self.disk.copy_permissions(target, new).map_err(SinkError::io("set permissions of", new))?;
            if self.disk.exchange(new, target).map_err(SinkError::io("replace", target))? {
                return Ok(());
            }
            let old = self.staging.join("old");
            self.disk.rename(target, &old).map_err(SinkError::io("set aside", target))?;
        }
        self.disk.rename(new, target).map_err(SinkError::io("publish", target))
    }

    /// Moves all files of the commit to their places below `folder`.
    fn fill(&self, folder: &Path) -> Result<(), SinkError> {
        self.create_folders(folder)?;
        let mut folders = BTreeSet::from([folder.to_owned()]);
        for file in &self.commit.files {
            let place = folder.join(&file.final_path);
            for above in place.ancestors().skip(1).take_while(|above| above.starts_with(folder)) {
                if folders.insert(above.to_owned()) {
                    self.create_folders(above)?;
                }
            }
            self.place(file, &place)?;
        }
        // Inner folders first: a name is durable before the folder it is in is reachable.
        folders.iter().rev().try_for_each(|folder| self.sync(folder))
    }

    /// Moves one file to its place, unless an earlier call did.
    fn place(&self, file: &StagedFile, place: &Path) -> Result<(), SinkError> {
        if self.is_staged(file, place)? {
            self.disk.rename(Path::new(&file.staged_path), place).map_err(SinkError::io("publish", place))?;
        }
        Ok(())
    }

    /// Whether one file waits where it was staged, rather than being in its place already.
    fn is_staged(&self, file: &StagedFile, place: &Path) -> Result<bool, SinkError> {
        let staged = Path::new(&file.staged_path);
        if !staged.starts_with(self.target.staged(self.commit.job)) {
            return Err(SinkError::Refused {
                path: file.staged_path.clone(),
                reason: "it is not in the staging folder",
            });
        }
        match self.size(staged)? {
            Some(bytes) if bytes == file.bytes => Ok(true),
            Some(_) => Err(SinkError::Refused { path: file.staged_path.clone(), reason: "its size has changed" }),
            None if self.size(place)? == Some(file.bytes) => Ok(false),
            None => Err(SinkError::Lost { job: self.commit.job, path: file.staged_path.clone() }),
        }
    }

    /// Writes the commit's manifest in `folder`; it is there as a whole or not at all.
    fn write_manifest(&self, folder: &Path) -> Result<(), SinkError> {
        let path = manifest_path(folder, self.commit.job);
        let meta = folder.join(META_FOLDER);
        let draft = meta.join(format!(".{}", Manifest::file_name(self.commit.job)));
        let manifest = Manifest::new(&self.commit.spec, self.commit.job, &self.commit.files);
        let json = manifest.to_json().map_err(|error| SinkError::io("write", &path)(error.into()))?;
        self.create_folders(&meta)?;
        self.disk.write(&draft, &json).map_err(SinkError::io("write", &draft))?;
        self.disk.rename(&draft, &path).map_err(SinkError::io("write", &path))?;
        self.sync(&meta)?;
        self.sync(folder)
    }

    fn create_folders(&self, path: &Path) -> Result<(), SinkError> {
        self.disk.create_folders(path).map_err(SinkError::io("create", path))
    }

    fn sync(&self, folder: &Path) -> Result<(), SinkError> {
        self.disk.sync_folder(folder).map_err(SinkError::io("sync", folder))
    }

    fn size(&self, path: &Path) -> Result<Option<u64>, SinkError> {
        self.disk.size(path).map_err(SinkError::io("look at", path))
    }

    fn exists(&self, path: &Path) -> Result<bool, SinkError> {
        Ok(self.size(path)?.is_some())
    }
}

fn manifest_path(folder: &Path, job: JobId) -> PathBuf {
    folder.join(META_FOLDER).join(Manifest::file_name(job))
}

/// Whether `folder` holds anything that a swap would cost somebody.
fn has_entries(folder: &Path) -> Result<bool, SinkError> {
    for entry in folder.read_dir().map_err(SinkError::io("read", folder))? {
        let name = entry.map_err(SinkError::io("read", folder))?.file_name();
        if !name.to_str().is_some_and(is_marker) {
            return Ok(true);
        }
    }
    Ok(false)
}
