//! Vectors and classes of texts, by models of the user's, in whatever task or actor asks for them. Nothing comes from the network.
//!
//! A model takes a while to load: an actor keeps one for all of its calls.
//!
//! ```
//! use tandem::prelude::*;
//! use tandem::texts::{Encoder, Precision};
//!
//! struct Embedder {
//!     encoder: Encoder,
//! }
//!
//! #[tandem::actor]
//! impl Embedder {
//!     fn new(folder: String) -> Result<Self> {
//!         Ok(Self { encoder: Encoder::open(&folder, Precision::Auto)? })
//!     }
//!
//!     fn embed(&self, rows: Batches) -> Result<Batches> {
//!         Ok(self.encoder.embed(&rows, "content", "embedding")?)
//!     }
//! }
//! ```
//!
//! A call uses one processor.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, Float32Array, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use tandem_text::classify::TextClassifier;
use tandem_text::columns::vector_type;
use tandem_text::model::{self, Model, ModelPrecision};

pub use tandem_text::LoadError;
pub use tandem_text::classify::ModelFileError;
pub use tandem_text::embed::EmbedError;

use crate::value::Batches;

const THREADS: NonZeroUsize = NonZeroUsize::MIN;

/// What an [`Encoder`] computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// [`Precision::Bf16`] where the processor has it, else [`Precision::F32`].
    #[default]
    Auto,
    /// The same bits on every processor.
    F32,
    /// Weights and products of 16 bits.
    Bf16,
    /// Weights and products of 8 bits.
    Int8,
}

impl From<Precision> for ModelPrecision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Auto => Self::Auto,
            Precision::F32 => Self::Only(model::Precision::F32),
            Precision::Bf16 => Self::Only(model::Precision::Bf16),
            Precision::Int8 => Self::Only(model::Precision::Int8),
        }
    }
}

/// Why texts have no vectors or classes.
#[derive(Debug, thiserror::Error)]
pub enum TextsError {
    /// The folder of a sentence encoder cannot be used.
    #[error(transparent)]
    Encoder(#[from] LoadError),
    /// The file of a classifier cannot be used.
    #[error("{}{}", .0, cause(.0))]
    Classifier(#[from] ModelFileError),
    /// The rows have no such column, or one that is no text.
    #[error("{0}")]
    Column(String),
    /// The encoder gave something that is no number.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The columns do not fit together.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
}

/// What an error does not say itself.
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(String::new, |cause| format!(": {cause}"))
}

/// A sentence encoder in a folder in the layout of Hugging Face.
pub struct Encoder(Model);

impl Encoder {
    /// Loads the model in `folder`.
    ///
    /// # Errors
    /// Names the file, and what in it is missing or wrong.
    pub fn open(folder: impl AsRef<Path>, precision: Precision) -> Result<Self, TextsError> {
        Ok(Self(Model::load(folder.as_ref(), precision.into())?))
    }

    /// Values of a vector.
    pub fn dimension(&self) -> usize {
        self.0.dimension()
    }

    /// The vector of one text, such as one that is searched for; none if nothing in it is a token.
    ///
    /// # Errors
    /// [`TextsError::Embed`].
    pub fn vector(&self, text: &str) -> Result<Option<Vec<f32>>, TextsError> {
        Ok(self.0.embed(&[text], THREADS.get())?.vector(0).map(<[f32]>::to_vec))
    }

    /// `rows` with one column more, `output`: the vectors of the texts in `column`. A text that is null, or in which nothing is
    /// a token, has none. A text has the same vector in any batch.
    ///
    /// # Errors
    /// A column that is missing, or no text, or there already.
    pub fn embed(&self, rows: &Batches, column: &str, output: &str) -> Result<Batches, TextsError> {
        let vectors = vector_type(self.dimension())
            .ok_or_else(|| TextsError::Column(format!("vectors of {} values are too long", self.dimension())))?;
        with_columns(rows, column, vec![Field::new(output, vectors, true)], |texts| {
            let texts: Vec<&str> = texts.iter().map(|text| text.unwrap_or_default()).collect();
            Ok(vec![Arc::new(self.0.embed(&texts, THREADS.get())?.to_column())])
        })
    }
}

/// A model of labelled texts in a file that a step `train-classifier` wrote.
pub struct Classifier(TextClassifier);

impl Classifier {
    /// Loads the model in `file`.
    ///
    /// # Errors
    /// Names the file, and what in it is wrong.
    pub fn open(file: impl AsRef<Path>) -> Result<Self, TextsError> {
        Ok(Self(TextClassifier::load(file.as_ref())?))
    }

    /// The classes, ascending.
    pub fn labels(&self) -> &[String] {
        self.0.labels()
    }

