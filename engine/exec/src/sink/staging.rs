//! One file while a task writes it, where no reader looks.
//! Owned by the task attempt that writes it.
//! Invariant: a file that is dropped before [`StagedOutput::finish`] leaves nothing on a filesystem and, in a bucket, an
//! upload that its record lets the job's commit or abort find.
//!
//! ```text
//!   create ─► write… ─► finish ─► StagedFile (durable, still invisible)
//!      └────────┴─────► dropped or discarded
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use bytes::{Bytes, BytesMut};
use object_store::ObjectStoreExt;
use object_store::multipart::PartId;
use object_store::path::Path as Key;
use serde::{Deserialize, Serialize};
use tandem_proto::JobId;
use tandem_proto::v1::StagedFile;
use tokio::task::{JoinError, JoinSet};

use super::error::SinkError;
use super::target::{LocalTarget, ObjectTarget, Target, is_staging};

/// Smallest size of all parts of an upload but the last; stores ask for at least 5 MiB.
const PART_BYTES: usize = 8 << 20;
/// After this many parts they are [`LARGE_PART_BYTES`] long: an upload has at most 10,000.
const SMALL_PARTS: usize = 2_000;
const LARGE_PART_BYTES: usize = 64 << 20;
/// Parts of one file that are under way at once.
const PARTS_IN_FLIGHT: usize = 2;

/// What the record of an open upload holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UploadRecord {
    /// The key that the upload will be.
    pub(crate) key: String,
    /// The store's id of the upload.
    pub(crate) upload: String,
}

/// The name of the record of the upload of `path`, which is unique by its own name already.
pub(crate) fn record_name(path: &str) -> String {
    format!("{}.json", path.rsplit('/').next().unwrap_or(path))
}

/// Which file of a sink is written.
#[derive(Debug, Clone)]
pub(crate) struct FilePlace {
    /// The sink it belongs to.
    pub(crate) sink: String,
    /// The job that writes it.
    pub(crate) job: JobId,
    /// Folders and name below the sink's folder. The name is unique among all attempts of all jobs.
    pub(crate) final_path: String,
    /// The name alone, for a sink that is one file and so has another final name.
    pub(crate) unique_name: String,
}

/// A file that is being staged.
#[derive(Debug)]
pub(crate) enum StagedOutput {
    Local(LocalOutput),
    Object(ObjectOutput),
}

impl StagedOutput {
    /// Begins the file at `place` of `target`.
    pub(crate) async fn create(target: &Target, place: FilePlace) -> Result<Self, SinkError> {
        match target {
            Target::Local(target) => LocalOutput::create(target, place).map(Self::Local),
            Target::Object(target) => ObjectOutput::create(target.clone(), place).await.map(Self::Object),
        }
    }

    /// Appends `data`.
    pub(crate) async fn write(&mut self, data: Bytes) -> Result<(), SinkError> {
        match self {
            Self::Local(output) => output.write(&data),
            Self::Object(output) => output.write(data).await,
        }
    }

    /// Makes the file durable and describes it for the job's commit.
    pub(crate) async fn finish(self, rows: u64) -> Result<StagedFile, SinkError> {
        match self {
            Self::Local(output) => output.finish(rows).await,
            Self::Object(output) => output.finish(rows).await,
        }
    }

    /// Removes what was written so far.
    pub(crate) async fn discard(self) -> Result<(), SinkError> {
        match self {
            Self::Local(output) => {
                drop(output);
                Ok(())
            }
            Self::Object(output) => output.discard().await,
        }
    }
}

/// Removes a finished file that its attempt will not report.
pub(crate) async fn remove_staged(target: &Target, job: JobId, file: &StagedFile) -> Result<(), SinkError> {
    match target {
        Target::Local(_) => {
            remove_staged_locally(job, std::slice::from_ref(file));
            Ok(())
        }
        Target::Object(target) => {
            let key = Key::parse(&file.staged_path)
                .map_err(|_| SinkError::Refused { path: file.staged_path.clone(), reason: "not a key" })?;
            let uploads = &target.uploads;
            uploads.abort_multipart(&key, &file.multipart_id).await.map_err(SinkError::store("abort upload", &key))
        }
    }
}

