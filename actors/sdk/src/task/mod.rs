//! Calls of functions.

mod argument;
mod call;
mod options;
mod returns;
mod stream;
mod yielding;

pub(crate) use argument::Arguments;
pub use argument::{Argument, IntoArg};
pub use call::TaskCall;
pub use options::Retry;
pub(crate) use returns::Handles;
pub use returns::{Many, One, Returns};
pub use stream::{ObjectStream, Streamed};
pub use yielding::Yield;
pub(crate) use yielding::Yields;
