//! What a user's path text means: a store, a path in it, and whether it names one file, a folder or a pattern.
//!
//! Names are taken as they are: a `%`, space or `#` in a local path or an S3 key is that character. Only `file://` URLs
//! are percent-decoded. `*` and `?` match within one path segment, a segment `**` matches any number of segments; `[*]`,
//! `[?]` and `[[]` are the characters inside, which is how a location shows those of the folder that it starts from.

use std::fmt;
use std::path::{Component, Path as FsPath, PathBuf};

use object_store::path::Path;
use url::Url;

use super::Storage;
use crate::error::PlanError;

/// A place in a store, as a user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    root: Url,
    path: Path,
    pattern: Option<Pattern>,
    folder: bool,
    text: String,
}

impl Location {
    /// The store it is in, without a path.
    pub fn root(&self) -> &Url {
        &self.root
    }

    /// The path in the store; for a pattern, the folder above its first wildcard.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has wildcards.
    pub fn is_pattern(&self) -> bool {
        self.pattern.is_some()
    }

    /// Whether it ends in `/`, so that it can only be a folder.
    pub fn is_folder(&self) -> bool {
        self.folder
    }

    /// Whether the file at `path`, found here, is named or matches the pattern, and is not merely below a folder that does.
    pub(crate) fn names(&self, path: &str) -> bool {
        !self.folder && (self.is_pattern() || self.path.as_ref() == path)
    }

    /// Whether `name`, which starts with `.` or `_`, matches a part of the pattern that starts so too.
    pub(super) fn spells_out(&self, name: &str) -> bool {
        let spells_out =
            |segment: &Segment| matches!(segment.first(), Some(Mark::Is('.' | '_'))) && segment_matches(segment, name);
        self.pattern.as_ref().is_some_and(|Pattern(segments)| segments.iter().any(spells_out))
    }

