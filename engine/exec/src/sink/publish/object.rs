//! Publishing in an object store: completing uploads, then one manifest, then clean-up.
//!
//! ```text
//!  complete every upload ─► put _tandem/manifest-<job> ─► overwrite: delete what no manifest of this job names
//!                                                     ─► abort uploads of attempts that lost ─► delete upload records
//! ```
//!
//! A file is visible as a whole or not at all; between its first and last file a commit is visible in part, until the
//! manifest says that it is whole. The old data of an overwrite goes last.
//!
//! An upload is gone when it is completed, so a repeated call tells by the object whether it was. The name of a part file is
//! no other's. The key of a single file is: there the object's tag must be the one that the upload's parts make.

use std::collections::{HashMap, HashSet};

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use md5::{Digest, Md5};
use object_store::multipart::PartId;
use object_store::path::Path as Key;
use object_store::{Error as StoreError, ObjectMeta, ObjectStoreExt};
use tandem_proto::JobId;
use tandem_proto::v1::StagedFile;

use super::SinkCommit;
use crate::sink::error::SinkError;
use crate::sink::manifest::Manifest;
use crate::sink::spec::{SinkMode, SinkSpec};
use crate::sink::staging::{UploadRecord, record_name};
use crate::sink::target::{ObjectTarget, is_marker};

/// Requests to the store that are under way at once.
const REQUESTS_IN_FLIGHT: usize = 16;

/// Publishes `commit` to `target`.
pub(super) async fn publish(target: &ObjectTarget, commit: &SinkCommit) -> Result<(), SinkError> {
    let manifest = target.meta_folder().join(Manifest::file_name(commit.job));
    // A single file replaces the old one when it is completed and needs no manifest.
    if target.single_file {
        refuse_occupied(target, commit).await?;
        complete_all(target, commit).await?;
    } else {
        if !exists(target, &manifest).await? {
            refuse_occupied(target, commit).await?;
            complete_all(target, commit).await?;
            put_manifest(target, commit, &manifest).await?;
        }
        if commit.spec.mode == SinkMode::Overwrite {
            delete_replaced(target, commit, &manifest).await?;
        }
    }
    abort_recorded(target, commit.job, &commit.files).await
}

/// Whether `commit` could be published now, or was already; changes nothing. Whether the uploads are still open cannot be
/// asked.
pub(super) async fn check(target: &ObjectTarget, commit: &SinkCommit) -> Result<(), SinkError> {
    own_files(target, commit)?;
    let manifest = target.meta_folder().join(Manifest::file_name(commit.job));
    if !target.single_file && exists(target, &manifest).await? {
        return Ok(());
    }
    refuse_occupied(target, commit).await
}

/// Ends every upload of `job` to `target`.
pub(super) async fn abort(
    target: &ObjectTarget,
    job: JobId,
    spec: &SinkSpec,
    files: &[StagedFile],
) -> Result<(), SinkError> {
    for file in files.iter().filter(|file| file.sink == spec.name) {
        abort_upload(target, &staged_key(target, file)?, &file.multipart_id).await?;
    }
    abort_recorded(target, job, &[]).await
}

/// Fails when somebody else put data where this commit must find none. The commit's own files are there when an earlier
/// call was cut off.
async fn refuse_occupied(target: &ObjectTarget, commit: &SinkCommit) -> Result<(), SinkError> {
    if commit.spec.mode != SinkMode::Error {
        return Ok(());
    }
    let own = own_files(target, commit)?;
    let is_own = |found: &ObjectMeta| own.get(&found.location).is_some_and(|file| is_published(target, found, file));
    if target.single_file {
        return match target.store.head(&target.key).await {
            Ok(found) if is_own(&found) => Ok(()),
            Ok(_) => Err(SinkError::Occupied { path: target.key.to_string() }),
            Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(SinkError::store("look at", &target.key)(error)),
        };
    }
    let mut listed = target.store.list(Some(&target.key));
    while let Some(object) = listed.try_next().await.map_err(SinkError::store("list", &target.key))? {
        let relative = object.location.prefix_match(&target.key).and_then(|mut parts| parts.next());
        let marker = relative.is_some_and(|name| is_marker(name.as_ref()));
        if !marker && !is_own(&object) {
            return Err(SinkError::Occupied { path: object.location.to_string() });
        }
    }
    Ok(())
}

