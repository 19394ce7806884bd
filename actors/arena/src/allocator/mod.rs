//! Who may write where in an arena, which objects are where, and who keeps them.
//! Owned by the worker; pure: the caller makes and drops the memory that this names.
//! Invariants: the spans of an extent cover all of it and do not overlap; objects are only where their writer had a lease;
//! an object stays exactly as long as it has a pin.
//!
//!   Free ─lease─► Leased ─publish─► Object        Leased ─give back, writer gone─► Free
//!     ▲                               │
//!     └──────── last pin gone ────────┘

mod config;
mod error;
mod extent;
mod free_spans;
mod objects;
mod release;
#[cfg(test)]
mod tests;
mod victims;

use std::collections::BTreeMap;

use crate::id::{ExtentId, Holder, LeaseId, ObjectId};
use crate::location::{ALIGNMENT, Lease, Location, Published, padded};
use extent::{Extent, Span};
use free_spans::{FreeSpan, FreeSpans};
use objects::{Objects, Unpinned};

pub use config::ArenaConfig;
pub use error::{LeaseError, PinError, PublishError};

/// The books of one arena.
#[derive(Debug)]
pub struct Allocator {
    config: ArenaConfig,
    extents: BTreeMap<ExtentId, Extent>,
    /// The free spans of all extents.
    free: FreeSpans,
    objects: Objects,
    next_extent: u32,
    next_lease: u64,
    stats: ArenaStats,
}

/// What a lease needs from the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leased {
    /// What was leased.
    pub lease: Lease,
    /// Set when the extent is new and has no memory yet: its size in bytes.
    pub new_extent_bytes: Option<u64>,
}

/// What became of something that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is now an object with one pin, the worker's.
    New,
    /// It was one before. Nothing has changed.
    Repeated,
}

/// Bytes of an arena by what they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArenaStats {
    /// All extents; what the quota bounds.
    pub extent_bytes: u64,
    /// Objects, with what their alignment costs.
    pub object_bytes: u64,
    /// Where writers may build objects.
    pub leased_bytes: u64,
}

impl Allocator {
    /// The books of an arena without memory.
    pub fn new(config: ArenaConfig) -> Self {
        Self {
            config,
            extents: BTreeMap::new(),
            free: FreeSpans::default(),
            objects: Objects::default(),
            next_extent: 0,
            next_lease: 0,
            stats: ArenaStats::default(),
        }
    }

    /// Leases memory for an object of `bytes` to `writer`, and for more of them if it is small. Takes space that was in use
    /// before rather than new space, that of the writer before that of nobody.
    ///
    /// # Errors
    /// When nothing fits under the quota.
    pub fn lease(&mut self, writer: Holder, bytes: u64) -> Result<Leased, LeaseError> {
        let quota_bytes = self.config.quota_bytes;
        let needed = padded(bytes).ok_or(LeaseError::TooLarge { bytes, quota_bytes })?;
        let useful = needed.max(self.config.min_lease_bytes);
        if let Some(found) = self.find(writer, useful) {
            return Ok(self.lease_span(writer, found, needed));
        }
        // Scraps only when there is nothing else.
        match self.add_extent(bytes, needed) {
            Ok(found) => {
                let new_extent_bytes = Some(found.bytes);
                Ok(Leased { new_extent_bytes, ..self.lease_span(writer, found, needed) })
            }
            Err(error) => match self.find(writer, needed) {
                Some(found) => Ok(self.lease_span(writer, found, needed)),
                None => Err(error),
            },
        }
    }

    /// Takes an extent from `writer`, which has unmapped it. What it leased there is free again, its objects stay.
    ///
    /// # Errors
    /// When `writer` does not write this extent.
    pub fn give_up(&mut self, writer: Holder, extent: ExtentId) -> Result<(), PublishError> {
        let leased = self.written_by(writer, extent)?.left_of_all();
        self.free_leased(extent, leased);
        self.set_writer(extent, None);
        Ok(())
    }

    /// Takes back what is left of a lease, which is what was not published of it. A repeat does nothing.
    ///
    /// # Errors
    /// When `writer` does not write this extent, or the range is none of it.
    pub fn give_back(&mut self, writer: Holder, lease: Lease) -> Result<(), PublishError> {
        let Lease { extent: id, offset, bytes: length, .. } = lease;
        let extent = self.written_by(writer, id)?;
        if offset.checked_add(length).is_none_or(|end| end > extent.bytes()) {
            return Err(PublishError::OutOfBounds { extent: id, offset, length });
        }
        let leased = extent.left_of(lease);
        self.free_leased(id, leased);
        Ok(())
    }

