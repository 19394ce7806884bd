//! The locks that the files of the crate find here.

pub(crate) use loom::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
