//! Archives as tools make them, and as nobody should.

use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rawzip::{CompressionMethod, ZipArchiveWriter};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::destination::Nowhere;
use super::*;

/// An entry of a tar archive as it is said to be.
#[derive(Debug, Clone)]
struct Raw {
    kind: u8,
    name: String,
    link: String,
    mode: u32,
    content: Vec<u8>,
}

impl Raw {
    fn new(kind: EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        let (name, link) = (name.to_owned(), link.to_owned());
        Self { kind: kind.as_byte(), name, link, mode: 0o644, content: content.to_vec() }
    }

    fn file(name: &str, content: &[u8]) -> Self {
        Self::new(EntryType::Regular, name, "", content)
    }

    fn symlink(name: &str, target: &str) -> Self {
        Self::new(EntryType::Symlink, name, target, b"")
    }

    /// A header whose name is not looked at, and what is behind it.
    fn put(&self, tar: &mut Vec<u8>) {
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        let put = |to: &mut [u8; 100], text: &str| {
            let len = text.len().min(100);
            to[..len].copy_from_slice(&text.as_bytes()[..len]);
        };
        put(&mut old.name, &self.name);
        put(&mut old.linkname, &self.link);
        header.set_entry_type(EntryType::new(self.kind));
        header.set_mode(self.mode);
        header.set_size(self.content.len() as u64);
        header.set_cksum();
        tar.extend(header.as_bytes());
        tar.extend(&self.content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
}

fn tar_of(entries: &[Raw]) -> Vec<u8> {
    let mut tar = Vec::new();
    entries.iter().for_each(|entry| entry.put(&mut tar));
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("memory")
}

/// A zip archive of files with these modes.
fn zip_of(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut archive = ZipArchiveWriter::new(Vec::new());
    for (name, mode, content) in entries {
        let method = CompressionMethod::DEFLATE;
        let file = archive.new_file(rawzip::path::EntryPath::verbatim(name.as_bytes()));
        let (mut entry, config) = file.unix_permissions(*mode).compression_method(method).start().expect("memory");
        let mut data = config.wrap(DeflateEncoder::new(&mut entry, Compression::default()));
        data.write_all(content).expect("memory");
        let (encoder, output) = data.finish().expect("memory");
        encoder.finish().expect("memory");
        entry.finish(output).expect("memory");
    }
    archive.finish().expect("memory")
}

/// A tar archive as GNU tar makes it of a folder.
fn model_tar() -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    let mut put = |kind: EntryType, name: &str, mode: u32, link: &str, content: &[u8]| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        match kind {
            EntryType::Symlink | EntryType::Link => builder.append_link(&mut header, name, link).expect("memory"),
            _ => builder.append_data(&mut header, name, content).expect("memory"),
        }
    };
    put(EntryType::Directory, "./", 0o755, "", b"");
    put(EntryType::Directory, "./model/", 0o755, "", b"");
    put(EntryType::Regular, "./model/weights", 0o6755, "", b"weights");
    put(EntryType::Regular, &format!("model/{}/deep", "x".repeat(150)), 0o644, "", b"deep");
    put(EntryType::Symlink, "./model/latest", 0o777, "weights", b"");
    put(EntryType::Symlink, "./model/up", 0o777, "../model", b"");
    put(EntryType::Link, "./again", 0o644, "./model/weights", b"");
    put(EntryType::Regular, "./empty", 0o600, "", b"");
    builder.into_inner().expect("memory")
}

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn unpack(&self, bytes: &[u8]) -> Result<(u64, PathBuf), ArchiveError> {
        let (archive, to) = (self.folder.path().join("archive"), self.folder.path().join("unpacked"));
        fs::write(&archive, bytes).expect("a file");
        let checked = check_archive(&archive);
        let unpacked = unpack(&archive, &to);
        assert_eq!(checked.map_err(|error| error.to_string()).err(), unpacked.as_ref().err().map(ToString::to_string));
        Ok((unpacked?, to))
    }

    /// What it is refused for, in a line; nothing of it is left.
    fn refused(&self, bytes: &[u8]) -> String {
        let refused = self.unpack(bytes).expect_err("it is refused").to_string();
        let left: Vec<_> = fs::read_dir(self.folder.path()).expect("a folder").flatten().collect();
        assert_eq!(left.len(), 1, "only the archive itself: {left:?}");
        assert!(!refused.contains('\n') && refused.len() < 1_000, "{refused}");
        refused
    }
}

fn small() -> Limits {
    Limits { entries: 10, bytes: 20_000, ratio: 10, small_bytes: 10_000, path_bytes: 100 }
}

