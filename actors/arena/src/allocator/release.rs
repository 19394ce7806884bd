//! What goes back to the system when there is no room: extents that nobody needs, so that one of another size can be made.

use super::Allocator;
use crate::id::ExtentId;

impl Allocator {
    /// Forgets extents without a writer, a lease or an object, of `bytes` together or all there are, for the caller to unmap
    /// everywhere and to drop. What is leased next costs the price of new memory.
    pub fn shrink(&mut self, bytes: u64) -> Vec<ExtentId> {
        let unused = self.extents.iter().filter(|(_, extent)| extent.writer().is_none() && extent.is_free());
        let mut left = bytes;
        let mut released = Vec::new();
        for (id, extent) in unused {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(extent.bytes());
            released.push(*id);
        }
        released.iter().for_each(|id| self.extent_failed(*id));
        released
    }
}
