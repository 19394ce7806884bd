//! The texts that `golden/make.py` asks scikit-learn and vaderSentiment about, made once more from the same seeds.

use serde_json::Value;

/// Texts to train with; as many more are there to test with.
pub(crate) const TRAINING: usize = 1000;
const FUZZED: usize = 2000;

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }

    /// From 0 up to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn choose<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    /// Adds words, sometimes in capitals, and what ends them.
    fn put(&mut self, text: &mut String, words: &str, ends: &[&[&str]]) {
        if self.below(8) == 0 && words.is_ascii() {
            text.push_str(&words.to_ascii_uppercase());
        } else {
            text.push_str(words);
        }
        ends.iter().for_each(|ends| text.push_str(self.choose(ends)));
    }
}

/// A text with what it is about and how it sounds.
#[derive(Debug, Clone)]
pub(crate) struct Labelled {
    pub(crate) text: String,
    pub(crate) topic: String,
    pub(crate) tone: String,
}

fn phrases() -> Value {
    serde_json::from_str(include_str!("golden/phrases.json")).expect("phrases are JSON")
}

fn list(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|phrase| phrase.as_str().expect("a phrase")).collect()
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Labelled texts, the first [`TRAINING`] of them to train with.
pub(crate) fn corpus() -> Vec<Labelled> {
    let phrases = phrases();
    let (topics, tones) = (keys(&phrases["topics"]), keys(&phrases["tones"]));
    let (odd, separators) = (list(&phrases["odd"]), list(&phrases["separators"]));
    let mut random = Random(1);
    let labelled = |number| {
        let part = if number < TRAINING { "train" } else { "test" };
        let (topic, tone) = (random.choose(&topics), random.choose(&tones));
        let mut text = String::new();
        for _ in 0..2 + random.below(6) {
            let phrase = match random.below(20) {
                0..9 => random.choose(&list(&phrases["topics"][topic][part])),
                9..15 => random.choose(&list(&phrases["tones"][tone][part])),
                15..17 => {
                    let other = random.choose(&topics);
                    random.choose(&list(&phrases["topics"][other][part]))
                }
                _ => random.choose(&odd),
            };
            random.put(&mut text, phrase, &[&separators]);
        }
        Labelled { text, topic: topic.to_owned(), tone: tone.to_owned() }
    };
    (0..2 * TRAINING).map(labelled).collect()
}

/// Texts in which the rules of VADER meet.
pub(crate) fn fuzzed() -> Vec<String> {
    let phrases = phrases();
    let words = |key: &str| list(&phrases[key]);
    let (rules, plain, endings, spaces) = (words("rules"), words("plain"), words("endings"), words("spaces"));
    let first = |file: &'static str| -> Vec<&'static str> {
        file.lines().map(|line| line.split('\t').next().expect("a column")).collect()
    };
    let rated = first(include_str!("../../data/vader_lexicon.tsv"));
    let emoji = first(include_str!("../../data/vader_emoji.tsv"));
    let mut random = Random(2);
    let text = |_| {
        let mut text = String::new();
        for _ in 0..random.below(16) {
            let words = match random.below(20) {
                0..8 => random.choose(&rules),
                8..15 => random.choose(&rated),
                15 => random.choose(&emoji),
                _ => random.choose(&plain),
            };
            random.put(&mut text, words, &[&endings, &spaces]);
        }
        text
    };
    (0..FUZZED).map(text).collect()
}

/// Rows of 12 values with a class each.
pub(crate) fn dense(classes: usize) -> (Vec<f32>, Vec<String>) {
    let mut random = Random(3);
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..300 {
        let label = random.below(classes);
        for at in 0..12 {
            values.push((random.unit() - 0.5 + if at % classes == label { 0.25 } else { 0.0 }) as f32);
        }
        labels.push(format!("class {label}"));
    }
    (values, labels)
}
