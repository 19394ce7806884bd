//! `train-classifier`: a model of labelled texts, written to a file for `classify`.
//!
//!   all rows: text, label ─► model file · one row: model, method, version, texts, labels, terms
//!
//! The same rows give the same file, byte for byte, so that an attempt that is made again changes nothing.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use serde::Deserialize;
use tandem_text::classify::Recipe;

use crate::columns::{self, Kind};
use crate::error::CallError;
use crate::work::Work;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    /// The texts.
    column: String,
    /// Their classes.
    label: String,
    /// Titles, which go before the texts.
    title: Option<String>,
    /// Where the model goes: a file that all workers and the coordinator can reach.
    model: PathBuf,
    /// How it is made.
    #[serde(default)]
    recipe: Kinds,
    /// What it is called, to be recorded beside its answers.
    #[serde(default = "first")]
    version: String,
}

/// The recipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kinds {
    /// TF-IDF of words and pairs of words, naive Bayes.
    #[default]
    Topics,
    /// TF-IDF of up to three words, logistic regression.
    Tones,
}

fn first() -> String {
    "1".to_owned()
}

impl Args {
    fn parse(args: &str) -> Result<Self, CallError> {
        serde_json::from_str(args).map_err(|error| CallError::args(&error))
    }

    fn columns(&self) -> Vec<(&str, Kind)> {
        let names = [Some(&self.column), Some(&self.label), self.title.as_ref()];
        names.into_iter().flatten().map(|name| (name.as_str(), Kind::Text)).collect()
    }

    fn recipe(&self) -> Recipe {
        match self.recipe {
            Kinds::Topics => Recipe::topics(),
            Kinds::Tones => Recipe::tones(),
        }
    }
}

fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let count = |name: &str| Field::new(name, DataType::Int64, false);
    let fields = vec![text("model"), text("method"), text("version"), count("texts"), count("labels"), count("terms")];
    Arc::new(Schema::new(fields))
}

pub(super) fn plan(args: &str, input: &Schema) -> Result<SchemaRef, CallError> {
    let args = Args::parse(args)?;
    columns::check(input, &args.columns())?;
    Ok(schema())
}

pub(super) fn call(args: &str, batches: &[RecordBatch], work: &mut Work) -> Result<Vec<RecordBatch>, CallError> {
    let args = Args::parse(args)?;
    let (texts, labels) = labelled(&args, batches)?;
    let started = Instant::now();
    // A call has one processor.
    let model = args.recipe().train(&texts, &labels, &args.version, NonZeroUsize::MIN);
    let model = model.map_err(|error| CallError::model(&error))?;
    model.save(&args.model).map_err(|error| CallError::model(&error))?;
    work.add("rows", "cpu", texts.len() as u64, started.elapsed());
    let text = |value: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values([value])) };
    let count = |value: usize| -> ArrayRef { Arc::new(Int64Array::from_iter_values([value as i64])) };
    let columns = vec![
        text(&args.model.to_string_lossy()),
        text(model.method()),
        text(model.version()),
        count(texts.len()),
        count(model.labels().len()),
        count(model.features().width()),
    ];
    Ok(vec![RecordBatch::try_new(schema(), columns)?])
}

/// Texts with their labels; rows without one say nothing.
fn labelled(args: &Args, batches: &[RecordBatch]) -> Result<(Vec<String>, Vec<String>), CallError> {
    let (mut texts, mut labels) = (Vec::new(), Vec::new());
    for batch in batches {
        let contents = columns::text(batch, &args.column)?;
        let titles = args.title.as_ref().map(|title| columns::text(batch, title)).transpose()?;
        for (row, label) in columns::text(batch, &args.label)?.iter().enumerate() {
            let Some(label) = label.filter(|label| !label.trim().is_empty()) else { continue };
            let content = columns::text_at(&contents, row).unwrap_or_default();
            let title = titles.as_ref().and_then(|titles| columns::text_at(titles, row));
            texts.push(title.map_or_else(|| content.to_owned(), |title| format!("{title} {content}")));
            labels.push(label.to_owned());
        }
    }
    Ok((texts, labels))
}
