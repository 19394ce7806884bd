//! The fixed list of files a job reads: made once when the job is planned, checked at each read.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Location, Storage};
use crate::error::{PlanError, TaskError};

/// One file of a job's input, as it was when the job was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// The store, such as `file:///` or `s3://bucket/`.
    pub root: String,
    /// The path in the store.
    pub path: String,
    /// Its length.
    pub size: u64,
    /// Its ETag, where the store has such.
    pub etag: Option<String>,
    /// When it was written, in milliseconds since the Unix epoch.
    pub modified_ms: i64,
}

impl FileEntry {
    fn new(root: &Url, meta: ObjectMeta) -> Self {
        Self {
            root: root.to_string(),
            path: meta.location.to_string(),
            size: meta.size,
            etag: meta.e_tag,
            modified_ms: meta.last_modified.timestamp_millis(),
        }
    }

    /// The path in the store.
    pub fn object_path(&self) -> Path {
        Path::parse(&self.path).unwrap_or_else(|_| Path::from(self.path.as_str()))
    }

    /// Scheme and authority of its store.
    pub(super) fn store_key(&self) -> &str {
        self.root.strip_suffix('/').unwrap_or(&self.root)
    }

    /// The store that holds it.
    pub fn open_store(&self, storage: &Storage) -> Result<Arc<dyn ObjectStore>, PlanError> {
        let root = Url::parse(&self.root);
        storage.store(&root.map_err(|error| PlanError::invalid(format!("not a storage URL: {}: {error}", self.root)))?)
    }

    /// What DataFusion's own readers call this file.
    pub fn object_meta(&self) -> ObjectMeta {
        ObjectMeta {
            location: self.object_path(),
            last_modified: DateTime::<Utc>::from_timestamp_millis(self.modified_ms).unwrap_or_default(),
            size: self.size,
            e_tag: self.etag.clone(),
            version: None,
        }
    }

    fn was_rewritten(&self, modified: DateTime<Utc>) -> bool {
        if self.root.starts_with("file:") {
            return self.modified_ms != modified.timestamp_millis();
        }
        // Some stores tell the time in seconds when read and in milliseconds when listed.
        self.modified_ms.div_euclid(1000) != modified.timestamp()
    }

    /// Fails when `meta`, the answer to a read just now, is not about the file of the plan.
    pub fn verify_unchanged(&self, meta: &ObjectMeta) -> Result<(), TaskError> {
        let what = if meta.size != self.size {
            format!("its size was {} bytes and is {} bytes", self.size, meta.size)
        } else if self.etag != meta.e_tag && self.etag.is_some() && meta.e_tag.is_some() {
            "its content was replaced".to_owned()
        } else if self.etag.is_none() && self.was_rewritten(meta.last_modified) {
            "it was written again".to_owned()
        } else {
            return Ok(());
        };
        Err(TaskError::Fatal(format!("input changed while the job ran: {self}: {what}")))
    }
}

impl fmt::Display for FileEntry {
    /// What a user would type to name the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.root.as_str() {
            "file:///" => write!(f, "/{}", self.path),
            root => write!(f, "{root}{}", self.path),
        }
    }
}

impl Storage {
    /// The files that `location` names, sorted by path: the file itself, every visible file below the folder, or every
    /// file that matches the pattern. Names that start with `.` or `_` below it are metadata of whoever wrote them and
    /// are left out, but for folders `_name=value` and for what a pattern spells out, such as `_*.csv`.
    ///
    /// # Errors
    /// There is none.
    pub async fn list(&self, location: &Location) -> Result<Vec<FileEntry>, PlanError> {
        let files = self.find(location).await?;
        if files.is_empty() { Err(nothing_found(location)) } else { Ok(files) }
    }

    /// The same, where there may be none.
    pub(crate) async fn find(&self, location: &Location) -> Result<Vec<FileEntry>, PlanError> {
        let store = self.store(location.root())?;
        if !location.is_pattern() && !location.is_folder() {
            match store.head(location.path()).await {
                Ok(meta) => return Ok(vec![FileEntry::new(location.root(), meta)]),
                Err(object_store::Error::NotFound { .. }) => {}
                // A folder cannot be opened as a file; listing it decides.
                Err(_) if location.local_path().is_some_and(|path| path.is_dir()) => {}
                Err(error) => return Err(PlanError::Storage(describe(&error, &location.to_string()))),
            }
        }
        list_below(store.as_ref(), location).await
    }
}

