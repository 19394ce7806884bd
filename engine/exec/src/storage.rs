//! Where files are: object stores by URL, and the fixed list of files a job reads.
//!
//! One [`Storage`] per job: it takes credentials from that job's environment and nowhere else, opens each bucket once,
//! and is the registry that DataFusion's own readers resolve stores through, so that all readers of a job see the same
//! files with the same rights.

mod listing;
mod location;
mod pinned;
mod s3;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnv;
use object_store::local::LocalFileSystem;
use object_store::multipart::MultipartStore;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;
use url::{Position, Url};

pub use self::listing::{FileEntry, describe, read_failure};
pub use self::location::Location;
use self::pinned::{PinnedFiles, PinnedStore};
use crate::error::PlanError;

/// Opens object stores by URL with the credentials of one job's environment. Stores are opened once per bucket.
pub struct Storage {
    environment: BTreeMap<String, String>,
    io: Option<Handle>,
    stores: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
    uploads: Mutex<HashMap<String, Arc<dyn MultipartStore>>>,
    pinned: Arc<PinnedFiles>,
}

impl fmt::Debug for Storage {
    /// Shows the opened stores and never the environment, which holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Storage").field("stores", &stores.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

impl Storage {
    /// A storage that takes `AWS_*` from `environment` and nowhere else.
    pub fn new(environment: BTreeMap<String, String>) -> Self {
        Self { environment, io: None, stores: Mutex::default(), uploads: Mutex::default(), pinned: Arc::default() }
    }

    /// Sends network requests from `io` instead of from the runtime that asks, so that a CPU-bound runtime does not
    /// starve its own connections.
    pub fn with_io_runtime(mut self, io: Handle) -> Self {
        self.io = Some(io);
        self
    }

    /// The store that holds `url`: `file://` and `s3://`.
    pub fn store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, PlanError> {
        let key = store_key(url);
        if let Some(store) = self.opened().get(&key) {
            return Ok(store.clone());
        }
        let store: Arc<dyn ObjectStore> = match url.scheme() {
            "file" => Arc::new(LocalFileSystem::new()),
            "s3" => s3::open(url, &self.environment, self.io.as_ref())?,
            scheme => {
                return Err(PlanError::Invalid {
                    message: format!("unsupported storage `{scheme}://`: {url}"),
                    help: Some("use a local path, file:// or s3://".to_owned()),
                });
            }
        };
        Ok(self.opened().entry(key).or_insert(store).clone())
    }

    /// All bytes of the file at `path`; a relative one starts in `base_dir`.
    ///
    /// # Errors
    /// What storage said, with the path.
    pub async fn read(&self, path: &str, base_dir: &Path) -> Result<Bytes, PlanError> {
        let place = self.resolve(path, base_dir)?;
        let store = self.store(place.root())?;
        let read = async { store.get(place.path()).await?.bytes().await };
        read.await.map_err(|error| PlanError::Storage(describe(&error, path)))
    }

    /// The same bucket as a store of uploads that stay invisible until they are completed by someone else.
    pub(crate) fn uploads(&self, url: &Url) -> Result<Arc<dyn MultipartStore>, PlanError> {
        let key = store_key(url);
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = uploads.get(&key) {
            return Ok(store.clone());
        }
        let store: Arc<dyn MultipartStore> = s3::open(url, &self.environment, self.io.as_ref())?;
        Ok(uploads.entry(key).or_insert(store).clone())
    }

    /// Serves `url`'s bucket from `store`.
    #[cfg(test)]
    pub(crate) fn register_bucket<S: ObjectStore + MultipartStore>(&self, url: &Url, store: Arc<S>) {
        self.opened().insert(store_key(url), store.clone());
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).insert(store_key(url), store);
    }

    /// A copy of `base` (same memory pool, same spill folder) whose readers resolve stores through this storage.
    pub fn runtime(self: &Arc<Self>, base: &RuntimeEnv) -> Arc<RuntimeEnv> {
        let mut runtime = base.clone();
        runtime.object_store_registry = self.clone();
        Arc::new(runtime)
    }

    /// From now on a read through [`Storage::runtime`] of a file that is no longer the one in `files` fails.
    pub fn pin(&self, files: impl IntoIterator<Item = FileEntry>) {
        self.pinned.extend(files);
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<dyn ObjectStore>>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Scheme and authority: what one object store serves.
fn store_key(url: &Url) -> String {
    url[..Position::BeforePath].to_owned()
}

impl ObjectStoreRegistry for Storage {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.opened().insert(store_key(url), store)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, DataFusionError> {
        let store = self.store(url).map_err(|error| DataFusionError::Plan(error.to_string()))?;
        Ok(Arc::new(PinnedStore::new(store, &store_key(url), self.pinned.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(bucket: &str) -> Url {
        Url::parse(&format!("s3://{bucket}/")).unwrap()
    }

    #[test]
    fn stores_are_opened_once_per_bucket() {
        let environment = [("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let storage = Storage::new(environment.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        let first = storage.store(&s3("a")).unwrap();
        assert!(Arc::ptr_eq(&first, &storage.store(&s3("a")).unwrap()));
        assert!(!Arc::ptr_eq(&first, &storage.store(&s3("b")).unwrap()));
    }

    #[test]
    fn missing_credentials_and_unknown_schemes_are_named() {
        let storage = Storage::new(BTreeMap::new());
        assert!(storage.store(&s3("a")).unwrap_err().to_string().contains("AWS_ACCESS_KEY_ID"));
        let error = storage.store(&Url::parse("gs://a/b").unwrap()).unwrap_err();
        assert!(error.to_string().contains("gs://a/b"));
    }

    #[test]
    fn debug_never_shows_the_environment() {
        let storage = Storage::new([("AWS_SECRET_ACCESS_KEY".to_owned(), "hush".to_owned())].into());
        assert!(!format!("{storage:?}").contains("hush"));
    }
}
