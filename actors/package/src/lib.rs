//! What a package is, and whether a file can be one: the user's executable, named by its SHA-256, built with our SDK for
//! the platform of the cluster; and what may be attached to it: files, and archives that are unpacked. The same checks run where it
//! comes from, before it is uploaded, and where it arrives.
//! Files may be hostile: nothing is read that they are not large enough for, and nothing of them is run.
#![deny(unsafe_code)]

mod archive;
mod attached;
mod elf;
#[doc(hidden)]
pub mod fuzz;
mod hash;
mod inspect;
mod platform;
mod unfit;
mod version;

pub use archive::{ArchiveError, Refusal, check_archive, unpack};
pub use attached::{AttachError, AttachedFile, check_names, collect, unpacked_name};
pub use hash::{Hasher, PackageHash, ParseHashError};
pub use inspect::{Package, inspect, is_executable_format};
pub use platform::{Needs, Platform};
pub use unfit::Unfit;
pub use version::Version;
