//! The objects that this process holds, each once however many handles there are.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, OnceLock, PoisonError, Weak};

use tandem_actor_protocol::ObjectId;
use tandem_actor_protocol::failure::Failure;

use super::handle::Handle;
use crate::process::Process;
use crate::sync::{Mutex, MutexGuard};
use crate::transport::Transport;

/// All objects with a handle. Its lock comes before those of the transport.
#[derive(Default)]
pub(crate) struct Table {
    handles: Mutex<HashMap<ObjectId, Weak<Handle>, BuildHasherDefault<IdHasher>>>,
    /// Why nothing can be learned of objects any more.
    lost: OnceLock<Arc<Failure>>,
}

impl Table {
    /// A handle of an object whose id was made here just now; the node learns of it with the message that submits it.
    pub(crate) fn insert(&self, process: &Arc<Process>, id: ObjectId) -> Arc<Handle> {
        let handle = Arc::new(Handle::new(Arc::clone(process), id));
        self.lock().insert(id, Arc::downgrade(&handle));
        if let Some(failure) = self.lost() {
            handle.lose(failure);
        }
        handle
    }

    /// A handle of an object that was found inside of a value: the one that is there, or a new one that the node is told of.
    pub(crate) fn adopt(&self, process: &Arc<Process>, id: ObjectId) -> Arc<Handle> {
        let mut handles = self.lock();
        let entry = handles.entry(id);
        if let Entry::Occupied(entry) = &entry
            && let Some(handle) = entry.get().upgrade()
        {
            return handle;
        }
        let handle = Arc::new(Handle::new(Arc::clone(process), id));
        entry.insert_entry(Arc::downgrade(&handle));
        process.transport().retain(id);
        if let Some(failure) = self.lost() {
            handle.lose(failure);
        }
        handle
    }

    /// Nothing can be learned of objects any more: those without a value have failed.
    pub(crate) fn lose(&self, failure: Failure) {
        // Set first, so that a handle that is made meanwhile is seen here or sees this.
        let failure = self.lost.get_or_init(|| Arc::new(failure));
        let handles: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        handles.iter().for_each(|handle| handle.lose(failure));
    }

    /// Why nothing can be learned of objects any more; none while it can.
    pub(crate) fn lost(&self) -> Option<&Arc<Failure>> {
        self.lost.get()
    }

    /// The handle of an object, if there is one.
    pub(crate) fn get(&self, id: ObjectId) -> Option<Arc<Handle>> {
        self.lock().get(&id).and_then(Weak::upgrade)
    }

    /// Forgets a handle that is being dropped, unless there is a new one.
    pub(crate) fn remove(&self, transport: &dyn Transport, handle: &Handle) {
        let mut handles = self.lock();
        if let Entry::Occupied(entry) = handles.entry(handle.id())
            && std::ptr::eq(entry.get().as_ptr(), handle)
        {
            entry.remove();
            transport.release(handle.id());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectId, Weak<Handle>, BuildHasherDefault<IdHasher>>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ids differ in their low bits, and nobody outside of the job chooses them.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_u128(&mut self, number: u128) {
        self.write_u64((number >> 64) as u64);
        self.write_u64(number as u64);
    }
}