    /// `rows` with two columns more: `output`, the classes of the texts in `column`, and `output_score`, how likely those are
    /// by the model. A text without anything but white space has neither.
    ///
    /// # Errors
    /// A column that is missing, or no text, or there already.
    pub fn classify(&self, rows: &Batches, column: &str, output: &str) -> Result<Batches, TextsError> {
        let fields = vec![
            Field::new(output, DataType::Utf8, true),
            Field::new(format!("{output}_score"), DataType::Float32, true),
        ];
        with_columns(rows, column, fields, |texts| {
            let texts: Vec<&str> = texts.iter().map(|text| text.unwrap_or_default()).collect();
            let found = self.0.predict(&texts, THREADS);
            let found = || texts.iter().zip(&found).map(|(text, found)| (!text.trim().is_empty()).then_some(found));
            let labels = found().map(|found| found.map(|found| &self.labels()[found.class]));
            let scores = found().map(|found| found.map(|found| found.probability as f32));
            Ok(vec![Arc::new(labels.collect::<StringArray>()), Arc::new(scores.collect::<Float32Array>())])
        })
    }
}

/// `rows` with columns `added`, which `compute` makes of the texts of each batch.
fn with_columns(
    rows: &Batches,
    column: &str,
    added: Vec<Field>,
    compute: impl Fn(&[Option<&str>]) -> Result<Vec<ArrayRef>, TextsError>,
) -> Result<Batches, TextsError> {
    let known = rows.schema().fields();
    let wrong = |what: String| Err(TextsError::Column(what));
    let Some((place, field)) = known.find(column) else {
        let names: Vec<&str> = known.iter().map(|field| field.name().as_str()).collect();
        return wrong(format!("there is no column `{column}` among {}", names.join(", ")));
    };
    if !field.data_type().is_string() {
        return wrong(format!("column `{column}` must be text, not {}", field.data_type()));
    }
    if let Some(field) = added.iter().find(|field| known.find(field.name()).is_some()) {
        return wrong(format!("there is a column `{}` already", field.name()));
    }
    let fields = known.iter().cloned().chain(added.into_iter().map(Arc::new));
    let schema = Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), rows.schema().metadata().clone()));
    let batches = rows.iter().map(|batch| {
        let columns = batch.columns().iter().cloned().chain(compute(&texts(batch.column(place)))?);
        Ok(RecordBatch::try_new(Arc::clone(&schema), columns.collect())?)
    });
    let batches = batches.collect::<Result<_, TextsError>>()?;
    Ok(Batches::try_new(schema, batches)?)
}

/// The values of a column of texts, however it keeps them.
fn texts(column: &ArrayRef) -> Vec<Option<&str>> {
    match column.data_type() {
        DataType::LargeUtf8 => column.as_string::<i64>().iter().collect(),
        DataType::Utf8View => column.as_string_view().iter().collect(),
        _ => column.as_string::<i32>().iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array, LargeStringArray, StringViewArray};
    use tandem_text::classify::Recipe;

    use super::*;

    fn encoder() -> Encoder {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../gpu-kernels/text/tests/vectors/tiny_model");
        Encoder::open(folder, Precision::F32).expect("a good model")
    }

    fn rows(column: ArrayRef) -> Batches {
        RecordBatch::try_from_iter([("content", column)]).expect("a batch").into()
    }

    #[test]
    fn a_text_has_the_same_vector_in_any_batch_and_any_kind_of_column() {
        let encoder = encoder();
        let texts = [Some("the market report"), None, Some(" "), Some("a vector")];
        let columns: [ArrayRef; 3] = [
            Arc::new(StringArray::from_iter(texts)),
            Arc::new(LargeStringArray::from_iter(texts)),
            Arc::new(StringViewArray::from_iter(texts)),
        ];
        for column in columns {
            let embedded = encoder.embed(&rows(column), "content", "embedding").expect("texts");
            let vectors = embedded[0].column_by_name("embedding").expect("vectors").as_fixed_size_list();
            for (row, text) in texts.iter().enumerate() {
                let expected = encoder.vector(text.unwrap_or_default()).expect("a text");
                let found = vectors.is_valid(row).then(|| vectors.value(row));
                let found =
                    found.map(|values| values.as_primitive::<arrow_array::types::Float32Type>().values().to_vec());
                assert_eq!(found, expected, "{text:?}");
            }
        }
    }

    #[test]
    fn texts_have_classes_and_white_space_has_none() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let texts = ["the team won a goal", "the probe found water"].repeat(10);
        let labels = ["sports", "science"].repeat(10);
        let model = Recipe::topics().train(&texts, &labels, "1", THREADS).expect("a model");
        model.save(file.path()).expect("written");
        let classifier = Classifier::open(file.path()).expect("read");
        assert_eq!(classifier.labels(), ["science", "sports"]);
        let column = Arc::new(StringArray::from(vec![Some("a goal of the team"), Some(" "), None, Some("water")]));
        let classified = classifier.classify(&rows(column), "content", "topic").expect("texts");
        let topics: Vec<_> = classified[0].column(1).as_string::<i32>().iter().collect();
        assert_eq!(topics, [Some("sports"), None, None, Some("science")]);
        assert_eq!(classified[0].column(2).null_count(), 2);
        std::fs::write(file.path(), "no model").expect("written");
        let error = Classifier::open(file.path()).map(drop).expect_err("no model").to_string();
        assert!(error.contains(&*file.path().to_string_lossy()), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let encoder = encoder();
        let texts = rows(Arc::new(StringArray::from(vec!["a"])));
        let numbers = rows(Arc::new(Float32Array::from(vec![1.0])));
        for (rows, column, output, words) in [
            (&texts, "text", "v", "no column `text` among content"),
            (&texts, "content", "content", "a column `content` already"),
            (&numbers, "content", "v", "must be text, not Float32"),
        ] {
            let error = encoder.embed(rows, column, output).expect_err("refused").to_string();
            assert!(error.contains(words), "{error}");
        }
        let error = Encoder::open("nowhere", Precision::Auto).map(drop).expect_err("no model").to_string();
        assert!(error.contains("nowhere"), "{error}");
    }
}
