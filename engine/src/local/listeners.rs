//! The coordinator's listening sockets. The supervisor opens and keeps them, and each coordinator process inherits
//! them, so that the addresses survive a restart and nobody is refused while the coordinator is away: callers wait in
//! the socket's queue.
//!
//! A child process gets exactly three descriptors from its parent; of those it has no other use for standard input and
//! output: the first is the gRPC socket, the second the HTTP one.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

/// The sockets on the supervisor's side.
#[derive(Debug)]
pub(crate) struct Listeners {
    grpc: TcpListener,
    http: TcpListener,
}

impl Listeners {
    /// Opens both on free ports of loopback.
    pub(crate) fn open() -> io::Result<Self> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self { grpc: TcpListener::bind(any)?, http: TcpListener::bind(any)? })
    }

    /// Where the coordinator can be reached.
    pub(crate) fn grpc_address(&self) -> io::Result<SocketAddr> {
        self.grpc.local_addr()
    }

    /// What a coordinator process gets as its standard input and output.
    pub(super) fn for_child(&self) -> io::Result<(Stdio, Stdio)> {
        let grpc: OwnedFd = self.grpc.try_clone()?.into();
        let http: OwnedFd = self.http.try_clone()?.into();
        Ok((grpc.into(), http.into()))
    }
}

/// The sockets on the coordinator's side.
#[derive(Debug)]
pub(crate) struct InheritedListeners {
    /// For gRPC.
    pub(crate) grpc: TcpListener,
    /// For HTTP.
    pub(crate) http: TcpListener,
}

impl InheritedListeners {
    /// Takes the sockets this process was started with.
    pub(crate) fn take() -> io::Result<Self> {
        let grpc = io::stdin().as_fd().try_clone_to_owned()?.into();
        let http = io::stdout().as_fd().try_clone_to_owned()?.into();
        let inherited = Self { grpc, http };
        for listener in [&inherited.grpc, &inherited.http] {
            // Asking for the address tells a socket from anything else.
            listener.local_addr()?;
            listener.set_nonblocking(true)?;
        }
        Ok(inherited)
    }
}
