//! Prints how many texts a second are classified by topic (TF-IDF and naive Bayes) and by tone (TF-IDF and logistic
//! regression, and VADER), and how long training takes.
//!
//! ```sh
//! cargo run --release -p tandem-text --example heads_throughput -- [THREADS] [FILE]
//! ```
//!
//! Texts are 20 to 50 words, drawn by a power law from 20,000 invented ones, words of their topic and words that VADER
//! rates. With FILE, the texts are also written there, for `bench/peers/heads_sklearn.py`, which does the same with
//! scikit-learn. With one thread a time is that on the processor, so that a busy machine counts less, else wall time; of
//! five runs the shortest.

use std::io::Write;
use std::num::NonZeroUsize;
use std::time::Instant;

use tandem_text::classify::{Recipe, TOPICS, TextClassifier};
use tandem_text::vader::Vader;

const TRAINING: usize = 20_000;
const TEXTS: usize = 100_000;
const RUNS: usize = 5;
const TONES: [&str; 3] = ["negative", "neutral", "positive"];

struct Labelled {
    text: String,
    topic: &'static str,
    tone: &'static str,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let threads: NonZeroUsize = args.next().map_or(Ok(NonZeroUsize::MIN), |threads| threads.parse())?;
    let labelled = generate(TRAINING + TEXTS);
    if let Some(path) = args.next() {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for Labelled { text, topic, tone } in &labelled {
            writeln!(file, "{topic}\t{tone}\t{text}")?;
        }
        file.into_inner()?;
    }
    let (train, rest) = labelled.split_at(TRAINING);
    let texts: Vec<&str> = rest.iter().map(|labelled| labelled.text.as_str()).collect();
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    println!("{TRAINING} texts to train with, {TEXTS} to classify, {} bytes each; {threads} threads", bytes / TEXTS);

    let training: Vec<&str> = train.iter().map(|labelled| labelled.text.as_str()).collect();
    let topics: Vec<&str> = train.iter().map(|labelled| labelled.topic).collect();
    let tones: Vec<&str> = train.iter().map(|labelled| labelled.tone).collect();
    for (name, recipe, labels, label_of) in [
        ("TF-IDF + naive Bayes", Recipe::topics(), topics, topic_of as fn(&Labelled) -> &str),
        ("TF-IDF + logistic", Recipe::tones(), tones, tone_of),
    ] {
        let clock = Clock::start(threads);
        let model: TextClassifier = recipe.train(&training, &labels, "1", threads)?;
        let trained = clock.seconds();
        let (took, found) = shortest(threads, || model.predict(&texts, threads));
        let right =
            found.iter().zip(rest).filter(|(found, labelled)| model.labels()[found.class] == label_of(labelled));
        print(
            name,
            took,
            &format!(
                "{} terms, trained in {trained:.2} s, {:.1} % right",
                model.features().width(),
                share(right.count())
            ),
        );
    }
    let vader = Vader::new();
    let (took, found) = shortest(threads, || vader.scores(&texts, threads));
    let right = found.iter().zip(rest).filter(|(found, labelled)| found.tone().name() == labelled.tone);
    print("VADER", took, &format!("{:.1} % right", share(right.count())));
    Ok(())
}

fn topic_of(labelled: &Labelled) -> &str {
    labelled.topic
}

fn tone_of(labelled: &Labelled) -> &str {
    labelled.tone
}

fn share(right: usize) -> f64 {
    right as f64 / TEXTS as f64 * 100.0
}

fn print(name: &str, took: f64, more: &str) {
    println!("  {name:21}  {:9.0} texts/s  ({:.2} µs each)  {more}", TEXTS as f64 / took, took / TEXTS as f64 * 1e6);
}

/// The shortest of some runs, and what it answers.
fn shortest<T>(threads: NonZeroUsize, run: impl Fn() -> T) -> (f64, T) {
    let runs = (0..RUNS).map(|_| {
        let clock = Clock::start(threads);
        let answer = run();
        (clock.seconds(), answer)
    });
    runs.min_by(|a, b| a.0.total_cmp(&b.0)).expect("there are runs")
}

struct Clock {
    start: Instant,
    busy: Option<f64>,
}

impl Clock {
    fn start(threads: NonZeroUsize) -> Self {
        Self { start: Instant::now(), busy: busy_seconds().filter(|_| threads == NonZeroUsize::MIN) }
    }

    fn seconds(&self) -> f64 {
        let busy = self.busy.zip(busy_seconds()).map(|(before, after)| after - before);
        busy.unwrap_or(self.start.elapsed().as_secs_f64())
    }
}

/// Seconds that the main thread has spent on a processor; none where the system does not tell.
fn busy_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    Some(stat.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}

/// Texts of eight topics and three tones.
fn generate(count: usize) -> Vec<Labelled> {
    let mut state = 42_u64;
    let mut below = move |limit: usize| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(z ^ (z >> 31)) * limit as u128) >> 64) as usize
    };
    const SYLLABLES: [&str; 20] = [
        "ba", "con", "de", "er", "fi", "gra", "ho", "in", "ka", "lu", "men", "no", "per", "qui", "ra", "sti", "tor",
        "un", "ver", "za",
    ];
    let mut word = || (0..1 + below(4)).map(|_| SYLLABLES[below(SYLLABLES.len())]).collect::<String>();
    let words: Vec<String> = (0..20_000).map(|_| word()).collect();
    let of_topics: Vec<Vec<String>> = TOPICS.iter().map(|_| (0..40).map(|_| word() + "ly").collect()).collect();
    const COMMON: [&str; 20] = [
        "the", "of", "and", "to", "in", "a", "is", "that", "it", "was", "for", "on", "are", "with", "as", "his",
        "they", "at", "be", "not",
    ];
    const BY_TONE: [[&str; 8]; 3] = [
        ["terrible", "crisis", "failure", "worst", "angry", "killed", "fear", "bad"],
        ["reported", "weekly", "according", "announced", "table", "plan", "area", "but"],
        ["great", "success", "love", "win", "happy", "best", "very good", "hope"],
    ];
    let labelled = |_| {
        let (topic, tone) = (below(TOPICS.len()), below(TONES.len()));
        let mut text = String::new();
        for at in 0..20 + below(31) {
            if at > 0 {
                text.push_str(if below(12) == 0 { ", " } else { " " });
            }
            match below(20) {
                0..7 => text.push_str(COMMON[below(COMMON.len())]),
                7..10 => text.push_str(&of_topics[if below(3) == 0 { below(8) } else { topic }][below(40)]),
                10 => text.push_str(BY_TONE[if below(3) == 0 { below(3) } else { tone }][below(8)]),
                // The lower the number of a word, the more often it is drawn.
                _ => {
                    let (a, b) = (below(141), below(141));
                    text.push_str(&words[a * b]);
                }
            }
        }
        text[..1].make_ascii_uppercase();
        text.push('.');
        Labelled { text, topic: TOPICS[topic], tone: TONES[tone] }
    };
    (0..count).map(labelled).collect()
}
