//! `classify`: the class of each text.
//!
//!   as = "label"   by a trained model; of a text without anything but white space there is none
//!   as = "topic"   of an article with a title, by a trained model; `World` where title or text is empty
//!   as = "tone"    positive, neutral or negative, by a trained model or, without one, by VADER; neutral where there is no text
//!
//! Each adds the columns `output`, `output_score` (from 0 to 1: how likely the class is, by the model; how clear the tone is, by
//! VADER), `output_basis` (`words`, `no_known_word`, `empty`) and `output_method` (which method and version, so that a later
//! model can find what it should do again). VADER adds its own scores: `output_compound` (from -1 to 1) and the shares of words
//! `output_positive`, `output_neutral` and `output_negative`; null where there is no text.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float32Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use serde::Deserialize;
use tandem_text::classify::{Article, ArticleTopic, Basis, Scores, TextClassifier, ToneClassifier, TopicClassifier};
use tandem_text::vader::ToneScores;

use super::{added, models};
use crate::columns::{self, Kind};
use crate::error::CallError;
use crate::work::Work;

/// The columns of VADER's own scores, in the order of [`ToneScores::columns`].
const VADER_COLUMNS: [&str; 4] = ["compound", "positive", "neutral", "negative"];
/// A call has one processor.
const ONE_THREAD: NonZeroUsize = NonZeroUsize::MIN;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    /// The texts.
    column: String,
    /// What they are.
    #[serde(default, rename = "as")]
    kind: Class,
    /// The titles of articles.
    title: Option<String>,
    /// A file that `train-classifier` wrote.
    model: Option<PathBuf>,
    /// The column of classes; `label`, `topic` or `tone` if it is not said.
    output: Option<String>,
    /// Tones have the score 0.98 wherever there is text, for readers that expect it.
    #[serde(default)]
    compatible_scores: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Class {
    #[default]
    Label,
    Topic,
    Tone,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Topic => "topic",
            Self::Tone => "tone",
        }
    }
}

impl Args {
    fn parse(args: &str) -> Result<Self, CallError> {
        let args: Self = serde_json::from_str(args).map_err(|error| CallError::args(&error))?;
        let wrong = |what: &str| Err(CallError::Args(what.to_owned()));
        match args.kind {
            Class::Label | Class::Topic if args.model.is_none() => wrong("missing field `model`"),
            Class::Topic if args.title.is_none() => wrong("missing field `title`"),
            Class::Label | Class::Tone if args.title.is_some() => wrong("`title` is for as = \"topic\""),
            Class::Label | Class::Topic if args.compatible_scores => wrong("`compatible_scores` is for as = \"tone\""),
            Class::Label | Class::Topic | Class::Tone => Ok(args),
        }
    }

    fn columns(&self) -> Vec<(&str, Kind)> {
        [Some(&self.column), self.title.as_ref()]
            .into_iter()
            .flatten()
            .map(|name| (name.as_str(), Kind::Text))
            .collect()
    }

    fn added(&self) -> Vec<Field> {
        let output = self.output.as_deref().unwrap_or(self.kind.name());
        let text = |suffix: &str| Field::new(format!("{output}{suffix}"), DataType::Utf8, suffix.is_empty());
        let score = |name: &str| Field::new(format!("{output}_{name}"), DataType::Float32, true);
        let mut added = vec![text(""), score("score"), text("_basis"), text("_method")];
        if self.is_by_rules() {
            added.extend(VADER_COLUMNS.map(score));
        }
        added
    }

    /// Whether VADER finds the classes.
    fn is_by_rules(&self) -> bool {
        self.kind == Class::Tone && self.model.is_none()
    }

    fn classifier(&self) -> Result<Arc<Classifier>, CallError> {
        let Self { kind, model, compatible_scores, .. } = self;
        let name = format!("classify {} {compatible_scores} {model:?}", kind.name());
        models::model(&name, || self.load())
    }

