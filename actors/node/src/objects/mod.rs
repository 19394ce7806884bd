//! The objects of a job on this worker: where they are, who holds them, who waits for them.

mod borrowers;
mod fetch;
mod gather;
mod hold;
mod lost;
mod peers;
mod record;
mod shell;
mod space;
mod spill;
mod spread;
mod turns;
mod values;
mod watch;

pub(crate) use borrowers::Borrowers;
pub(crate) use fetch::{Fetch, FetchWaiter};
pub(crate) use gather::Gathering;
pub(crate) use hold::NO_INDEX;
pub(crate) use record::{Object, ObjectEvent, ObjectState, Stored, StoredBody};
pub(crate) use shell::{Sql, Ticket};
pub(crate) use space::{Space, SpaceWaiter};
pub(crate) use spill::Spill;
pub(crate) use spread::Spread;
pub(crate) use values::{Refused, objects_of};
pub(crate) use watch::{Waiter, await_args};
