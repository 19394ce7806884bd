//! Why an archive is not unpacked. Each is one line that names the entry and the rule; whoever asked names the archive.

use std::fmt;
use std::io;

use super::limits::NAME_BYTES;

/// See the module's header.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file itself.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It is something else.
    #[error("it is no archive: .zip, .tar, .tar.gz and .tar.zst are unpacked")]
    NoArchive,
    /// It is not whole, or was never one.
    #[error("it is damaged {at}: {reason}")]
    Damaged {
        /// Where.
        at: Position,
        /// As the decoder says it.
        reason: String,
    },
    /// Something in it may not be there.
    #[error("`{entry}` is refused: {refusal}")]
    Refused {
        /// Which.
        entry: EntryName,
        /// Why.
        refusal: Refusal,
    },
    /// There is too much in it.
    #[error("with `{entry}` it has more than {limit} files and folders")]
    TooMany {
        /// What is one too many.
        entry: EntryName,
        /// How many there may be.
        limit: usize,
    },
    /// What is in it is too large.
    #[error("{at} it becomes more than {limit_bytes} bytes{}", most_for(*.archive_bytes))]
    TooLarge {
        /// Where.
        at: Position,
        /// What there may be in all.
        limit_bytes: u64,
        /// What the archive itself has, if this is why.
        archive_bytes: Option<u64>,
    },
    /// What is in it cannot be kept.
    #[error("`{entry}` cannot be written: {source}")]
    Unwritable {
        /// Which.
        entry: EntryName,
        /// What the system said.
        source: io::Error,
    },
    /// Its folder cannot be made.
    #[error("its folder cannot be made: {source}")]
    Folder {
        /// What the system said.
        source: io::Error,
    },
}

fn most_for(archive_bytes: Option<u64>) -> String {
    archive_bytes.map_or_else(String::new, |bytes| format!(", the most for an archive of {bytes}"))
}

/// Why an entry may not be there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its path begins at the root.
    #[error("its path is absolute")]
    Absolute,
    /// Its path leads upwards.
    #[error("its path has `..` in it")]
    Upwards,
    /// Its path is no plain text.
    #[error("its path is not UTF-8 without control characters and backslashes")]
    Text,
    /// It is a file or a link without a path.
    #[error("it has no name")]
    Nameless,
    /// Its path is too long.
    #[error("its path has more than {limit_bytes} bytes")]
    LongPath {
        /// What it may have.
        limit_bytes: usize,
    },
    /// A part of its path is too long.
    #[error("a part of its path has more than {NAME_BYTES} bytes")]
    LongName,
    /// Something else has its path.
    #[error("there is another one of this path")]
    Twice,
    /// Its path goes through something that is no folder.
    #[error("`{0}` is in its path, and is no folder")]
    Inside(String),
    /// It links to what may be elsewhere.
    #[error("it links to `{0}`, and links stay within the archive")]
    LinksOut(EntryName),
    /// It is a hard link to nothing that came before it.
    #[error("it links to `{0}`, which is no file before it")]
    LinksNowhere(EntryName),
    /// It is none of the things that are unpacked.
    #[error("it is {0}; files, folders and links are unpacked")]
    Kind(&'static str),
    /// It needs a password.
    #[error("it is encrypted")]
    Encrypted,
    /// It is compressed in a way that is not known here.
    #[error("its compression is method {0}; those known are 0 (none) and 8 (deflate)")]
    Method(u16),
    /// What describes it is too long.
    #[error("its header has more than {limit_bytes} bytes")]
    LongHeader {
        /// What it may have.
        limit_bytes: u64,
    },
    /// Two of its headers do not agree.
    #[error("its headers give two sizes")]
    TwoSizes,
}

/// The path of an entry as people are shown it: in one line, and not all of a long one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EntryName(String);

impl EntryName {
    /// Bytes of it that are shown.
    const SHOWN_CHARS: usize = 200;

    pub(super) fn new(path: &[u8]) -> Self {
        let text = String::from_utf8_lossy(path);
        let mut shown: String = text.chars().take(Self::SHOWN_CHARS).flat_map(char::escape_debug).collect();
        if text.chars().nth(Self::SHOWN_CHARS).is_some() {
            shown.push('…');
        }
        Self(shown)
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// Before its first entry.
    Beginning,
    /// In an entry, or behind it.
    Entry(EntryName),
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str("at its beginning"),
            Self::Entry(entry) => write!(f, "at `{entry}`"),
        }
    }
}