    fn load(&self) -> Result<Classifier, CallError> {
        Classifier::load(self.kind, self.model.as_deref(), self.compatible_scores)
    }
}

pub(super) fn plan(args: &str, input: &Schema) -> Result<SchemaRef, CallError> {
    let args = Args::parse(args)?;
    columns::check(input, &args.columns())?;
    added::schema(input, &args.added())
}

pub(super) fn check(args: &str) -> Result<(), CallError> {
    Args::parse(args)?.load().map(drop)
}

pub(super) fn call(args: &str, batches: &[RecordBatch], work: &mut Work) -> Result<Vec<RecordBatch>, CallError> {
    let args = Args::parse(args)?;
    let (classifier, added) = (args.classifier()?, args.added());
    batches.iter().map(|batch| classify(&args, &classifier, &added, batch, work)).collect()
}

fn classify(
    args: &Args,
    classifier: &Classifier,
    added: &[Field],
    batch: &RecordBatch,
    work: &mut Work,
) -> Result<RecordBatch, CallError> {
    let texts = columns::text(batch, &args.column)?;
    let titles = args.title.as_ref().map(|title| columns::text(batch, title)).transpose()?;
    let started = Instant::now();
    let classes = classifier.classes(&texts, titles.as_ref());
    work.add("rows", "cpu", batch.num_rows() as u64, started.elapsed());
    added::columns(batch, added, classes.into_columns(&classifier.method(), args.is_by_rules()))
}

/// What finds classes.
enum Classifier {
    Label(TextClassifier),
    Topic(TopicClassifier),
    Tone(ToneClassifier),
}

/// What was found, a value for each row.
#[derive(Default)]
struct Classes {
    labels: Vec<Option<String>>,
    scores: Vec<Option<f32>>,
    bases: Vec<&'static str>,
    /// Of tones.
    vader: Vec<Option<ToneScores>>,
}

impl Classes {
    fn push(&mut self, label: Option<&str>, score: Option<f32>, basis: Basis) {
        self.labels.push(label.map(str::to_owned));
        self.scores.push(score);
        self.bases.push(match basis {
            Basis::Words => "words",
            Basis::NoKnownWord => "no_known_word",
            Basis::Empty => "empty",
        });
    }

    fn into_columns(self, method: &str, by_rules: bool) -> Vec<ArrayRef> {
        let methods = StringArray::from_iter_values(self.labels.iter().map(|_| method));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(self.labels)),
            Arc::new(Float32Array::from(self.scores)),
            Arc::new(StringArray::from(self.bases)),
            Arc::new(methods),
        ];
        if by_rules {
            let column = |at: usize| -> ArrayRef {
                let scores = self.vader.iter().map(|scores| scores.map(|scores| scores.columns()[at]));
                Arc::new(scores.collect::<Float32Array>())
            };
            columns.extend((0..VADER_COLUMNS.len()).map(column));
        }
        columns
    }
}

impl Classifier {
    fn load(kind: Class, model: Option<&Path>, compatible_scores: bool) -> Result<Self, CallError> {
        let model = model.map(TextClassifier::load).transpose().map_err(|error| CallError::model(&error))?;
        let scores = if compatible_scores { Scores::Compatible } else { Scores::Found };
        match (kind, model) {
            (Class::Label, Some(model)) => Ok(Self::Label(model)),
            (Class::Topic, Some(model)) => Ok(Self::Topic(TopicClassifier::new(model))),
            (Class::Tone, Some(model)) => {
                ToneClassifier::trained(model, scores).map(Self::Tone).map_err(|error| CallError::model(&error))
            }
            (Class::Tone, None) => Ok(Self::Tone(ToneClassifier::vader(scores))),
            (Class::Label | Class::Topic, None) => Err(CallError::Args("missing field `model`".to_owned())),
        }
    }

