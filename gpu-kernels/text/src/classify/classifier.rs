//! A trained model that puts texts into classes: TF-IDF rows, and a head that reads them.

use std::num::NonZeroUsize;

use crate::FitError;
use crate::claim::for_batches;
use crate::logistic::Logistic;
use crate::naive_bayes::{NaiveBayes, best};
use crate::rows::Row;
use crate::tfidf::{RowBuffer, Tfidf};

/// Texts that a thread classifies before it claims more.
const BATCH: usize = 256;

/// What reads the rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Head {
    /// Multinomial naive Bayes.
    NaiveBayes(NaiveBayes),
    /// Logistic regression.
    Logistic(Logistic),
}

impl Head {
    /// The classes, ascending.
    pub fn labels(&self) -> &[String] {
        match self {
            Self::NaiveBayes(model) => model.labels(),
            Self::Logistic(model) => model.labels(),
        }
    }

    fn width(&self) -> usize {
        match self {
            Self::NaiveBayes(model) => model.width(),
            Self::Logistic(model) => model.width(),
        }
    }

    fn log_probabilities(&self, row: Row<'_>, scores: &mut [f64]) {
        match self {
            Self::NaiveBayes(model) => model.log_probabilities(row, scores),
            Self::Logistic(model) => model.log_probabilities(row, scores),
        }
    }
}

/// The class of one text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// Its number among the labels.
    pub class: usize,
    /// How likely the class is, by the model.
    pub probability: f64,
    /// How many different terms of the text the model knows. With 0, the answer is what the model expects of any text.
    pub known_terms: usize,
}

/// A trained model.
#[derive(Debug, Clone, PartialEq)]
pub struct TextClassifier {
    features: Tfidf,
    head: Head,
    version: String,
}

impl TextClassifier {
    /// Puts a model together. `version` is whatever its owner calls it.
    ///
    /// # Errors
    /// [`FitError::Length`] if the head reads rows of another width.
    pub fn new(features: Tfidf, head: Head, version: impl Into<String>) -> Result<Self, FitError> {
        FitError::check_length("the head's row", head.width(), features.width())?;
        Ok(Self { features, head, version: version.into() })
    }

    /// The classes, ascending.
    pub fn labels(&self) -> &[String] {
        self.head.labels()
    }

    /// How it works, to be recorded beside its answers: `tfidf+naive-bayes` or `tfidf+logistic`.
    pub fn method(&self) -> &'static str {
        match self.head {
            Head::NaiveBayes(_) => "tfidf+naive-bayes",
            Head::Logistic(_) => "tfidf+logistic",
        }
    }

    /// What its owner calls it, to be recorded beside its answers.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What makes rows of texts.
    pub fn features(&self) -> &Tfidf {
        &self.features
    }

    /// What reads the rows.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The class of each text, found on `threads` threads.
    pub fn predict(&self, texts: &[impl AsRef<str> + Sync], threads: NonZeroUsize) -> Vec<Prediction> {
        let none = Prediction { class: 0, probability: 0.0, known_terms: 0 };
        let mut predictions = vec![none; texts.len()];
        for_batches(
            threads,
            &mut predictions,
            BATCH,
            || Desk::new(self),
            |desk, first, predictions| {
                for (text, prediction) in texts[first..].iter().zip(predictions) {
                    *prediction = self.predict_one(text.as_ref(), desk);
                }
            },
        );
        predictions
    }

    /// ln P(class | text): for each text those of all classes, found on `threads` threads.
    pub fn log_probabilities(&self, texts: &[impl AsRef<str> + Sync], threads: NonZeroUsize) -> Vec<f64> {
        let classes = self.labels().len();
        let mut scores = vec![0.0; texts.len() * classes];
        for_batches(
            threads,
            &mut scores,
            BATCH * classes,
            || Desk::new(self),
            |desk, first, scores| {
                for (text, scores) in texts[first / classes..].iter().zip(scores.chunks_exact_mut(classes)) {
                    self.head.log_probabilities(self.features.row(text.as_ref(), &mut desk.row), scores);
                }
            },
        );
        scores
    }

    pub(super) fn predict_one(&self, text: &str, desk: &mut Desk) -> Prediction {
        let row = self.features.row(text, &mut desk.row);
        self.head.log_probabilities(row, &mut desk.scores);
        let class = best(&desk.scores);
        Prediction { class, probability: libm::exp(desk.scores[class]), known_terms: row.columns.len() }
    }
}

/// Buffers that many texts share.
#[derive(Debug)]
pub(super) struct Desk {
    row: RowBuffer,
    scores: Vec<f64>,
}

impl Desk {
    pub(super) fn new(model: &TextClassifier) -> Self {
        Self { row: RowBuffer::new(&model.features), scores: vec![0.0; model.labels().len()] }
    }
}
