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
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::multipart::MultipartStore;
use object_store::path::Path as Key;
use tandem_proto::JobId;
use url::Url;

use super::spec::SinkSpec;
use crate::error::PlanError;
use crate::storage::Storage;

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
    /// The place that `spec.path` names.
    pub(crate) fn open(spec: &SinkSpec, storage: &Storage) -> Result<Self, PlanError> {
        let single_file = spec.is_single_file();
        if spec.path.starts_with("s3://") {
            return ObjectTarget::open(spec, storage, single_file).map(Self::Object);
        }
        LocalTarget::open(spec, single_file).map(Self::Local)
    }
}

impl LocalTarget {
    fn open(spec: &SinkSpec, single_file: bool) -> Result<Self, PlanError> {
        let path = local_path(spec)?;
        if path.file_name().is_none() {
            return Err(spec.invalid("the root folder cannot be a sink", "give the path of a folder below it"));
        }
        Ok(Self { path: real_path(path), single_file })
    }

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

fn local_path(spec: &SinkSpec) -> Result<PathBuf, PlanError> {
    let path = if spec.path.starts_with("file://") {
        Url::parse(&spec.path)
            .ok()
            .and_then(|url| url.to_file_path().ok())
            .ok_or_else(|| spec.invalid(&format!("not a file URL: {}", spec.path), "write file:///folder/name"))?
    } else if let Some((scheme, _)) = spec.path.split_once("://") {
        return Err(spec.invalid(
            &format!("unsupported storage `{scheme}://`: {}", spec.path),
            "use a local path, file:// or s3://",
        ));
    } else {
        PathBuf::from(&spec.path)
    };
    if !path.is_absolute() {
        return Err(spec.invalid(&format!("path is not absolute: {}", spec.path), "start it with / or s3://"));
    }
    Ok(without_dots(&path))
}

fn staging_suffix(job: JobId) -> String {
    format!(".tandem-{:016x}", job.0)
}

/// Whether `folder` is the staging folder of a target of `job`.
pub(crate) fn is_staging(folder: &Path, job: JobId) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with('.') && name.ends_with(&staging_suffix(job)))
}

/// `path` without links, so that one place has one name whether it exists yet or not, and a link to a folder stays a
/// link: what it points to is replaced, staged beside it and not beside the link.
fn real_path(path: PathBuf) -> PathBuf {
    let real = path.ancestors().find_map(|above| {
        let rest = path.strip_prefix(above).ok()?;
        above.canonicalize().ok().map(|real| if rest.as_os_str().is_empty() { real } else { real.join(rest) })
    });
    match real {
        Some(real) if real.file_name().is_some() => real,
        _ => path,
    }
}

/// `path` without `.` and `..`, by name only.
fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

impl ObjectTarget {
    fn open(spec: &SinkSpec, storage: &Storage, single_file: bool) -> Result<Self, PlanError> {
        let url = Url::parse(&spec.path)
            .map_err(|error| spec.invalid(&format!("not a URL: {}: {error}", spec.path), "write s3://bucket/key"))?;
        let key = spec.path.splitn(4, '/').nth(3).unwrap_or_default();
        let key = Key::parse(key.trim_matches('/'))
            .map_err(|error| spec.invalid(&format!("not a key: {}: {error}", spec.path), "write s3://bucket/key"))?;
        if key.as_ref().is_empty() {
            return Err(spec.invalid("a whole bucket cannot be a sink", "write s3://bucket/key"));
        }
        Ok(Self { store: storage.store(&url)?, uploads: storage.uploads(&url)?, key, single_file })
    }

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
        for path in ["/", "relative/x", "gs://b/x", "s3://bucket", "s3://bucket/"] {
            let spec = SinkSpec::new("s", path, SinkFormat::Parquet);
            assert!(Target::open(&spec, &Storage::new(BTreeMap::new())).is_err(), "{path}");
        }
    }
}
