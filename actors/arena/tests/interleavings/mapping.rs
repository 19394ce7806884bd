//! Memory that notes who uses it. Two threads that use the same bytes with nothing in between that orders them, one of them to
//! write, end the model: in the arena that would be two processes that write one extent.

use std::fs::File;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use loom::cell::UnsafeCell;
use tandem_arena::ALIGNMENT;
pub(crate) use tandem_arena::Access;

/// What some processes have mapped.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Each byte by itself, as what is written there has no other owner.
    bytes: Box<[std::cell::UnsafeCell<u8>]>,
    /// Notes uses; an object starts at a part of its own.
    parts: Vec<UnsafeCell<()>>,
}

// SAFETY: the model ends at the first use that another one is not ordered with.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    pub(crate) fn new(bytes: u64) -> Arc<Self> {
        let parts = (0..bytes.div_ceil(ALIGNMENT)).map(|_| UnsafeCell::new(())).collect();
        Arc::new(Self { bytes: (0..bytes).map(|_| std::cell::UnsafeCell::new(0)).collect(), parts })
    }

    /// As a process does that may write all of an extent now.
    pub(crate) fn overwrite(&self, offset: u64, length: u64) {
        self.note(offset, length, |part| part.with_mut(drop));
        self.bytes[offset as usize..(offset + length) as usize].iter().for_each(|byte| {
            // SAFETY: no other use is under way, as was just noted.
            unsafe { *byte.get() = u8::MAX }
        });
    }

    fn note(&self, offset: u64, length: u64, note: impl Fn(&UnsafeCell<()>)) {
        let parts = offset / ALIGNMENT..(offset + length).div_ceil(ALIGNMENT);
        self.parts[parts.start as usize..parts.end as usize].iter().for_each(note);
    }

    fn start(&self, offset: u64, length: u64) -> NonNull<u8> {
        NonNull::from(&self.bytes[offset as usize..(offset + length) as usize]).cast()
    }
}

/// As the crate's own.
#[derive(Debug)]
pub(crate) struct Mapping {
    memory: Arc<Memory>,
    access: Access,
}

impl Mapping {
    pub(crate) fn new(memory: &Arc<Memory>, access: Access) -> Self {
        Self { memory: Arc::clone(memory), access }
    }

    pub(crate) fn of_file(_: &File, _: u64, _: Access) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.memory.bytes.len() as u64
    }

    pub(crate) fn access(&self) -> Access {
        self.access
    }

    pub(crate) fn holds(&self, offset: u64, length: u64) -> bool {
        offset.checked_add(length).is_some_and(|end| end <= self.bytes())
    }

    pub(crate) unsafe fn slice(&self, offset: u64, length: u64) -> &[u8] {
        self.memory.note(offset, length, |part| part.with(drop));
        // SAFETY: the range is inside, and stays as it is by the caller's word.
        unsafe { std::slice::from_raw_parts(self.memory.start(offset, length).as_ptr(), length as usize) }
    }

    #[expect(clippy::mut_from_ref, reason = "as the crate's own")]
    pub(crate) unsafe fn slice_mut(&self, offset: u64, length: u64) -> &mut [u8] {
        assert_eq!(self.access, Access::Write, "a range that cannot be written");
        self.memory.note(offset, length, |part| part.with_mut(drop));
        // SAFETY: the range is inside, and is the caller's alone by its word.
        unsafe { std::slice::from_raw_parts_mut(self.memory.start(offset, length).as_ptr(), length as usize) }
    }

    pub(crate) fn populate(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
