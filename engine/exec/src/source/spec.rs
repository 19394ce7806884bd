//! What a job file says about one source, and what follows from it: which format, which files, which dialect.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::PlanError;
use crate::storage::{FileEntry, Location};

/// One source of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSpec {
    /// The table's name in SQL, in counts and in errors.
    pub name: String,
    /// A file, folder or pattern, local or `s3://`; or several.
    pub path: Paths,
    /// What the files hold; none: by their extension.
    #[serde(default)]
    pub format: Option<SourceFormat>,
    /// How the files are compressed; none: by their extension.
    #[serde(default)]
    pub compression: Option<Compression>,
    /// The columns, such as `id string not null, quantity int`; none: found out from a sample of the data.
    #[serde(default)]
    pub schema: Option<String>,
    /// What happens to a row that cannot be read; none: reject if there is a place for rejects, else fail.
    #[serde(default)]
    pub on_bad_row: Option<OnBadRow>,
    /// The folder that rejected rows are written to.
    #[serde(default)]
    pub rejects: Option<String>,
    /// CSV: whether the first record names the columns. Default true.
    #[serde(default)]
    pub header: Option<bool>,
    /// CSV: what separates fields. Default `,`, or a tab for `.tsv` files.
    #[serde(default)]
    pub delimiter: Option<char>,
    /// CSV: what encloses a field that holds delimiters, quotes or line ends. Default `"`; the empty text for none.
    #[serde(default)]
    pub quote: Option<String>,
    /// The folder that relative paths start from. Set by whoever read the job file.
    #[serde(skip)]
    pub base_dir: PathBuf,
}

/// One path or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Paths {
    /// One path.
    One(String),
    /// Several, read as one table.
    Many(Vec<String>),
}

impl Default for Paths {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Paths {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::One(path) => std::slice::from_ref(path).iter().map(String::as_str),
            Self::Many(paths) => paths.iter().map(String::as_str),
        }
    }

    /// Each of them, to be changed in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut String> {
        match self {
            Self::One(path) => std::slice::from_mut(path).iter_mut(),
            Self::Many(paths) => paths.iter_mut(),
        }
    }
}

/// What a source's files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceFormat {
    /// Comma-separated values.
    Csv,
    /// Tab-separated values: CSV with another delimiter.
    Tsv,
    /// One JSON object per line.
    #[serde(alias = "ndjson")]
    Jsonl,
    /// One JSON array of objects, or one object per line.
    Json,
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC files.
    #[serde(alias = "feather")]
    Arrow,
}

/// How a text file is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Gzip, of one or more members.
    #[serde(alias = "gz")]
    Gzip,
    /// Zstandard, of one or more frames.
    #[serde(alias = "zst")]
    Zstd,
}

/// What happens to a row that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadRow {
    /// It is left out and written to the rejects, with the reason.
    Reject,
    /// It fails the job.
    Fail,
    /// It is kept, with nulls for what cannot be read.
    Null,
}

impl SourceFormat {
    /// Its name in job files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Jsonl => "jsonl",
            Self::Json => "json",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }

    /// Whether files of this format are read by [`super::ScanExec`] and not by DataFusion's own readers.
    pub(crate) fn is_text(self) -> bool {
        !matches!(self, Self::Parquet | Self::Arrow)
    }

    /// Whether a file is of this format, judged by its extension alone.
    pub(crate) fn includes(self, other: Self) -> bool {
        let is_json = |format| matches!(format, Self::Json | Self::Jsonl);
        let is_csv = |format| matches!(format, Self::Csv | Self::Tsv);
        self == other || (is_json(self) && is_json(other)) || (is_csv(self) && is_csv(other))
    }
}

/// The format and compression that a file name's extensions say.
pub(crate) fn by_extension(path: &str) -> (Option<SourceFormat>, Compression) {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let (stem, compression) = match name.rsplit_once('.') {
        Some((stem, "gz")) => (stem, Compression::Gzip),
        Some((stem, "zst")) => (stem, Compression::Zstd),
        _ => (name.as_str(), Compression::None),
    };
    let format = match stem.rsplit_once('.').map(|(_, extension)| extension) {
        Some("csv") => Some(SourceFormat::Csv),
        Some("tsv") => Some(SourceFormat::Tsv),
        Some("jsonl" | "ndjson") => Some(SourceFormat::Jsonl),
        Some("json") => Some(SourceFormat::Json),
        Some("parquet") => Some(SourceFormat::Parquet),
        Some("arrow" | "feather") => Some(SourceFormat::Arrow),
        _ => None,
    };
    (format, compression)
}

impl SourceSpec {
    /// A source with everything left to be found out, as `--table name=path` means it.
    pub fn new(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self { name: name.into(), path: Paths::One(path.into()), ..Self::default() }
    }