    /// Whether a file with this path in the store is meant by the pattern; true for all files when there is none.
    pub(super) fn matches(&self, path: &Path) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.matches(path.as_ref()))
    }

    /// The path on this machine, for a local location.
    pub fn local_path(&self) -> Option<PathBuf> {
        (self.root.scheme() == "file").then(|| PathBuf::from(format!("/{}", self.path)))
    }

    /// The same place by the name that it has without links, whether it exists yet or not.
    pub(crate) fn without_links(mut self) -> Self {
        let real = self.local_path().and_then(|path| Path::parse(without_links(path).to_str()?).ok());
        if let Some(real) = real {
            let fixed = self.path.parts().count();
            if let Some(Pattern(segments)) = &mut self.pattern {
                segments.splice(..fixed, real.parts().map(|part| part.as_ref().chars().map(Mark::Is).collect()));
            }
            self.path = real;
        }
        self
    }

    /// Whether `other`, by its name, is this place or in it: in its folder, or among what its pattern may mean.
    pub(crate) fn holds(&self, other: &Self) -> bool {
        self.root == other.root
            && match &self.pattern {
                None => other.path.prefix_matches(&self.path),
                Some(pattern) => pattern.may_reach(other.path.as_ref()),
            }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Storage {
    /// What `text` means, relative paths being relative to `base_dir`.
    pub fn resolve(&self, text: &str, base_dir: &FsPath) -> Result<Location, PlanError> {
        if text.is_empty() {
            return Err(PlanError::invalid("a path is empty"));
        }
        match text.split_once("://") {
            Some(("file", _)) => {
                let path = Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
                let path = path.ok_or_else(|| PlanError::invalid(format!("not a file URL: {text}")))?;
                // `to_file_path` drops the trailing slash that marks a folder.
                let slash = if text.ends_with('/') { "/" } else { "" };
                local(&format!("{}{slash}", path.to_string_lossy()), base_dir)
            }
            Some((scheme, rest)) if is_scheme(scheme) => remote(text, scheme, rest),
            _ => local(text, base_dir),
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '+')
}

fn remote(text: &str, scheme: &str, rest: &str) -> Result<Location, PlanError> {
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    let root = Url::parse(&format!("{scheme}://{bucket}/"));
    let root = root.map_err(|error| PlanError::invalid(format!("not a storage URL: {text}: {error}")))?;
    if bucket.is_empty() && scheme == "s3" {
        return Err(PlanError::invalid(format!("no bucket in storage URL: {text}")));
    }
    locate(root, key, text.to_owned())
}

fn local(text: &str, base_dir: &FsPath) -> Result<Location, PlanError> {
    let absolute = escaped(base_dir)?.join(text);
    if !absolute.is_absolute() {
        return Err(PlanError::invalid(format!("relative path without a folder to start from: {text}")));
    }
    let normal = without_dots(&absolute);
    let mut path = normal.to_str().map(str::to_owned).ok_or_else(|| not_utf8(&normal))?;
    if text.ends_with('/') && !path.ends_with('/') {
        path.push('/');
    }
    let root = Url::parse("file:///").map_err(|error| PlanError::invalid(error.to_string()))?;
    locate(root, path.trim_start_matches('/'), path.clone())
}

/// A folder as the text of a path in which it is no pattern.
fn escaped(folder: &FsPath) -> Result<PathBuf, PlanError> {
    let text = folder.to_str().ok_or_else(|| not_utf8(folder))?;
    let mut escaped = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if matches!(c, '*' | '?') || escape_at(&text[at..]).is_some() {
            escaped.extend(['[', c, ']']);
        } else {
            escaped.push(c);
        }
    }
    Ok(escaped.into())
}

fn not_utf8(path: &FsPath) -> PlanError {
    PlanError::invalid(format!("path is not UTF-8: {}", path.display()))
}

/// `path` without links: those above what exists are followed, and the rest is kept.
fn without_links(path: PathBuf) -> PathBuf {
    let real = path.ancestors().find_map(|above| {
        let (real, rest) = (above.canonicalize().ok()?, path.strip_prefix(above).ok()?);
        Some(if rest.as_os_str().is_empty() { real } else { real.join(rest) })
    });
    real.unwrap_or(path)
}

/// Resolves `.` and `..` by name alone, as a shell's `cd` does.
fn without_dots(path: &FsPath) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

fn locate(root: Url, key: &str, text: String) -> Result<Location, PlanError> {
    let folder = key.is_empty() || key.ends_with('/');
    let trimmed = key.trim_end_matches('/');
    let segments: Vec<Segment> = trimmed.split('/').map(marks).collect();
    let names: Vec<String> = segments.iter().map_while(|segment| name_of(segment)).collect();
    let path = Path::parse(names.join("/"));
    let path = path.map_err(|error| PlanError::invalid(format!("invalid path: {text}: {error}")))?;
    let pattern = (names.len() < segments.len()).then(|| Pattern::new(segments, folder));
    Ok(Location { root, path, pattern, folder, text })
}

/// What one character of a pattern stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// Any number of characters.
    Any,
    /// Any character.
    One,
    /// This one.
    Is(char),
}

/// One segment of a path that may be a pattern.
type Segment = Vec<Mark>;

/// A segment that stands for any number of segments.
const FOLDERS: [Mark; 2] = [Mark::Any, Mark::Any];

fn marks(segment: &str) -> Segment {
    let mut marks = Vec::new();
    let mut rest = segment;
    while let Some(first) = rest.chars().next() {
        let (mark, length) = match (escape_at(rest), first) {
            (Some(c), _) => (Mark::Is(c), "[*]".len()),
            (None, '*') => (Mark::Any, 1),
            (None, '?') => (Mark::One, 1),
            (None, c) => (Mark::Is(c), c.len_utf8()),
        };
        marks.push(mark);
        rest = &rest[length..];
    }
    marks
}

/// The character that `text` begins with, in brackets so that it is no pattern.
fn escape_at(text: &str) -> Option<char> {
    ['*', '?', '[']
        .into_iter()
        .find(|c| text.strip_prefix('[').and_then(|text| text.strip_prefix(*c)?.strip_prefix(']')).is_some())
}