fn limited(bytes: &[u8]) -> Result<u64, String> {
    read(Cursor::new(bytes), small(), &mut Nowhere).map_err(|error| error.to_string())
}

#[test]
fn every_format_gives_the_same_folder() {
    let tar = model_tar();
    for bytes in [tar.clone(), gzip(&tar), zstd(&tar)] {
        let place = Place::new();
        let (bytes, folder) = place.unpack(&bytes).expect("it is sound");
        assert!(bytes > 11, "{bytes}");
        let text = |path: &str| fs::read_to_string(folder.join(path)).expect(path);
        assert_eq!(text("model/weights"), "weights");
        assert_eq!(text("model/latest"), "weights");
        assert_eq!(text("model/up/weights"), "weights");
        assert_eq!(text(&format!("model/{}/deep", "x".repeat(150))), "deep");
        assert_eq!(text("empty"), "");
        let about = |path: &str| fs::metadata(folder.join(path)).expect(path);
        assert_eq!(about("again").ino(), about("model/weights").ino());
        let mode = |path: &str| about(path).permissions().mode() & 0o7777;
        assert_eq!((mode("model/weights"), mode("empty")), (0o500, 0o400), "no more than that it can be executed");
    }
}

#[test]
fn a_zip_has_files_folders_and_links() {
    let entries: [(&str, u32, &[u8]); 5] = [
        ("model/", 0o040_755, b""),
        ("model/weights", 0o100_755, b"weights weights weights"),
        ("model/deep/er", 0o100_644, b"deep"),
        ("latest", 0o120_777, b"model/weights"),
        ("empty", 0o100_644, b""),
    ];
    let place = Place::new();
    let (_, folder) = place.unpack(&zip_of(&entries)).expect("it is sound");
    let text = |path: &str| fs::read_to_string(folder.join(path)).expect(path);
    assert_eq!((text("latest").as_str(), text("model/deep/er").as_str()), ("weights weights weights", "deep"));
    let mode = fs::metadata(folder.join("model/weights")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o7777, 0o500);
}

#[test]
fn a_folder_that_is_there_stays_as_it_is() {
    let place = Place::new();
    let (_, folder) = place.unpack(&model_tar()).expect("it is sound");
    let archive = place.folder.path().join("other");
    fs::write(&archive, tar_of(&[Raw::file("other", b"1")])).expect("a file");
    let refused = unpack(&archive, &folder).expect_err("it is there").to_string();
    assert!(refused.starts_with("its folder cannot be made: "), "{refused}");
    assert!(folder.join("empty").exists() && !folder.join("other").exists());
    assert_eq!(fs::read_dir(place.folder.path()).expect("a folder").count(), 3, "two archives and a folder");
}

