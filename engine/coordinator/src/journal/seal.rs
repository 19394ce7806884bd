//! Sealing the secrets of accepted jobs with a key that never leaves the data folder.
//!
//! A sealed text is a random nonce and the XChaCha20-Poly1305 form of the secrets, bound to the job's id.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use tandem_proto::JobId;

use super::error::JournalError;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// Seals and opens secrets with the folder's key.
pub(super) struct Sealer {
    cipher: XChaCha20Poly1305,
    key_path: PathBuf,
}

impl Sealer {
    /// Reads the key in `path`, or makes one that only this user can read.
    pub(super) fn open_key(path: &Path) -> Result<Self, JournalError> {
        let key = match std::fs::read(path) {
            Ok(key) => key,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_key(path).map_err(|source| JournalError::io(path, source))?
            }
            Err(source) => return Err(JournalError::io(path, source)),
        };
        let key: [u8; KEY_BYTES] = key.try_into().map_err(|_| JournalError::Key { path: path.to_owned() })?;
        Ok(Self { cipher: XChaCha20Poly1305::new(&Key::from(key)), key_path: path.to_owned() })
    }

    /// The sealed form; empty for no secrets.
    pub(super) fn seal(&self, job: JobId, secrets: &BTreeMap<String, String>) -> Result<Bytes, JournalError> {
        if secrets.is_empty() {
            return Ok(Bytes::new());
        }
        let failed = || JournalError::Secrets { job, path: self.key_path.clone() };
        let plain = postcard::to_stdvec(secrets).map_err(|_| failed())?;
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let aad = job.0.to_be_bytes();
        let sealed =
            self.cipher.encrypt(&XNonce::from(nonce), Payload { msg: &plain, aad: &aad }).map_err(|_| failed())?;
        Ok([&nonce[..], &sealed].concat().into())
    }

    /// What was sealed for `job`.
    pub(super) fn open(&self, job: JobId, sealed: &[u8]) -> Result<BTreeMap<String, String>, JournalError> {
        if sealed.is_empty() {
            return Ok(BTreeMap::new());
        }
        let failed = || JournalError::Secrets { job, path: self.key_path.clone() };
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(failed)?;
        let aad = job.0.to_be_bytes();
        let plain =
            self.cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &aad }).map_err(|_| failed())?;
        postcard::from_bytes(&plain).map_err(|_| failed())
    }
}

/// The key is on disk before anything is sealed with it.
fn create_key(path: &Path) -> io::Result<Vec<u8>> {
    let key: [u8; KEY_BYTES] = rand::random();
    let draft = path.with_extension("draft");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&key)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    if let Some(folder) = path.parent() {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(key.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_job_open_what_was_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.key");
        let sealer = Sealer::open_key(&path).unwrap();
        let secrets = BTreeMap::from([("PASSWORD".to_owned(), "hunter2".to_owned())]);
        let sealed = sealer.seal(JobId(1), &secrets).unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(Sealer::open_key(&path).unwrap().open(JobId(1), &sealed).unwrap(), secrets);
        assert!(sealer.open(JobId(2), &sealed).is_err());
        assert!(sealer.open(JobId(1), &sealed[..NONCE_BYTES]).is_err());
        let other = Sealer::open_key(&folder.path().join("other.key")).unwrap();
        assert!(other.open(JobId(1), &sealed).is_err());
    }

    #[test]
    fn a_cut_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.key");
        std::fs::write(&path, b"short").unwrap();
        assert!(matches!(Sealer::open_key(&path), Err(JournalError::Key { .. })));
    }
}