async fn list_below(store: &dyn ObjectStore, location: &Location) -> Result<Vec<FileEntry>, PlanError> {
    if let Some(folder) = location.local_path().filter(|folder| folder.is_dir()) {
        // The store skips what it cannot open below a folder; the folder itself must be readable.
        std::fs::read_dir(&folder)
            .map_err(|error| PlanError::Storage(format!("cannot read folder: {}: {error}", folder.display())))?;
    }
    let prefix = Some(location.path()).filter(|path| !path.as_ref().is_empty());
    let found: Vec<ObjectMeta> = store
        .list(prefix)
        .try_collect()
        .await
        .map_err(|error| PlanError::Storage(describe(&error, &location.to_string())))?;
    let mut files: Vec<FileEntry> = found
        .into_iter()
        .filter(|meta| is_visible(&meta.location, location) && location.matches(&meta.location))
        .map(|meta| FileEntry::new(location.root(), meta))
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Whether nothing of `path` below `location` is metadata; `_day=1` is a folder of the column `_day`.
fn is_visible(path: &Path, location: &Location) -> bool {
    let Some(parts) = path.prefix_match(location.path()) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        let name = part.as_ref();
        let is_column = name.starts_with('_') && name.contains('=') && parts.peek().is_some();
        if name.starts_with(['.', '_']) && !is_column && !location.spells_out(name) {
            return false;
        }
    }
    true
}

fn nothing_found(location: &Location) -> PlanError {
    let what = match location.local_path() {
        _ if location.is_pattern() => "no file matches",
        Some(path) if path.is_dir() => "folder has no data files",
        _ => "no such file or folder",
    };
    let help = (location.root().scheme() == "file").then(|| {
        "local paths work when the client and all workers share the folder; s3:// works from anywhere".to_owned()
    });
    PlanError::Invalid { message: format!("{what}: {location}"), help }
}

/// What went wrong with the file or store called `name`, in one line.
pub fn describe(error: &object_store::Error, name: &str) -> String {
    use object_store::Error;
    let code = service_code(error).map_or(String::new(), |code| format!(" ({code})"));
    match (error, service_status(error)) {
        (Error::NotFound { .. }, _) if code.is_empty() => format!("no such file or folder: {name}"),
        (Error::NotFound { .. }, _) | (_, Some(404)) => format!("not found{code}: {name}"),
        (Error::PermissionDenied { .. } | Error::Unauthenticated { .. }, _) | (_, Some(401 | 403)) => {
            format!("access denied{code}: {name}")
        }
        (Error::Precondition { source, .. }, _) => source.to_string(),
        (Error::InvalidPath { source }, _) => format!("invalid path: {name}: {source}"),
        (other, _) => match find_io(other) {
            Some(io) if io.kind() == std::io::ErrorKind::PermissionDenied => format!("permission denied: {name}"),
            _ => format!("cannot use storage: {name}: {}", root_cause(other)),
        },
    }
}

/// How a failed read ends its task: at once when the file is gone, denied or another one, else it is tried again.
pub fn read_failure(error: &object_store::Error, file: &FileEntry) -> TaskError {
    use object_store::Error;
    let message = describe(error, &file.to_string());
    match error {
        Error::NotFound { .. } => TaskError::Fatal(format!("input is gone since the job was planned: {file}")),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } | Error::Precondition { .. } => {
            TaskError::Fatal(message)
        }
        _ => TaskError::Retry(message),
    }
}

/// The HTTP status of an answer that the client library does not tell apart, as it does for listings.
fn service_status(error: &object_store::Error) -> Option<u16> {
    let text = error.to_string();
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// The error code in the XML body of an S3 answer.
fn service_code(error: &object_store::Error) -> Option<String> {
    let text = error.to_string();
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    Some(code.to_owned())
}

fn find_io(error: &object_store::Error) -> Option<&std::io::Error> {
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io);
        }
        next = error.source();
    }
    None
}

