//! Where one sink's files belong and where they are staged until the job commits.
//!
//! Local: everything of one job is below one hidden folder beside the target, on the same filesystem, so that a rename
//! publishes it and deleting that folder aborts it.
//!
//! ```text
//!   out/.curated.tandem-00…2a/staged/day=1/part-….parquet   written by tasks, some by attempts that lost
//!   out/.curated.tandem-00…2a/new/…                         what the commit names, being put together
//!   out/curated/…                                           what readers see
//! ```
//!
//! Object stores: files are uploaded to their final keys, which readers do not see before the upload is completed.
//! Each open upload is recorded under `_tandem/uploads/<job>/`, so that it is found again when nobody reports it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::multipart::MultipartStore;
use object_store::path::Path as Key;
use tandem_proto::JobId;

use super::spec::SinkSpec;
use crate::error::PlanError;
use crate::storage::{Location, Storage};

/// Folder of manifests and upload records inside a target. Readers skip names that start with `_` or `.`.
pub(crate) const META_FOLDER: &str = "_tandem";

/// Names that writers of tables leave beside data.
const MARKERS: [&str; 5] = [META_FOLDER, "_SUCCESS", "_metadata", "_common_metadata", ".DS_Store"];

/// Whether `name`, in a sink's folder, is neither data nor anything that a person would miss.
pub(crate) fn is_marker(name: &str) -> bool {
    MARKERS.contains(&name)
}

/// One sink's place in storage.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// On a filesystem that workers and coordinator share.
    Local(LocalTarget),
    /// In an object store with multipart uploads.
    Object(ObjectTarget),
}

/// A file or folder of a filesystem.
#[derive(Debug, Clone)]
pub(crate) struct LocalTarget {
    /// The file or folder that readers see.
    pub(crate) path: PathBuf,
    /// Whether `path` is the one file.
    pub(crate) single_file: bool,
}

/// A key or key prefix of a bucket.
#[derive(Clone)]
pub(crate) struct ObjectTarget {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) uploads: Arc<dyn MultipartStore>,
    /// The key of the one file, or the prefix of all files.
    pub(crate) key: Key,
    pub(crate) single_file: bool,
}

impl std::fmt::Debug for ObjectTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectTarget").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Target {
    /// The place that `spec.path` names. It has one name whether it exists yet or not, and a link to a folder stays a link:
    /// what it points to is replaced, staged beside it and not beside the link.
    pub(crate) fn open(spec: &SinkSpec, storage: &Storage) -> Result<Self, PlanError> {
        let location = Self::location(spec, storage)?;
        let single_file = spec.is_single_file();
        if let Some(path) = location.local_path() {
            return Ok(Self::Local(LocalTarget { path, single_file }));
        }
        let (store, uploads) = (storage.store(location.root())?, storage.uploads(location.root())?);
        Ok(Self::Object(ObjectTarget { store, uploads, key: location.path().clone(), single_file }))
    }

    /// Where that is, without links.
    pub(crate) fn location(spec: &SinkSpec, storage: &Storage) -> Result<Location, PlanError> {
        let location = storage.resolve(&spec.path, Path::new("")).map_err(|error| match error {
            PlanError::Invalid { message, .. } => spec.invalid(&message, "start the path with / or s3://"),
            other => other,
        })?;
        if location.is_pattern() {
            return Err(spec.invalid(&format!("{} is a pattern", spec.path), "name the one file or folder to write"));
        }
        let location = location.without_links();
        if location.path().as_ref().is_empty() {
            return Err(spec.invalid("a root folder or whole bucket cannot be a sink", "name a folder below it"));
        }
        Ok(location)
    }
}

impl LocalTarget {
    /// The folder that the target is in.
    pub(crate) fn parent(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// The hidden folder that holds everything `job` staged for this target.
    pub(crate) fn staging(&self, job: JobId) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(staging_suffix(job));
        self.parent().join(name)
    }

    /// Where tasks write below [`LocalTarget::staging`].
    pub(crate) fn staged(&self, job: JobId) -> PathBuf {
        self.staging(job).join("staged")
    }
}

fn staging_suffix(job: JobId) -> String {
    format!(".tandem-{:016x}", job.0)
}

/// Whether `folder` is the staging folder of a target of `job`.
pub(crate) fn is_staging(folder: &Path, job: JobId) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with('.') && name.ends_with(&staging_suffix(job)))
}

impl ObjectTarget {
    /// The key of a file that belongs at `final_path`, relative to the sink's folder.
    pub(crate) fn file_key(&self, final_path: &str) -> Result<Key, object_store::path::Error> {
        if self.single_file { Ok(self.key.clone()) } else { Key::parse(format!("{}/{final_path}", self.key)) }
    }

    /// The folder of manifests and upload records: in the sink's folder, or beside its one file.
    pub(crate) fn meta_folder(&self) -> Key {
        let mut parts: Vec<_> = self.key.parts().collect();
        if self.single_file {
            parts.pop();
        }
        parts.push(META_FOLDER.into());
        parts.into_iter().collect()
    }

    /// The folder of records of uploads to this target that `job` may have left open.
    pub(crate) fn upload_records(&self, job: JobId) -> Key {
        let folder = self.meta_folder().join("uploads").join(format!("{:016x}", job.0));
        // Files side by side share their folder of records, but not the records.
        match self.key.filename() {
            Some(name) if self.single_file => folder.join(name),
            _ => folder,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::sink::SinkFormat;

    fn local(path: &str) -> Result<LocalTarget, PlanError> {
        let spec = SinkSpec::new("s", path, SinkFormat::Parquet);
        match Target::open(&spec, &Storage::new(BTreeMap::new()))? {
            Target::Local(target) => Ok(target),
            Target::Object(_) => unreachable!("a local path"),
        }
    }

    #[test]
    fn staging_is_a_hidden_sibling() {
        let target = local("/nowhere/out/./x/../curated/").unwrap();
        assert_eq!(target.path, Path::new("/nowhere/out/curated"));
        assert_eq!(target.staging(JobId(42)), Path::new("/nowhere/out/.curated.tandem-000000000000002a"));
    }

    #[test]
    fn a_place_has_one_name_before_and_after_it_exists() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("data")).unwrap();
        std::os::unix::fs::symlink(real.join("data"), real.join("link")).unwrap();
        let path = real.join("link/new/out");
        let before = local(path.to_str().unwrap()).unwrap().path;
        std::fs::create_dir_all(&path).unwrap();
        assert_eq!(before, local(path.to_str().unwrap()).unwrap().path);
        assert_eq!(before, real.join("data/new/out"));
    }

    #[test]
    fn places_that_cannot_be_sinks_are_refused() {
        for path in ["/", "relative/x", "gs://b/x", "s3://bucket", "s3://bucket/", "/out/*", "/out/day=?/x.csv"] {
            let spec = SinkSpec::new("s", path, SinkFormat::Parquet);
            assert!(Target::open(&spec, &Storage::new(BTreeMap::new())).is_err(), "{path}");
        }
    }
}
