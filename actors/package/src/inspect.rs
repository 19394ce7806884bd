//! Reading a file that shall be a package, once from end to end.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use memchr::memmem;
use tandem_actor_protocol::{PROTOCOL, SDK_MARK};

use crate::elf;
use crate::hash::{Hasher, PackageHash};
use crate::platform::Needs;
use crate::unfit::Unfit;

const ELF_MAGIC: &[u8] = b"\x7fELF";
const SCRIPT_MAGIC: &[u8] = b"#!";
const PIECE_BYTES: usize = 1 << 20;
/// Digits of a protocol's version.
const DIGITS: usize = 5;
/// Ends a mark: what follows it in the file may begin with a digit.
const MARK_END: u8 = b';';

/// A file that is a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub hash: PackageHash,
    /// Its size.
    pub bytes: u64,
    /// What a machine must have to start it.
    pub needs: Needs,
}

/// Whether the file begins like an executable of Linux. False also when it cannot be read.
pub fn is_executable_format(path: &Path) -> bool {
    first_bytes(path).is_ok_and(|bytes| bytes.starts_with(ELF_MAGIC))
}

/// Reads a file that may be executed.
///
/// # Errors
/// Why it is no package of `limit_bytes` at most.
pub fn inspect(path: &Path, limit_bytes: u64) -> Result<Package, Unfit> {
    let metadata = std::fs::metadata(path).map_err(Unfit::unreadable)?;
    if metadata.is_file() && first_bytes(path)?.starts_with(SCRIPT_MAGIC) {
        return Err(Unfit::Script);
    }
    if metadata.is_file() && metadata.permissions().mode() & 0o111 == 0 {
        return Err(Unfit::NotExecutable);
    }
    Package::read(path, limit_bytes)
}

impl Package {
    /// Reads a file, whatever its permissions.
    ///
    /// # Errors
    /// Why it is no package of `limit_bytes` at most.
    pub fn read(path: &Path, limit_bytes: u64) -> Result<Self, Unfit> {
        let metadata = std::fs::metadata(path).map_err(Unfit::unreadable)?;
        check_size(&metadata, limit_bytes)?;
        if !first_bytes(path)?.starts_with(ELF_MAGIC) {
            return Err(Unfit::NotElf);
        }
        let open = || File::open(path).map_err(Unfit::unreadable);
        let needs = elf::needs(open()?)?;
        let (hash, bytes, versions) = read_all(open()?)?;
        check_sdk(&versions)?;
        Ok(Self { hash, bytes, needs })
    }
}

fn check_size(metadata: &Metadata, limit_bytes: u64) -> Result<(), Unfit> {
    if !metadata.is_file() {
        return Err(Unfit::NotAFile);
    }
    let bytes = metadata.len();
    if bytes > limit_bytes { Err(Unfit::TooLarge { bytes, limit_bytes }) } else { Ok(()) }
}

fn first_bytes(path: &Path) -> Result<Vec<u8>, Unfit> {
    let mut bytes = Vec::with_capacity(ELF_MAGIC.len());
    let file = File::open(path).map_err(Unfit::unreadable)?;
    file.take(ELF_MAGIC.len() as u64).read_to_end(&mut bytes).map_err(Unfit::unreadable)?;
    Ok(bytes)
}

/// This version of the protocol, and the one before, which is served too.
fn check_sdk(versions: &[u16]) -> Result<(), Unfit> {
    let served = PROTOCOL.saturating_sub(1).max(1)..=PROTOCOL;
    match versions.first() {
        _ if versions.iter().any(|version| served.contains(version)) => Ok(()),
        Some(&found) => Err(Unfit::SdkVersion { found, known: PROTOCOL }),
        None => Err(Unfit::NoSdk),
    }
}

/// The hash and size of a file, and the versions behind the marks of our SDK in it.
fn read_all(mut file: File) -> Result<(PackageHash, u64, Vec<u16>), Unfit> {
    let mark = mark_without_version();
    // What is left of the piece before, since a mark may lie across two.
    let overlap = mark.len() + DIGITS + 1;
    let finder = memmem::Finder::new(mark);
    let (mut hasher, mut bytes, mut versions) = (Hasher::default(), 0, Vec::new());
    let mut buffer = vec![0; overlap + PIECE_BYTES];
    let mut kept = 0;
    loop {
        let read = file.read(&mut buffer[kept..kept + PIECE_BYTES]).map_err(Unfit::unreadable)?;
        let piece = &buffer[kept..kept + read];
        hasher.update(piece);
        bytes += read as u64;
        let seen = &buffer[..kept + read];
        versions.extend(finder.find_iter(seen).filter_map(|place| version_at(&seen[place + mark.len()..])));
        if read == 0 {
            versions.sort_unstable();
            versions.dedup();
            return Ok((hasher.finish(), bytes, versions));
        }
        let keep = overlap.min(kept + read);
        buffer.copy_within(kept + read - keep..kept + read, 0);
        kept = keep;
    }
}

