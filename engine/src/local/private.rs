//! A cluster for one command: its folder and processes live as long as it does. A command that is killed takes the processes along; what
//! else it leaves, the next such command removes.

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
    /// Starts one. It comes up while what killed commands have left is removed, and then while the caller goes on.
    pub(crate) async fn start(user: &StateFolder, shape: ClusterShape) -> Result<Self, ClusterFault> {
        user.create()?;
        let ((folder, lock), dead) = user.new_private()?;
        let folder = PrivateFolder { folder, _lock: lock };
        let none = ClusterShape { workers: 0, ..shape.clone() };
        let cluster = LocalCluster::start(&folder.folder, shape, JobSpan::Cluster)?;
        let private = Self { cluster: Some(cluster), _folder: folder };
        for (folder, lock) in dead {
            if let Err(error) = end_jobs(&folder, none.clone()).await {
                tracing::warn!(%error, "what a killed command has staged may be left over");
            }
            drop(PrivateFolder { folder, _lock: lock });
        }
        Ok(private)
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

/// Has a coordinator end the jobs in the journal of a dead cluster: it removes what they have staged, and publishes what was to be
/// published.
async fn end_jobs(folder: &StateFolder, no_workers: ClusterShape) -> Result<(), ClusterFault> {
    if !folder.journal().exists() {
        return Ok(());
    }
    let cluster = LocalCluster::start(folder, no_workers, JobSpan::Cluster)?;
    let ready = cluster.ready(0).await;
    cluster.stop().await;
    ready
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(error) = self.folder.remove() {
            tracing::warn!(%error, "the folder of a private cluster is left behind");
        }
    }
}
