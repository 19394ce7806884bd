//! What articles get: a topic from title and content, a tone from the content.
//!
//!   title or content empty ─► topic `World`, marked as empty
//!   content empty          ─► tone neutral, score 0.5, marked as empty
//!   no word known          ─► what the model expects of any text, marked as such
//!
//! Empty is what has nothing but white space. Nothing else is made up: a model that cannot be loaded is an error, and rows
//! it should have classified are left for the next run.

use std::num::NonZeroUsize;

use super::TextClassifier;
use super::classifier::Desk;
use crate::claim::for_batches;
use crate::vader::{Tone, ToneScores, Vader};

/// The topics, as they are stored, in ascending order.
pub const TOPICS: [&str; 8] =
    ["Business", "Entertainment", "Health", "Politics", "Science", "Sports", "Technology", "World"];

/// Articles that a thread classifies before it claims more.
const BATCH: usize = 64;
/// The topic of an article that has no title or no content.
const EMPTY_TOPIC: &str = "World";
/// The score of an article that has no content.
const EMPTY_SCORE: f32 = 0.5;
/// What the system that came before stored as the score of every tone.
const COMPATIBLE_SCORE: f32 = 0.98;

/// An article.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Article<'a> {
    /// Its title.
    pub title: &'a str,
    /// Its text without the title.
    pub content: &'a str,
}

/// What an answer rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// On words that the model knows.
    Words,
    /// There are words, but none that the model knows.
    NoKnownWord,
    /// On nothing: there was no text.
    Empty,
}

/// The topic of an article.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArticleTopic<'a> {
    /// As it is stored: the first letter in upper case.
    pub label: &'a str,
    /// How likely it is, by the model; none where there was no text to ask it about.
    pub probability: Option<f32>,
    /// What it rests on.
    pub basis: Basis,
}

/// The tone of an article.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArticleTone {
    /// The tone.
    pub tone: Tone,
    /// From 0 to 1: how likely the tone is, by a trained model; how clear it is, by VADER ([`ToneScores::clarity`]).
    pub score: f32,
    /// What it rests on.
    pub basis: Basis,
    /// All that VADER says; none by a trained model, or where there was no text.
    pub vader: Option<ToneScores>,
}

/// Which scores tones get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scores {
    /// Those found.
    #[default]
    Found,
    /// 0.98 for every article that has content, for readers that rely on it.
    Compatible,
}

/// Finds topics.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicClassifier {
    model: TextClassifier,
    labels: Vec<String>,
}

impl TopicClassifier {
    /// By a model whose labels are topics, in lower case or as they are stored.
    pub fn new(model: TextClassifier) -> Self {
        let labels = model.labels().iter().map(|label| capitalized(label)).collect();
        Self { model, labels }
    }

    /// The model.
    pub fn model(&self) -> &TextClassifier {
        &self.model
    }

    /// The topic of each article, found on `threads` threads.
    pub fn topics(&self, articles: &[Article<'_>], threads: NonZeroUsize) -> Vec<ArticleTopic<'_>> {
        let empty = ArticleTopic { label: EMPTY_TOPIC, probability: None, basis: Basis::Empty };
        let mut topics = vec![empty; articles.len()];
        let desk = || (Desk::new(&self.model), String::new());
        for_batches(threads, &mut topics, BATCH, desk, |(desk, text), first, topics| {
            for (article, topic) in articles[first..].iter().zip(topics) {
                if is_empty(article.title) || is_empty(article.content) {
                    continue;
                }
                text.clear();
                text.extend([article.title, " ", article.content]);
                let found = self.model.predict_one(text, desk);
                let (label, probability) = (&self.labels[found.class], Some(found.probability as f32));
                *topic = ArticleTopic { label, probability, basis: basis(found.known_terms > 0) };
            }
        });
        topics
    }
}

/// Finds tones.
#[derive(Debug)]
pub struct ToneClassifier {
    method: Method,
    scores: Scores,
}

#[derive(Debug)]
enum Method {
    Vader(Vader),
    Model { model: Box<TextClassifier>, tones: Vec<Tone> },
}

/// A model cannot find tones: one of its labels is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label {label:?} of the model is no tone, expected positive, neutral or negative")]
pub struct UnknownTone {
    /// The label.
    pub label: String,
}

impl ToneClassifier {
    /// By rules, without training.
    pub fn vader(scores: Scores) -> Self {
        Self { method: Method::Vader(Vader::new()), scores }
    }

    /// By a trained model.
    ///
    /// # Errors
    /// [`UnknownTone`] unless its labels are tones.
    pub fn trained(model: TextClassifier, scores: Scores) -> Result<Self, UnknownTone> {
        let tone = |label: &String| Tone::parse(label).ok_or_else(|| UnknownTone { label: label.clone() });
        let tones = model.labels().iter().map(tone).collect::<Result<_, _>>()?;
        Ok(Self { method: Method::Model { model: Box::new(model), tones }, scores })
    }

    /// How tones are found, to be recorded beside them.
    pub fn method(&self) -> &'static str {
        match &self.method {
            Method::Vader(_) => "vader",
            Method::Model { model, .. } => model.method(),
        }
    }

    /// Which version of the method, to be recorded beside tones.
    pub fn version(&self) -> &str {
        match &self.method {
            Method::Vader(_) => "3.3.2",
            Method::Model { model, .. } => model.version(),
        }
    }

    /// The tone of each content, found on `threads` threads.
    pub fn tones(&self, contents: &[impl AsRef<str> + Sync], threads: NonZeroUsize) -> Vec<ArticleTone> {
        let mut found = match &self.method {
            Method::Vader(vader) => by_vader(vader, contents, threads),
            Method::Model { model, tones } => by_model(model, tones, contents, threads),
        };
        for (tone, content) in found.iter_mut().zip(contents) {
            if is_empty(content.as_ref()) {
                *tone = ArticleTone { tone: Tone::Neutral, score: EMPTY_SCORE, basis: Basis::Empty, vader: None };
            } else if self.scores == Scores::Compatible {
                tone.score = COMPATIBLE_SCORE;
            }
        }
        found
    }
}

fn by_vader(vader: &Vader, contents: &[impl AsRef<str> + Sync], threads: NonZeroUsize) -> Vec<ArticleTone> {
    let scores = vader.scores(contents, threads);
    let tone = |scores: ToneScores| {
        let rated = scores.positive != 0.0 || scores.negative != 0.0;
        let score = scores.clarity() as f32;
        ArticleTone { tone: scores.tone(), score, basis: basis(rated), vader: Some(scores) }
    };
    scores.into_iter().map(tone).collect()
}

fn by_model(
    model: &TextClassifier,
    tones: &[Tone],
    contents: &[impl AsRef<str> + Sync],
    threads: NonZeroUsize,
) -> Vec<ArticleTone> {
    let tone = |found: super::Prediction| ArticleTone {
        tone: tones[found.class],
        score: found.probability as f32,
        basis: basis(found.known_terms > 0),
        vader: None,
    };
    model.predict(contents, threads).into_iter().map(tone).collect()
}

fn basis(known: bool) -> Basis {
    if known { Basis::Words } else { Basis::NoKnownWord }
}

fn is_empty(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

/// A label with its first letter in upper case.
fn capitalized(label: &str) -> String {
    let mut letters = label.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}
