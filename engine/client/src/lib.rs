//! The client side of a Tandem cluster: find it, submit a job, follow it or be its driver, read its rows.
//!
//! A [`Client`] talks to the coordinator. Rows never pass through it unless they must: [`Results`] reads them from the
//! workers that hold them and falls back to the coordinator's relay where a worker cannot be reached.

mod client;
mod driver;
mod error;
mod exit;
mod follow;
mod local;
mod logs;
mod own_rows;
mod packages;
mod partition_rows;
mod patience;
mod program;
mod renewed;
mod results;
mod state;
mod target;
mod worker_reads;

pub use client::{Client, Submission};
pub use driver::{DriverReceiver, DriverSender, DriverStream};
pub use error::ClientError;
pub use exit::Exit;
pub use follow::{Follow, ended};
pub use local::{ClusterFolder, ClusterFolderError, ClusterRecord, FolderLock, Occupancy};
pub use logs::{Logs, line_text};
pub use own_rows::OwnRows;
pub use program::{attached_files, program, program_name, storage_secrets};
pub use results::{ResultEvent, Results};
pub use state::ClusterState;
pub use tandem_package::{Package, Unfit, inspect};
pub use tandem_proto::transport::{ClientSecurity, Token};
pub use tandem_proto::{JobId, v1};
pub use target::{Named, Target, TargetError};
