//! A trained model that puts vectors of an embedding model into classes.

use crate::logistic::Logistic;

/// A softmax head, and which embedding model's vectors it reads: those of another mean nothing to it.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorClassifier {
    /// The head.
    pub head: Logistic,
    /// Name and version of the embedding model.
    pub embedding_model: String,
    /// What its owner calls this model, to be recorded beside its answers.
    pub version: String,
}

impl VectorClassifier {
    /// How it works, to be recorded beside its answers.
    pub fn method(&self) -> &'static str {
        "vectors+logistic"
    }
}
