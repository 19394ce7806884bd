//! Why a worker could not start, or stopped other than by being told to.

use std::io;
use std::net::SocketAddr;

use tandem_proto::transport::{BindError, ConnectError, TlsError};
use tandem_store::StoreError;

use crate::config::MIN_MEMORY_BYTES;

/// The end of a worker process with a status other than 0.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Less memory than a worker needs.
    #[error("the memory limit of {given_bytes} bytes is too small: a worker needs at least {} MiB", MIN_MEMORY_BYTES >> 20)]
    MemoryLimit {
        /// As configured.
        given_bytes: u64,
    },
    /// A worker that could run nothing.
    #[error("a worker needs at least one slot")]
    NoSlots,
    /// Others would be told to connect to `0.0.0.0`.
    #[error("{listen} is not an address that others can connect to: the host to advertise is missing")]
    Unadvertised {
        /// As configured.
        listen: SocketAddr,
    },
    /// The listener would be open to others without TLS.
    #[error(transparent)]
    Unsafe(#[from] BindError),
    /// Certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The port is taken or forbidden.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A listener broke while the worker ran.
    #[error("the {listener} listener broke: {reason}")]
    Serve {
        /// Which one.
        listener: &'static str,
        /// How.
        reason: String,
    },
    /// The folder for spilling cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// DataFusion refused its memory or disk settings.
    #[error("cannot set up the query engine: {0}")]
    QueryEngine(String),
    /// No threads to run tasks on.
    #[error("cannot start the task threads: {0}")]
    Threads(io::Error),
    /// No folder for executors.
    #[error("cannot set up the folder of executors: {0}")]
    Executors(io::Error),
    /// The coordinator's address or the certificates to trust are wrong; trying again cannot help.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The token is not the cluster's.
    #[error("the coordinator at {coordinator} refused the token: {reason}")]
    Denied {
        /// Its address.
        coordinator: String,
        /// What it said.
        reason: String,
    },
    /// The coordinator will not have this worker, such as for its version.
    #[error("the coordinator rejected this worker: {0}")]
    Rejected(String),
}
