//! The locks of an arena, chosen in one place: `tests/interleavings` has the same files with those of a model checker.

pub(crate) use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
