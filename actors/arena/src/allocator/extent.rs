//! The spans of one extent.
//! Invariants: they cover it without gaps or overlaps; two free ones are never neighbours.

use std::collections::BTreeMap;
use std::ops::Range;

use super::free_spans::FreeSpan;
use crate::id::{ExtentId, Holder, LeaseId, ObjectId};
use crate::location::{ALIGNMENT, Lease};

/// What a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    Free,
    Leased(LeaseId),
    Object(ObjectId),
}

#[derive(Debug)]
pub(super) struct Extent {
    bytes: u64,
    writer: Option<Holder>,
    /// By offset: length and what it is.
    spans: BTreeMap<u64, (u64, Span)>,
}

/// What freeing a span did.
pub(super) struct Freed {
    /// The free neighbours that are no more spans of their own.
    pub(super) merged: Vec<FreeSpan>,
    /// The free span that they are part of now.
    pub(super) whole: FreeSpan,
}

/// The range is not all in one leased span, or is not aligned.
#[derive(Debug)]
pub(super) struct NotLeased;

impl Extent {
    /// All free.
    pub(super) fn new(bytes: u64) -> Self {
        Self { bytes, writer: None, spans: BTreeMap::from([(0, (bytes, Span::Free))]) }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn writer(&self) -> Option<Holder> {
        self.writer
    }

    pub(super) fn set_writer(&mut self, writer: Option<Holder>) -> Option<Holder> {
        std::mem::replace(&mut self.writer, writer)
    }

    /// Whether nothing is in it.
    pub(super) fn is_free(&self) -> bool {
        self.spans.values().all(|(_, span)| *span == Span::Free)
    }

    /// Whether anything of it is leased, which mostly is what is behind the objects.
    pub(super) fn is_leased(&self) -> bool {
        self.spans.values().rev().any(|(_, span)| matches!(span, Span::Leased(_)))
    }

    /// Offset, length and kind of each span, in order.
    pub(super) fn spans(&self) -> impl Iterator<Item = (u64, u64, Span)> + '_ {
        self.spans.iter().map(|(offset, (bytes, span))| (*offset, *bytes, *span))
    }

    /// Those that begin in a range.
    pub(super) fn spans_within(&self, range: &Range<u64>) -> impl Iterator<Item = (u64, u64, Span)> + '_ {
        self.spans.range(range.start..range.end).map(|(offset, (bytes, span))| (*offset, *bytes, *span))
    }

    /// Offset and length of what is left of a lease.
    pub(super) fn left_of(&self, lease: Lease) -> Vec<(u64, u64)> {
        let inside = self.spans.range(lease.offset..lease.offset + lease.bytes);
        let left = inside.filter(|(_, (_, span))| *span == Span::Leased(lease.id));
        left.map(|(offset, (bytes, _))| (*offset, *bytes)).collect()
    }

    /// Offset and length of what is left of all leases.
    pub(super) fn left_of_all(&self) -> Vec<(u64, u64)> {
        let left = self.spans().filter(|(.., span)| matches!(span, Span::Leased(_)));
        left.map(|(offset, bytes, _)| (offset, bytes)).collect()
    }

    /// Leases the front of the free span that begins where `lease` does. Returns the rest of it.
    pub(super) fn lease(&mut self, lease: Lease) -> Option<FreeSpan> {
        let Lease { id, offset, bytes, .. } = lease;
        let (whole, span) = self.spans.insert(offset, (bytes, Span::Leased(id))).expect("a free span begins here");
        let rest = whole - bytes;
        (rest > 0).then(|| {
            self.spans.insert(offset + bytes, (rest, span));
            FreeSpan { extent: ExtentId(0), offset: offset + bytes, bytes: rest }
        })
    }

    /// Makes a part of a leased span an object.
    pub(super) fn take_for_object(&mut self, object: ObjectId, offset: u64, bytes: u64) -> Result<(), NotLeased> {
        let (&start, &(whole, span)) = self.spans.range(..=offset).next_back().ok_or(NotLeased)?;
        let (span_end, end) = (start + whole, offset + bytes);
        if !matches!(span, Span::Leased(_)) || end > span_end || !offset.is_multiple_of(ALIGNMENT) {
            return Err(NotLeased);
        }
        if start < offset {
            self.spans.insert(start, (offset - start, span));
        }
        self.spans.insert(offset, (bytes, Span::Object(object)));
        if end < span_end {
            self.spans.insert(end, (span_end - end, span));
        }
        Ok(())
    }

    /// Makes the span at `offset` free.
    pub(super) fn free(&mut self, offset: u64) -> Freed {
        let bytes = self.spans[&offset].0;
        let [before, after] = self.free_neighbours(offset);
        let merged: Vec<FreeSpan> = before.into_iter().chain(after).collect();
        let whole = FreeSpan {
            extent: ExtentId(0),
            offset: before.map_or(offset, |before| before.offset),
            bytes: bytes + merged.iter().map(|span| span.bytes).sum::<u64>(),
        };
        self.spans.remove(&offset);
        for span in &merged {
            self.spans.remove(&span.offset);
        }
        self.spans.insert(whole.offset, (whole.bytes, Span::Free));
        Freed { merged, whole }
    }

    /// The span at `offset` with what is free before and behind it.
    pub(super) fn with_free_neighbours(&self, offset: u64) -> Range<u64> {
        let [before, after] = self.free_neighbours(offset);
        let end = offset + self.spans[&offset].0;
        before.map_or(offset, |before| before.offset)..after.map_or(end, |after| after.offset + after.bytes)
    }

    fn free_neighbours(&self, offset: u64) -> [Option<FreeSpan>; 2] {
        let before = self.spans.range(..offset).next_back();
        let after = self.spans.range(offset + 1..).next();
        [before, after].map(|neighbour| neighbour.and_then(as_free))
    }
}

fn as_free((offset, (bytes, span)): (&u64, &(u64, Span))) -> Option<FreeSpan> {
    (*span == Span::Free).then_some(FreeSpan { extent: ExtentId(0), offset: *offset, bytes: *bytes })
}
