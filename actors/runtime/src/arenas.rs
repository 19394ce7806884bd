//! The memory of the arenas of all jobs. Owned by the desk; the node keeps the books.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tandem_actor_protocol::value::{Body, Value};
use tandem_actor_protocol::{ExtentId, JobId};
use tandem_arena::ExtentFile;

use crate::room::{Part, Source};

/// See the module's header.
#[derive(Debug, Default)]
pub(crate) struct Arenas {
    extents: HashMap<(JobId, ExtentId), Arc<ExtentFile>>,
}

/// An extent that has no memory here, which the node did not say or could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{extent} of {job} has no memory")]
pub(crate) struct NoExtent {
    job: JobId,
    extent: ExtentId,
}

impl Arenas {
    /// Makes memory.
    pub(crate) fn make(&mut self, job: JobId, extent: ExtentId, bytes: u64) -> io::Result<()> {
        self.extents.insert((job, extent), Arc::new(ExtentFile::create(bytes)?));
        Ok(())
    }

    /// The memory of an extent.
    pub(crate) fn extent(&self, job: JobId, extent: ExtentId) -> Result<&Arc<ExtentFile>, NoExtent> {
        self.extents.get(&(job, extent)).ok_or(NoExtent { job, extent })
    }

    /// A descriptor of an extent for an executor.
    pub(crate) fn descriptor(&self, job: JobId, extent: ExtentId, writable: bool) -> io::Result<OwnedFd> {
        let file = self.extent(job, extent).map_err(io::Error::other)?;
        if writable { file.for_writer() } else { file.for_reader() }
    }

    /// Where the bytes of values are.
    pub(crate) fn sources(&self, job: JobId, values: Vec<Value>) -> Result<Vec<Source>, NoExtent> {
        let source = |value: Value| match value.body {
            Body::Inline { format, bytes } => Ok(Source::Inline(Part { format, bytes })),
            Body::Shared { format, location, .. } => {
                let file = Arc::clone(self.extent(job, location.extent)?);
                Ok(Source::Shared { format, file, location })
            }
        };
        values.into_iter().map(source).collect()
    }

    /// Drops the memory of an extent.
    pub(crate) fn drop_extent(&mut self, job: JobId, extent: ExtentId) {
        self.extents.remove(&(job, extent));
    }

    /// Drops all memory of a job; it is gone when nobody has it mapped any more.
    pub(crate) fn forget(&mut self, job: JobId) {
        self.extents.retain(|(of, _), _| *of != job);
    }
}
