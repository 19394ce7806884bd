//! What one commit made visible: `_tandem/manifest-<job>.json` in a sink's folder. Written after its files, so that where
//! it stands all of them do; a table is the files of all its manifests.

use serde::{Deserialize, Serialize};
use tandem_proto::JobId;
use tandem_proto::v1::StagedFile;

use super::spec::{SinkMode, SinkSpec};

/// The files of one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of this format; 1.
    pub version: u32,
    /// The commit: the job's id.
    pub commit: String,
    /// The sink's name in the job.
    pub sink: String,
    /// What the commit did with older data.
    pub mode: SinkMode,
    /// Rows in all files.
    pub rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// The files, by path.
    pub files: Vec<ManifestFile>,
}

/// One file of a [`Manifest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Relative to the sink's folder.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its bytes.
    pub bytes: u64,
}

impl Manifest {
    pub(super) fn new(spec: &SinkSpec, job: JobId, files: &[StagedFile]) -> Self {
        let file =
            |file: &StagedFile| ManifestFile { path: file.final_path.clone(), rows: file.rows, bytes: file.bytes };
        let mut listed: Vec<_> = files.iter().map(file).collect();
        listed.sort_by(|a, b| a.path.cmp(&b.path));
        Self {
            version: 1,
            commit: job.to_string(),
            sink: spec.name.clone(),
            mode: spec.mode,
            rows: files.iter().map(|file| file.rows).sum(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            files: listed,
        }
    }

    /// The name of the manifest of `job`, in the folder `_tandem`.
    pub(super) fn file_name(job: JobId) -> String {
        format!("manifest-{:016x}.json", job.0)
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(self)
    }
}
