//! Trained models as files.
//! Invariant: a file that is read is either a model that answers as the one that was written, or an error that names the
//! file and the part of it that is wrong. What it takes to read a file grows with its size, which has a limit.
//!
//! ```text
//! text     format, method, version; lowercase, words, sublinear; embedding_model
//! arrays   labels; vocabulary, stop_words, idf [columns]; naive_bayes.* or logistic.* [columns, classes] and [classes]
//! ```

use std::path::{Path, PathBuf};

use super::{Head, TextClassifier, VectorClassifier};
use crate::logistic::Logistic;
use crate::naive_bayes::NaiveBayes;
use crate::tensors::{Malformed, Tensors, malformed};
use crate::terms::Terms;
use crate::tfidf::{Analyzer, Tfidf};

/// Bytes that a file may have: 1 GiB.
const LIMIT: u64 = 1 << 30;
/// What a file says it is. Another number is another form.
const FORMAT: &str = "tandem-text-1";
/// Larger numbers could overflow in a sum.
const LARGEST: f64 = 1e100;
/// By how much the logarithm of a probability of 1 may be off.
const ROUNDING: f64 = 1e-9;

/// Why a model was not read or not written.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    /// The file cannot be read.
    #[error("model file {} cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("model file {} cannot be written", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is too large to be a model.
    #[error("model file {} has {bytes} bytes, expected {LIMIT} or fewer", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The file is no model.
    #[error("model file {}: {key}: {problem}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The part of it that is wrong.
        key: String,
        /// What is wrong.
        problem: String,
    },
}

impl TextClassifier {
    /// Writes the model to a file: all of it, or the file is as it was.
    ///
    /// # Errors
    /// [`ModelFileError::Write`].
    pub fn save(&self, path: &Path) -> Result<(), ModelFileError> {
        write(path, &self.to_tensors())
    }

    /// Reads a model.
    ///
    /// # Errors
    /// Any [`ModelFileError`] but [`ModelFileError::Write`].
    pub fn load(path: &Path) -> Result<Self, ModelFileError> {
        read(path, Self::from_tensors)
    }

    fn to_tensors(&self) -> Tensors {
        let mut tensors = Tensors::default();
        tensors.put_text("format", FORMAT);
        tensors.put_text("method", self.method());
        tensors.put_text("version", self.version());
        put_features(&mut tensors, self.features());
        tensors.put_strings("labels", self.labels().iter().map(String::as_str));
        let (columns, classes) = (self.features().width(), self.labels().len());
        match self.head() {
            Head::NaiveBayes(head) => {
                tensors.put_numbers("naive_bayes.log_likelihoods", &[columns, classes], head.log_likelihoods());
                tensors.put_numbers("naive_bayes.log_priors", &[classes], head.log_priors());
            }
            Head::Logistic(head) => put_logistic(&mut tensors, head),
        }
        tensors
    }

    fn from_tensors(tensors: &Tensors) -> Result<Self, Malformed> {
        tensors.choice("format", &[(FORMAT, ())])?;
        let bayes = tensors.choice("method", &[("tfidf+naive-bayes", true), ("tfidf+logistic", false)])?;
        let features = features(tensors)?;
        let head = if bayes {
            let labels = labels(tensors)?;
            let log = |key: &str, shape: &[usize]| {
                tensors.numbers(key, shape, |value| (-LARGEST..=ROUNDING).contains(&value), "a number from -1e100 to 0")
            };
            let log_likelihoods = log("naive_bayes.log_likelihoods", &[features.width(), labels.len()])?;
            let log_priors = log("naive_bayes.log_priors", &[labels.len()])?;
            Head::NaiveBayes(NaiveBayes::from_parts(labels, log_priors, log_likelihoods))
        } else {
            Head::Logistic(logistic(tensors, features.width())?)
        };
        Self::new(features, head, tensors.text("version")?).map_err(|error| malformed("method", error.to_string()))
    }
}

