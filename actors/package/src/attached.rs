//! Files that go with a package: named by people, kept by their SHA-256. One whose name ends in `/` is an archive, and what is in it is to be
//! found in a folder of that name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::archive::{ArchiveError, check_archive};
use crate::hash::PackageHash;

/// The most files that are attached to one job.
const MAX_FILES: usize = 10_000;
/// The most that their names have together, in bytes: they travel in a message.
const MAX_NAMES_BYTES: usize = 1 << 20;

/// A file as it is to be attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedFile {
    /// How tasks call it.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its SHA-256.
    pub hash: PackageHash,
    /// Its size.
    pub bytes: u64,
}

/// Why files cannot be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// One cannot be read.
    #[error("cannot attach {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is neither a file nor a folder.
    #[error("cannot attach {}: it is neither a file nor a folder", .0.display())]
    Special(PathBuf),
    /// Its name is no relative path below one folder.
    #[error("`{0}` cannot be the name of an attached file: it is no relative path without `..`, in UTF-8")]
    Name(String),
    /// Two have one name.
    #[error("two attached files are called `{0}`")]
    Twice(String),
    /// One is a file or an archive, and another is in a folder of its name.
    #[error("`{0}` is attached, and others are to be in a folder of this name")]
    Both(String),
    /// It cannot be unpacked.
    #[error("cannot attach {} to be unpacked: {source}", path.display())]
    Archive {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: ArchiveError,
    },
    /// There are too many.
    #[error("there are more than {MAX_FILES} attached files")]
    TooMany,
    /// Their names are too long.
    #[error("the names of the attached files have more than {MAX_NAMES_BYTES} bytes")]
    LongNames,
}

/// The folder that an attached file of this name is unpacked to, if it is an archive that is unpacked.
pub fn unpacked_name(name: &str) -> Option<&str> {
    name.strip_suffix('/')
}

/// The path that has what is attached.
fn path_of(name: &str) -> &str {
    unpacked_name(name).unwrap_or(name)
}

/// Whether a name is a relative path that stays inside of a folder.
fn check_name(name: &str) -> Result<(), AttachError> {
    let (given, name) = (name, path_of(name));
    let path = Path::new(name);
    let is_plain = path.components().all(|component| matches!(component, Component::Normal(_)));
    // What is written otherwise than it is read back could be two names of one file.
    let is_itself = path.components().collect::<PathBuf>().as_os_str() == name;
    let is_good = !name.is_empty() && !name.contains('\0') && is_plain && is_itself;
    if is_good { Ok(()) } else { Err(AttachError::Name(given.to_owned())) }
}

/// Reads the files and folders at `given`, each with another name than its own if there is one. Of a folder all files are
/// attached, as `FOLDER/…`. A file whose other name ends in `/` must be an archive that can be unpacked.
///
/// # Errors
/// When one cannot be attached.
pub fn collect(given: &[(PathBuf, Option<String>)]) -> Result<Vec<AttachedFile>, AttachError> {
    let mut files = BTreeMap::new();
    for (path, name) in given {
        let name = match name {
            Some(name) => name.clone(),
            None => own_name(path)?,
        };
        add(&mut files, path.clone(), name)?;
    }
    check_names(files.keys().map(String::as_str))?;
    let hashed = files.into_iter().map(|(name, (path, bytes))| {
        let hash = PackageHash::of_file(&path).map_err(|source| unreadable(&path, source))?;
        if unpacked_name(&name).is_some() {
            check_archive(&path).map_err(|source| AttachError::Archive { path: path.clone(), source })?;
        }
        Ok(AttachedFile { name, path, hash, bytes })
    });
    hashed.collect()
}

/// Whether files of these names can be attached together.
///
/// # Errors
/// When they cannot.
pub fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), AttachError> {
    let mut known = BTreeSet::new();
    let mut bytes = 0;
    for name in names {
        check_name(name)?;
        bytes += name.len();
        if !known.insert(path_of(name)) {
            return Err(AttachError::Twice(path_of(name).to_owned()));
        }
    }
    let folders = known.iter().flat_map(|name| name.match_indices('/').map(|(end, _)| &name[..end]));
    match folders.into_iter().find(|folder| known.contains(folder)) {
        Some(file) => Err(AttachError::Both(file.to_owned())),
        None if known.len() > MAX_FILES => Err(AttachError::TooMany),
        None if bytes > MAX_NAMES_BYTES => Err(AttachError::LongNames),
        None => Ok(()),
    }
}