/// The commit's files by key.
fn own_files<'a>(target: &ObjectTarget, commit: &'a SinkCommit) -> Result<HashMap<Key, &'a StagedFile>, SinkError> {
    commit.files.iter().map(|file| Ok((staged_key(target, file)?, file))).collect()
}

/// Whether `found`, at the key of `file`, is what the upload of `file` became.
fn is_published(target: &ObjectTarget, found: &ObjectMeta, file: &StagedFile) -> bool {
    let is_tagged = || {
        let tag = found.e_tag.as_deref().map(|tag| tag.trim_matches('"'));
        tag.is_some() && tag == tag_of(&file.parts).as_deref()
    };
    found.size == file.bytes && (!target.single_file || is_tagged())
}

/// The tag of the object that S3 and those who speak its protocol make of uploaded parts: the digest of the parts' digests,
/// and how many there are. None if the tags of `parts` are no digests.
fn tag_of(parts: &[String]) -> Option<String> {
    let mut digest = Md5::new();
    for part in parts {
        let tag = part.trim_matches('"');
        let bytes = (0..tag.len()).step_by(2).map(|at| u8::from_str_radix(tag.get(at..at + 2)?, 16).ok());
        digest.update(bytes.collect::<Option<Vec<u8>>>().filter(|bytes| bytes.len() == 16)?);
    }
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{hex}-{}", parts.len()))
}

async fn complete_all(target: &ObjectTarget, commit: &SinkCommit) -> Result<(), SinkError> {
    // Collected first: a lazy map over borrowed files makes a future that cannot move between threads.
    let uploads: Vec<_> = commit.files.iter().map(|file| complete(target, commit.job, file)).collect();
    let uploads = stream::iter(uploads);
    uploads.buffer_unordered(REQUESTS_IN_FLIGHT).try_collect().await
}

/// Completes one upload, unless an earlier call did.
async fn complete(target: &ObjectTarget, job: JobId, file: &StagedFile) -> Result<(), SinkError> {
    let key = staged_key(target, file)?;
    let parts = file.parts.iter().map(|part| PartId { content_id: part.clone() }).collect();
    let Err(error) = target.uploads.complete_multipart(&key, &file.multipart_id, parts).await else { return Ok(()) };
    let is_gone = matches!(error, StoreError::NotFound { .. });
    match target.store.head(&key).await {
        Ok(found) if is_published(target, &found, file) => Ok(()),
        Ok(_) | Err(StoreError::NotFound { .. }) if is_gone => Err(SinkError::Lost { job, path: key.to_string() }),
        Err(unknown) if is_gone => Err(SinkError::store("look at", &key)(unknown)),
        _ => Err(SinkError::store("publish", &key)(error)),
    }
}

/// Where `file` was staged, which is where it belongs.
fn staged_key(target: &ObjectTarget, file: &StagedFile) -> Result<Key, SinkError> {
    let refused = |reason| SinkError::Refused { path: file.staged_path.clone(), reason };
    let key = target.file_key(&file.final_path).map_err(|_| refused("it is not a key"))?;
    if key.as_ref() == file.staged_path { Ok(key) } else { Err(refused("it is not where this sink stages files")) }
}

async fn put_manifest(target: &ObjectTarget, commit: &SinkCommit, key: &Key) -> Result<(), SinkError> {
    let manifest = Manifest::new(&commit.spec, commit.job, &commit.files);
    let json = manifest.to_json().map_err(|error| SinkError::Target(format!("{key}: {error}")))?;
    target.store.put(key, json.into()).await.map(drop).map_err(SinkError::store("write", key))
}