/// The innermost error: outer ones repeat it.
fn root_cause(error: &object_store::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path as FsPath;

    use super::*;

    fn names(files: &[FileEntry], folder: &FsPath) -> Vec<String> {
        let prefix = format!("{}/", folder.display());
        files.iter().map(|file| file.to_string().strip_prefix(&prefix).unwrap().to_owned()).collect()
    }

    async fn list(text: &str, folder: &FsPath) -> Result<Vec<FileEntry>, PlanError> {
        let storage = Storage::new(BTreeMap::new());
        storage.list(&storage.resolve(text, folder)?).await
    }

    #[tokio::test]
    async fn files_folders_and_patterns_are_listed_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        fs::create_dir_all(dir.join("in/_staged")).unwrap();
        fs::create_dir_all(dir.join("in/day=1")).unwrap();
        for name in ["in/b.csv", "in/a 100%#1x.csv", "in/.hidden", "in/_staged/c.csv", "in/day=1/d.csv"] {
            fs::write(dir.join(name), "x").unwrap();
        }
        let all = ["in/a 100%#1x.csv", "in/b.csv", "in/day=1/d.csv"];
        assert_eq!(names(&list("in", dir).await.unwrap(), dir), all);
        assert_eq!(names(&list("in/", dir).await.unwrap(), dir), all);
        assert_eq!(names(&list("in/**/*.csv", dir).await.unwrap(), dir), all);
        assert_eq!(names(&list("in/*.csv", dir).await.unwrap(), dir), all[..2]);
        assert_eq!(names(&list("in/a 100%#1x.csv", dir).await.unwrap(), dir), all[..1]);
    }

    #[tokio::test]
    async fn hidden_names_are_seen_where_they_are_meant() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        for name in
            ["_h=1/a.csv", "_h=1/_x=2.csv", "_SUCCESS", "x/_y.csv", "x/.y.csv", "x/_z/a.csv", ".h=1.tandem-1/a.csv"]
        {
            fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
            fs::write(dir.join(name), "x").unwrap();
        }
        for (path, expected) in [
            (".", &["_h=1/a.csv"][..]),
            ("**", &["_h=1/a.csv"]),
            ("_h=*/*", &["_h=1/a.csv"]),
            ("x/_*.csv", &["x/_y.csv"]),
            ("**/.*", &["x/.y.csv"]),
            ("x/_z/*", &["x/_z/a.csv"]),
            ("x/_?/*", &["x/_z/a.csv"]),
            ("x/_y.csv", &["x/_y.csv"]),
        ] {
            assert_eq!(names(&list(path, dir).await.unwrap(), dir), expected, "{path}");
        }
        list("x/*.csv", dir).await.unwrap_err();
    }

    #[tokio::test]
    async fn what_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        fs::create_dir(dir.join("empty")).unwrap();
        for (text, expected) in [
            ("nope.csv", "no such file or folder"),
            ("*.csv", "no file matches"),
            ("empty", "folder has no data files"),
        ] {
            let error = list(text, dir).await.unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(text), "{error}");
        }
    }

    #[tokio::test]
    async fn a_changed_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        fs::write(&path, "before").unwrap();
        let storage = Storage::new(BTreeMap::new());
        let location = storage.resolve("a.csv", folder.path()).unwrap();
        let planned = storage.list(&location).await.unwrap().remove(0);
        planned.verify_unchanged(&planned.object_meta()).unwrap();
        fs::write(&path, "afterwards").unwrap();
        let meta = planned.open_store(&storage).unwrap().head(&planned.object_path()).await.unwrap();
        let error = planned.verify_unchanged(&meta).unwrap_err();
        assert!(matches!(&error, TaskError::Fatal(message) if message.contains("a.csv")), "{error}");
    }

    #[tokio::test]
    async fn storage_out_of_reach_is_one_error() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let environment = [
            ("AWS_ACCESS_KEY_ID", "k".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "s".to_owned()),
            ("AWS_ENDPOINT_URL", format!("http://{closed}")),
        ];
        let storage = Storage::new(environment.map(|(key, value)| (key.to_owned(), value)).into());
        let location = storage.resolve("s3://bucket/a.csv", FsPath::new("/")).unwrap();
        let error = storage.list(&location).await.unwrap_err().to_string();
        assert!(error.contains("s3://bucket/a.csv"), "{error}");
    }
}