#[test]
fn what_leads_out_or_is_no_file_is_refused_by_name() {
    let device = Raw::new(EntryType::Char, "null", "", b"");
    let long = "y".repeat(300);
    let long_name = Raw::new(EntryType::GNULongName, "././@LongLink", "", format!("{long}/x").as_bytes());
    let cases: Vec<(Vec<Raw>, &str)> = vec![
        (vec![Raw::file("/etc/x", b"")], "`/etc/x` is refused: its path is absolute"),
        (vec![Raw::file("a/../../x", b"")], "`a/../../x` is refused: its path has `..` in it"),
        (vec![Raw::file("a\nb", b"")], "`a\\nb` is refused: its path is not UTF-8 without control characters"),
        (vec![Raw::file("a\\b", b"")], "control characters and backslashes"),
        (vec![Raw::file(".", b"")], "`.` is refused: it has no name"),
        (vec![long_name, Raw::file("y", b"")], "a part of its path has more than 255 bytes"),
        (vec![Raw::file("a", b"1"), Raw::file("./a", b"2")], "`./a` is refused: there is another one of this path"),
        (vec![Raw::file("a/b", b"1"), Raw::file("a", b"2")], "`a` is refused: there is another one of this path"),
        (vec![Raw::file("a", b"1"), Raw::file("a/b", b"2")], "`a/b` is refused: `a` is in its path, and is no folder"),
        (vec![Raw::symlink("l", "."), Raw::file("l/x", b"")], "`l/x` is refused: `l` is in its path"),
        (vec![Raw::symlink("l", "/etc/passwd")], "`l` is refused: it links to `/etc/passwd`"),
        (vec![Raw::symlink("a/l", "../../x")], "links stay within the archive"),
        (vec![Raw::symlink("a/l", "b/../..")], "links stay within the archive"),
        (vec![Raw::symlink("l", "")], "links stay within the archive"),
        (vec![Raw::new(EntryType::Link, "l", "/etc/passwd", b"")], "`l` is refused: its path is absolute"),
        (vec![Raw::new(EntryType::Link, "l", "later", b"")], "`later`, which is no file before it"),
        (vec![Raw::symlink("s", "."), Raw::new(EntryType::Link, "l", "s", b"")], "`s`, which is no file before it"),
        (vec![device], "`null` is refused: it is a device; files, folders and links are unpacked"),
        (vec![Raw::new(EntryType::Fifo, "pipe", "", b"")], "it is a pipe"),
        (vec![Raw::new(EntryType::GNUSparse, "sparse", "", b"")], "it is a sparse file"),
        (vec![Raw::new(EntryType::new(b'V'), "volume", "", b"")], "it is of a kind of its own"),
        (vec![Raw::new(EntryType::XHeader, "x", "", b"12 size=999\n"), Raw::file("a", b"1")], "give two sizes"),
        (vec![Raw::new(EntryType::XHeader, "x", "", b"23 path=../../etc/evil\n"), Raw::file("a", b"1")], "has `..`"),
        (vec![Raw::new(EntryType::XHeader, "x", "", b"22 GNU.sparse.major=1\n"), Raw::file("a", b"1")], "sparse"),
    ];
    for (entries, expected) in cases {
        let refused = Place::new().refused(&gzip(&tar_of(&entries)));
        assert!(refused.contains(expected), "{refused}, not {expected}");
    }
    let zips: [(&[(&str, u32, &[u8])], &str); 6] = [
        (&[("../x", 0o100_644, b"")], "`../x` is refused: its path has `..` in it"),
        (&[("a", 0o100_644, b"1"), ("a", 0o100_644, b"2")], "`a` is refused: there is another one"),
        (&[("l", 0o120_777, b"/etc")], "`l` is refused: it links to `/etc`"),
        (&[("l", 0o120_777, b"a"), ("l/x", 0o100_644, b"")], "`l/x` is refused: `l` is in its path"),
        (&[("null", 0o020_644, b"")], "`null` is refused: it is no file, folder or link"),
        (&[("l", 0o120_777, &[b'x'; 5_000])], "its path has more than 1024 bytes"),
    ];
    for (entries, expected) in zips {
        let refused = Place::new().refused(&zip_of(entries));
        assert!(refused.contains(expected), "{refused}, not {expected}");
    }
}

#[test]
fn what_is_damaged_is_not_unpacked() {
    let place = Place::new();
    assert_eq!(place.refused(b"just a text"), "it is no archive: .zip, .tar, .tar.gz and .tar.zst are unpacked");
    assert_eq!(place.refused(b""), "it is no archive: .zip, .tar, .tar.gz and .tar.zst are unpacked");
    assert!(place.refused(&gzip(&[b'x'; 2_000])).starts_with("it is damaged at its beginning: "));
    let whole = gzip(&tar_of(&[Raw::file("first", &[7; 3_000])]));
    let cut = place.refused(&whole[..whole.len() - 4]);
    assert!(cut.starts_with("it is damaged at `first`: "), "{cut}");
    let tar = tar_of(&[Raw::file("first", &[7; 3_000])]);
    assert_eq!(place.refused(&tar[..1_500]), "it is damaged at `first`: 988 of its 3000 bytes are there");
    let mut zip = zip_of(&[("first", 0o100_644, b"some text that is long enough")]);
    zip[40] ^= 1;
    let flipped = place.refused(&zip);
    assert!(flipped.starts_with("it is damaged at `first`: "), "{flipped}");
}

#[test]
fn bombs_end_at_their_limits() {
    let zeros = vec![0; 15_000];
    let tar = tar_of(&[Raw::file("a", b"1"), Raw::file("zeros", &zeros)]);
    let dense = |bytes: &[u8]| {
        let expected =
            format!("at `zeros` it becomes more than 10000 bytes, the most for an archive of {}", bytes.len());
        assert_eq!(limited(bytes), Err(expected));
    };
    dense(&gzip(&tar));
    assert_eq!(limited(&tar), Ok(tar.len() as u64), "the same is not too large for what it is");
    let large = tar_of(&[Raw::file("large", &vec![0; 25_000])]);
    assert_eq!(limited(&large).expect_err("too large"), "at `large` it becomes more than 20000 bytes");
    let zip = zip_of(&[("a", 0o100_644, b"1"), ("zeros", 0o100_644, &zeros)]);
    dense(&zip);
    let many: Vec<Raw> = (0..8).map(|i| Raw::file(&format!("f{i}"), b"")).collect();
    assert_eq!(limited(&tar_of(&[many.as_slice(), &[Raw::file("x/y", b"")]].concat())).map(|_| ()), Ok(()));
    let nested = tar_of(&[many.as_slice(), &[Raw::file("x/y/z", b"")]].concat());
    assert_eq!(limited(&nested).expect_err("too many"), "with `x/y/z` it has more than 10 files and folders");
    let long = tar_of(&[Raw::new(EntryType::GNULongName, "l", "", &[b'x'; 101]), Raw::file("x", b"")]);
    assert!(limited(&long).expect_err("too long").ends_with("its path has more than 100 bytes"));
    let header = tar_of(&[Raw::new(EntryType::XHeader, "x", "", &vec![b' '; (1 << 20) + 1])]);
    let told = read(Cursor::new(&header), Limits::default(), &mut Nowhere).expect_err("too long").to_string();
    assert_eq!(told, "`x` is refused: its header has more than 1048576 bytes");
}

