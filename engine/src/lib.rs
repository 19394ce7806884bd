//! Tandem: SQL jobs as stages over worker processes that may die at any moment.
//!
//! This crate is the facade: it names what a program that uses a cluster needs. The `tandem` binary beside it is the
//! command line.

pub use tandem_client::{Client, ClientError, ClientSecurity, Follow, ResultEvent, Results, Submission, Token};
pub use tandem_proto::{JobId, VERSION, WorkerId, v1};