fn add(files: &mut BTreeMap<String, (PathBuf, u64)>, path: PathBuf, name: String) -> Result<(), AttachError> {
    let metadata = fs::metadata(&path).map_err(|source| unreadable(&path, source))?;
    if metadata.is_dir() {
        let name = path_of(&name);
        let entries = fs::read_dir(&path).map_err(|source| unreadable(&path, source))?;
        for entry in entries {
            let inner = entry.map_err(|source| unreadable(&path, source))?.path();
            let name = format!("{name}/{}", own_name(&inner)?);
            add(files, inner, name)?;
        }
        return Ok(());
    }
    if !metadata.is_file() {
        return Err(AttachError::Special(path));
    }
    if files.len() >= MAX_FILES {
        return Err(AttachError::TooMany);
    }
    match files.insert(name.clone(), (path, metadata.len())) {
        None => Ok(()),
        Some(_) => Err(AttachError::Twice(name)),
    }
}

/// The last part of a path.
fn own_name(path: &Path) -> Result<String, AttachError> {
    let wrong = || AttachError::Name(path.display().to_string());
    let last = match path.file_name() {
        Some(name) => name.to_owned(),
        // Such as `.`.
        None => {
            let whole = path.canonicalize().map_err(|source| unreadable(path, source))?;
            whole.file_name().ok_or_else(wrong)?.to_owned()
        }
    };
    last.into_string().map_err(|_| wrong())
}

fn unreadable(path: &Path, source: io::Error) -> AttachError {
    AttachError::Unreadable { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn names(given: &[(PathBuf, Option<String>)]) -> Result<Vec<String>, AttachError> {
        Ok(collect(given)?.into_iter().map(|file| file.name).collect())
    }

    #[test]
    fn files_and_folders_are_attached_by_their_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        fs::create_dir_all(root.join("model/deep")).expect("a folder");
        fs::write(root.join("model/a.txt"), "abc").expect("a file");
        fs::write(root.join("model/deep/b"), "").expect("a file");
        fs::write(root.join("c"), "abc").expect("a file");
        let given = [(root.join("model"), None), (root.join("c"), None), (root.join("c"), Some("other/d".to_owned()))];
        let files = collect(&given).expect("they are there");
        let known: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.bytes)).collect();
        assert_eq!(known, [("c", 3), ("model/a.txt", 3), ("model/deep/b", 0), ("other/d", 3)]);
        assert_eq!(files[0].hash, files[1].hash);
        assert_eq!(
            files[0].hash.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "the SHA-256 of abc"
        );
    }

    #[test]
    fn a_name_that_ends_in_a_slash_is_a_folder_of_what_is_unpacked() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        fs::create_dir(root.join("model")).expect("a folder");
        fs::write(root.join("model/a"), "abc").expect("a file");
        let mut archive = tar::Builder::new(fs::File::create(root.join("a.tar")).expect("a file"));
        archive.append_path_with_name(root.join("model/a"), "a").expect("an archive");
        archive.finish().expect("an archive");
        let named = |path: &str, name: &str| (root.join(path), Some(name.to_owned()));
        let both = [named("a.tar", "data/unpacked/"), named("model", "as-it-is/")];
        assert_eq!(names(&both).expect("they are there"), ["as-it-is/a", "data/unpacked/"]);
        assert_eq!(names(&[(root.join("a.tar"), None)]).expect("it is there"), ["a.tar"], "it is a file like others");

        let said = |given: &[(PathBuf, Option<String>)]| names(given).expect_err("it cannot be").to_string();
        let no_archive = said(&[named("model/a", "x/")]);
        assert!(no_archive.contains("model/a to be unpacked: it is no archive: .zip, .tar"), "{no_archive}");
        let within = said(&[named("a.tar", "x/"), named("model/a", "x/b")]);
        assert!(within.contains("`x` is attached, and others are to be in a folder of this name"), "{within}");
        assert!(said(&[named("a.tar", "x/"), named("model/a", "x")]).contains("two attached files are called `x`"));
        for name in ["/", "//", "x//", "../", "./"] {
            assert!(said(&[named("a.tar", name)]).contains(&format!("`{name}` cannot be the name")), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_attached_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        fs::write(root.join("a"), "1").expect("a file");
        let _socket = UnixListener::bind(root.join("socket")).expect("a socket");
        let file = |name: &str| (root.join("a"), Some(name.to_owned()));
        let said = |given: &[(PathBuf, Option<String>)]| names(given).expect_err("it cannot be").to_string();
        assert!(said(&[(root.join("none"), None)]).contains("none: No such file"));
        assert!(said(&[(root.join("socket"), None)]).contains("neither a file nor a folder"));
        assert!(said(&[file("x"), file("x")]).contains("two attached files are called `x`"));
        assert!(
            said(&[file("x"), file("x-1"), file("x/y")]).contains("`x` is attached, and others are to be in a folder")
        );
        for name in ["", "..", "../x", "/etc/x", "a//b", "./a", "a/../b"] {
            assert!(said(&[file(name)]).contains("cannot be the name"), "{name}");
        }
    }
}
