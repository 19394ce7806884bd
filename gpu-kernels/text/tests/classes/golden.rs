//! Comparison with scikit-learn 1.9.1 and vaderSentiment 3.3.2: with answers that are kept, and where Python has the
//! packages, with answers of today.

use std::process::Command;

use serde_json::Value;
use tandem_text::classify::{Prediction, Recipe};
use tandem_text::logistic::{self, ClassWeights, Inputs, LogisticOptions};
use tandem_text::naive_bayes::{NaiveBayesOptions, Sums};
use tandem_text::tfidf::{Analyzer, Frequency, TermCounts, Tfidf, TfidfOptions, english_stop_words};
use tandem_text::vader::Vader;

use crate::corpus::{Labelled, TRAINING, corpus, dense, fuzzed};
use crate::threads;

#[test]
fn answers_are_those_that_are_kept() {
    compare(&serde_json::from_str(include_str!("golden/golden.json")).expect("answers are JSON"), true);
}

#[test]
fn answers_are_those_of_today() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("golden.json");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/classes/golden/make.py");
    let Ok(run) = Command::new("python3").arg(script).arg(&out).output() else {
        println!("skipped: python3 is not there");
        return;
    };
    let said = String::from_utf8_lossy(&run.stderr);
    if run.status.code() == Some(3) {
        println!("skipped: python3 has no scikit-learn or no vaderSentiment: {}", said.trim());
        return;
    }
    assert!(run.status.success(), "{said}");
    let answers = std::fs::read_to_string(&out).expect("it has written answers");
    compare(&serde_json::from_str(&answers).expect("answers are JSON"), false);
}

/// `same_python` says that sums are those of Python 3.11; later ones add floats more precisely.
fn compare(golden: &Value, same_python: bool) {
    let corpus = corpus();
    let (train, test) = corpus.split_at(TRAINING);
    compare_features(golden, train, test);
    compare_topics(golden, train, test);
    compare_tones(golden, train, test);
    compare_dense(&golden["dense"]);
    compare_vader(&golden["vader"], test, same_python);
}

fn texts(labelled: &[Labelled]) -> Vec<&str> {
    labelled.iter().map(|labelled| labelled.text.as_str()).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    match value.as_array() {
        Some(values) => values.iter().flat_map(numbers).collect(),
        None => vec![value.as_f64().expect("a number")],
    }
}

/// Compares all numbers, which may be off by a millionth.
fn near(got: &[f64], expected: &Value, what: &str) {
    let expected = numbers(expected);
    assert_eq!(got.len(), expected.len(), "{what}");
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() <= 1e-6, "{what}: number {at} is {got}, expected {expected}");
    }
}

fn features(words: (usize, usize), english: bool, train: &[&str], options: &TfidfOptions) -> Tfidf {
    let stop_words = english_stop_words().filter(|_| english);
    let mut analyzer = Analyzer::new(words.0..=words.1, stop_words).expect("a good range");
    if options.sublinear_tf {
        analyzer = analyzer.with_case();
    }
    let mut counts = TermCounts::new(analyzer);
    counts.add(train, threads(2));
    counts.finish(options).expect("there are terms")
}

fn compare_features(golden: &Value, train: &[Labelled], test: &[Labelled]) {
    let (train, test) = (texts(train), texts(test));
    let usual = TfidfOptions::default();
    let frequent = TfidfOptions { min_df: Frequency::Texts(2), ..usual.clone() };
    let cut = golden["max_features"].as_u64().map(|most| most as usize);
    let cut = TfidfOptions { max_features: cut, ..frequent.clone() };
    let shares = TfidfOptions { min_df: Frequency::Share(0.004), max_df: Frequency::Share(0.03), ..usual.clone() };
    let sublinear = TfidfOptions { sublinear_tf: true, smooth_idf: false, ..usual.clone() };
    for (name, words, english, options) in [
        ("plain", (1, 1), false, usual),
        ("pairs", (1, 2), true, frequent.clone()),
        ("cut", (1, 2), true, cut),
        ("triples", (1, 3), true, frequent),
        ("shares", (2, 3), false, shares),
        ("sublinear", (1, 1), false, sublinear),
    ] {
        let model = features(words, english, &train, &options);
        let expected = &golden["features"][name];
        let vocabulary: Vec<&str> = model.vocabulary().collect();
        assert_eq!(Some(model.width() as u64), expected["columns"].as_u64(), "{name}: {vocabulary:?}");
        assert_eq!(
            digest(&vocabulary.join("\n")),
            expected["digest"].as_str().expect("a digest"),
            "{name}: {vocabulary:?}"
        );
        near(&[model.idf().iter().sum()], &expected["idf"], name);
        let rows = model.transform(&test[..300], threads(2));
        let weighed = |row: tandem_text::Row<'_>| -> f64 {
            row.columns.iter().zip(row.values).map(|(column, value)| value * f64::from(1 + column % 7)).sum()
        };
        near(&rows.iter().map(weighed).collect::<Vec<_>>(), &expected["rows"], name);
    }
}