    /// What happens to a row that cannot be read.
    pub fn bad_row_policy(&self) -> OnBadRow {
        self.on_bad_row.unwrap_or(if self.rejects.is_some() { OnBadRow::Reject } else { OnBadRow::Fail })
    }

    /// Checks what can be checked without looking at storage.
    pub fn validate(&self) -> Result<(), PlanError> {
        if self.path.iter().next().is_none() {
            return Err(self.invalid("it has no path", "give a file, a folder or a pattern"));
        }
        if self.bad_row_policy() == OnBadRow::Reject && self.rejects.is_none() {
            return Err(self.invalid(
                "on_bad_row = \"reject\" needs a folder for the rejects",
                "add rejects = \"out/rejects\", or use on_bad_row = \"fail\" or \"null\"",
            ));
        }
        self.single_byte("delimiter", self.delimiter)?;
        self.quote_char()?;
        Ok(())
    }

    /// The byte between CSV fields of files with this format.
    pub(crate) fn delimiter_byte(&self, format: SourceFormat) -> Result<u8, PlanError> {
        let default = if format == SourceFormat::Tsv { b'\t' } else { b',' };
        Ok(self.single_byte("delimiter", self.delimiter)?.unwrap_or(default))
    }

    /// The byte around quoted CSV fields, if there are such.
    pub(crate) fn quote_byte(&self) -> Result<Option<u8>, PlanError> {
        match &self.quote {
            None => Ok(Some(b'"')),
            Some(text) if text.is_empty() => Ok(None),
            Some(_) => self.single_byte("quote", self.quote_char()?),
        }
    }

    fn quote_char(&self) -> Result<Option<char>, PlanError> {
        let mut chars = self.quote.as_deref().unwrap_or_default().chars();
        let first = chars.next();
        match chars.next() {
            None => Ok(first),
            Some(_) => Err(self.invalid("quote must be one character", "use quote = \"\" for files without quotes")),
        }
    }

    fn single_byte(&self, what: &str, value: Option<char>) -> Result<Option<u8>, PlanError> {
        match value {
            Some(c) if !c.is_ascii() || c == '\n' || c == '\r' => {
                Err(self
                    .invalid(&format!("{what} must be one ASCII character other than a line end"), "use , ; | or \\t"))
            }
            other => Ok(other.map(|c| c as u8)),
        }
    }

    /// The format of the files that were found at each location, and those of them that are read: all that are named or
    /// match a pattern, and of those below a folder the ones whose names fit the format.
    pub(crate) fn select(
        &self,
        found: Vec<(Location, Vec<FileEntry>)>,
    ) -> Result<(SourceFormat, Vec<FileEntry>), PlanError> {
        let all = || found.iter().flat_map(|(_, files)| files);
        let named = || found.iter().flat_map(|(place, files)| files.iter().filter(|file| place.names(&file.path)));
        let format_of = |file: &FileEntry| by_extension(&file.path).0;
        let Some(format) = self.format.or_else(|| named().chain(all()).find_map(format_of)) else {
            let example = all().next().map(ToString::to_string).unwrap_or_default();
            return Err(self.invalid(
                &format!("cannot tell the format from the name: {example}"),
                "add format = \"csv\", \"jsonl\", \"json\", \"parquet\" or \"arrow\"",
            ));
        };
        let fits = |file: &FileEntry| match format_of(file) {
            Some(other) => format.includes(other),
            None => self.format.is_some() && !has_extension(&file.path),
        };
        if let Some(odd) = named().find(|file| self.format.is_none() && !fits(file)) {
            let example = named().chain(all()).find(|file| fits(file)).map(ToString::to_string).unwrap_or_default();
            let name = format.name();
            return Err(self.invalid(
                &format!("its files differ in format: {example} is a {name} file by its name, {odd} is not"),
                &format!("name files of one format, or add format = \"{name}\" if all of them are such"),
            ));
        }
        let mut wanted = Vec::new();
        for (place, files) in found {
            let before = wanted.len();
            wanted.extend(files.into_iter().filter(|file| place.names(&file.path) || fits(file)));
            if wanted.len() == before {
                let help = "check path and format; in a folder, only files with such an ending count, \
                            unless a pattern such as folder/* names them";
                return Err(self.invalid(&format!("no file is a {} file: {place}", format.name()), help));
            }
        }
        Ok((format, wanted))
    }

    /// How `file` is compressed.
    pub(crate) fn compression_of(&self, file: &FileEntry) -> Compression {
        self.compression.unwrap_or_else(|| by_extension(&file.path).1)
    }

    /// The error that `what` is wrong with this source.
    pub(crate) fn invalid(&self, what: &str, help: &str) -> PlanError {
        PlanError::Invalid {
            message: format!("source `{}`: {what}", self.name),
            help: (!help.is_empty()).then(|| help.to_owned()),
        }
    }
}

