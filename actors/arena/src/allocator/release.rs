//! What to give back to the system when memory is short: extents that nobody needs, then pages of free space.

use super::extent::Span;
use super::free_spans::FreeSpan;
use super::{Allocator, KNOWN};
use crate::id::ExtentId;

/// Bytes of a page.
const PAGE_BYTES: u64 = 4 << 10;

/// Something to give back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The extent is forgotten here: unmap it everywhere and drop its file.
    Extent {
        /// Which.
        extent: ExtentId,
        /// Its size.
        bytes: u64,
    },
    /// Its file gives up the pages of a range, which stays free.
    Pages {
        /// Which.
        extent: ExtentId,
        /// The first byte, at the start of a page.
        offset: u64,
        /// How many, whole pages.
        bytes: u64,
    },
}

impl Allocator {
    /// Chooses free memory of at least `bytes`, or all there is, for the caller to give back before anything else is leased.
    /// What comes after costs the price of new memory.
    pub fn shrink(&mut self, bytes: u64) -> Vec<Release> {
        let mut releases = Vec::new();
        let mut left = bytes;
        let unused = self.extents.iter().filter(|(_, extent)| {
            extent.writer().is_none() && extent.spans().all(|(.., span)| matches!(span, Span::Free { .. }))
        });
        for (extent, bytes) in unused.map(|(id, extent)| (*id, extent.bytes())).collect::<Vec<_>>() {
            if left == 0 {
                return releases;
            }
            self.extent_failed(extent);
            releases.push(Release::Extent { extent, bytes });
            left = left.saturating_sub(bytes);
        }
        // The largest first: the fewest calls for the most pages.
        let mut spans = self.backed_spans();
        spans.sort_by_key(|span| std::cmp::Reverse(span.bytes));
        for FreeSpan { extent, offset, bytes } in spans {
            let start = offset.next_multiple_of(PAGE_BYTES);
            let end = (offset + bytes) / PAGE_BYTES * PAGE_BYTES;
            if left == 0 || start >= end {
                continue;
            }
            self.extents.get_mut(&extent).expect(KNOWN).set_unbacked(offset);
            releases.push(Release::Pages { extent, offset: start, bytes: end - start });
            left = left.saturating_sub(end - start);
        }
        releases
    }

    fn backed_spans(&self) -> Vec<FreeSpan> {
        let spans = self.extents.iter().flat_map(|(id, extent)| extent.spans().map(|span| (*id, span)));
        spans
            .filter(|(_, (.., span))| *span == Span::Free { backed: true })
            .map(|(extent, (offset, bytes, _))| FreeSpan { extent, offset, bytes })
            .collect()
    }
}
