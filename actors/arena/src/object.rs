//! A published object as bytes.

use std::sync::Arc;

use bytes::Bytes;

use crate::id::ObjectId;
use crate::location::Location;
use crate::mapping::Mapping;

/// Called with each object that [`MappedArena::read`](crate::MappedArena::read) gave out, when its last clone is dropped.
pub(crate) type Release = dyn Fn(ObjectId) + Send + Sync;

/// Keeps an extent mapped and an object pinned.
struct Held {
    mapping: Arc<Mapping>,
    object: ObjectId,
    location: Location,
    release: Arc<Release>,
}

/// The object at `location`, in place.
///
/// # Safety
/// It is published, and pinned for this process until `release` is called.
pub(crate) unsafe fn held(mapping: Arc<Mapping>, object: ObjectId, location: Location, release: Arc<Release>) -> Bytes {
    Bytes::from_owner(Held { mapping, object, location, release })
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: a `Held` is made for a published object only. Its writer is done with it, whoever writes the extent does so
        // where no object is, and its memory is not used again before `release`, which comes after the last use of this slice.
        unsafe { self.mapping.slice(self.location.offset, self.location.length) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.release)(self.object);
    }
}
