//! Objects as this process sees them.

mod gate;
mod handle;
mod table;

pub(crate) use gate::Gate;
pub(crate) use handle::{Handle, Outcome};
pub(crate) use table::Table;
