//! One executor: its process, its link, what it prints, and how it ends.
//!
//! ```text
//!   desk ── outbox ──▶ link ──▶ process ──▶ link ── reader ──▶ desk
//!     └─ orders ─▶ supervisor ─▶ │  └── pipes ── printer ──▶ log
//!                                └── watch (memory, processes)
//! ```

pub(crate) mod environment;
mod lines;
mod mask;
mod orders;
mod outbox;
mod printed;
mod printer;
mod process;
mod reader;
mod spawner;
mod speaker;
mod supervisor;

pub use lines::LINE_BYTES;
pub(crate) use mask::Mask;
pub(crate) use orders::{Order, Orders};
pub(crate) use outbox::{Outbox, Pump, outbox};
pub(crate) use reader::Reader;
pub(crate) use spawner::Spawner;
pub(crate) use speaker::Speaker;
pub(crate) use supervisor::{Supervisor, Surroundings};