/// FNV-1a.
fn digest(text: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    format!("{:016x}", text.bytes().fold(0xCBF2_9CE4_8422_2325, step))
}

/// The position of the highest of each row's numbers.
fn best(numbers: &[f64], classes: usize) -> Vec<usize> {
    let best = |row: &[f64]| (0..classes).max_by(|a, b| row[*a].total_cmp(&row[*b])).expect("there are classes");
    numbers.chunks(classes).map(best).collect()
}

fn classes(predictions: &[Prediction]) -> Vec<usize> {
    predictions.iter().map(|prediction| prediction.class).collect()
}

fn compare_topics(golden: &Value, train: &[Labelled], test: &[Labelled]) {
    let labels: Vec<&str> = train.iter().map(|labelled| labelled.topic.as_str()).collect();
    let model = Recipe::topics().train(&texts(train), &labels, "1", threads(2)).expect("good texts");
    near(&model.log_probabilities(&texts(test), threads(2)), &golden["topics"], "topics");
    let expected: Vec<usize> =
        golden["topic_labels"].as_str().expect("a digit each").bytes().map(|digit| usize::from(digit - b'0')).collect();
    assert_eq!(classes(&model.predict(&texts(test), threads(1))), expected);
    let right =
        test.iter().zip(&expected).filter(|(labelled, class)| labelled.topic == model.labels()[**class]).count();
    assert!(right * 10 > test.len() * 7, "{right} of {} topics are right", test.len());

    let rows = model.features().transform(&texts(train), threads(1));
    let mut sums = Sums::new(rows.width());
    sums.add(&rows, &labels).expect("good rows");
    let model = sums.finish(&NaiveBayesOptions { alpha: 0.5, fit_prior: false }).expect("eight classes");
    let mut joint = vec![0.0; 50 * 8];
    rows.iter().zip(joint.chunks_mut(8)).for_each(|(row, scores)| model.joint_log_likelihoods(row, scores));
    near(&joint, &golden["joint"], "joint");
}

fn compare_tones(golden: &Value, train: &[Labelled], test: &[Labelled]) {
    let labels: Vec<&str> = train.iter().map(|labelled| labelled.tone.as_str()).collect();
    let model = Recipe::tones().train(&texts(train), &labels, "1", threads(2)).expect("good texts");
    let found: Vec<f64> = model.log_probabilities(&texts(test), threads(2)).iter().map(|log| log.exp()).collect();
    near(&found, &golden["tones"], "tones");
    assert_eq!(classes(&model.predict(&texts(test), threads(1))), best(&numbers(&golden["tones"]), 3));
}

fn compare_dense(golden: &Value) {
    let usual = LogisticOptions::default();
    for (name, classes, options) in [
        ("four", 4, usual),
        ("two", 2, LogisticOptions { c: 10.0, class_weights: ClassWeights::Balanced, ..usual }),
        ("three", 3, LogisticOptions { c: 0.1, intercept: false, ..usual }),
    ] {
        let (values, labels) = dense(classes);
        let (train, test) = values.split_at(200 * 12);
        let inputs = Inputs::Dense { values: train, width: 12 };
        let trained = logistic::train(inputs, &labels[..200], &options, threads(2)).expect("good rows");
        assert!(trained.converged, "{name}: {trained:?}");
        let found = trained.model.dense_probabilities(test).expect("good rows");
        near(&found, &golden[name], name);
        assert_eq!(best(&found, classes), best(&numbers(&golden[name]), classes), "{name}");
    }
}

fn compare_vader(golden: &Value, test: &[Labelled], same_python: bool) {
    let mut texts = fuzzed();
    texts.extend(test.iter().map(|labelled| labelled.text.clone()));
    let found = Vader::new().scores(&texts, threads(2));
    let expected = golden.as_array().expect("scores of each text");
    assert_eq!(found.len(), expected.len());
    let last_digit = if same_python { 0.0 } else { 1.0 };
    for ((text, found), expected) in texts.iter().zip(found).zip(expected) {
        let whole = [
            (found.compound * 1e4).round(),
            (found.positive * 1e3).round(),
            (found.neutral * 1e3).round(),
            (found.negative * 1e3).round(),
        ];
        let expected = numbers(expected);
        let off = whole.iter().zip(&expected).map(|(found, expected)| (found - expected).abs());
        assert!(off.fold(0.0, f64::max) <= last_digit, "{text:?}: {whole:?}, expected {expected:?}");
    }
}
