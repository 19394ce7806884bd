//! The memory of an extent in this process. Everything that is unsafe about memory is here.

use std::fs::File;
use std::io;
use std::ptr::NonNull;

use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

/// What a process may do with an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read it.
    Read,
    /// Read it and write into what it leases there.
    Write,
}

/// An extent as mapped here, until dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
    access: Access,
    unmap: unsafe fn(NonNull<u8>, usize),
}

// SAFETY: it is a range of addresses that is valid in all threads; what may be done there at the same time is for the callers
// of its unsafe functions to keep.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps all of `file`. It must be a memory file of `bytes` that cannot shrink, so that an access never fails later.
    pub(crate) fn of_file(file: &File, bytes: u64, access: Access) -> io::Result<Self> {
        let unfit = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        let len = usize::try_from(bytes).map_err(|_| unfit("an extent larger than the address space"))?;
        if fstat(file)?.st_size as u64 != bytes {
            return Err(unfit("an extent of another size"));
        }
        if !fcntl_get_seals(file)?.contains(SealFlags::SHRINK) {
            return Err(unfit("an extent that could shrink"));
        }
        let protection = match access {
            Access::Read => ProtFlags::READ,
            Access::Write => ProtFlags::READ | ProtFlags::WRITE,
        };
        // SAFETY: the system chooses addresses that nothing else uses.
        let start = unsafe { mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED, file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(unfit("an extent at address 0"))?;
        let mapping = Self { start, bytes: len, access, unmap: unmap_file };
        if access == Access::Write {
            // A copy of this process that outlives it must not go on writing what has another writer then.
            // SAFETY: the range is the mapping's, and this says only what a copy of the process has.
            unsafe { madvise(mapping.start.as_ptr().cast(), len, Advice::LinuxDontFork) }?;
        }
        Ok(mapping)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// Whether a range is inside.
    pub(crate) fn holds(&self, offset: u64, length: u64) -> bool {
        offset.checked_add(length).is_some_and(|end| end <= self.bytes())
    }

    /// The bytes of a range.
    ///
    /// # Safety
    /// Nobody, in this process or another, writes there while the slice lives.
    ///
    /// # Panics
    /// When the range is not inside.
    pub(crate) unsafe fn slice(&self, offset: u64, length: u64) -> &[u8] {
        assert!(self.holds(offset, length), "a range outside of the extent");
        // SAFETY: the range is mapped and initialised as long as `self` lives, and stays as it is by the caller's word.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(offset as usize), length as usize) }
    }

    /// The bytes of a range, to write to.
    ///
    /// # Safety
    /// Nobody else, in this process or another, reads or writes there while the slice lives.
    ///
    /// # Panics
    /// When the range is not inside, or the extent is not writable.
    #[expect(clippy::mut_from_ref, reason = "ranges of one mapping are written independently, as the caller promises")]
    pub(crate) unsafe fn slice_mut(&self, offset: u64, length: u64) -> &mut [u8] {
        assert!(self.holds(offset, length) && self.access == Access::Write, "a range that cannot be written");
        // SAFETY: the range is mapped writable and initialised as long as `self` lives, and is the caller's alone by its word.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(offset as usize), length as usize) }
    }

    /// Gets the pages of a range from the system now rather than at the first write. No contents change.
    pub(crate) fn populate(&self, offset: u64, length: u64) -> io::Result<()> {
        let page = rustix::param::page_size() as u64;
        let start = offset / page * page;
        if self.access != Access::Write || !self.holds(offset, length) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: the range is inside the mapping, which is writable.
        let start_at = unsafe { self.start.as_ptr().add(start as usize) };
        // SAFETY: populating only makes pages present.
        unsafe { madvise(start_at.cast(), (offset + length - start) as usize, Advice::LinuxPopulateWrite) }?;
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: what was given out borrows from `self`, so nobody uses the memory any more; it is given back once.
        unsafe { (self.unmap)(self.start, self.bytes) }
    }
}

/// # Safety
/// `start` and `bytes` are of a mapping that nobody uses any more.
unsafe fn unmap_file(start: NonNull<u8>, bytes: usize) {
    // SAFETY: by the caller's word.
    let unmapped = unsafe { munmap(start.as_ptr().cast(), bytes) };
    debug_assert!(unmapped.is_ok(), "a mapping cannot be given back");
}

#[cfg(test)]
impl Mapping {
    /// Memory of this process alone, for tests under tools that know no memory files.
    pub(crate) fn in_heap(bytes: usize) -> Self {
        use std::alloc::{Layout, alloc_zeroed, dealloc};
        fn layout(bytes: usize) -> Layout {
            Layout::from_size_align(bytes, 64).expect("a layout")
        }
        unsafe fn free(start: NonNull<u8>, bytes: usize) {
            // SAFETY: it was allocated below with this layout.
            unsafe { dealloc(start.as_ptr(), layout(bytes)) }
        }
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc_zeroed(layout(bytes)) }).expect("memory");
        Self { start, bytes, access: Access::Write, unmap: free }
    }
}
