use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use tandem_package::{Hasher, PackageHash, Unfit};
use tempfile::TempDir;

use super::*;

/// The program that runs this test is a package: it has the SDK's mark, since it looks for it.
fn program() -> (Vec<u8>, PackageHash) {
    let content = fs::read(std::env::current_exe().unwrap()).unwrap();
    (content.clone(), hash_of(&content))
}

fn hash_of(content: &[u8]) -> PackageHash {
    let mut hasher = Hasher::default();
    hasher.update(content);
    hasher.finish()
}

fn store(folder: &TempDir, quota_bytes: u64) -> PackageStore {
    let config = PackagesConfig { quota_bytes, ..PackagesConfig::default() };
    PackageStore::open(folder.path().join("packages"), Content::Packages, config).unwrap()
}

fn upload(store: &PackageStore, content: &[u8], hash: PackageHash) -> Result<u64, PackageError> {
    let mut upload = store.upload(hash, content.len() as u64, 0)?;
    upload.write(0, content)?;
    store.finish(upload)
}

#[test]
fn a_broken_upload_is_continued_and_checked_at_its_end() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder, 0);
    let (content, hash) = program();
    let half = content.len() / 2;
    let mut first = store.upload(hash, content.len() as u64, 0).unwrap();
    first.write(0, &content[..half]).unwrap();
    assert!(!first.is_complete());
    assert!(matches!(store.upload(hash, 1, 0), Err(PackageError::Busy(_))));
    drop(first);
    assert_eq!(store.stat(hash).unwrap(), Present::Part(half as u64));
    assert!(matches!(store.read(hash), Err(PackageError::Absent(_))));

    let mut second = store.upload(hash, content.len() as u64, half as u64).unwrap();
    assert!(matches!(second.write(0, b"x"), Err(PackageError::Gap { .. })));
    second.write(half as u64, &content[half..]).unwrap();
    assert!(second.write(content.len() as u64, b"x").is_err() && second.is_complete());
    store.finish(second).unwrap();
    assert_eq!(store.stat(hash).unwrap(), Present::Whole(content.len() as u64));
    let mut read = Vec::new();
    store.read(hash).unwrap().read_to_end(&mut read).unwrap();
    assert!(read == content);
    let file = folder.path().join("packages").join(hash.to_string());
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_is_not_what_it_is_called_or_cannot_run_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder, 0);
    let (content, hash) = program();
    let mut other = content.clone();
    let last = other.len() - 1;
    other[last] ^= 1;
    assert!(matches!(upload(&store, &other, hash), Err(PackageError::Mismatch { .. })));
    let text = b"not a program";
    let error = upload(&store, text, hash_of(text)).unwrap_err();
    assert!(matches!(error, PackageError::Unfit { unfit: Unfit::NotElf, .. }) && error.help().is_some(), "{error}");
    assert_eq!(fs::read_dir(folder.path().join("packages")).unwrap().count(), 0);
}

#[test]
fn a_package_over_the_limit_is_refused_before_it_is_sent() {
    let folder = TempDir::new().unwrap();
    let config = PackagesConfig { limit_bytes: 10, ..PackagesConfig::default() };
    let store = PackageStore::open(folder.path().join("packages"), Content::Packages, config).unwrap();
    let (_, hash) = program();
    let too_large = |error| matches!(error, PackageError::Unfit { unfit: Unfit::TooLarge { .. }, .. });
    assert!(too_large(store.upload(hash, 11, 0).unwrap_err()));
    assert!(too_large(store.check(hash, 11, Some(&tandem_package::Needs::default())).unwrap_err()));
}

#[test]
fn what_no_job_needs_goes_when_there_is_too_much() {
    let folder = TempDir::new().unwrap();
    let (content, hash) = program();
    let keep = store(&folder, content.len() as u64);
    upload(&keep, &content, hash).unwrap();
    keep.collect(&HashSet::new());
    assert!(matches!(keep.stat(hash).unwrap(), Present::Whole(_)), "there is room");
    let tight = store(&folder, content.len() as u64 - 1);
    tight.collect(&HashSet::from([hash]));
    assert!(matches!(tight.stat(hash).unwrap(), Present::Whole(_)), "a job needs it");
    tight.collect(&HashSet::new());
    assert_eq!(tight.stat(hash).unwrap(), Present::Part(0));
}

#[test]
fn an_attached_file_may_be_anything_of_its_hash() {
    let folder = TempDir::new().unwrap();
    let config = PackagesConfig { limit_bytes: 10, ..PackagesConfig::default() };
    let store = PackageStore::open(folder.path().join("attached"), Content::Attached, config).unwrap();
    for content in [&b"a text"[..], b""] {
        assert_eq!(upload(&store, content, hash_of(content)).unwrap(), content.len() as u64);
        assert_eq!(store.stat(hash_of(content)).unwrap(), Present::Whole(content.len() as u64));
    }
    assert!(matches!(upload(&store, b"another", hash_of(b"text")), Err(PackageError::Mismatch { .. })));
    let error = upload(&store, b"eleven char", hash_of(b"eleven char")).unwrap_err();
    assert!(error.to_string().ends_with("has 11 bytes, and `packages.limit_bytes` is 10"), "{error}");
}