    /// Believes that `published` is an object of `writer`, after checking that it may be one.
    ///
    /// # Errors
    /// When it may not: the writer is broken or hostile.
    pub fn publish(&mut self, writer: Holder, published: Published) -> Result<Accepted, PublishError> {
        let Published { object, location } = published;
        let Location { extent: id, offset, length } = location;
        let extent_bytes = self.written_by(writer, id)?.bytes();
        match self.objects.location(object) {
            Some(known) if known == location => return Ok(Accepted::Repeated),
            Some(known) => return Err(PublishError::Duplicate { object, known }),
            None => {}
        }
        let bytes = padded(length).filter(|bytes| offset.checked_add(*bytes).is_some_and(|end| end <= extent_bytes));
        let bytes = bytes.ok_or(PublishError::OutOfBounds { extent: id, offset, length })?;
        let limit = self.config.max_objects;
        if self.objects.len() >= limit {
            return Err(PublishError::TooMany { limit });
        }
        self.extent_mut(id).take_for_object(object, offset, bytes).map_err(|_| PublishError::NotLeased { location })?;
        self.stats.leased_bytes -= bytes;
        self.stats.object_bytes += bytes;
        self.objects.insert(object, location, Holder::Worker);
        Ok(Accepted::New)
    }

    /// Where an object is.
    pub fn location(&self, object: ObjectId) -> Option<Location> {
        self.objects.location(object)
    }

    /// Keeps `object` for `holder`, once more if it does already, and says where it is.
    ///
    /// # Errors
    /// When there is no such object.
    pub fn pin(&mut self, holder: Holder, object: ObjectId) -> Result<Location, PinError> {
        self.objects.pin(holder, object).ok_or(PinError::NotFound { object })
    }

    /// How many pins an object has, of all holders.
    pub fn pins(&self, object: ObjectId) -> u64 {
        self.objects.pins(object)
    }

