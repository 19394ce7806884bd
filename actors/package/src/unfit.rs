//! Why a file is no package for this cluster.

use std::io;
use std::path::Path;

use crate::version::Version;

/// Why a file is no package for this cluster. What is named by it is the file, which the caller adds.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is not there.
    #[error("there is no such file")]
    Missing,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is a folder, or something else without content of its own.
    #[error("it is not a file")]
    NotAFile,
    /// Nobody may execute it.
    #[error("it is not executable")]
    NotExecutable,
    /// It starts with `#!`.
    #[error("it is a script, and a package is a program that was built with the Tandem SDK")]
    Script,
    /// It is of another format.
    #[error("it is not an executable of Linux (ELF)")]
    NotElf,
    /// It is a library, or an object file.
    #[error("it is a library or an object file, not a program")]
    NotAProgram,
    /// Its headers contradict each other.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It is for other processors.
    #[error("it is built for {built}, and the cluster runs {cluster}")]
    Machine {
        /// What it is for.
        built: String,
        /// What the cluster is.
        cluster: String,
    },
    /// Its dynamic loader is not there.
    #[error("it needs the dynamic loader {0}, which the cluster does not have")]
    Loader(String),
    /// It needs a newer C library.
    #[error("it needs glibc {needed}, and the cluster has {present}")]
    Glibc {
        /// What its symbols need.
        needed: Version,
        /// What is there.
        present: Version,
    },
    /// It has nothing of our SDK.
    #[error("it is not built with the Tandem SDK")]
    NoSdk,
    /// Its SDK speaks another version.
    #[error("its SDK speaks version {found} of the protocol, and the cluster {known}")]
    SdkVersion {
        /// Of the SDK.
        found: u16,
        /// Of the cluster.
        known: u16,
    },
    /// It is larger than packages may be.
    #[error("it has {bytes} bytes, and packages may have {limit_bytes}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
}

impl Unfit {
    /// What to do about it, if there is one thing to do.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::NotExecutable => Some("make it executable with `chmod +x`"),
            Self::NotElf | Self::Script | Self::NotAProgram | Self::NoSdk => {
                Some("`tandem new NAME` makes a project whose `cargo build --release` gives a package")
            }
            Self::Machine { .. } => Some("build it with --target for the processors of the cluster"),
            Self::Loader(_) | Self::Glibc { .. } => {
                Some("build it on the oldest system of the cluster, or for a musl target")
            }
            Self::SdkVersion { .. } => Some("build it with the SDK of the cluster's version"),
            Self::TooLarge { .. } => Some("remove its debug information with `strip`"),
            Self::Missing | Self::Unreadable(_) | Self::NotAFile | Self::Damaged(_) => None,
        }
    }

    /// A file or folder that the system does not let us read.
    pub(crate) fn unreadable(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Unreadable(error),
        }
    }

    /// The same, with the file named.
    pub fn of(&self, path: &Path) -> String {
        format!("{}: {self}", path.display())
    }
}