/// The mark up to its version.
fn mark_without_version() -> &'static [u8] {
    SDK_MARK.trim_end_matches(|c: char| c.is_ascii_digit() || c == char::from(MARK_END)).as_bytes()
}

fn version_at(text: &[u8]) -> Option<u16> {
    let end = text.iter().take(DIGITS + 1).position(|byte| *byte == MARK_END)?;
    std::str::from_utf8(&text[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    const LIMIT: u64 = 1 << 30;

    fn write(folder: &TempDir, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// This test program itself: an executable that has the mark, since this crate looks for it.
    fn this_program() -> PathBuf {
        std::env::current_exe().unwrap()
    }

    #[test]
    fn a_program_with_our_mark_is_a_package() {
        let package = inspect(&this_program(), LIMIT).unwrap();
        let mut hasher = Hasher::default();
        let content = std::fs::read(this_program()).unwrap();
        hasher.update(&content);
        assert_eq!((package.hash, package.bytes), (hasher.finish(), content.len() as u64));
        assert_eq!(package.needs.machine, std::env::consts::ARCH);
        crate::Platform::current().check(&package.needs).unwrap();
    }

    #[test]
    fn what_is_no_package_says_why() {
        let folder = TempDir::new().unwrap();
        let own = std::fs::read(this_program()).unwrap();
        let cut = write(&folder, "cut", &own[..300], 0o755);
        let cases = [
            (folder.path().join("nowhere"), "there is no such file"),
            (folder.path().to_owned(), "it is not a file"),
            (write(&folder, "plain", &own, 0o644), "it is not executable"),
            (write(&folder, "script", b"#!/bin/sh\n", 0o755), "it is a script"),
            (write(&folder, "text", b"name = 'job'", 0o755), "it is not an executable of Linux"),
            (write(&folder, "empty", b"", 0o755), "it is not an executable of Linux"),
            (cut, "it is damaged"),
        ];
        for (path, why) in cases {
            let error = inspect(&path, LIMIT).unwrap_err();
            assert!(error.to_string().contains(why), "{}: {error}", path.display());
        }
        assert!(matches!(inspect(&this_program(), 10), Err(Unfit::TooLarge { limit_bytes: 10, .. })));
    }

    #[test]
    fn a_program_without_the_mark_or_with_another_is_refused() {
        assert!(matches!(check_sdk(&[]), Err(Unfit::NoSdk)));
        assert!(matches!(check_sdk(&[PROTOCOL + 1]), Err(Unfit::SdkVersion { .. })));
        assert!(check_sdk(&[PROTOCOL, PROTOCOL + 1]).is_ok());
        let shell = Path::new("/bin/sh");
        if is_executable_format(shell) {
            assert!(matches!(inspect(shell, LIMIT), Err(Unfit::NoSdk)));
        }
    }

    #[test]
    fn a_mark_is_found_across_pieces() {
        let folder = TempDir::new().unwrap();
        for at in [0, 7, PIECE_BYTES - 30, PIECE_BYTES - 3, PIECE_BYTES, 2 * PIECE_BYTES - 20] {
            let mut content = vec![b'x'; 2 * PIECE_BYTES + 7];
            content[at..at + SDK_MARK.len()].copy_from_slice(SDK_MARK.as_bytes());
            content[at + SDK_MARK.len()] = b'7';
            let path = write(&folder, "marked", &content, 0o644);
            let (_, bytes, versions) = read_all(File::open(path).unwrap()).unwrap();
            assert_eq!((bytes, versions), (content.len() as u64, vec![PROTOCOL]), "at {at}");
        }
    }

    #[test]
    fn damaged_headers_are_told_and_never_trusted() {
        let folder = TempDir::new().unwrap();
        let own = std::fs::read(this_program()).unwrap();
        // Every byte of the header, and some of what it points to.
        for place in (0..64).chain((64..4_096).step_by(97)) {
            let mut content = own[..own.len().min(200_000)].to_vec();
            content[place] ^= 0xff;
            let path = write(&folder, "damaged", &content, 0o755);
            // It may be told as anything, as long as it is told.
            let _ = inspect(&path, LIMIT);
        }
    }
}
