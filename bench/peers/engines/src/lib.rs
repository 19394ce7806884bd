//! What the programs of this crate share: each starts a small cluster of an engine on this machine, for itself alone, and
//! answers questions over it.

mod arguments;
mod cluster;
mod conversation;
mod run;

pub use arguments::{Arguments, Given};
pub use cluster::{Cluster, LOCALHOST, free_ports};
pub use conversation::answer_all;
pub use run::{as_part, as_program};

// As in `tandem`, in `bench`, and in Ballista's own executor.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