/// Deletes the data that `commit` replaces: all data files but its own, then the manifests that named them.
async fn delete_replaced(target: &ObjectTarget, commit: &SinkCommit, manifest: &Key) -> Result<(), SinkError> {
    let own = own_files(target, commit)?;
    let meta = target.meta_folder();
    let (mut files, mut manifests) = (Vec::new(), Vec::new());
    let mut listed = target.store.list(Some(&target.key));
    while let Some(object) = listed.try_next().await.map_err(SinkError::store("list", &target.key))? {
        let key = object.location;
        if !key.prefix_matches(&meta) {
            if !own.contains_key(&key) {
                files.push(key);
            }
        } else if key != *manifest && key.filename().is_some_and(|name| name.starts_with("manifest-")) {
            manifests.push(key);
        }
    }
    delete_all(target, files).await?;
    delete_all(target, manifests).await
}

async fn delete_all(target: &ObjectTarget, keys: Vec<Key>) -> Result<(), SinkError> {
    let keys: BoxStream<'static, _> = stream::iter(keys.into_iter().map(Ok)).boxed();
    let mut deleted = target.store.delete_stream(keys);
    while let Some(key) = deleted.next().await {
        match key {
            Ok(_) | Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(SinkError::store("delete from", &target.key)(error)),
        }
    }
    Ok(())
}

/// Ends the uploads that `job` recorded, but for those of the `published` files, then forgets them all.
async fn abort_recorded(target: &ObjectTarget, job: JobId, published: &[StagedFile]) -> Result<(), SinkError> {
    let folder = target.upload_records(job);
    let records: Vec<Key> = target
        .store
        .list(Some(&folder))
        .map_ok(|object| object.location)
        .try_collect()
        .await
        .map_err(SinkError::store("list", &folder))?;
    let published: HashSet<String> = published.iter().map(|file| record_name(&file.final_path)).collect();
    let open = records.iter().filter(|record| record.filename().is_none_or(|name| !published.contains(name)));
    let aborts = stream::iter(open.map(|record| abort_record(target, record)).collect::<Vec<_>>());
    aborts.buffer_unordered(REQUESTS_IN_FLIGHT).try_collect::<()>().await?;
    delete_all(target, records).await
}

async fn abort_record(target: &ObjectTarget, record: &Key) -> Result<(), SinkError> {
    let unreadable = |_| SinkError::Refused { path: record.to_string(), reason: "it is not the record of an upload" };
    let content = match target.store.get(record).await {
        Ok(content) => content.bytes().await.map_err(SinkError::store("read", record))?,
        Err(StoreError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(SinkError::store("read", record)(error)),
    };
    let content: UploadRecord = serde_json::from_slice(&content).map_err(unreadable)?;
    let key = Key::parse(&content.key)
        .map_err(|_| SinkError::Refused { path: content.key.clone(), reason: "it is not a key" })?;
    if !key.prefix_matches(&target.key) {
        return Err(SinkError::Refused { path: content.key, reason: "it is not in the sink's folder" });
    }
    abort_upload(target, &key, &content.upload).await
}

/// Ends an upload; one that is completed or ended already is left alone.
async fn abort_upload(target: &ObjectTarget, key: &Key, upload: &String) -> Result<(), SinkError> {
    match target.uploads.abort_multipart(key, upload).await {
        Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
        Err(error) => Err(SinkError::store("abort upload", key)(error)),
    }
}

async fn exists(target: &ObjectTarget, key: &Key) -> Result<bool, SinkError> {
    match target.store.head(key).await {
        Ok(_) => Ok(true),
        Err(StoreError::NotFound { .. }) => Ok(false),
        Err(error) => Err(SinkError::store("look at", key)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_an_upload_is_made_of_its_parts() {
        let parts = ["\"5d41402abc4b2a76b9719d911017c592\"".to_owned(), "7d793037a0760186574b0282f2f435e7".to_owned()];
        assert_eq!(tag_of(&parts).as_deref(), Some("065947336a2f2a95ba8899f3675c3be6-2"));
        assert_eq!(tag_of(&["not a digest".to_owned()]), None);
        assert_eq!(tag_of(&["5d41402abc4b2a76b9719d911017c592-1".to_owned()]), None);
    }
}