/// One way to damage bytes.
#[derive(Debug, Clone)]
enum Damage {
    Set(Index, u8),
    Cut(Index),
    Repeat(Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, value)| Damage::Set(at, value)),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => (any::<Index>(), 1..600_usize).prop_map(|(at, len)| Damage::Repeat(at, len)),
    ]
}

fn raw() -> impl Strategy<Value = Raw> {
    let part = select(["a", "b", "..", ".", "", "l", "c\\"].as_slice());
    let path = || prop::collection::vec(part.clone(), 0..5).prop_map(|parts| parts.join("/"));
    let kind = prop_oneof![6 => select(b"0125LKxg".as_slice()), 1 => any::<u8>()];
    let pax = (select(["path", "linkpath", "size", "x"].as_slice()), path()).prop_map(|(key, value)| {
        let rest = format!(" {key}={value}\n");
        format!("{}{rest}", rest.len() + 2).into_bytes()
    });
    let content = prop_oneof![
        2 => prop::collection::vec(any::<u8>(), 0..40),
        1 => path().prop_map(String::into_bytes),
        1 => pax,
        1 => (0..30_000_usize).prop_map(|len| vec![0; len]),
    ];
    (kind, path(), path(), content).prop_map(|(kind, name, link, content)| Raw {
        kind,
        name,
        link,
        mode: 0o644,
        content,
    })
}

fn sound() -> Vec<Vec<u8>> {
    let zip = zip_of(&[("a/b", 0o100_644, b"some text"), ("l", 0o120_777, b"a/b"), ("c", 0o100_600, &[7; 2_000])]);
    let tar = model_tar();
    vec![zip, gzip(&tar), zstd(&tar), tar]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn hostile_entries_stay_within_their_folder(entries in prop::collection::vec(raw(), 0..12), packed in 0..3_usize) {
        let tar = tar_of(&entries);
        let bytes = [tar.clone(), gzip(&tar), zstd(&tar)][packed].clone();
        crate::fuzz::archive(&bytes);
    }

    #[test]
    fn damaged_archives_are_unpacked_or_refused(
        mut bytes in select(sound()),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        for damage in damages {
            match damage {
                _ if bytes.is_empty() => {}
                Damage::Set(at, value) => { let at = at.index(bytes.len()); bytes[at] = value; }
                Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
                Damage::Repeat(at, len) => {
                    let start = at.index(bytes.len());
                    let copy = bytes[start..bytes.len().min(start + len)].to_vec();
                    bytes.splice(start..start, copy);
                }
            }
        }
        crate::fuzz::archive(&bytes);
    }

    #[test]
    fn hostile_zips_stay_within_their_folder(
        entries in prop::collection::vec((0..6_usize, 0..4_usize, prop::collection::vec(any::<u8>(), 0..60)), 0..8),
    ) {
        const NAMES: [&str; 6] = ["a", "a/b", "l", "l/x", "../x", "a/b/c/"];
        const MODES: [u32; 4] = [0o100_644, 0o120_777, 0o040_755, 0o060_644];
        const TARGETS: [&[u8]; 4] = [b"a/b", b"../..", b"a/../..", b"."];
        let entries: Vec<(&str, u32, &[u8])> = entries
            .iter()
            .map(|(name, mode, content)| {
                let target = TARGETS[content.len() % 4];
                (NAMES[*name], MODES[*mode], if *mode == 1 { target } else { content.as_slice() })
            })
            .collect();
        crate::fuzz::archive(&zip_of(&entries));
    }

    #[test]
    fn random_bytes_are_refused(kind in 0..5_usize, bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let magic: &[u8] = [b"".as_slice(), b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"][kind];
        crate::fuzz::archive(&[magic, &bytes].concat());
    }
}