/// Removes finished files of a filesystem that their attempt will not report; uploads are left to the job's end.
pub(crate) fn remove_staged_locally(job: JobId, files: &[StagedFile]) {
    for file in files.iter().filter(|file| file.multipart_id.is_empty()) {
        let path = Path::new(&file.staged_path);
        if let Some(staging) = path.ancestors().find(|folder| is_staging(folder, job)) {
            remove_local(path, staging);
        }
    }
}

/// A file below a target's staging folder.
#[derive(Debug)]
pub(crate) struct LocalOutput {
    path: PathBuf,
    staging: PathBuf,
    place: FilePlace,
    file: Option<File>,
    bytes: u64,
    complete: bool,
}

impl LocalOutput {
    fn create(target: &LocalTarget, place: FilePlace) -> Result<Self, SinkError> {
        let staged = target.staged(place.job);
        let relative = if target.single_file { &place.unique_name } else { &place.final_path };
        if !is_plain_relative(relative) {
            return Err(SinkError::Refused { path: relative.clone(), reason: "it leaves the sink's folder" });
        }
        let path = staged.join(relative);
        let file = create_with_folders(&path).map_err(SinkError::io("create", &path))?;
        Ok(Self { path, staging: target.staging(place.job), place, file: Some(file), bytes: 0, complete: false })
    }

    fn write(&mut self, data: &[u8]) -> Result<(), SinkError> {
        let file = self.file.as_mut().ok_or_else(|| SinkError::Target("a finished file was written to".to_owned()))?;
        file.write_all(data).map_err(SinkError::io("write", &self.path))?;
        self.bytes += data.len() as u64;
        Ok(())
    }

    async fn finish(mut self, rows: u64) -> Result<StagedFile, SinkError> {
        if let Some(file) = self.file.take() {
            // A full disk may show only now: some filesystems allocate blocks when they write back.
            let synced = tokio::task::spawn_blocking(move || file.sync_all()).await.map_err(io::Error::other);
            synced.and_then(|synced| synced).map_err(SinkError::io("sync", &self.path))?;
        }
        self.complete = true;
        Ok(StagedFile {
            sink: self.place.sink.clone(),
            staged_path: self.path.to_string_lossy().into_owned(),
            final_path: self.place.final_path.clone(),
            rows,
            bytes: self.bytes,
            multipart_id: String::new(),
            parts: Vec::new(),
        })
    }
}

impl Drop for LocalOutput {
    fn drop(&mut self) {
        if !self.complete {
            remove_local(&self.path, &self.staging);
        }
    }
}

/// Whether `path` is made of plain names, so that joining it to a folder stays in that folder.
pub(crate) fn is_plain_relative(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(['\\', '\0'])
        && Path::new(path).components().all(|component| matches!(component, Component::Normal(_)))
}

/// Creates a file that does not exist yet. Repeats when another attempt's clean-up removed a folder in between.
fn create_with_folders(path: &Path) -> io::Result<File> {
    let mut tries = 0;
    loop {
        tries += 1;
        let created = match path.parent() {
            Some(folder) => fs::create_dir_all(folder),
            None => Ok(()),
        };
        match created.and_then(|()| File::options().write(true).create(true).truncate(true).open(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < 5 => {}
            result => return result,
        }
    }
}

/// Removes a staged file, then the folders up to and with `staging` that it leaves empty. Best effort: what stays is
/// below the job's staging folder, which the job's end removes.
fn remove_local(path: &Path, staging: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a staged file stays until its job ends");
    }
    for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(staging)) {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
}

/// A file that is uploaded in parts and not completed.
#[derive(Debug)]
pub(crate) struct ObjectOutput {
    target: ObjectTarget,
    place: FilePlace,
    key: Key,
    record: Key,
    upload: String,
    buffer: BytesMut,
    parts_sent: usize,
    sending: JoinSet<Result<(usize, PartId), SinkError>>,
    parts: Vec<(usize, PartId)>,
    bytes: u64,
}

