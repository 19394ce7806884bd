//! The folder of a model as Hugging Face lays it out, and all that can be wrong with it.
//! Invariant: only files directly in the folder, or in a folder directly in it, are opened, and each is noted as it was before.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde::de::DeserializeOwned;
use tandem_kernels::KernelError;
use tandem_kernels::device::DeviceError;

/// Why a model cannot be used: which file, and what in it. None of these is cured by trying again.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A folder or file that is missing or cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        source: Error,
    },
    /// A file that is no JSON, or lacks a key, or has another type at one.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What and where.
        source: serde_json::Error,
    },
    /// A key with a value that is not supported or does not fit to another.
    #[error("{}: {key} is {got}, expected {expected}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value.
        got: String,
        /// Which values it may have.
        expected: String,
    },
    /// A weights file that is shorter or longer than its header says.
    #[error("{}: has {got} bytes, but its header describes {expected}", path.display())]
    FileLength {
        /// The file.
        path: PathBuf,
        /// Its length.
        got: u64,
        /// The length it must have.
        expected: u64,
    },
    /// A weights file without a tensor that the model has.
    #[error("{}: tensor {tensor} is missing", path.display())]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor of another shape than `config.json` asks for.
    #[error("{}: tensor {tensor} has shape {got:?}, expected {expected:?} by config.json", path.display())]
    TensorShape {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        got: Vec<usize>,
        /// The shape it must have.
        expected: Vec<usize>,
    },
    /// A tensor of numbers that are no floats of 32 or 16 bits.
    #[error("{}: tensor {tensor} has type {got:?}, expected F32, F16 or BF16", path.display())]
    TensorType {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its type.
        got: Dtype,
    },
    /// NaN or infinity in a tensor.
    #[error("{}: value {entry} of tensor {tensor} is {value}, expected a finite number", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Where in it.
        entry: usize,
        /// The number.
        value: f32,
    },
    /// A vocabulary without a token that every text needs.
    #[error("{}: token {token} is missing", path.display())]
    MissingToken {
        /// The file.
        path: PathBuf,
        /// The token.
        token: String,
    },
    /// A precision that this processor lacks, or a shape that the kernels refuse.
    #[error("{}: {source}", path.display())]
    Encoder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: KernelError,
    },
    /// A model that a device does not take.
    #[error("{}: {source}", path.display())]
    Device {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: DeviceError,
    },
}

/// Files that were looked for, as they were before they were read.
#[derive(Debug, Default)]
pub(crate) struct Files(BTreeMap<PathBuf, Option<Stamp>>);

impl Files {
    /// Whether all of them, and those that were missing, are what they were.
    pub(crate) fn are_current(&self) -> bool {
        self.0.iter().all(|(path, stamp)| Stamp::of(path) == *stamp)
    }
}

/// What changes with the content of a file: it is written anew, or another one takes its place.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    /// When content was written; some tools set it back.
    modified: (i64, i64),
    /// When anything of it was changed; nobody can set that back.
    changed: (i64, i64),
}

impl Stamp {
    /// None if there is no such file, or none that can be looked at.
    fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

/// The folder of a model.
pub(crate) struct Folder<'a> {
    path: &'a Path,
    files: RefCell<Files>,
}

impl<'a> Folder<'a> {
    /// The folder, which must be there.
    pub(crate) fn open(path: &'a Path) -> Result<Self, LoadError> {
        let read = |source| LoadError::Read { path: path.to_owned(), source };
        match std::fs::metadata(path).map_err(read)?.is_dir() {
            true => Ok(Self { path, files: RefCell::default() }),
            false => Err(read(Error::from(ErrorKind::NotADirectory))),
        }
    }

    /// The folder's path.
    pub(crate) fn path(&self) -> &Path {
        self.path
    }

    /// The path of a file in it, which is noted as one that is read.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        let mut files = self.files.borrow_mut();
        files.0.entry(path.clone()).or_insert_with(|| Stamp::of(&path));
        path
    }

    /// The files that were read.
    pub(crate) fn into_files(self) -> Files {
        self.files.into_inner()
    }

    /// The text of a file; none if there is no such file.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, LoadError> {
        let path = self.file(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LoadError::Read { path, source }),
        }
    }

    /// What a JSON file says; none if there is no such file.
    pub(crate) fn optional_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, LoadError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let value = serde_json::from_str(&text);
        value.map(Some).map_err(|source| LoadError::Json { path: self.file(name), source })
    }

    /// What a JSON file says.
    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, LoadError> {
        self.optional_json(name)?.ok_or_else(|| self.missing(name))
    }

    /// The error for a file that must be there and is not.
    pub(crate) fn missing(&self, name: &str) -> LoadError {
        LoadError::Read { path: self.file(name), source: Error::new(ErrorKind::NotFound, "no such file") }
    }

    /// The error for a value of a key.
    pub(crate) fn value(
        &self,
        name: &str,
        key: impl Into<String>,
        got: impl ToString,
        expected: impl Into<String>,
    ) -> LoadError {
        LoadError::Value { path: self.file(name), key: key.into(), got: got.to_string(), expected: expected.into() }
    }
}
