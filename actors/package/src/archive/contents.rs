//! The rules for what may be in an archive, and what has been in it so far. Pure.
//!
//! Invariant: whatever entries it has let through, in their order, no path of them leads out of the folder that they are put in: no path goes
//! through a link, and a link goes up only to where its own path has come down.

use std::collections::HashMap;

use super::error::{ArchiveError, EntryName, Refusal};
use super::limits::{Limits, NAME_BYTES};

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    /// It is only in the paths of others so far.
    Parent,
    Link,
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct Contents {
    limits: Limits,
    known: HashMap<String, Kind>,
}

impl Contents {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, known: HashMap::new() }
    }

    /// The path of a new entry; none if that is the folder that all is put in.
    pub(super) fn add(&mut self, name: &[u8], kind: Kind) -> Result<Option<String>, ArchiveError> {
        let path = self.place(name, kind).map_err(|refusal| ArchiveError::refused(name, refusal))?;
        if self.known.len() > self.limits.entries {
            return Err(ArchiveError::TooMany { entry: EntryName::new(name), limit: self.limits.entries });
        }
        Ok(path)
    }

    fn place(&mut self, name: &[u8], kind: Kind) -> Result<Option<String>, Refusal> {
        let path = self.path(name)?;
        if path.is_empty() {
            return if kind == Kind::Folder { Ok(None) } else { Err(Refusal::Nameless) };
        }
        for (end, _) in path.match_indices('/') {
            let parent = &path[..end];
            match self.known.get(parent) {
                Some(Kind::Folder | Kind::Parent) => {}
                Some(Kind::File | Kind::Link) => return Err(Refusal::Inside(parent.to_owned())),
                None => _ = self.known.insert(parent.to_owned(), Kind::Parent),
            }
        }
        match (self.known.get(&path), kind) {
            (None, _) | (Some(Kind::Parent), Kind::Folder) => _ = self.known.insert(path.clone(), kind),
            (Some(_), _) => return Err(Refusal::Twice),
        }
        Ok(Some(path))
    }

    /// What a symbolic link at `path` may say. Links that it goes through do not lead out either, and none is followed by `..`.
    pub(super) fn symlink_target(&self, path: &str, target: &[u8]) -> Result<String, Refusal> {
        let out = || Refusal::LinksOut(EntryName::new(target));
        let text = text(target, self.limits.path_bytes)?;
        if text.is_empty() || text.starts_with('/') {
            return Err(out());
        }
        let parts: Vec<&str> = parts(text).collect();
        let up = parts.iter().take_while(|part| **part == "..").count();
        let down = path.matches('/').count();
        if up > down || parts[up..].contains(&"..") {
            return Err(out());
        }
        Ok(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
    }

    /// The file that a hard link is another name of.
    pub(super) fn hard_link_target(&self, target: &[u8]) -> Result<String, Refusal> {
        let path = self.path(target)?;
        match self.known.get(&path) {
            Some(Kind::File) => Ok(path),
            _ => Err(Refusal::LinksNowhere(EntryName::new(target))),
        }
    }

    /// A path without the parts that mean nothing.
    fn path(&self, name: &[u8]) -> Result<String, Refusal> {
        let text = text(name, self.limits.path_bytes)?;
        if text.starts_with('/') {
            return Err(Refusal::Absolute);
        }
        let parts: Vec<&str> = parts(text).collect();
        if parts.contains(&"..") {
            return Err(Refusal::Upwards);
        }
        if parts.iter().any(|part| part.len() > NAME_BYTES) {
            return Err(Refusal::LongName);
        }
        Ok(parts.join("/"))
    }
}

fn text(bytes: &[u8], limit_bytes: usize) -> Result<&str, Refusal> {
    if bytes.len() > limit_bytes {
        return Err(Refusal::LongPath { limit_bytes });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::Text)?;
    if text.contains(|char: char| char.is_control() || char == '\\') { Err(Refusal::Text) } else { Ok(text) }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}
