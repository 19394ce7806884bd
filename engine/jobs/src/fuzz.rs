//! What must hold of this crate's decoder whatever bytes it meets. Property tests run it, and by hand the targets in
//! `engine/fuzz`.

use std::collections::BTreeMap;

use crate::job_file::JobFile;

/// Parses `bytes` as a job file.
pub fn job_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Err(error) = JobFile::parse(&text, "job.toml", &BTreeMap::new()) {
        assert!(!error.to_string().is_empty());
    }
}