fn has_extension(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.contains('.'))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::storage::Storage;

    fn file(path: &str) -> FileEntry {
        FileEntry { root: "file:///".into(), path: path.into(), size: 1, etag: None, modified_ms: 0 }
    }

    #[test]
    fn extensions_say_format_and_compression() {
        for (name, format, compression) in [
            ("a/b.CSV", Some(SourceFormat::Csv), Compression::None),
            ("b.tsv.gz", Some(SourceFormat::Tsv), Compression::Gzip),
            ("b.ndjson.zst", Some(SourceFormat::Jsonl), Compression::Zstd),
            ("b.feather", Some(SourceFormat::Arrow), Compression::None),
            ("part-0001", None, Compression::None),
            ("dir.csv/x", None, Compression::None),
        ] {
            assert_eq!(by_extension(name), (format, compression), "{name}");
        }
    }

    /// A path and the files found there.
    type Found<'a> = (&'a str, &'a [&'a str]);

    /// What a source takes of them.
    fn selected(format: Option<SourceFormat>, found: &[Found]) -> Result<(SourceFormat, Vec<String>), String> {
        let storage = Storage::new(BTreeMap::new());
        let listed = |(path, files): &Found| {
            (storage.resolve(path, Path::new("/")).unwrap(), files.iter().map(|path| file(path)).collect())
        };
        let spec = SourceSpec { format, ..SourceSpec::new("s", "") };
        let (format, files) =
            spec.select(found.iter().map(listed).collect()).map_err(|error: PlanError| error.to_string())?;
        Ok((format, files.into_iter().map(|file| file.path).collect()))
    }

    #[test]
    fn a_folder_of_several_kinds_gives_one_kind() {
        let folder: Found = ("d", &["d/README.md", "d/a.csv", "d/b.csv.gz", "d/c.parquet", "d/part-0"]);
        let (format, files) = selected(None, &[folder]).unwrap();
        assert_eq!((format, files), (SourceFormat::Csv, vec!["d/a.csv".to_owned(), "d/b.csv.gz".to_owned()]));
        let (_, files) = selected(Some(SourceFormat::Csv), &[folder]).unwrap();
        assert_eq!(files, ["d/a.csv", "d/b.csv.gz", "d/part-0"]);
        // What is named says more than what a folder holds.
        let (format, files) = selected(None, &[folder, ("e/c.parquet", &["e/c.parquet"])]).unwrap();
        assert_eq!((format, files.join(" ").as_str()), (SourceFormat::Parquet, "d/c.parquet e/c.parquet"));
        let error = selected(None, &[("d", &["d/part-0"])]).unwrap_err();
        assert!(error.contains("cannot tell the format from the name: /d/part-0"), "{error}");
        let error = selected(None, &[("a.csv", &["a.csv"]), ("d", &["d/a.jsonl"])]).unwrap_err();
        assert!(error.contains("no file is a csv file: /d"), "{error}");
    }

    #[test]
    fn no_file_that_is_named_is_left_out() {
        let csv = Some(SourceFormat::Csv);
        let texts: Found = ("d/*", &["d/a.csv", "d/b.txt", "d/part-2024.01"]);
        assert_eq!(selected(csv, &[texts, ("e.jsonl", &["e.jsonl"])]).unwrap().1.len(), 4);
        let cases: [(&[Found], &str); 4] = [
            (&[texts], "/d/b.txt"),
            (&[("1.csv", &["1.csv"]), ("2.jsonl", &["2.jsonl"])], "/2.jsonl"),
            (&[("m/*", &["m/1.parquet", "m/2.csv"])], "/m/2.csv"),
            (&[("1.txt", &["1.txt"]), ("d", &["d/a.csv"])], "/1.txt"),
        ];
        for (found, odd) in cases {
            let error = selected(None, found).unwrap_err();
            assert!(error.contains("differ in format") && error.contains(&format!("{odd} is not")), "{error}");
        }
        let (_, files) = selected(None, &[("d/*/", &["d/x/a.csv", "d/x/b.txt"])]).unwrap();
        assert_eq!(files, ["d/x/a.csv"], "a pattern that ends in / names folders");
    }

    #[test]
    fn contradictions_are_named() {
        let reject = SourceSpec { on_bad_row: Some(OnBadRow::Reject), ..SourceSpec::new("s", "a.csv") };
        assert!(reject.validate().unwrap_err().to_string().contains("rejects"));
        let wide = SourceSpec { delimiter: Some('é'), ..SourceSpec::new("s", "a.csv") };
        assert!(wide.validate().unwrap_err().to_string().contains("delimiter"));
        let long = SourceSpec { quote: Some("''".into()), ..SourceSpec::new("s", "a.csv") };
        assert!(long.validate().unwrap_err().to_string().contains("quote"));
        assert_eq!(SourceSpec { quote: Some(String::new()), ..SourceSpec::new("s", "a") }.quote_byte().unwrap(), None);
        assert!(SourceSpec::default().validate().is_err());
    }
}