impl ObjectOutput {
    async fn create(target: ObjectTarget, place: FilePlace) -> Result<Self, SinkError> {
        let key = target
            .file_key(&place.final_path)
            .map_err(|_| SinkError::Refused { path: place.final_path.clone(), reason: "it is not a key" })?;
        let upload = target.uploads.create_multipart(&key).await.map_err(SinkError::store("create", &key))?;
        // Recorded before its first part, so that an upload nobody knows of holds no data.
        let record = target.upload_records(place.job).join(record_name(&place.unique_name));
        let content = UploadRecord { key: key.to_string(), upload: upload.clone() };
        let content = serde_json::to_vec(&content).map_err(|error| SinkError::Target(error.to_string()))?;
        target.store.put(&record, content.into()).await.map_err(SinkError::store("write", &record))?;
        Ok(Self {
            target,
            place,
            key,
            record,
            upload,
            buffer: BytesMut::new(),
            parts_sent: 0,
            sending: JoinSet::new(),
            parts: Vec::new(),
            bytes: 0,
        })
    }

    async fn write(&mut self, data: Bytes) -> Result<(), SinkError> {
        self.bytes += data.len() as u64;
        self.buffer.extend_from_slice(&data);
        while self.buffer.len() >= self.part_bytes() {
            let part = self.buffer.split_to(self.part_bytes()).freeze();
            self.send(part).await?;
        }
        Ok(())
    }

    fn part_bytes(&self) -> usize {
        if self.parts_sent < SMALL_PARTS { PART_BYTES } else { LARGE_PART_BYTES }
    }

    /// Begins to upload the next part once fewer than [`PARTS_IN_FLIGHT`] are under way.
    async fn send(&mut self, part: Bytes) -> Result<(), SinkError> {
        while self.sending.len() >= PARTS_IN_FLIGHT {
            self.receive().await?;
        }
        let index = self.parts_sent;
        self.parts_sent += 1;
        let (uploads, key, upload) = (self.target.uploads.clone(), self.key.clone(), self.upload.clone());
        self.sending.spawn(async move {
            let sent = uploads.put_part(&key, &upload, index, part.into()).await;
            sent.map(|part| (index, part)).map_err(SinkError::store("upload a part of", &key))
        });
        Ok(())
    }

    /// Waits for one part that is under way, if any.
    async fn receive(&mut self) -> Result<(), SinkError> {
        if let Some(sent) = self.sending.join_next().await {
            let lost = |error: JoinError| SinkError::Target(format!("the upload of {} broke off: {error}", self.key));
            self.parts.push(sent.map_err(lost)??);
        }
        Ok(())
    }

    async fn finish(mut self, rows: u64) -> Result<StagedFile, SinkError> {
        match self.send_rest().await {
            Ok(()) => {}
            Err(error) => {
                self.discard().await?;
                return Err(error);
            }
        }
        self.parts.sort_by_key(|(index, _)| *index);
        Ok(StagedFile {
            sink: self.place.sink,
            staged_path: self.key.to_string(),
            final_path: self.place.final_path,
            rows,
            bytes: self.bytes,
            multipart_id: self.upload,
            parts: self.parts.into_iter().map(|(_, part)| part.content_id).collect(),
        })
    }

    async fn send_rest(&mut self) -> Result<(), SinkError> {
        // An upload needs at least one part, even of an empty file.
        if !self.buffer.is_empty() || self.parts_sent == 0 {
            let rest = self.buffer.split().freeze();
            self.send(rest).await?;
        }
        while !self.sending.is_empty() {
            self.receive().await?;
        }
        Ok(())
    }

    async fn discard(mut self) -> Result<(), SinkError> {
        self.sending.shutdown().await;
        let uploads = &self.target.uploads;
        uploads.abort_multipart(&self.key, &self.upload).await.map_err(SinkError::store("abort upload", &self.key))?;
        self.target.store.delete(&self.record).await.map_err(SinkError::store("delete", &self.record))
    }
}