    /// Method and version.
    fn method(&self) -> String {
        let (method, version) = match self {
            Self::Label(model) => (model.method(), model.version()),
            Self::Topic(topics) => (topics.model().method(), topics.model().version()),
            Self::Tone(tones) => (tones.method(), tones.version()),
        };
        format!("{method} {version}")
    }

    fn classes(&self, texts: &StringArray, titles: Option<&StringArray>) -> Classes {
        let texts: Vec<&str> = texts.iter().map(Option::unwrap_or_default).collect();
        let mut classes = Classes::default();
        match self {
            Self::Label(model) => {
                for (text, found) in texts.iter().zip(model.predict(&texts, ONE_THREAD)) {
                    let label = model.labels()[found.class].as_str();
                    match (text.trim().is_empty(), found.known_terms) {
                        (true, _) => classes.push(None, None, Basis::Empty),
                        (false, 0) => classes.push(Some(label), Some(found.probability as f32), Basis::NoKnownWord),
                        (false, _) => classes.push(Some(label), Some(found.probability as f32), Basis::Words),
                    }
                }
            }
            Self::Topic(topics) => {
                let title = |row| titles.and_then(|titles| columns::text_at(titles, row)).unwrap_or_default();
                let articles = texts.iter().enumerate();
                let articles: Vec<Article<'_>> =
                    articles.map(|(row, content)| Article { title: title(row), content }).collect();
                for ArticleTopic { label, probability, basis } in topics.topics(&articles, ONE_THREAD) {
                    classes.push(Some(label), probability, basis);
                }
            }
            Self::Tone(tones) => {
                for found in tones.tones(&texts, ONE_THREAD) {
                    classes.push(Some(found.tone.name()), Some(found.score), found.basis);
                    classes.vader.push(found.vader);
                }
            }
        }
        classes
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::Float32Type;

    use super::*;

    fn texts(texts: &[&str]) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("content", DataType::Utf8, true)]);
        let column = Arc::new(StringArray::from(texts.to_vec()));
        RecordBatch::try_new(Arc::new(schema), vec![column]).expect("a column")
    }

    #[test]
    fn tones_by_rules_have_a_score_up_to_1_beside_those_of_vader() {
        let input = texts(&["a great success", "", "the worst crisis, terrible failure", "the table is round"]);
        let args = r#"{"column": "content", "as": "tone"}"#;
        let found = call(args, std::slice::from_ref(&input), &mut Work::default()).expect("good rows").remove(0);
        assert_eq!(found.schema(), plan(args, &input.schema()).expect("good columns"));
        let tones: Vec<_> = found["tone"].as_string::<i32>().iter().flatten().collect();
        assert_eq!(tones, ["positive", "neutral", "negative", "neutral"]);
        let score = |name: &str| found[name].as_primitive::<Float32Type>().iter().collect::<Vec<_>>();
        let (scores, compound) = (score("tone_score"), score("tone_compound"));
        assert_eq!((compound[0], compound[2].map(|compound| -compound)), (scores[0], scores[2]));
        assert_eq!((scores[1], scores[3], compound[3]), (Some(0.5), Some(1.0), Some(0.0)));
        for name in VADER_COLUMNS {
            assert!(found[format!("tone_{name}").as_str()].is_null(1), "{name} of no text");
        }
        for row in [0, 2, 3] {
            let shares = ["positive", "neutral", "negative"].map(|name| score(&format!("tone_{name}"))[row]);
            let sum: f32 = shares.iter().flatten().sum();
            assert!((sum - 1.0).abs() < 0.002, "{shares:?}");
        }
        let compatible = r#"{"column": "content", "as": "tone", "compatible_scores": true, "output": "t"}"#;
        let found = call(compatible, &[input], &mut Work::default()).expect("good rows").remove(0);
        let scores: Vec<_> = found["t_score"].as_primitive::<Float32Type>().iter().flatten().collect();
        assert_eq!(scores, [0.98, 0.5, 0.98, 0.98]);
    }
}