impl VectorClassifier {
    /// Writes the model to a file: all of it, or the file is as it was.
    ///
    /// # Errors
    /// [`ModelFileError::Write`].
    pub fn save(&self, path: &Path) -> Result<(), ModelFileError> {
        let mut tensors = Tensors::default();
        tensors.put_text("format", FORMAT);
        tensors.put_text("method", self.method());
        tensors.put_text("version", &self.version);
        tensors.put_text("embedding_model", &self.embedding_model);
        tensors.put_text("width", &self.head.width().to_string());
        tensors.put_strings("labels", self.head.labels().iter().map(String::as_str));
        put_logistic(&mut tensors, &self.head);
        write(path, &tensors)
    }

    /// Reads a model.
    ///
    /// # Errors
    /// Any [`ModelFileError`] but [`ModelFileError::Write`].
    pub fn load(path: &Path) -> Result<Self, ModelFileError> {
        read(path, |tensors| {
            tensors.choice("format", &[(FORMAT, ())])?;
            tensors.choice("method", &[("vectors+logistic", ())])?;
            let width = tensors.text("width")?.parse().ok().filter(|width| *width > 0);
            let width = width.ok_or_else(|| malformed("width", "it is not a number above 0"))?;
            Ok(Self {
                head: logistic(tensors, width)?,
                embedding_model: tensors.text("embedding_model")?.to_owned(),
                version: tensors.text("version")?.to_owned(),
            })
        })
    }
}

fn put_features(tensors: &mut Tensors, features: &Tfidf) {
    features.analyzer().put(tensors);
    tensors.put_text("sublinear", if features.sublinear() { "true" } else { "false" });
    tensors.put_strings("vocabulary", features.vocabulary());
    tensors.put_numbers("idf", &[features.width()], features.idf());
}

fn features(tensors: &Tensors) -> Result<Tfidf, Malformed> {
    let mut terms = Terms::default();
    tensors.ascending("vocabulary")?.iter().for_each(|term| _ = terms.insert(term));
    let idf = tensors.numbers("idf", &[terms.len()], |idf| (1.0..=100.0).contains(&idf), "a number from 1 to 100")?;
    let sublinear = tensors.choice("sublinear", &[("true", true), ("false", false)])?;
    Ok(Tfidf::from_parts(Analyzer::take(tensors)?, terms, idf, sublinear))
}

fn labels(tensors: &Tensors) -> Result<Vec<String>, Malformed> {
    let labels = tensors.ascending("labels")?;
    if labels.len() < 2 {
        return Err(malformed("labels", format!("there are {}, expected 2 or more", labels.len())));
    }
    Ok(labels.into_iter().map(str::to_owned).collect())
}

fn put_logistic(tensors: &mut Tensors, head: &Logistic) {
    let classes = head.labels().len();
    tensors.put_numbers("logistic.coefficients", &[head.width(), classes], head.coefficients());
    tensors.put_numbers("logistic.intercepts", &[classes], head.intercepts());
}

fn logistic(tensors: &Tensors, width: usize) -> Result<Logistic, Malformed> {
    let labels = labels(tensors)?;
    let numbers = |key: &str, shape: &[usize]| {
        tensors.numbers(key, shape, |value| value.abs() <= LARGEST, "a number from -1e100 to 1e100")
    };
    let coefficients = numbers("logistic.coefficients", &[width, labels.len()])?;
    let intercepts = numbers("logistic.intercepts", &[labels.len()])?;
    Ok(Logistic::from_parts(labels, coefficients, intercepts))
}

/// Writes beside the file and renames, so that no reader sees half of it.
fn write(path: &Path, tensors: &Tensors) -> Result<(), ModelFileError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = std::fs::write(&beside, tensors.encode()).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|source| {
        // What was written in vain is in nobody's way if it cannot be removed either.
        _ = std::fs::remove_file(&beside);
        ModelFileError::Write { path: path.to_owned(), source }
    })
}

fn read<T>(path: &Path, parse: impl FnOnce(&Tensors) -> Result<T, Malformed>) -> Result<T, ModelFileError> {
    use std::io::Read;

    let failed = |source| ModelFileError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let mut bytes = Vec::new();
    // One byte more than the limit tells that there is more, also of what has no size.
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LIMIT {
        return Err(ModelFileError::TooLarge { path: path.to_owned(), bytes: size });
    }
    let parsed = Tensors::decode(&bytes).and_then(|tensors| parse(&tensors));
    parsed.map_err(|Malformed { key, problem }| ModelFileError::Malformed { path: path.to_owned(), key, problem })
}
