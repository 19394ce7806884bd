//! Where what is in an archive goes. Paths are those that the rules let through.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// See the module's header. Folders above a path may not be there yet.
pub(crate) trait Destination {
    /// A folder; it may be there.
    fn folder(&mut self, path: &str) -> io::Result<()>;

    /// A file of this content, which is read to its end. Returns its size.
    fn file(&mut self, path: &str, executable: bool, content: &mut dyn Read) -> io::Result<u64>;

    /// A symbolic link.
    fn symlink(&mut self, path: &str, target: &str) -> io::Result<()>;

    /// Another name of a file that is there.
    fn hard_link(&mut self, path: &str, target: &str) -> io::Result<()>;
}

/// Takes everything and keeps nothing.
#[derive(Debug)]
pub(super) struct Nowhere;

impl Destination for Nowhere {
    fn folder(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn file(&mut self, _: &str, _: bool, content: &mut dyn Read) -> io::Result<u64> {
        io::copy(content, &mut io::sink())
    }

    fn symlink(&mut self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn hard_link(&mut self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }
}

/// A folder that is empty at first, and that nobody else knows. Of the mode of a file only remains whether it can be executed.
#[derive(Debug)]
pub(super) struct Folder<'a> {
    root: &'a Path,
}

impl<'a> Folder<'a> {
    pub(super) fn new(root: &'a Path) -> Self {
        Self { root }
    }

    fn place(&self, path: &str) -> io::Result<PathBuf> {
        let path = self.root.join(path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        Ok(path)
    }
}

impl Destination for Folder<'_> {
    fn folder(&mut self, path: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.join(path))
    }

    fn file(&mut self, path: &str, executable: bool, content: &mut dyn Read) -> io::Result<u64> {
        let path = self.place(path)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let bytes = io::copy(content, &mut file)?;
        file.set_permissions(Permissions::from_mode(if executable { 0o500 } else { 0o400 }))?;
        Ok(bytes)
    }

    fn symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        symlink(target, self.place(path)?)
    }

    fn hard_link(&mut self, path: &str, target: &str) -> io::Result<()> {
        fs::hard_link(self.root.join(target), self.place(path)?)
    }
}
