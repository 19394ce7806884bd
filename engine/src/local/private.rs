//! A cluster for one command: its folder and processes live as long as it does.

use tandem_client::FolderLock;

use super::cluster::{ClusterFault, JobSpan, LocalCluster};
use super::folder::StateFolder;
use super::shape::ClusterShape;

/// A [`LocalCluster`] in a folder of its own. Dropping it leaves neither.
pub(crate) struct PrivateCluster {
    cluster: Option<LocalCluster>,
    /// Declared last: it goes after the processes that use it.
    _folder: PrivateFolder,
}

struct PrivateFolder {
    folder: StateFolder,
    _lock: FolderLock,
}

impl PrivateCluster {
    /// Starts one. It comes up while the caller goes on.
    pub(crate) fn start(user: &StateFolder, shape: ClusterShape) -> Result<Self, ClusterFault> {
        user.create()?;
        let (folder, lock) = user.new_private()?;
        let folder = PrivateFolder { folder, _lock: lock };
        let cluster = LocalCluster::start(&folder.folder, shape, JobSpan::Cluster)?;
        Ok(Self { cluster: Some(cluster), _folder: folder })
    }

    /// The cluster, while it has not been stopped.
    pub(crate) fn cluster(&self) -> Result<&LocalCluster, ClusterFault> {
        self.cluster.as_ref().ok_or(ClusterFault::Stopping)
    }

    /// Stops what still runs, ends the processes and removes the folder.
    pub(crate) async fn stop(mut self) {
        if let Some(cluster) = self.cluster.take() {
            cluster.stop().await;
        }
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(error) = self.folder.remove() {
            tracing::warn!(%error, "the folder of a private cluster is left behind");
        }
    }
}
