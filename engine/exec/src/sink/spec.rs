//! What a job file says about one sink, and what follows from it: one file or a folder, which codec, which file names.

use serde::{Deserialize, Serialize};

use crate::error::PlanError;

/// Size at which a part file is closed and the next begun, unless the job says otherwise.
pub const DEFAULT_TARGET_FILE_BYTES: u64 = 128 << 20;

/// One sink of a job: which files its rows become and what happens to what is there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkSpec {
    /// Its name in counts, staged files and errors; unique in a job.
    pub name: String,
    /// An absolute local path, a `file://` URL or an `s3://` URL. One that ends in a data file's extension is a single
    /// file, any other a folder of part files.
    pub path: String,
    /// What the files hold.
    pub format: SinkFormat,
    /// How the files are compressed; none: by the path's extension, else the format's habit.
    #[serde(default)]
    pub compression: Option<Compression>,
    /// What a JSON file is.
    #[serde(default)]
    pub shape: JsonShape,
    /// Columns that become folders `column=value` and are left out of the files.
    #[serde(default)]
    pub partition_by: Vec<String>,
    /// What happens to what is there already.
    #[serde(default)]
    pub mode: SinkMode,
    /// Encoded size at which a part file is closed and the next begun.
    #[serde(default = "default_target_file_bytes")]
    pub target_file_size_bytes: u64,
}

fn default_target_file_bytes() -> u64 {
    DEFAULT_TARGET_FILE_BYTES
}

/// What a sink's files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkFormat {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values with a header line.
    Csv,
    /// One array of objects, or one object, indented by two spaces. Always a single file.
    Json,
    /// One object per line.
    Jsonl,
    /// Arrow IPC files.
    Arrow,
}

/// What a JSON file is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JsonShape {
    /// An array with an object for each row.
    #[default]
    Array,
    /// One object, of the only row.
    Object,
}

/// What a sink does with data that its target holds already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkMode {
    /// Replaces it, at once and only when the new data is complete.
    Overwrite,
    /// Adds to it.
    Append,
    /// Fails the job before it runs.
    #[default]
    Error,
}

/// How file contents are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// Snappy (Parquet).
    Snappy,
    /// Zstandard level 1 (Parquet, text formats).
    Zstd,
    /// Gzip (Parquet, text formats).
    Gzip,
    /// LZ4 (Parquet, Arrow).
    Lz4,
}

impl SinkFormat {
    /// The format that a path's extension names, if it names one.
    pub fn from_path(path: &str) -> Option<Self> {
        extension_of(path).map(|(format, _)| format)
    }

    /// The usual extension of its files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Arrow => "arrow",
        }
    }

    fn default_compression(self) -> Compression {
        match self {
            Self::Parquet => Compression::Snappy,
            Self::Csv | Self::Json | Self::Jsonl | Self::Arrow => Compression::None,
        }
    }

    fn supports(self, compression: Compression) -> bool {
        use Compression::{Gzip, Lz4, None, Zstd};
        match self {
            Self::Parquet => true,
            Self::Csv | Self::Json | Self::Jsonl => matches!(compression, None | Gzip | Zstd),
            Self::Arrow => matches!(compression, None | Lz4),
        }
    }
}

impl Compression {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Snappy => "snappy",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
        }
    }
}

/// Format and compression that the last name of `path` ends in; nothing for a folder.
fn extension_of(path: &str) -> Option<(SinkFormat, Option<Compression>)> {
    let name = path.rsplit('/').next()?.to_ascii_lowercase();
    let (stem, compression) = match name.rsplit_once('.')? {
        (stem, "gz") => (stem, Some(Compression::Gzip)),
        (stem, "zst") => (stem, Some(Compression::Zstd)),
        _ => (name.as_str(), None),
    };
    let format = match stem.rsplit_once('.')?.1 {
        "parquet" => SinkFormat::Parquet,
        "csv" => SinkFormat::Csv,
        "json" => SinkFormat::Json,
        "jsonl" | "ndjson" => SinkFormat::Jsonl,
        "arrow" | "feather" => SinkFormat::Arrow,
        _ => return None,
    };
    Some((format, compression))
}

