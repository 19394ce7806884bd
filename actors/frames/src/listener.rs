//! Accepts links at a path that only one user reaches.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;
use tracing::warn;

/// Who is at the other end, as the system says: the process that connected, and that can have passed its end on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its process id; none when it runs in another pid namespace.
    pub pid: Option<u32>,
    /// Its effective user id when it connected.
    pub uid: u32,
}

/// Why a listener could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The folder belongs to someone else, or others may enter it.
    #[error("folder {} must belong to user {uid} with mode 0700, but has {owner} and {mode:04o}", path.display())]
    NotPrivate {
        /// The folder.
        path: PathBuf,
        /// Who it must belong to.
        uid: u32,
        /// Who it belongs to.
        owner: u32,
        /// Its permissions.
        mode: u32,
    },
    /// Another process listens there.
    #[error("another process listens at {}", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot listen at {}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A socket in a folder of its own. Its path is removed on drop.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    path: PathBuf,
    uid: u32,
}

impl Listener {
    /// Listens at `name` in `folder` for processes of user `uid`. The folder is made if it is missing; it must be closed to
    /// others. For another user than our own, which takes the right to give files away, it can be passed but not listed
    /// afterwards, and only the socket is theirs. What a dead process left at the path is replaced.
    ///
    /// # Errors
    /// As [`BindError`] says.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn bind(folder: &Path, name: &str, uid: u32) -> Result<Self, BindError> {
        let own = rustix::process::geteuid().as_raw();
        let path = folder.join(name);
        let io = |source| BindError::Io { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
        let found = fs::symlink_metadata(folder).map_err(io)?;
        let mode = found.permissions().mode() & 0o7777;
        let closed = if uid == own { mode & 0o077 == 0 } else { mode & 0o066 == 0 };
        if !found.is_dir() || found.uid() != own || !closed {
            return Err(BindError::NotPrivate { path: folder.to_owned(), uid: own, owner: found.uid(), mode });
        }
        // Nobody else passes until the socket has its final permissions.
        fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(io)?;
        remove_stale(&path)?;
        let listener = UnixListener::bind(&path).map_err(io)?;
        let listener = Self { listener, path: path.clone(), uid };
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(io)?;
        if uid != own {
            chown(&path, Some(uid), None).map_err(io)?;
            fs::set_permissions(folder, Permissions::from_mode(0o711)).map_err(io)?;
        }
        Ok(listener)
    }

    /// The next connection of the user. Others are turned away.
    ///
    /// # Errors
    /// When the system accepts no more connections, such as for want of descriptors. It may do so later.
    pub async fn accept(&self) -> io::Result<(UnixStream, Peer)> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let cred = stream.peer_cred()?;
            let pid = cred.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
            let peer = Peer { pid, uid: cred.uid() };
            if peer.uid == self.uid {
                return Ok((stream.into_std()?, peer));
            }
            warn!(pid = peer.pid, uid = peer.uid, path = %self.path.display(), "connection of another user refused");
        }
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), %error, "socket left behind");
        }
    }
}

/// Removes a socket that nobody listens at.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let removed = match UnixStream::connect(path) {
        Ok(_) => return Err(BindError::InUse { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.map_err(|source| BindError::Io { path: path.to_owned(), source })
}
