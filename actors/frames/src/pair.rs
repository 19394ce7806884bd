//! A link to a child process that needs no path: it comes to the child as its standard input.
//! Nothing else is inherited by any child, whoever spawns at the same time, and the fast way to spawn stays open: clearing a
//! flag in the child would need a full `fork`, which copies the page tables of a large worker.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};
use rustix::stdio::{dup2_stdin, stdin};

/// The end for the child: give it to `Command::stdin`. It is closed here once the command is dropped.
#[derive(Debug)]
pub struct ChildEnd(UnixStream);

impl From<ChildEnd> for Stdio {
    fn from(end: ChildEnd) -> Self {
        OwnedFd::from(end.0).into()
    }
}

/// For who stands in for a child within this process.
impl From<ChildEnd> for UnixStream {
    fn from(end: ChildEnd) -> Self {
        end.0
    }
}

/// Two connected ends, the first one for this process.
///
/// # Errors
/// When no more files can be opened.
pub fn pair() -> io::Result<(UnixStream, ChildEnd)> {
    let (own, child) = UnixStream::pair()?;
    Ok((own, ChildEnd(child)))
}

/// In the child, before anything reads standard input: the end that the parent gave. Standard input is empty from then on.
///
/// # Errors
/// `InvalidInput` when standard input is no such end, as in a process that was started by hand.
pub fn inherited() -> io::Result<UnixStream> {
    let not_a_link = |_| io::Error::new(io::ErrorKind::InvalidInput, "standard input is not a link to a worker");
    let domain = socket_domain(stdin()).map_err(not_a_link)?;
    let kind = socket_type(stdin()).map_err(not_a_link)?;
    if (domain, kind) != (AddressFamily::UNIX, SocketType::STREAM) {
        return Err(not_a_link(rustix::io::Errno::NOTSOCK));
    }
    let link = fcntl_dupfd_cloexec(stdin(), 3)?;
    dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(link.into())
}
