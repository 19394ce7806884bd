//! Classes of texts by a trained model, and what articles get of them: a topic, a tone.
//!
//!   texts, labels ─[`Recipe`]─► [`TextClassifier`] ─► file ─► ... ─► [`TopicClassifier`], [`ToneClassifier`] ─► articles
//!   vectors, labels ─[`crate::logistic`]─► [`VectorClassifier`] ─► file ─► ... ─► probabilities
//!
//! Answers do not depend on the number of threads, nor on which texts share a call.

mod article;
mod classifier;
mod file;
mod recipe;
mod vectors;

pub use article::{
    Article, ArticleTone, ArticleTopic, Basis, Scores, TOPICS, ToneClassifier, TopicClassifier, UnknownTone,
};
pub use classifier::{Head, Prediction, TextClassifier};
pub use file::ModelFileError;
pub use recipe::{HeadRecipe, Recipe};
pub use vectors::VectorClassifier;