impl SinkSpec {
    /// A sink with the defaults of a job file: no partition columns, [`SinkMode::Error`].
    pub fn new(name: impl Into<String>, path: impl Into<String>, format: SinkFormat) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            format,
            compression: None,
            shape: JsonShape::default(),
            partition_by: Vec::new(),
            mode: SinkMode::default(),
            target_file_size_bytes: DEFAULT_TARGET_FILE_BYTES,
        }
    }

    /// Whether all rows go to one file. Such a sink needs a plan with one partition.
    pub fn is_single_file(&self) -> bool {
        self.format == SinkFormat::Json || extension_of(&self.path).is_some()
    }

    /// How its files are compressed.
    pub fn effective_compression(&self) -> Compression {
        let by_extension = extension_of(&self.path).and_then(|(_, compression)| compression);
        self.compression.or(by_extension).unwrap_or_else(|| self.format.default_compression())
    }

    /// Checks what can be checked without looking at data or storage.
    pub fn validate(&self) -> Result<(), PlanError> {
        if let Some((format, packed)) = extension_of(&self.path) {
            if format != self.format {
                return Err(self.invalid(
                    &format!("path {} does not match format {}", self.path, self.format.extension()),
                    &format!("end the path in .{}, or in / for a folder", self.format.extension()),
                ));
            }
            if let (Some(by_extension), Some(asked)) = (packed, self.compression)
                && by_extension != asked
            {
                return Err(self.invalid(
                    &format!("path {} does not match compression {}", self.path, asked.name()),
                    "leave compression out, or change the extension",
                ));
            }
        }
        if self.shape == JsonShape::Object && self.format != SinkFormat::Json {
            let what = format!("{} files are no objects", self.format.extension());
            return Err(self.invalid(&what, "use format = \"json\", or leave shape out"));
        }
        let compression = self.effective_compression();
        if !self.format.supports(compression) {
            return Err(self.invalid(
                &format!("{} files cannot be compressed with {}", self.format.extension(), compression.name()),
                "use none, or zstd or gzip for text and parquet, lz4 for arrow and parquet",
            ));
        }
        if self.is_single_file() && !self.partition_by.is_empty() {
            return Err(self.invalid(
                &format!("partition_by needs a folder, and {} is one file", self.path),
                "give the path of a folder (json is always one file: use jsonl)",
            ));
        }
        if self.is_single_file() && self.mode == SinkMode::Append {
            return Err(self.invalid(
                &format!("cannot append to {}: it is one file", self.path),
                "give the path of a folder, or use mode = \"overwrite\"",
            ));
        }
        if self.target_file_size_bytes == 0 {
            return Err(self.invalid("target_file_size must be more than 0", "leave it out for 128MiB"));
        }
        Ok(())
    }

    /// The error that `what` is wrong with this sink.
    pub(crate) fn invalid(&self, what: &str, help: &str) -> PlanError {
        PlanError::Invalid { message: format!("sink `{}`: {what}", self.name), help: Some(help.to_owned()) }
    }

    /// The extension of a part file, compression included.
    pub(crate) fn part_extension(&self) -> String {
        let packed = match (self.format, self.effective_compression()) {
            (SinkFormat::Parquet | SinkFormat::Arrow, _) => "",
            (_, Compression::Gzip) => ".gz",
            (_, Compression::Zstd) => ".zst",
            _ => "",
        };
        format!("{}{packed}", self.format.extension())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_decides_between_file_and_folder() {
        let single = |path: &str, format| SinkSpec::new("s", path, format).is_single_file();
        assert!(single("/a/out.parquet", SinkFormat::Parquet));
        assert!(single("s3://b/out.csv.gz", SinkFormat::Csv));
        assert!(single("/a/report", SinkFormat::Json));
        assert!(!single("/a/out.parquet/", SinkFormat::Parquet));
        assert!(!single("/a/data.v2", SinkFormat::Parquet));
        assert!(!single("/a.csv/out", SinkFormat::Csv));
    }

    #[test]
    fn compression_comes_from_the_job_then_the_extension_then_the_format() {
        let mut spec = SinkSpec::new("s", "/a/out.csv.zst", SinkFormat::Csv);
        assert_eq!(spec.effective_compression(), Compression::Zstd);
        spec.compression = Some(Compression::Gzip);
        assert!(spec.validate().is_err());
        assert_eq!(SinkSpec::new("s", "/a", SinkFormat::Parquet).effective_compression(), Compression::Snappy);
        let mut folder = SinkSpec::new("s", "/a", SinkFormat::Jsonl);
        folder.compression = Some(Compression::Gzip);
        assert_eq!(folder.part_extension(), "jsonl.gz");
    }

    #[test]
    fn contradictions_are_named() {
        let message = |spec: &SinkSpec| spec.validate().unwrap_err().to_string();
        assert!(
            message(&SinkSpec::new("s", "/a/out.csv", SinkFormat::Parquet)).contains("does not match format parquet")
        );
        let mut spec = SinkSpec::new("s", "/a/out.json", SinkFormat::Json);
        spec.partition_by = vec!["day".into()];
        assert!(message(&spec).contains("partition_by needs a folder"));
        spec.partition_by.clear();
        spec.mode = SinkMode::Append;
        assert!(message(&spec).contains("cannot append"));
        let mut arrow = SinkSpec::new("s", "/a", SinkFormat::Arrow);
        arrow.compression = Some(Compression::Gzip);
        assert!(message(&arrow).contains("cannot be compressed with gzip"));
        let mut object = SinkSpec::new("s", "/a", SinkFormat::Jsonl);
        object.shape = JsonShape::Object;
        assert!(message(&object).contains("jsonl files are no objects"));
    }
}
