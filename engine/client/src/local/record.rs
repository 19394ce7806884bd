//! `cluster.json`: where a running local cluster is, for the commands that look for it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::folder::ClusterFolderError;

/// What other commands must know of a running cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// The coordinator's gRPC address.
    pub address: String,
    /// The process that keeps the cluster up. Only to be shown: whether it lives is told by the folder's lock.
    pub supervisor_pid: u32,
}

impl ClusterRecord {
    /// Reads `path`; none when there is no such file yet.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, ClusterFolderError> {
        let failed = |reason: String| ClusterFolderError::Record { path: path.to_owned(), reason };
        match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| failed(error.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Writes `path` as a whole.
    pub(super) fn write(&self, path: &Path) -> Result<(), ClusterFolderError> {
        let draft = path.with_extension("json.new");
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        text.and_then(|text| std::fs::write(&draft, text))
            .and_then(|()| std::fs::rename(&draft, path))
            .map_err(|source| ClusterFolderError::Io { path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_record_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.json");
        assert_eq!(ClusterRecord::read(&path).unwrap(), None);
        let record = ClusterRecord { address: "127.0.0.1:7000".to_owned(), supervisor_pid: 7 };
        record.write(&path).unwrap();
        assert_eq!(ClusterRecord::read(&path).unwrap(), Some(record));
        let whole = std::fs::read(&path).unwrap();
        let deep = b"[".repeat(1 << 20);
        for text in [&whole[..whole.len() - 2], b"", b"\xff", b"{\"address\":1,\"supervisor_pid\":-1}", &deep] {
            std::fs::write(&path, text).unwrap();
            let error = ClusterRecord::read(&path).unwrap_err().to_string();
            assert!(error.contains("cluster.json"), "{error}");
        }
    }
}
