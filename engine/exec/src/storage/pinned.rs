//! Holds readers that are not ours to the files a job was planned with: each read's answer carries the size, ETag and
//! time of what was read, and a file that is no longer the planned one fails the read.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, coalesce_ranges,
};

use super::FileEntry;

/// The files a job was planned with, by store and path.
#[derive(Debug, Default)]
pub(super) struct PinnedFiles(RwLock<HashMap<String, HashMap<Path, FileEntry>>>);

impl PinnedFiles {
    pub(super) fn extend(&self, files: impl IntoIterator<Item = FileEntry>) {
        let mut pinned = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for file in files {
            pinned.entry(file.store_key().to_owned()).or_default().insert(file.object_path(), file);
        }
    }

    fn check(&self, store: &str, meta: &ObjectMeta) -> Result<()> {
        let pinned = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match pinned.get(store).and_then(|files| files.get(&meta.location)) {
            Some(file) => file
                .verify_unchanged(meta)
                .map_err(|error| object_store::Error::Precondition { path: file.to_string(), source: Box::new(error) }),
            None => Ok(()),
        }
    }
}

/// A store whose reads are checked against [`PinnedFiles`].
#[derive(Debug)]
pub(super) struct PinnedStore {
    inner: Arc<dyn ObjectStore>,
    key: String,
    pinned: Arc<PinnedFiles>,
}

impl PinnedStore {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, key: &str, pinned: Arc<PinnedFiles>) -> Self {
        Self { inner, key: key.to_owned(), pinned }
    }
}

impl fmt::Display for PinnedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for PinnedStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let result = self.inner.get_opts(location, options).await?;
        self.pinned.check(&self.key, &result.meta)?;
        Ok(result)
    }

    /// Not passed on: a store's own way to read many ranges answers bytes alone, without saying of which file.
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let read = |range: Range<u64>| async move {
            let options = GetOptions::new().with_range(Some(range));
            self.get_opts(location, options).await?.bytes().await
        };
        coalesce_ranges(ranges, read, OBJECT_STORE_COALESCE_DEFAULT).await
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
