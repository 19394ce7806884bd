//! `cluster.json`: where a running local cluster is, for the commands that look for it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::folder::FolderError;

/// What other commands must know of a running cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterRecord {
    /// The coordinator's gRPC address.
    pub(crate) address: String,
    /// The process that keeps the cluster up. Only to be shown: whether it lives is told by the folder's lock.
    pub(crate) supervisor_pid: u32,
}

impl ClusterRecord {
    /// Reads `path`; none when there is no such file yet.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, FolderError> {
        let failed = |reason: String| FolderError::Record { path: path.to_owned(), reason };
        match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| failed(error.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Writes `path` as a whole.
    pub(super) fn write(&self, path: &Path) -> Result<(), FolderError> {
        let draft = path.with_extension("json.new");
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        text.and_then(|text| std::fs::write(&draft, text))
            .and_then(|()| std::fs::rename(&draft, path))
            .map_err(|source| FolderError::Io { path: path.to_owned(), source })
    }
}
