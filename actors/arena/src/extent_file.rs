//! The memory of one extent as the worker has it: a file without a name that cannot change its size.
//! The worker reads and writes it with system calls and maps nothing, so that no executor can change what it looks at.
//!
//! Who may write: the writer's descriptor is the only writable one that leaves the worker. The reader's cannot be mapped
//! writable, nor opened again so, since the file's mode lets nobody write; only its owner, the worker's user, could change
//! that. `F_SEAL_FUTURE_WRITE` would hold off even that one, but it also forbids to give the extent to another writer, and
//! whoever shares the user is of the same job anyway, as is the writer.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create, sendfile};

/// Memory for an extent. It goes back to the system when this and all mappings and descriptors are dropped.
#[derive(Debug)]
pub struct ExtentFile {
    writable: File,
    readable: File,
    bytes: u64,
}

impl ExtentFile {
    /// Makes one of `bytes`, without pages yet.
    ///
    /// # Errors
    /// When no more files can be opened, or `/proc` is missing.
    pub fn create(bytes: u64) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Systems before Linux 6.3 know no files that can never be executed.
        let file = memfd_create("tandem-arena", flags | MemfdFlags::NOEXEC_SEAL)
            .or_else(|_| memfd_create("tandem-arena", flags))?;
        let writable = File::from(file);
        writable.set_len(bytes)?;
        fcntl_add_seals(&writable, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        writable.set_permissions(Permissions::from_mode(0o400))?;
        let readable = OpenOptions::new().read(true).open(format!("/proc/self/fd/{}", writable.as_raw_fd()))?;
        Ok(Self { writable, readable, bytes })
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A descriptor for the executor that the extent is leased to.
    ///
    /// # Errors
    /// When no more files can be opened.
    pub fn for_writer(&self) -> io::Result<OwnedFd> {
        self.writable.try_clone().map(OwnedFd::from)
    }

    /// A descriptor for everyone else.
    ///
    /// # Errors
    /// When no more files can be opened.
    pub fn for_reader(&self) -> io::Result<OwnedFd> {
        self.readable.try_clone().map(OwnedFd::from)
    }

    /// Copies a range, such as an object for a peer or metadata before it is looked at.
    ///
    /// # Errors
    /// When the range is not inside.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.readable.read_exact_at(bytes, offset)
    }

    /// Gives a range to a socket as it lies here, without a copy, and returns how much of it the socket has taken. It must not be
    /// written again until the other end has it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the socket is full, and what goes wrong with it.
    pub fn send_to(&self, socket: BorrowedFd<'_>, mut offset: u64, bytes: usize) -> io::Result<usize> {
        Ok(sendfile(socket, &self.readable, Some(&mut offset), bytes)?)
    }

    /// Writes an object of the worker's own, such as one that came from a peer.
    ///
    /// # Errors
    /// When the range is not inside, or memory is short.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.writable.write_all_at(bytes, offset)
    }
}