/// The only name that a segment stands for.
fn name_of(segment: &[Mark]) -> Option<String> {
    segment.iter().map(|mark| if let Mark::Is(c) = mark { Some(*c) } else { None }).collect()
}

/// A glob over whole paths, segment by segment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(Vec<Segment>);

impl Pattern {
    fn new(mut segments: Vec<Segment>, folder: bool) -> Self {
        if folder {
            segments.push(FOLDERS.to_vec());
        }
        Self(segments)
    }

    fn matches(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').collect();
        wildcard_match(&self.0, &names, |segment| *segment == FOLDERS, |segment, name| segment_matches(segment, name))
    }

    /// Whether it may match `path` or something below.
    fn may_reach(&self, path: &str) -> bool {
        let mut segments = self.0.iter();
        path.split('/').all(|name| match segments.as_slice().first() {
            // Whatever follows, any number of folders may come before it.
            Some(segment) if *segment == FOLDERS => true,
            _ => segments.next().is_some_and(|segment| segment_matches(segment, name)),
        })
    }
}

/// Whether `name` is what one segment of a pattern means.
fn segment_matches(segment: &[Mark], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    wildcard_match(segment, &name, |&mark| mark == Mark::Any, |&mark, &n| mark == Mark::One || mark == Mark::Is(n))
}

