//! The client side of a Tandem cluster: submit a job, follow it, read its rows.
//!
//! A [`Client`] talks to the coordinator. Rows never pass through it unless they must: [`Results`] reads them from the
//! workers that hold them and falls back to the coordinator's relay where a worker cannot be reached.

mod client;
mod error;
mod follow;
mod logs;
mod packages;
mod partition_rows;
mod patience;
mod renewed;
mod results;
mod state;
mod worker_reads;

pub use client::{Client, Submission};
pub use error::ClientError;
pub use follow::Follow;
pub use logs::Logs;
pub use results::{ResultEvent, Results};
pub use state::ClusterState;
pub use tandem_proto::transport::{ClientSecurity, Token};
