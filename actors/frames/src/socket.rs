//! The two calls that move bytes and descriptors.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::unix::AsyncFd;

use crate::batch::Write;
use crate::limits::MAX_DESCRIPTORS;

const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS as usize));

/// A connected Unix stream socket.
#[derive(Debug)]
pub(crate) struct Socket(AsyncFd<UnixStream>);

/// What one read gave.
#[derive(Debug)]
pub(crate) struct Received {
    /// How many bytes of the space are written; none at the end of the stream.
    pub(crate) bytes: usize,
    /// What came with them.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Whether the system dropped descriptors.
    pub(crate) lost: bool,
}

impl Socket {
    /// Must be called within a runtime.
    #[expect(unsafe_code, reason = "a plain Tokio stream cannot be told that a short read has emptied it")]
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        // SAFETY: a `UnixStream` owns one descriptor, the same for as long as it lives, and this one is not handed out mutably.
        Ok(Self(unsafe { AsyncFd::register(stream) }?))
    }

    /// Writes some bytes of `write`, and its descriptors with the first of them.
    pub(crate) async fn send(&self, write: &Write<'_>) -> io::Result<usize> {
        loop {
            let mut ready = self.0.writable().await?;
            if let Ok(sent) = ready.try_io(|stream| send(stream.get_ref(), write)) {
                return sent;
            }
        }
    }

    /// Reads what is there into `space`, which is not empty. Stops behind bytes that descriptors came with, at most `limit`.
    pub(crate) async fn receive(&self, space: &mut [u8], limit: u8) -> io::Result<Received> {
        loop {
            let mut ready = self.0.readable().await?;
            let Ok(received) = ready.try_io(|stream| receive(stream.get_ref(), space, limit, RecvFlags::DONTWAIT))
            else {
                continue;
            };
            let received = received?;
            // A short read has emptied the socket, except where descriptors ended it: saves the read that would say so.
            if received.bytes < space.len() && received.bytes > 0 && received.descriptors.is_empty() && !received.lost {
                ready.clear_ready();
            }
            return Ok(received);
        }
    }

    /// Lets the other side see the end of the stream.
    pub(crate) fn end(&self) -> io::Result<()> {
        self.0.get_ref().shutdown(Shutdown::Write)
    }
}

fn send(stream: &UnixStream, write: &Write<'_>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !write.descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&write.descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(retry_on_intr(|| sendmsg(stream, write.slices(), &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT))?)
}

pub(crate) fn receive(stream: &UnixStream, space: &mut [u8], limit: u8, flags: RecvFlags) -> io::Result<Received> {
    // Room for one more than may come, so that too many are noticed here and not only by the system.
    let room = rustix::cmsg_space!(ScmRights(usize::from(limit) + 1)).min(CONTROL_BYTES);
    let mut control_space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = RecvAncillaryBuffer::new(&mut control_space[..room]);
    let flags = RecvFlags::CMSG_CLOEXEC | flags;
    let message = retry_on_intr(|| recvmsg(stream, &mut [IoSliceMut::new(space)], &mut control, flags))?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptors = rights.flatten().collect();
    Ok(Received { bytes: message.bytes, descriptors, lost: message.flags.contains(ReturnFlags::CTRUNC) })
}
