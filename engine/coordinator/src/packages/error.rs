//! Why a package is not taken or not given.

use std::io;

use tandem_package::{AttachError, PackageHash, ParseHashError, Unfit};

/// Split by what the client does: nothing can help, free the coordinator's disk, continue, upload, or try again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackageError {
    /// It is named by something else than a hash.
    #[error("`{0}`: {1}")]
    Name(String, ParseHashError),
    /// It can never run here.
    #[error("package {hash}: {unfit}")]
    Unfit {
        /// Which.
        hash: PackageHash,
        /// Why.
        unfit: Unfit,
    },
    /// An attached file is larger than they may be.
    #[error("attached file {hash} has {bytes} bytes, and `packages.limit_bytes` is {limit_bytes}")]
    TooLarge {
        /// Which.
        hash: PackageHash,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// Attached files are called what they cannot be called.
    #[error(transparent)]
    Attached(AttachError),
    /// What came is not what was announced.
    #[error("package {hash}: what arrived is another file (its SHA-256 is {found})")]
    Mismatch {
        /// As announced.
        hash: PackageHash,
        /// What came.
        found: PackageHash,
    },
    /// The upload itself is wrong.
    #[error("{0}")]
    Malformed(&'static str),
    /// The upload does not go on where the last one ended.
    #[error("package {hash}: byte {offset} came, byte {expected} is next")]
    Gap {
        /// Which.
        hash: PackageHash,
        /// What came.
        offset: u64,
        /// What is missing.
        expected: u64,
    },
    /// Someone else is uploading it.
    #[error("package {0} is being uploaded by someone else")]
    Busy(PackageHash),
    /// It is not here.
    #[error("package {0} is not on the coordinator")]
    Absent(PackageHash),
    /// The disk is full.
    #[error("no space left on the coordinator for package {0}")]
    Full(PackageHash),
    /// The system refused.
    #[error("package {hash} cannot be stored: {source}")]
    Io {
        /// Which.
        hash: PackageHash,
        /// What it said.
        source: io::Error,
    },
}

impl PackageError {
    pub(super) fn io(hash: PackageHash, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(hash),
            _ => Self::Io { hash, source },
        }
    }

    /// What to do about it, if there is one thing to do.
    pub(crate) fn help(&self) -> Option<&'static str> {
        match self {
            Self::Unfit { unfit, .. } => unfit.help(),
            Self::Full(_) => Some("free space on the disk of the coordinator's data folder"),
            Self::Absent(_) => Some("submit the job again: what is missing is uploaded"),
            Self::Name(..)
            | Self::TooLarge { .. }
            | Self::Attached(_)
            | Self::Mismatch { .. }
            | Self::Malformed(_)
            | Self::Gap { .. }
            | Self::Busy(_)
            | Self::Io { .. } => None,
        }
    }
}