    /// Gives up what `writer` may write and has no lease in, so that others may.
    pub fn give_up_unleased(&mut self, writer: Holder) {
        let of_writer = self.extents.iter().filter(|(_, extent)| extent.writer() == Some(writer));
        let unleased = of_writer.filter(|(_, extent)| !extent.is_leased());
        for extent in unleased.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.set_writer(extent, None);
        }
    }

    /// Takes back one [`Self::pin`] of `holder`. Returns whether that was the last one of all, so that the object is gone.
    ///
    /// # Errors
    /// When `holder` has no pin left.
    pub fn unpin(&mut self, holder: Holder, object: ObjectId) -> Result<bool, PinError> {
        match self.objects.unpin(holder, object) {
            None => Err(PinError::NotPinned { object, holder }),
            Some(Unpinned::Kept) => Ok(false),
            Some(Unpinned::Gone(location)) => {
                self.free_object(location);
                Ok(true)
            }
        }
    }

    /// Takes back all that `holder`, whose process and all it has started are gone, had pinned or leased. Its extents may have
    /// another writer from now on; what it published stays as long as others keep it. Returns the objects that are gone.
    pub fn holder_gone(&mut self, holder: Holder) -> Vec<ObjectId> {
        let gone = self.objects.unpin_all(holder);
        gone.iter().for_each(|(_, location)| self.free_object(*location));
        let extents = self.extents.iter().filter(|(_, extent)| extent.writer() == Some(holder));
        for id in extents.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.give_up(holder, id).expect("it writes this extent");
        }
        gone.into_iter().map(|(object, _)| object).collect()
    }

    /// Forgets an extent that no memory could be had for. Whatever was leased or published there is gone.
    pub fn extent_failed(&mut self, id: ExtentId) {
        let Some(extent) = self.extents.remove(&id) else { return };
        for (offset, bytes, span) in extent.spans() {
            match span {
                Span::Free => self.free.remove(FreeSpan { extent: id, offset, bytes }, extent.writer()),
                Span::Leased(_) => self.stats.leased_bytes -= bytes,
                Span::Object(object) => {
                    self.stats.object_bytes -= bytes;
                    self.objects.forget(object);
                }
            }
        }
        self.stats.extent_bytes -= extent.bytes();
    }

    /// Bytes of the arena by what they are.
    pub fn stats(&self) -> ArenaStats {
        self.stats
    }

    /// The smallest free span of `writer`, or else of nobody, that has `bytes`.
    fn find(&self, writer: Holder, bytes: u64) -> Option<FreeSpan> {
        self.free.smallest(Some(writer), bytes).or_else(|| self.free.smallest(None, bytes))
    }

    fn add_extent(&mut self, asked_bytes: u64, needed: u64) -> Result<FreeSpan, LeaseError> {
        let ArenaConfig { extent_bytes, quota_bytes, .. } = self.config;
        let free_quota = quota_bytes.saturating_sub(self.stats.extent_bytes);
        // The last extent under a quota may be a small one.
        let rounded =
            |bytes: u64| bytes.checked_next_multiple_of(EXTENT_STEP_BYTES).filter(|bytes| *bytes <= quota_bytes);
        let least = rounded(needed).ok_or(LeaseError::TooLarge { bytes: asked_bytes, quota_bytes })?;
        let sizes = [rounded(needed.max(extent_bytes)).unwrap_or(least), least];
        let full = LeaseError::Full { bytes: asked_bytes, quota_bytes };
        let bytes = sizes.into_iter().find(|bytes| *bytes <= free_quota).ok_or(full.clone())?;
        let id = ExtentId(self.next_extent);
        self.next_extent = id.0.checked_add(1).ok_or(full)?;
        self.extents.insert(id, Extent::new(bytes));
        self.stats.extent_bytes += bytes;
        let span = FreeSpan { extent: id, offset: 0, bytes };
        self.free.add(span, None);
        Ok(span)
    }

    /// Leases the front of a free span: `needed` bytes, or more if that is little.
    fn lease_span(&mut self, writer: Holder, found: FreeSpan, needed: u64) -> Leased {
        let FreeSpan { extent: id, offset, .. } = found;
        self.set_writer(id, Some(writer));
        self.free.remove(found, Some(writer));
        let most = self.config.max_lease_bytes / ALIGNMENT * ALIGNMENT;
        let bytes = needed.max(most.min(found.bytes));
        let lease = Lease { id: LeaseId(self.next_lease), extent: id, offset, bytes };
        self.next_lease += 1;
        if let Some(rest) = self.extent_mut(id).lease(lease) {
            self.free.add(FreeSpan { extent: id, ..rest }, Some(writer));
        }
        self.stats.leased_bytes += bytes;
        Leased { lease, new_extent_bytes: None }
    }

    fn written_by(&self, writer: Holder, id: ExtentId) -> Result<&Extent, PublishError> {
        let extent = self.extents.get(&id).ok_or(PublishError::NoSuchExtent { extent: id })?;
        if extent.writer() != Some(writer) {
            return Err(PublishError::NotTheWriter { extent: id, writer });
        }
        Ok(extent)
    }

    fn free_leased(&mut self, id: ExtentId, leased: Vec<(u64, u64)>) {
        for (offset, bytes) in leased {
            self.stats.leased_bytes -= bytes;
            self.make_free(id, offset);
        }
    }

    fn set_writer(&mut self, id: ExtentId, writer: Option<Holder>) {
        let extent = self.extents.get_mut(&id).expect(KNOWN);
        let before = extent.set_writer(writer);
        if before == writer {
            return;
        }
        for (offset, bytes, span) in extent.spans() {
            if let Span::Free = span {
                let span = FreeSpan { extent: id, offset, bytes };
                self.free.remove(span, before);
                self.free.add(span, writer);
            }
        }
    }

    /// Makes the room free of an object that is gone.
    fn free_object(&mut self, location: Location) {
        let Location { extent, offset, length } = location;
        self.stats.object_bytes -= padded(length).expect("it was checked when it was published");
        self.make_free(extent, offset);
    }

    /// Makes the span at `offset` free, as one with free neighbours.
    fn make_free(&mut self, id: ExtentId, offset: u64) {
        let extent = self.extents.get_mut(&id).expect(KNOWN);
        let freed = extent.free(offset);
        let writer = extent.writer();
        for neighbour in freed.merged {
            self.free.remove(FreeSpan { extent: id, ..neighbour }, writer);
        }
        self.free.add(FreeSpan { extent: id, ..freed.whole }, writer);
    }

    fn extent_mut(&mut self, id: ExtentId) -> &mut Extent {
        self.extents.get_mut(&id).expect(KNOWN)
    }
}

const KNOWN: &str = "an extent that is referred to is known";
/// Extents are multiples of a huge page.
const EXTENT_STEP_BYTES: u64 = 2 << 20;
