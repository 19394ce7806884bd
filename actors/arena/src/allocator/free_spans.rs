//! Finds the free span that fits best.

use std::collections::BTreeSet;

use crate::id::{ExtentId, Holder};

/// A free range of an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FreeSpan {
    pub(super) extent: ExtentId,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// The free spans of an arena, by who may write them, then by size.
#[derive(Debug, Default)]
pub(super) struct FreeSpans {
    spans: BTreeSet<(Option<Holder>, u64, ExtentId, u64)>,
}

impl FreeSpans {
    pub(super) fn add(&mut self, span: FreeSpan, writer: Option<Holder>) {
        self.spans.insert((writer, span.bytes, span.extent, span.offset));
    }

    pub(super) fn remove(&mut self, span: FreeSpan, writer: Option<Holder>) {
        let known = self.spans.remove(&(writer, span.bytes, span.extent, span.offset));
        debug_assert!(known, "{span:?} of {writer:?} is not known");
    }

    /// The smallest one of `writer` that has at least `bytes`.
    pub(super) fn smallest(&self, writer: Option<Holder>, bytes: u64) -> Option<FreeSpan> {
        let (found, bytes, extent, offset) = self.spans.range((writer, bytes, ExtentId(0), 0)..).next().copied()?;
        (found == writer).then_some(FreeSpan { extent, offset, bytes })
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (Option<Holder>, FreeSpan)> + '_ {
        self.spans.iter().map(|(writer, bytes, extent, offset)| {
            (*writer, FreeSpan { extent: *extent, offset: *offset, bytes: *bytes })
        })
    }
}
