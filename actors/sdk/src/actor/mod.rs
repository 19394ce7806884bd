//! Values that live in a process of their own and are called.

mod call;
mod class;
mod handle;
mod options;
mod pool;
mod spawn;

pub use call::MethodCall;
pub use class::{Actor, Class, Create, Method};
pub(crate) use class::{Instance, More, Starting};
pub use handle::{ActorHandle, ActorRef, find};
pub use pool::{ActorPool, CompletedCalls, NewPool, PoolCalls};
pub(crate) use pool::{By, Calls, EndsPool};
pub use spawn::Spawn;
