//! `articles`: news articles with what they are truly about and in which tone, for jobs over texts. Contents have from two
//! sentences to some forty, most of them few.
//!
//! Always there: a few articles without content, and a few of more than ten thousand characters.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::article_words::{TONES, TOPICS, Tone, Topic};
use super::rng::RowRng;
use super::table::Table;
use super::text::{RowWriter, Scratch};
use super::{Format, GenerateError};

const STREAM: u64 = 4;
/// An article is as long as many rows of other tables.
pub(super) const ROWS_PER_PIECE: u64 = 1 << 13;
/// 2026-01-01T00:00:00Z.
const FIRST_DAY_MS: i64 = 1_767_225_600_000;
const DAY_MS: u64 = 86_400_000;
const DAYS: u64 = 90;
/// One article in so many has no content.
const EMPTY_ONE_IN: u64 = 200;
/// One article in so many is longer than ten thousand characters.
const LONG_ONE_IN: u64 = 500;
const LONG_SENTENCES: u64 = 400;
/// One article in so many names no author.
const NO_AUTHOR_ONE_IN: u64 = 8;

const SOURCES: [&str; 6] =
    ["Daily Ledger", "Harbour Post", "Morning Wire", "North Gazette", "The Observer", "Valley Times"];
const AUTHORS: [&str; 8] =
    ["A. Lind", "B. Okafor", "C. Moreau", "D. Sato", "E. Novak", "F. Costa", "G. Weber", "H. Singh"];
const REGIONS: [&str; 6] = ["Africa", "Asia", "Europe", "North America", "Oceania", "South America"];
const PLACES: [&str; 8] = ["Berlin", "Cape Town", "Lima", "Nairobi", "Osaka", "the capital", "the north", "Toronto"];
const TIMES: [&str; 8] = [
    "on Monday",
    "on Tuesday evening",
    "last week",
    "this month",
    "after two years of talks",
    "for the first time since 2019",
    "within a few days",
    "at the end of the year",
];

/// The table.
pub(super) struct Articles {
    pub(super) seed: u64,
    pub(super) rows: u64,
}

struct Article {
    id: u64,
    title: String,
    /// Empty if there is none.
    content: String,
    source: &'static str,
    /// Empty if there is none.
    author: &'static str,
    url: String,
    published_ms: i64,
    region: &'static str,
    topic: &'static Topic,
    tone: &'static Tone,
}

impl Articles {
    fn article(&self, row: u64) -> Article {
        let mut rng = RowRng::new(self.seed, STREAM, row);
        let (topic, tone) = (&TOPICS[place(&mut rng, TOPICS.len())], &TONES[place(&mut rng, TONES.len())]);
        let sentences = if rng.below(EMPTY_ONE_IN) == 0 {
            0
        } else if rng.below(LONG_ONE_IN) == 0 {
            LONG_SENTENCES
        } else {
            // A product of two draws makes most articles short.
            2 + rng.below(37) * rng.below(37) / 36
        };
        let title = capitalised(&clause(&mut rng, topic));
        let contents: Vec<String> = (0..sentences).map(|_| sentence(&mut rng, topic, tone)).collect();
        Article {
            id: row + 1,
            title,
            content: contents.join(" "),
            source: pick(&mut rng, &SOURCES),
            author: if rng.below(NO_AUTHOR_ONE_IN) == 0 { "" } else { pick(&mut rng, &AUTHORS) },
            url: format!("https://news.example/{}/{}", topic.name, row + 1),
            published_ms: FIRST_DAY_MS + rng.below(DAYS * DAY_MS) as i64,
            region: pick(&mut rng, &REGIONS),
            topic,
            tone,
        }
    }

    fn rows_of(&self, piece: u64) -> std::ops::Range<u64> {
        piece * ROWS_PER_PIECE..self.rows.min((piece + 1) * ROWS_PER_PIECE)
    }
}

fn sentence(rng: &mut RowRng, topic: &Topic, tone: &Tone) -> String {
    match rng.below(5) {
        0 => format!("In {}, {}.", pick(rng, &PLACES), clause(rng, topic)),
        1 => format!("{} said that {}.", pick(rng, &AUTHORS), clause(rng, topic)),
        2 => format!("Many called it {}.", pick(rng, &tone.words)),
        3 => {
            format!("{} {}, which is {}.", capitalised(&clause(rng, topic)), pick(rng, &TIMES), pick(rng, &tone.words))
        }
        _ => format!("{} {}.", capitalised(&clause(rng, topic)), pick(rng, &TIMES)),
    }
}

fn clause(rng: &mut RowRng, topic: &Topic) -> String {
    format!("{} {} {}", pick(rng, &topic.subjects), pick(rng, &topic.verbs), pick(rng, &topic.objects))
}

fn capitalised(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    first.to_uppercase() + rest
}

fn pick(rng: &mut RowRng, from: &[&'static str]) -> &'static str {
    from[place(rng, from.len())]
}

fn place(rng: &mut RowRng, count: usize) -> usize {
    rng.below(count as u64) as usize
}

impl Article {
    fn write(&self, writer: &mut RowWriter<'_>, scratch: &mut Scratch) {
        writer.number("id", scratch.integer(self.id as i64));
        writer.text("title", &self.title);
        writer.text("content", &self.content);
        writer.text("source", self.source);
        writer.text("author", self.author);
        writer.text("url", &self.url);
        writer.text("published_at", scratch.time(self.published_ms));
        writer.text("language", "en");
        writer.text("region", self.region);
        writer.text("true_topic", self.topic.name);
        writer.text("true_tone", self.tone.name);
        writer.end();
    }
}

impl Table for Articles {
    fn name(&self) -> &'static str {
        "articles"
    }

    fn pieces(&self) -> u64 {
        self.rows.div_ceil(ROWS_PER_PIECE)
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn schema(&self) -> SchemaRef {
        let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            text("title", false),
            text("content", true),
            text("source", false),
            text("author", true),
            text("url", false),
            Field::new("published_at", DataType::Timestamp(TimeUnit::Millisecond, None), false),
            text("language", false),
            text("region", false),
            text("true_topic", false),
            text("true_tone", false),
        ]))
    }

    fn batches(&self, piece: u64) -> Result<Vec<RecordBatch>, GenerateError> {
        let articles: Vec<Article> = self.rows_of(piece).map(|row| self.article(row)).collect();
        let texts = |text: fn(&Article) -> &str| -> ArrayRef {
            let values = articles.iter().map(text).map(|text| Some(text).filter(|text| !text.is_empty()));
            Arc::new(values.collect::<StringArray>())
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(articles.iter().map(|article| article.id as i64))),
            texts(|article| &article.title),
            texts(|article| &article.content),
            texts(|article| article.source),
            texts(|article| article.author),
            texts(|article| &article.url),
            Arc::new(TimestampMillisecondArray::from_iter_values(articles.iter().map(|article| article.published_ms))),
            texts(|_| "en"),
            texts(|article| article.region),
            texts(|article| article.topic.name),
            texts(|article| article.tone.name),
        ];
        Ok(vec![RecordBatch::try_new(self.schema(), columns)?])
    }

    fn text(&self, piece: u64, format: Format, out: &mut Vec<u8>) -> Result<u64, GenerateError> {
        let rows = self.rows_of(piece);
        let count = rows.end - rows.start;
        let mut scratch = Scratch::default();
        let mut writer = RowWriter::new(out, format);
        for row in rows {
            self.article(row).write(&mut writer, &mut scratch);
        }
        Ok(count)
    }
}