/// Whether `items` match `pattern`, in which items that are `any` match any number of items, none included. Only the
/// last such item is ever tried again, so the time is bounded by the product of the lengths.
fn wildcard_match<P, T>(pattern: &[P], items: &[T], any: impl Fn(&P) -> bool, one: impl Fn(&P, &T) -> bool) -> bool {
    let (mut p, mut i) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while i < items.len() {
        if p < pattern.len() && any(&pattern[p]) {
            retry = Some((p + 1, i));
            p += 1;
        } else if p < pattern.len() && one(&pattern[p], &items[i]) {
            p += 1;
            i += 1;
        } else if let Some((after, from)) = retry {
            retry = Some((after, from + 1));
            p = after;
            i = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(any)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn resolve(text: &str) -> Location {
        Storage::new(BTreeMap::new()).resolve(text, FsPath::new("/base/dir")).unwrap()
    }

    #[test]
    fn paths_are_taken_as_they_are() {
        for (text, path) in [
            ("a.csv", "base/dir/a.csv"),
            ("./x/../a.csv", "base/dir/a.csv"),
            ("../a.csv", "base/a.csv"),
            ("/a b%20#1.csv", "a b%20#1.csv"),
            ("file:///a%20b.csv", "a b.csv"),
            ("s3://bucket/a%20b/ü.csv", "a%20b/ü.csv"),
            ("weird:name.csv", "base/dir/weird:name.csv"),
        ] {
            let location = resolve(text);
            assert_eq!(location.path().as_ref(), path, "{text}");
            assert!(!location.is_pattern() && !location.is_folder(), "{text}");
        }
        assert_eq!(resolve("s3://bucket/k").root().as_str(), "s3://bucket/");
        assert_eq!(resolve("/a/b").local_path(), Some(PathBuf::from("/a/b")));
    }

    #[test]
    fn folders_and_patterns_are_told_apart() {
        assert!(resolve("x/").is_folder());
        assert!(resolve("s3://bucket").is_folder());
        let location = resolve("/d/year=*/part-?.csv");
        assert!(location.is_pattern());
        assert_eq!(location.path().as_ref(), "d");
    }

    #[test]
    fn the_folder_that_paths_start_from_is_no_pattern() {
        let storage = Storage::new(BTreeMap::new());
        let from = |text: &str| storage.resolve(text, FsPath::new("/a*[b]/c?[*]")).unwrap();
        for (text, path, is_pattern) in [
            ("x.csv", "a*[b]/c?[*]/x.csv", false),
            ("../x.csv", "a*[b]/x.csv", false),
            ("d/*.csv", "a*[b]/c?[*]/d", true),
            ("d[*]/x[1].csv", "a*[b]/c?[*]/d*/x[1].csv", false),
            ("/d/[[]?].csv", "d", true),
        ] {
            let location = from(text);
            assert_eq!((location.path().as_ref(), location.is_pattern()), (path, is_pattern), "{text}");
            assert_eq!(storage.resolve(&location.to_string(), FsPath::new("")).unwrap(), location, "{text}");
        }
        assert!(from("*.csv").matches(&Path::parse("a*[b]/c?[*]/x.csv").unwrap()));
        assert!(!from("*.csv").matches(&Path::parse("aX[b]/c?[*]/x.csv").unwrap()));
        assert!(from("/d/[[]?].csv").matches(&Path::parse("d/[1].csv").unwrap()));
        assert_eq!(from("x").local_path(), Some(PathBuf::from("/a*[b]/c?[*]/x")));
        assert_eq!(from("../x").to_string(), "/a[*][b]/x");
    }

    #[test]
    fn wildcards_match_within_a_segment_and_double_stars_across() {
        for (pattern, path, expected) in [
            ("/d/*.csv", "d/a.csv", true),
            ("/d/*.csv", "d/x/a.csv", false),
            ("/d/**/*.csv", "d/a.csv", true),
            ("/d/**/*.csv", "d/x/y/a.csv", true),
            ("/d/**", "d/x/y", true),
            ("/d/a?c", "d/abc", true),
            ("/d/a?c", "d/a/c", false),
            ("/d/a*b*c", "d/aXbYbc", true),
            ("/d/a*b*c", "d/aXbYb", false),
            ("/d/ü?", "d/üé", true),
            ("/d/*/", "d/x/y.csv", true),
            ("/d/**/x/**/y", "d/1/x/2/3/y", true),
        ] {
            let location = resolve(pattern);
            assert_eq!(location.matches(&Path::parse(path).unwrap()), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_place_holds_what_is_in_it_or_what_its_pattern_may_mean() {
        for (place, other, expected) in [
            ("/d", "/d", true),
            ("/d/", "/d/x/y.csv", true),
            ("/d", "/d2", false),
            ("/d/x", "/d", false),
            ("/d/*.csv", "/d/out.csv", true),
            ("/d/*.csv", "/d/out", false),
            ("/d/*/a.csv", "/d/out", true),
            ("/d/*/a.csv", "/d/out/b.csv", false),
            ("/d/*/", "/d/out/deep", true),
            ("/d/**/a.csv", "/d/out/deep", true),
            ("/d/x[1]", "/d/x1", false),
            ("s3://b/d", "s3://b/d/x", true),
            ("s3://b/d", "s3://c/d/x", false),
            ("/d", "s3://b/d", false),
        ] {
            assert_eq!(resolve(place).holds(&resolve(other)), expected, "{place} {other}");
        }
    }

    #[test]
    fn links_are_followed_in_paths_and_patterns() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("data")).unwrap();
        std::os::unix::fs::symlink(real.join("data"), real.join("link")).unwrap();
        let named = |path: &str| resolve(real.join(path).to_str().unwrap());
        assert_eq!(named("link/new/out").without_links().path(), named("data/new/out").path());
        let pattern = named("link/new/*.csv").without_links();
        assert!(pattern.is_pattern() && pattern.matches(named("data/new/a.csv").path()));
        assert!(!pattern.matches(named("link/new/a.csv").path()));
        std::fs::create_dir(real.join("data/new")).unwrap();
        assert_eq!(named("link/new/*.csv").without_links(), pattern);
    }

    #[test]
    fn a_pattern_of_many_stars_is_not_slow() {
        let location = resolve(&format!("/{}b", "a*".repeat(40)));
        assert!(!location.matches(&Path::parse("a".repeat(2_000)).unwrap()));
    }

    #[test]
    fn nonsense_is_refused() {
        let storage = Storage::new(BTreeMap::new());
        for text in ["", "s3:///key", "s3://bucket/a//b", "s3://bucket/../x", "a\u{7}b"] {
            assert!(storage.resolve(text, FsPath::new("/base")).is_err(), "{text:?}");
        }
        assert!(storage.resolve("a", FsPath::new("relative")).is_err());
    }
}
