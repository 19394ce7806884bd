//! Tandem: SQL jobs and programs of tasks and actors, over worker processes that may die at any moment.
//!
//! This crate is the facade. With the feature `engine`, which is there by default, it names what a program that uses a
//! cluster needs, and has the `tandem` binary, the command line. Without default features it is what a program that *runs*
//! on a cluster is written with, and builds in a fraction of the time:
//!
//! ```toml
//! [dependencies]
//! tandem = { version = "0.1", default-features = false }
//! ```
//!
//! Start with [`task`], [`actor`] and [`main`], with [`Context`] and [`ObjectRef`], or with `tandem new my-app`.

pub use tandem_sdk::*;

#[doc(hidden)]
pub use tandem_sdk::__private;

#[cfg(feature = "engine")]
pub use tandem_client::{Client, ClientError, ClientSecurity, Follow, ResultEvent, Results, Submission, Token};
#[cfg(feature = "engine")]
pub use tandem_proto::{JobId, VERSION, WorkerId, v1};
