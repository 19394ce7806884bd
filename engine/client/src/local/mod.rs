//! The local cluster of a user: where commands and programs find it. The `tandem` binary starts and stops it.

mod folder;
mod record;

pub use folder::{ClusterFolder, ClusterFolderError, FolderLock, Occupancy};
pub use record::ClusterRecord;
